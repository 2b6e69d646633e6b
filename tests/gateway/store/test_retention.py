"""Deleting by age and size: what goes, what is counted, and what never changes by it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import RELEASED_MS, HandClock
from gateway.model import Event, Gap, Quality, Refusal, Refused, Sample
from gateway.store import retention, upkeep
from gateway.store.history import History
from gateway.store.retention import DAY_MS, through
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, sample, samples, seqs

NOW_MS = AT_MS + 100 * DAY_MS


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def opened(
    state: Path, *, days: float = 0, mb: float = 0, clock: HandClock | None = None, outlets: list[str] | None = None
) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(
        state,
        commit_ms=1,
        retention_days=days,
        max_mb=mb,
        outlets=outlets,
        clock=clock or HandClock(wall_ms=NOW_MS),
    )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(state: Path, days: int) -> None:
    """One batch of ten samples a day, the last one today."""
    async with opened(state) as store:
        epoch = await store.claim("greenhouse", "gw")
        for day in range(days):
            offset_ms = NOW_MS - (days - 1 - day) * DAY_MS - 100_000
            await store.append(epoch, batch(*samples(day * 10, day * 10 + 9), offset_ms=offset_ms))


async def pruned(store: SqliteStore) -> None:
    """As far as it goes now; the store's own round may be under way as well."""
    await store._upkeep._prune()


# ---- by age ----------------------------------------------------------------------------------------------------


def test_what_is_older_goes_and_the_rest_stays(state: Path) -> None:
    async def work() -> None:
        await fill(state, 10)
        async with opened(state, days=7) as store:
            await pruned(store)
            assert seqs(await store.read("", limit=1_000)) == list(range(30, 100))
            assert store.counts("greenhouse").samples == 100, "what ever came is still counted"
            assert store.counts("greenhouse").pruned == store.stats()["pruned_samples"] == 30
            assert (await store.committed("greenhouse", [BOOT_ID]))[0].through == 99
            epoch = await store.claim("greenhouse", "gw")
            assert await store.append(epoch, batch(*samples(0, 99))) == 99, "a repeat is recognised all the same"
            assert seqs(await store.read("", limit=1_000)) == list(range(30, 100))
            series = await History(store).samples("greenhouse", None, 0, NOW_MS, 1_000)
            assert len(series["temperature"]["at_ms"]) == 70
        async with opened(state) as store:
            assert store.counts("greenhouse").pruned == 30
            assert store.stats()["pruned_samples"] == 30

    run(work())


def test_without_limits_nothing_goes(state: Path) -> None:
    async def work() -> None:
        await fill(state, 10)
        async with opened(state) as store:
            await pruned(store)
            assert len(seqs(await store.read("", limit=1_000))) == 100

    run(work())


def test_while_nobody_knows_the_date_nothing_goes_by_age(state: Path) -> None:
    clock = HandClock(wall_ms=NOW_MS + 10_000 * DAY_MS, trusted=False)

    async def work() -> None:
        await fill(state, 10)
        async with opened(state, days=7, clock=clock) as store:
            await pruned(store)
            assert len(seqs(await store.read("", limit=1_000))) == 100
            clock.trusted = True
            await pruned(store)
            assert seqs(await store.read("", limit=1_000)) == []

    run(work())


def test_it_goes_on_by_itself(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "EVERY_S", 0.01)
    monkeypatch.setattr(upkeep, "PRUNE_EVERY_S", 0)
    clock = HandClock(wall_ms=NOW_MS)

    async def work() -> None:
        await fill(state, 3)
        async with opened(state, days=7, clock=clock) as store:
            clock.advance(6 * DAY_MS)
            await until(lambda: store.stats()["pruned_samples"] == 20, what="the two oldest days to go")

    run(work())


def row(id: int, day: float) -> tuple[int, int]:
    return id, round(NOW_MS - day * DAY_MS)


WEEK_AGO_MS = NOW_MS - 7 * DAY_MS


def test_a_stamp_that_cannot_be_true_says_nothing() -> None:
    def gone(*rows: tuple[int, int]) -> int:
        return through(rows, WEEK_AGO_MS, NOW_MS)

    assert gone(row(1, 9), row(2, 8), row(3, 6), row(4, 5)) == 2
    assert gone((1, 5_000), row(2, 6)) == 0, "1970 is not old: the clock was not set"
    assert gone((1, 5_000), row(2, 9), row(3, 6)) == 2
    assert gone((1, NOW_MS * 2), row(2, 9), row(3, 6)) == 2, "the future neither holds up what follows it ..."
    assert gone(row(1, 6), row(2, 9)) == 0, "... nor does a clock that went back take with it what is newer"
    assert gone() == 0


@given(st.lists(st.integers(0, 2 * NOW_MS), max_size=30))
def test_nothing_goes_that_was_received_behind_something_believed_and_new(stamps: list[int]) -> None:
    end = through(enumerate(stamps, 1), WEEK_AGO_MS, NOW_MS)
    believed = [(id, stamp) for id, stamp in enumerate(stamps, 1) if RELEASED_MS <= stamp <= NOW_MS]
    assert all(stamp < WEEK_AGO_MS for id, stamp in believed if id <= end)
    assert end == 0 or end in dict(believed)


# ---- by size ---------------------------------------------------------------------------------------------------


def test_what_is_too_much_goes_oldest_first_and_the_room_is_used_again(state: Path) -> None:
    async def work() -> None:
        async with opened(state, mb=1) as store:
            epoch = await store.claim("greenhouse", "gw")
            sizes = []
            for first in range(0, 150_000, 5_000):
                await store.append(epoch, batch(*samples(first, first + 4_999)))
                await pruned(store)
                sizes.append((state / "samples.db").stat().st_size)
            left = seqs(await store.read("", limit=10_000))
            assert left == list(range(left[0], left[0] + len(left)))
            assert store.counts("greenhouse").pruned == left[0] > 0
            assert len(left) > 5_000
            assert await store._writer.errand(lambda c: (retention.used_bytes(c), [])) <= 1_000_000
            # The file itself: the limit, one append more, and what waited in the write-ahead log.
            assert max(sizes) < 1_000_000 + 300_000
            assert sizes[-1] == sizes[len(sizes) // 2], "freed pages are not filled again"

    run(work())


# ---- cursors and ids -------------------------------------------------------------------------------------------


def test_a_cursor_into_what_is_gone_goes_on_at_the_oldest(state: Path) -> None:
    async def work() -> None:
        await fill(state, 10)
        async with opened(state, days=7) as store:
            log_id = (await store.end()).partition(":")[0]
            await pruned(store)
            assert seqs(await store.read(f"{log_id}:1"))[0] == 30
            assert seqs(await store.read(f"{log_id}:5"))[0] == 50

    run(work())


def test_an_id_is_never_used_twice_also_after_everything_is_gone(state: Path) -> None:
    clock = HandClock(wall_ms=NOW_MS + 300 * DAY_MS)

    async def empty() -> str:
        await fill(state, 10)
        async with opened(state, days=7, clock=clock) as store:
            end = await store.end()
            await pruned(store)
            assert await store.read("") == []
            return end

    async def later(end: str) -> None:
        async with opened(state) as store:
            assert await store.end() == end
            assert await store.read(end) == []
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(100)))
            (one,) = await store.read(end)
            assert one.first == 100
            assert int(one.cursor.partition(":")[2]) == int(end.partition(":")[2]) + 1

    run(later(run(empty())))


# ---- counts ----------------------------------------------------------------------------------------------------


def test_samples_an_outlet_never_took_are_counted_for_it_and_told(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await fill(state, 10)
        async with opened(state, days=5, outlets=["mqtt.slow", "mqtt.fast", "mqtt.new"]) as store:
            log_id = (await store.end()).partition(":")[0]
            cursors = {"mqtt.slow": f"{log_id}:2", "mqtt.fast": f"{log_id}:10", "mqtt.removed": f"{log_id}:0"}
            for name, cursor in cursors.items():
                await store.put(f"outlet/{name}/cursor", cursor.encode())
            await pruned(store)
            assert store.stats()["untaken"] == {"mqtt.slow": 30}
            (notice,) = store.stats()["notices"]
            assert (notice["level"], notice["id"]) == ("warning", "untaken.mqtt.slow")
            assert "mqtt.slow has missed samples" in notice["text"]
            assert "30 so far" in notice["text"]
        async with opened(state) as store:
            assert store.stats()["untaken"] == {"mqtt.slow": 30}
            assert len(store.stats()["notices"]) == 1

    run(work())
    assert [record.levelname for record in caplog.records if record.name == "store"] == ["WARNING"]


def test_only_samples_are_counted(state: Path) -> None:
    async def work() -> None:
        async with opened(state, clock=HandClock(wall_ms=AT_MS)) as store:
            epoch = await store.claim("greenhouse", "gw")
            mixed = (*samples(0, 3), Event(4, 4_000, "boot"), Gap(5, 9, 5, None, "full"), sample(10))
            await store.append(epoch, batch(*mixed, quality=Quality.ESTIMATED))
            await store.restamp("greenhouse", BOOT_ID, AT_MS)
            other = await store.claim("cellar", "gw")
            await store.append(other, batch(*(Sample(i, i, {"x": 1.0}) for i in range(70)), device="cellar"))
        async with opened(state, days=1) as store:
            await store.put("outlet/mqtt.a/cursor", b"another log:7")
            await pruned(store)
            assert await store.read("") == []
            assert (store.counts("greenhouse").pruned, store.counts("cellar").pruned) == (5, 70)
            assert store.stats()["untaken"] == {"mqtt.a": 75}

    run(work())


# ---- beside commits --------------------------------------------------------------------------------------------


def test_commits_go_on_while_much_is_deleted(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 5)

    async def work() -> None:
        await fill(state, 90)
        async with opened(state, days=7) as store:
            epoch = await store.claim("cellar", "gw")
            deleting = asyncio.create_task(pruned(store))
            appended = 0
            while not deleting.done():
                began = time.perf_counter()
                await store.append(epoch, batch(sample(appended), device="cellar", offset_ms=NOW_MS))
                assert time.perf_counter() - began < 2
                appended += 1
            await deleting
            assert appended > 5
            assert store.stats()["pruned_samples"] == 820

    run(work())


def test_a_step_that_fails_deletes_and_counts_nothing(state: Path) -> None:
    async def work() -> None:
        await fill(state, 10)
        async with opened(state, days=7) as store:
            store._writer._database.connection.execute(
                "CREATE TEMP TRIGGER fail BEFORE UPDATE ON devices BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
            with pytest.raises(Exception, match="no"):
                await pruned(store)
            assert store.stats()["pruned_samples"] == 0
        with closing(sqlite3.connect(state / "samples.db")) as connection:
            assert connection.execute("SELECT count(*) FROM batches").fetchone() == (10,)

    run(work())


# ---- what was refused ------------------------------------------------------------------------------------------


def test_what_was_refused_goes_with_its_samples_and_so_leaves_room_for_others(state: Path) -> None:
    async def work() -> None:
        async with opened(state, mb=2) as store:
            epoch = await store.claim("broken", "gw")
            for first in range(0, 1_000, 100):
                refused = (Refused(seq, seq, "x" * 4_096, "frame.bad", "no") for seq in range(first, first + 100))
                await store.append(epoch, batch(*refused, device="broken"))
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 99)))
            await pruned(store)
            assert seqs(await store.read("", limit=1_000))[-100:] == list(range(100)), "nobody has taken them yet"
            kept = len(await store.quarantined("broken", 10_000))
            assert 0 < kept < 1_000
            assert store.counts("broken").quarantined == 1_000
            assert store.counts("broken").quarantine_dropped == 1_000 - kept
        async with opened(state) as store:
            assert store.counts("broken").quarantine_dropped == 1_000 - kept

    run(work())


def test_what_was_refused_of_samples_that_stay_stays(state: Path) -> None:
    refused = (Refusal("humidity", "400", "range", "too high"),)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            for day in range(10):
                one = Sample(day, day * 1_000, {"temperature": 20.0}, refused)
                await store.append(epoch, batch(one, offset_ms=NOW_MS - (9 - day) * DAY_MS - 100_000))
        async with opened(state, days=7) as store:
            await pruned(store)
            assert [row.seq for row in await store.quarantined("greenhouse", 100)] == list(range(9, 2, -1))
            assert store.counts("greenhouse").quarantine_dropped == 3

    run(work())
