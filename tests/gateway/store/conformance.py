"""What any adapter of the store's port must pass. An adapter's own test file subclasses `Conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.errors import Conflict, Fenced, NoHolder, TooLarge
from gateway.model import Batch, Command, Correction, Event, Gap, Quality, Refusal, Refused, Sample
from gateway.store.history import History, HistorySource
from gateway.store.port import Committed, Entry, Store
from tests.aio import run, until
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, records, sample, samples, seqs


class FullStore(Store, HistorySource):
    """What an adapter is."""


Opener = Callable[[Path], AbstractAsyncContextManager[FullStore]]
T = TypeVar("T")
OTHER_BOOT_ID = "0c5d9be1f2a34477"


class Conformance:
    """Each test gets a fresh store in a directory of its own."""

    opener: Opener
    """Opens the store kept in a directory; leaving the context closes it. To be set by the subclass."""

    @pytest.fixture(autouse=True)
    def _remember_directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "state"

    def with_store(self, work: Callable[[FullStore], Coroutine[None, None, None]]) -> None:
        async def inside() -> None:
            async with type(self).opener(self.directory) as store:
                await work(store)

        run(inside())

    # ---- append and read ---------------------------------------------------------------------------------------

    def test_what_was_appended_is_read_as_it_was(self) -> None:
        sent = batch(
            sample(0, temperature=21.5, humidity=48.1),
            Event(1, 1500, "sensor.failed", "climate", {"errno": 19, "text": "ö", "on": True, "none": None}),
            Gap(2, 9, 7, None, "full"),
            Sample(10, 12_000, {"humidity": 50.0}, (Refusal("temperature", "140.2", "value.range", "too hot"),)),
            Refused(11, 14, '{"type":"samples"', "frame.columns", "lists of different length"),
            quality=Quality.ESTIMATED,
        )

        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            assert await store.append(epoch, sent) == 14
            (got,) = await store.read("")
            assert got.cursor == await store.end()
            assert sent == Batch(**{**as_dict(got), "cursor": ""})

        self.with_store(work)

        async def after_a_restart(store: FullStore) -> None:
            (got,) = await store.read("")
            assert sent == Batch(**{**as_dict(got), "cursor": ""})

        self.with_store(after_a_restart)

    def test_the_same_batch_twice_is_stored_once(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            same = batch(*samples(0, 9), Event(10, 11_000, "boot"))
            assert await store.append(epoch, same) == 10
            assert await store.append(epoch, same) == 10
            together = await asyncio.gather(store.append(epoch, same), store.append(epoch, same))
            assert together == [10, 10]
            assert seqs(await store.read("")) == list(range(11))

        self.with_store(work)

    def test_an_overlap_is_cut_off(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 9)))
            assert await store.append(epoch, batch(*samples(5, 14))) == 14
            assert await store.append(epoch, batch(*samples(2, 3))) == 14
            assert seqs(await store.read("")) == list(range(15))

        self.with_store(work)

    def test_a_gap_and_a_refused_frame_are_cut_where_they_overlap(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 4)))
            assert await store.append(epoch, batch(Gap(2, 7, 6, None, "full"))) == 7
            assert await store.append(epoch, batch(Refused(6, 9, "raw", "frame.field", "wrong"))) == 9
            assert records(await store.read(""))[5:] == [
                Gap(5, 7, 3, None, "full"),
                Refused(8, 9, "raw", "frame.field", "wrong"),
            ]

        self.with_store(work)

    def test_a_hole_is_filled_with_an_unexplained_gap(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            assert await store.append(epoch, batch(*samples(3, 4))) == 4
            assert await store.append(epoch, batch(*samples(7, 8))) == 8
            assert records(await store.read("")) == [
                Gap(0, 2, 3, None, "unexplained"),
                *samples(3, 4),
                Gap(5, 6, 2, None, "unexplained"),
                *samples(7, 8),
            ]
            assert store.counts("greenhouse").lost == 5

        self.with_store(work)

    def test_a_hole_within_a_batch_is_filled_too(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0), sample(2)))
            assert records(await store.read("")) == [sample(0), Gap(1, 1, 1, None, "unexplained"), sample(2)]

        self.with_store(work)

    def test_nothing_follows_an_open_gap_but_nothing_is_blocked_either(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            ending = batch(*samples(0, 2), Gap(3, None, None, 12, "power_loss"))
            assert await store.append(epoch, ending) == 3
            assert await store.append(epoch, ending) == 3
            assert await store.append(epoch, batch(*samples(4, 5))) == 5
            assert records(await store.read("")) == list(ending.records)
            refused = await History(store).quarantine("greenhouse", 10)
            assert [(row.seq, row.code, row.quantity) for row in refused] == [
                (5, "boot.ended", None),
                (4, "boot.ended", None),
            ]
            counts = store.counts("greenhouse")
            assert (counts.gaps, counts.lost, counts.uncertain, counts.samples) == (1, 12, 12, 3)

        self.with_store(work)

    def test_an_open_gap_that_overlaps_says_what_is_left_of_it(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 5)))
            for _ in range(2):
                assert await store.append(epoch, batch(Gap(4, None, None, 12, "power_loss"))) == 6
            assert records(await store.read(""))[6:] == [Gap(6, None, None, 10, "power_loss")]

        self.with_store(work)

    def test_an_open_gap_of_which_all_is_here_is_none(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 5)))
            assert await store.append(epoch, batch(Gap(4, None, None, 2, "power_loss"))) == 5
            assert await store.append(epoch, batch(sample(6))) == 6
            assert store.counts("greenhouse").gaps == 0

        self.with_store(work)

    def test_an_open_gap_without_loss_is_acknowledged_like_any_record(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 5)))
            assert await store.append(epoch, batch(Gap(6, None, None, 0, "power_loss"))) == 6

        self.with_store(work)

    def test_boots_are_apart(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 4)))
            await store.append(epoch, batch(*samples(0, 2), boot=18, boot_id=OTHER_BOOT_ID))
            asked = [OTHER_BOOT_ID, "ffffffffffffffff", BOOT_ID]
            through = {boot.boot_id: (boot.boot, boot.through) for boot in await store.committed("greenhouse", asked)}
            assert through == {OTHER_BOOT_ID: (18, 2), "ffffffffffffffff": (0, -1), BOOT_ID: (17, 4)}
            assert [boot.boot_id for boot in await store.committed("greenhouse", asked)] == asked
            assert await store.committed("cellar", [BOOT_ID]) == [Committed(BOOT_ID, 0, -1)]

        self.with_store(work)

    def test_batches_come_out_in_the_order_they_went_in(self) -> None:
        async def work(store: FullStore) -> None:
            epochs = {device: await store.claim(device, "gw") for device in ("a", "b")}
            appends = []
            for i in range(20):
                boot_id = OTHER_BOOT_ID if i % 3 == 0 else BOOT_ID
                appends += [
                    store.append(epochs[device], batch(sample(i), device=device, boot_id=boot_id)) for device in "ab"
                ]
            await asyncio.gather(*appends)
            for device in "ab":
                got = await store.read("", device=device, limit=1000)
                order = [record.seq for record in records(got) if isinstance(record, Sample)]
                assert order == list(range(20))

        self.with_store(work)

    def test_what_is_said_once_per_batch_stays_true_for_each_record(self) -> None:
        """Joining batches must not move a sample in time, or to another profile."""

        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await asyncio.gather(
                store.append(epoch, batch(sample(0))),
                store.append(epoch, batch(sample(1), offset_ms=AT_MS + 7)),
                store.append(epoch, batch(sample(2), offset_ms=AT_MS + 7, quality=Quality.CORRECTED)),
                store.append(epoch, batch(sample(3), offset_ms=AT_MS + 7, profile="other")),
            )
            found = [
                (record.seq, one.at_ms(record.t_ms), one.quality, one.profile)
                for one in await store.read("")
                for record in one.records
                if isinstance(record, Sample)
            ]
            assert found == [
                (0, AT_MS, "synced", "5a0f9c3be1d27718"),
                (1, AT_MS + 1007, "synced", "5a0f9c3be1d27718"),
                (2, AT_MS + 2007, "corrected", "5a0f9c3be1d27718"),
                (3, AT_MS + 3007, "synced", "other"),
            ]

        self.with_store(work)

    def test_more_than_the_store_takes_at_once_is_said(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            with pytest.raises(TooLarge):
                await store.append(epoch, batch(*samples(0, 100_000)))
            assert await store.read("") == []

        self.with_store(work)

    def test_a_long_batch_is_read_in_bounded_pieces(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 4999)))
            got = await store.read("")
            assert seqs(got) == list(range(5000))
            assert max(len(one.records) for one in got) <= 1000

        self.with_store(work)

    # ---- times -------------------------------------------------------------------------------------------------

    def test_restamp_moves_what_was_estimated_once_and_tells(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            live = store.live()
            await store.append(epoch, batch(*samples(0, 2), offset_ms=100, quality=Quality.ESTIMATED))
            await store.append(epoch, batch(Gap(3, 9, 7, None, "full"), offset_ms=100, quality=Quality.ESTIMATED))
            await store.append(epoch, batch(sample(10), offset_ms=170, quality=Quality.ESTIMATED))
            await store.append(epoch, batch(sample(11), offset_ms=AT_MS - 5))
            await store.append(epoch, batch(sample(12), offset_ms=100, quality=Quality.ESTIMATED))
            before = await store.end()
            assert await store.restamp("greenhouse", BOOT_ID, AT_MS) == 6
            assert await store.restamp("greenhouse", BOOT_ID, AT_MS + 1) == 0
            assert await store.restamp("greenhouse", OTHER_BOOT_ID, AT_MS) == 0
            assert await store.restamp("cellar", BOOT_ID, AT_MS) == 0
            told = [
                Correction(0, 9, AT_MS - 100),
                Correction(10, 10, AT_MS - 170),
                Correction(12, 12, AT_MS - 100),
            ]
            (news,) = await store.read(before)
            assert news.records == tuple(told)
            assert (news.offset_ms, news.quality, news.boot, news.boot_id) == (AT_MS, "corrected", 17, BOOT_ID)
            assert news.cursor == await store.end()
            assert (await take(live, 6))[-1] == news
            await check(store)

        async def check(store: FullStore) -> None:
            """The same from memory and from the file."""
            found = [
                (one.first, one.last, one.offset_ms, str(one.quality))
                for one in await store.read("")
                if not isinstance(one.records[0], Correction)
            ]
            assert found == [
                (0, 2, AT_MS, "corrected"),
                (3, 9, AT_MS, "corrected"),
                (10, 10, AT_MS, "corrected"),
                (11, 11, AT_MS - 5, "synced"),
                (12, 12, AT_MS, "corrected"),
            ]
            series = (await History(store).samples("greenhouse", None, 0, AT_MS * 2, 100))["temperature"]
            assert series["at_ms"] == [AT_MS + t for t in (0, 1_000, 2_000, 10_000, 10_995, 12_000)]
            assert store.counts("greenhouse").samples == 6

        self.with_store(work)
        self.with_store(check)

    def test_restamp_covers_what_was_appended_before_it_and_nothing_after(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")

            def append(seq: int) -> Coroutine[None, None, int]:
                return store.append(epoch, batch(sample(seq), offset_ms=100, quality=Quality.ESTIMATED))

            outcomes = await asyncio.gather(
                append(0), append(1), store.restamp("greenhouse", BOOT_ID, AT_MS), append(2), append(3)
            )
            assert outcomes == [0, 1, 2, 2, 3]
            found = [(record.seq, str(one.quality)) for one in await store.read("") for record in one.records]
            assert found == [(0, "corrected"), (1, "corrected"), (0, "corrected"), (2, "estimated"), (3, "estimated")]
            assert (await store.committed("greenhouse", [BOOT_ID]))[0].estimated
            assert await store.restamp("greenhouse", BOOT_ID, AT_MS + 7) == 2
            assert [one.offset_ms for one in await store.read("")] == [AT_MS, AT_MS, AT_MS + 7, AT_MS + 7]

        self.with_store(work)

    def test_what_is_committed_of_a_boot_says_when_that_was(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            guess = batch(*samples(0, 4), offset_ms=9_000, quality=Quality.ESTIMATED)
            await store.append(epoch, guess)
            await store.append(epoch, batch(*samples(0, 2), boot=18, boot_id=OTHER_BOOT_ID, offset_ms=50_000))
            await store.append(epoch, batch(Gap(3, None, None, 5, "power_loss"), boot=18, boot_id=OTHER_BOOT_ID))
            asked = [BOOT_ID, OTHER_BOOT_ID, "f" * 16]
            assert await store.committed("greenhouse", asked) == [
                Committed(BOOT_ID, 17, 4, False, True, None, 13_000, floor_ms=52_000),
                Committed(OTHER_BOOT_ID, 18, 3, True, False, AT_MS, 52_000, floor_ms=13_000),
                Committed("f" * 16, 0, -1, floor_ms=52_000),
            ]
            assert await store.restamp("greenhouse", BOOT_ID, 70_000) == 5

        async def check(store: FullStore) -> None:
            assert await store.committed("greenhouse", [BOOT_ID, OTHER_BOOT_ID]) == [
                Committed(BOOT_ID, 17, 4, False, False, 70_000, 74_000, True, 52_000),
                Committed(OTHER_BOOT_ID, 18, 3, True, False, AT_MS, 52_000, False, 74_000),
            ]
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(5), offset_ms=70_000))
            assert not (await store.committed("greenhouse", [BOOT_ID]))[0].zero_corrected, "it is synced now"

        self.with_store(work)
        self.with_store(check)

    def test_after_a_correction_the_newest_value_is_the_newest_by_true_time(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            newer = batch(sample(0, temperature=30.0), boot=18, boot_id=OTHER_BOOT_ID)
            await store.append(epoch, newer)
            early = batch(sample(0, temperature=1.0, humidity=40.0), offset_ms=AT_MS * 2, quality=Quality.ESTIMATED)
            await store.append(epoch, early)  # from an older boot, but the clock was wrong by years
            assert (await History(store).latest("greenhouse"))["temperature"].value == 1.0
            await store.restamp("greenhouse", BOOT_ID, AT_MS - 60_000)
            await check(store)

        async def check(store: FullStore) -> None:
            newest = await History(store).latest("greenhouse")
            assert {quantity: latest[:3] for quantity, latest in newest.items()} == {
                "temperature": (AT_MS, 30.0, "synced"),
                "humidity": (AT_MS - 60_000, 40.0, "corrected"),
            }

        self.with_store(work)
        self.with_store(check)

    # ---- claims ------------------------------------------------------------------------------------------------

    def test_a_newer_claim_fences_the_older(self) -> None:
        async def work(store: FullStore) -> None:
            old = await store.claim("greenhouse", "gw")
            await store.append(old, batch(sample(0)))
            new = await store.claim("greenhouse", "gw")
            assert new > old
            with pytest.raises(Fenced):
                await store.append(old, batch(sample(1)))
            assert await store.append(new, batch(sample(1))) == 1

        self.with_store(work)

    def test_epochs_grow_over_a_restart_and_old_ones_stay_fenced(self) -> None:
        epochs = []

        async def work(store: FullStore) -> None:
            if epochs:
                with pytest.raises(Fenced):
                    await store.append(epochs[-1], batch(sample(0)))
            epochs.append(await store.claim("greenhouse", "gw"))

        for _ in range(3):
            self.with_store(work)
        assert epochs == sorted(set(epochs))

    def test_claims_of_other_devices_do_not_fence(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.claim("cellar", "gw")
            assert await store.append(epoch, batch(sample(0))) == 0

        self.with_store(work)

    # ---- cursors -----------------------------------------------------------------------------------------------

    def test_reading_goes_on_from_a_cursor_also_after_a_restart(self) -> None:
        cursors = []

        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            for seq in range(6):
                await store.append(epoch, batch(sample(seq)))
            first = await store.read("", limit=2)
            assert seqs(first) == [0, 1]
            cursors.append(first[-1].cursor)
            assert seqs(await store.read(first[-1].cursor)) == [2, 3, 4, 5]
            assert await store.read(await store.end()) == []

        self.with_store(work)

        async def after_a_restart(store: FullStore) -> None:
            assert seqs(await store.read(cursors[0])) == [2, 3, 4, 5]
            assert seqs(await store.read(cursors[0], limit=1)) == [2]
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(6)))
            assert seqs(await store.read(cursors[0])) == [2, 3, 4, 5, 6]

        self.with_store(after_a_restart)

    @pytest.mark.parametrize("cursor", ["", "0000000000000000:4", "4", ":", "nonsense", "a:b:c", "ä:²"])
    def test_a_cursor_of_another_log_starts_at_the_oldest_batch(self, cursor: str) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            assert seqs(await store.read(cursor)) == [0]
            assert await store.wait(cursor, 0)

        self.with_store(work)

    def test_wait_ends_with_a_commit_or_at_its_timeout(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            end = await store.end()
            assert not await store.wait(end, 0.01)
            waiting = asyncio.create_task(store.wait(end, 20))
            await store.append(epoch, batch(sample(0)))
            assert await waiting
            assert await store.wait(end, 0)
            assert not await store.wait(await store.end(), 0)

        self.with_store(work)

    # ---- live --------------------------------------------------------------------------------------------------

    def test_live_shows_what_is_committed_from_now_on(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            live = store.live()
            await store.append(epoch, batch(sample(1)))
            await store.append(epoch, batch(sample(2)))
            assert seqs(await take(live, 2)) == [1, 2]

        self.with_store(work)

    def test_live_of_some_devices_shows_no_other(self) -> None:
        async def work(store: FullStore) -> None:
            live = store.live(["cellar"])
            for device in ("greenhouse", "cellar", "attic"):
                await store.append(await store.claim(device, "gw"), batch(sample(0), device=device))
            assert [one.device for one in await take(live, 1)] == ["cellar"]

        self.with_store(work)

    def test_a_live_reader_too_slow_skips_and_can_read_what_it_missed(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            live = store.live()
            await store.append(epoch, batch(sample(0)))
            (seen,) = await take(live, 1)
            count = 5_000
            # Every batch has an offset of its own, so none can be joined with another.
            await asyncio.gather(*(store.append(epoch, batch(sample(i), offset_ms=AT_MS + i)) for i in range(1, count)))
            (later,) = await take(live, 1)
            assert later.first > seen.last + 1, "nothing was skipped: the queue is not bounded as it should be"
            missed, cursor = [], seen.cursor
            while cursor != later.cursor:
                (one,) = await store.read(cursor, limit=1)
                missed.append(one.first)
                cursor = one.cursor
            assert missed == list(range(1, later.first + 1))

        self.with_store(work)

    # ---- history -----------------------------------------------------------------------------------------------

    def test_history_gives_values_in_the_order_of_time(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 9), boot=18, boot_id=OTHER_BOOT_ID, offset_ms=AT_MS + 60_000))
            await store.append(epoch, batch(*samples(0, 9)))  # an older boot, delivered late
            found = await History(store).samples("greenhouse", None, AT_MS + 8_000, AT_MS + 61_000, 100)
            assert found["temperature"]["at_ms"] == [AT_MS + 8_000, AT_MS + 9_000, AT_MS + 60_000, AT_MS + 61_000]
            assert found["temperature"]["value"] == [20.08, 20.09, 20.0, 20.01]
            assert await History(store).samples("greenhouse", ["humidity"], 0, AT_MS * 2, 100) == {}
            assert await History(store).samples("cellar", None, 0, AT_MS * 2, 100) == {}

        self.with_store(work)

    def test_thinned_history_keeps_every_dip_and_peak(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            values = [20 + (seq * 7919 % 1000) / 1000 for seq in range(9_000)]
            values[1234], values[7654] = -5.0, 99.0
            for start in range(0, 9_000, 3_000):
                wave = (sample(seq, temperature=values[seq]) for seq in range(start, start + 3_000))
                await store.append(epoch, batch(*wave))
            found = (await History(store).samples("greenhouse", None, 0, AT_MS * 2, 200))["temperature"]
            assert 150 < len(found["value"]) <= 200
            assert found["at_ms"] == sorted(found["at_ms"])
            assert (min(found["value"]), max(found["value"])) == (-5.0, 99.0)
            assert found["at_ms"][found["value"].index(99.0)] == AT_MS + 7_654_000

        self.with_store(work)

    def test_latest_is_the_newest_by_time_and_survives_a_restart(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            newer = (sample(0, temperature=25.0, humidity=40.0), sample(1, temperature=26.0))
            await store.append(epoch, batch(*newer, boot=18, boot_id=OTHER_BOOT_ID, offset_ms=AT_MS + 60_000))
            await store.append(epoch, batch(sample(0, temperature=1.0, rssi=-60.0), quality=Quality.ESTIMATED))
            await check(store)

        async def check(store: FullStore) -> None:
            newest = await History(store).latest("greenhouse")
            assert {quantity: latest[:3] for quantity, latest in newest.items()} == {
                "temperature": (AT_MS + 61_000, 26.0, "synced"),
                "humidity": (AT_MS + 60_000, 40.0, "synced"),
                "rssi": (AT_MS, -60.0, "estimated"),
            }
            assert (newest["rssi"].boot_id, newest["rssi"].seq) == (BOOT_ID, 0)
            assert await History(store).latest("cellar") == {}

        self.with_store(work)
        self.with_store(check)

    def test_counts_count_everything_and_survive_a_restart(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            refused = Sample(3, 3000, {}, (Refusal("a", "1", "value.range", ""), Refusal("b", "2", "value.rate", "")))
            mixed = (*samples(0, 2), refused, Event(4, 4000, "boot"), Gap(5, 14, 10, None, "full"))
            await store.append(epoch, batch(*mixed, Gap(15, 16, None, None, "other"), Refused(17, 20, "x", "c", "r")))
            await store.append(epoch, batch(*samples(0, 1), boot_id=OTHER_BOOT_ID))
            await check(store)

        async def check(store: FullStore) -> None:
            counts = await History(store).counts("greenhouse")
            assert (counts.samples, counts.events, counts.gaps, counts.committed_boots) == (6, 1, 2, 2)
            assert (counts.lost, counts.uncertain, counts.quarantined, counts.quarantine_dropped) == (12, 2, 3, 0)
            assert (await History(store).counts("cellar")).samples == 0

        self.with_store(work)
        self.with_store(check)

    def test_events_and_quarantine_come_newest_first(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(Event(0, 100, "boot", None, {"reset_cause": 1}), *samples(1, 5)))
            hot = Sample(6, 6_000, {}, (Refusal("temperature", "140.2", "value.range", "too hot"),))
            await store.append(epoch, batch(hot, Event(7, 7_000, "sensor.failed", "climate", {"errno": 19})))
            await store.append(epoch, batch(Refused(8, 9, "{}", "frame.columns", "none")))
            events = await History(store).events("greenhouse", 10)
            assert [(e.at_ms, e.seq, e.code, e.sensor, e.data) for e in events] == [
                (AT_MS + 7_000, 7, "sensor.failed", "climate", {"errno": 19}),
                (AT_MS + 100, 0, "boot", None, {"reset_cause": 1}),
            ]
            assert len(await History(store).events("greenhouse", 1)) == 1
            rows = await History(store).quarantine("greenhouse", 10)
            assert [(q.at_ms, q.seq, q.quantity, q.value, q.code) for q in rows] == [
                (AT_MS + 999, 8, None, "{}", "frame.columns"),
                (AT_MS + 6_000, 6, "temperature", "140.2", "value.range"),
            ]
            assert rows[0].boot_id == BOOT_ID

        self.with_store(work)

    # ---- registry ----------------------------------------------------------------------------------------------

    def test_the_registry_keeps_values_with_growing_revisions(self) -> None:
        async def work(store: FullStore) -> None:
            assert await store.get("a/1") is None
            first = await store.put("a/1", b"one")
            second = await store.put("a/1", b"two")
            assert second > first
            assert await store.get("a/1") == Entry("a/1", b"two", second)
            third = await store.cas("a/1", b"three", second)
            assert await store.delete("a/1")
            assert not await store.delete("a/1")
            assert await store.get("a/1") is None
            assert await store.create("a/1", b"four") > third

        self.with_store(work)

        async def after_a_restart(store: FullStore) -> None:
            entry = await store.get("a/1")
            assert entry is not None
            assert entry.value == b"four"

        self.with_store(after_a_restart)

    def test_decisions_meet_a_conflict_where_something_changed(self) -> None:
        async def work(store: FullStore) -> None:
            revision = await store.create("k", b"1")
            with pytest.raises(Conflict):
                await store.create("k", b"2")
            await store.put("k", b"3")
            with pytest.raises(Conflict):
                await store.cas("k", b"4", revision)
            with pytest.raises(Conflict):
                await store.delete("k", revision)
            with pytest.raises(Conflict):
                await store.cas("missing", b"5", 1)
            assert [entry.value for entry in await store.list("")] == [b"3"]

        self.with_store(work)

    def test_of_many_at_once_one_wins(self) -> None:
        async def work(store: FullStore) -> None:
            revision = await store.put("k", b"0")
            outcomes = await asyncio.gather(
                *(store.cas("k", str(i).encode(), revision) for i in range(20)), return_exceptions=True
            )
            assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19

        self.with_store(work)

    def test_list_gives_a_prefix_in_order(self) -> None:
        async def work(store: FullStore) -> None:
            for key in ("device/b", "device/a", "devices", "device/ü", "token/1"):
                await store.put(key, b"")
            assert [entry.key for entry in await store.list("device/")] == ["device/a", "device/b", "device/ü"]

        self.with_store(work)

    def test_watch_tells_changes_coalesced_per_key(self) -> None:
        async def work(store: FullStore) -> None:
            await store.put("a/gone", b"")
            watch = store.watch("a/")
            for value in range(100):
                await store.put("a/1", str(value).encode())
                await store.put("b/1", b"not watched")
            await store.delete("a/gone")
            entry, deleted = await take(watch, 2)
            assert isinstance(entry, Entry)
            assert (entry.key, entry.value) == ("a/1", b"99")
            assert deleted == "a/gone"

        self.with_store(work)

    # ---- commands ----------------------------------------------------------------------------------------------

    def test_a_command_reaches_the_newest_holder(self) -> None:
        new: list[Command] = []
        stale: list[Command] = []

        async def work(store: FullStore) -> None:
            with pytest.raises(NoHolder):
                await store.send("greenhouse", PING)
            store.serve("greenhouse", 2, new.append)
            store.serve("greenhouse", 1, stale.append)
            store.unserve("greenhouse", 1)
            await store.send("greenhouse", PING)
            store.unserve("greenhouse", 2)
            with pytest.raises(NoHolder):
                await store.send("greenhouse", PING)

        self.with_store(work)
        assert (new, stale) == ([PING], [])

    def test_a_holder_that_is_going_takes_no_command(self) -> None:
        def going(command: Command) -> None:
            raise NoHolder("the connection is closing")

        async def work(store: FullStore) -> None:
            store.serve("greenhouse", 1, going)
            with pytest.raises(NoHolder, match="closing"):
                await store.send("greenhouse", PING)

        self.with_store(work)

    # ---- many at once ------------------------------------------------------------------------------------------

    def test_an_append_whose_caller_has_gone_does_no_harm(self) -> None:
        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            impatient = asyncio.create_task(store.append(epoch, batch(*samples(0, 1))))
            await asyncio.sleep(0)
            impatient.cancel()
            assert await store.append(epoch, batch(*samples(0, 3))) == 3
            await until(impatient.done)
            assert seqs(await store.read("")) == [0, 1, 2, 3]

        self.with_store(work)

    def test_what_waits_when_the_store_closes_is_committed(self) -> None:
        answers = []

        async def work(store: FullStore) -> None:
            epoch = await store.claim("greenhouse", "gw")
            for seq in range(5):
                answers.append(asyncio.create_task(store.append(epoch, batch(sample(seq)))))
            await asyncio.sleep(0)

        self.with_store(work)
        assert [answer.result() for answer in answers] == [0, 1, 2, 3, 4]

        async def after_a_restart(store: FullStore) -> None:
            assert seqs(await store.read("")) == [0, 1, 2, 3, 4]

        self.with_store(after_a_restart)


PING = Command("c1", "ping", {}, 10_000)


def as_dict(got: Batch) -> dict[str, object]:
    return {name: getattr(got, name) for name in got.__struct_fields__}


async def take(source: AsyncIterator[T], count: int) -> list[T]:
    """The next `count` of `source`, which must come soon."""
    async with asyncio.timeout(5):
        return [await anext(source) for _ in range(count)]
