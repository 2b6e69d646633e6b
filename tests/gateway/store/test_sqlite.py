"""What is SQLite's own: durability, files, failures. What any store does is in conformance.py."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, Fenced, StoreError, Unavailable
from gateway.model import Batch, Correction, Event, Gap, Quality, Refusal, Sample
from gateway.store import restamp
from gateway.store import writer as writer_module
from gateway.store.history import History
from gateway.store.port import Committed
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store.conformance import Conformance
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, records, sample, samples, seqs


@asynccontextmanager
async def opened(directory: Path, *, commit_ms: int = 1, quarantine_rows: int = 10_000) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(directory, commit_ms=commit_ms, quarantine_rows=quarantine_rows)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class TestConformance(Conformance):
    opener = opened


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def on_disk(state: Path) -> int:
    """Rows another process sees now."""
    with closing(sqlite3.connect(state / "samples.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM batches").fetchone()[0])


# ---- commits ---------------------------------------------------------------------------------------------------


def test_what_arrives_within_the_window_is_one_transaction_of_one_row(state: Path) -> None:
    statements: list[str] = []

    async def work() -> None:
        async with opened(state, commit_ms=50) as store:
            epoch = await store.claim("greenhouse", "gw")
            await trace(store, statements)
            await asyncio.gather(*(store.append(epoch, batch(sample(seq))) for seq in range(200)))
            assert store.stats()["commits"] == 1
            assert store.stats()["samples"] == 200

    run(work())
    assert [statement for statement in statements if statement in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert on_disk(state) == 1


def test_a_repeat_writes_nothing(state: Path) -> None:
    statements: list[str] = []

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 9)))
            await trace(store, statements)
            assert await store.append(epoch, batch(*samples(0, 9))) == 9

    run(work())
    assert "BEGIN IMMEDIATE" not in statements


def test_append_returns_only_after_the_commit(state: Path) -> None:
    """While another program holds the write lock nothing can be committed, so nothing may be acknowledged."""

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            assert await store.append(epoch, batch(sample(0))) == 0
            with closing(sqlite3.connect(state / "samples.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                append = asyncio.create_task(store.append(epoch, batch(sample(1))))
                live = store.live()
                news = asyncio.ensure_future(anext(live))
                done, _ = await asyncio.wait({append, news}, timeout=0.3)
                assert not done, "told of a batch before it was committed"
                assert seqs(await store.read("")) == [0], (
                    "readers neither wait for the writer nor see what is not there"
                )
                other.execute("ROLLBACK")
            assert await append == 1
            assert (await news).first == 1
            assert on_disk(state) == 2

    run(work())


def test_every_commit_is_synced_before_append_returns(state: Path) -> None:
    """Seen by the order of statements: COMMIT has ended, under synchronous=FULL, when the append does."""
    order: list[str] = []

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            settings = await store._writer._database.run(  # the connection that commits, as no other has its settings
                lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
            )
            assert settings == [2, "wal"]
            await trace(store, order)
            for seq in range(3):
                await store.append(epoch, batch(sample(seq)))
                order.append("returned")

    run(work())
    wanted = [statement for statement in order if statement in {"COMMIT", "returned"}]
    assert wanted == ["COMMIT", "returned"] * 3


LOAD = """
import asyncio, sys
from pathlib import Path
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import batch, sample

async def device(store, number):
    name, epoch = f"dev-{number}", await store.claim(f"dev-{number}", "gw")
    async def append(seq):
        through = await store.append(epoch, batch(sample(seq), device=name))
        print(name, through, flush=True)
    seq = 0
    while True:
        await asyncio.gather(*(append(seq + i) for i in range(20)))
        seq += 20

async def main():
    store = SqliteStore(Path(sys.argv[1]), commit_ms=1)
    await store.open()
    await asyncio.gather(*(device(store, number) for number in range(4)))

asyncio.run(main())
"""


def test_what_append_returned_survives_kill_9(state: Path) -> None:
    acknowledged: dict[str, int] = {}
    for kill_after in (50, 400, 1_500):  # lines, so at different moments of different commits
        with subprocess.Popen([sys.executable, "-c", LOAD, str(state)], stdout=subprocess.PIPE, text=True) as gateway:
            assert gateway.stdout is not None
            seen = []
            for line in gateway.stdout:
                seen.append(line)
                if len(seen) == kill_after:
                    gateway.send_signal(signal.SIGKILL)
        for line in seen:
            if line.endswith("\n"):
                name, through = line.split()
                acknowledged[name] = max(acknowledged.get(name, -1), int(through))

        async def check() -> None:
            async with opened(state) as store:
                for name, through in acknowledged.items():
                    (boot,) = await store.committed(name, [BOOT_ID])
                    assert boot.through >= through
                    got = await store.read("", device=name, limit=1_000_000)
                    assert seqs(got) == list(range(boot.through + 1))
                    assert store.counts(name).samples == boot.through + 1

        run(check())
    assert len(acknowledged) == 4


def test_a_full_disk_acknowledges_nothing_is_said_once_and_passes(
    state: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_MS", 5)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            await limit_pages(store, "page_count")
            large = batch(Event(1, 1000, "boot", None, {f"k{i}": "x" * 200 for i in range(16)}))
            for _ in range(3):
                with pytest.raises(Unavailable, match="disk is full"):
                    await store.append(epoch, large)
            assert "disk is full" in store.stats()["trouble"]
            assert [one.first for one in await store.read("")] == [0]
            await limit_pages(store, "1000000")
            assert await store.append(epoch, large) == 1
            assert store.stats()["trouble"] == ""
            assert seqs(await store.read("")) == [0, 1]

    with caplog.at_level(logging.WARNING, "store"):
        run(work())
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_what_follows_a_failed_batch_never_becomes_a_hole(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device sends on while a commit fails. Were the next batch taken, the failed one would come as a repeat."""
    monkeypatch.setattr(writer_module, "RETRY_MS", 5)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            await limit_pages(store, "page_count")
            large = batch(Event(1, 1000, "boot", None, {f"k{i}": "x" * 200 for i in range(16)}))
            with pytest.raises(Unavailable):
                await store.append(epoch, large)
            await limit_pages(store, "1000000")
            with pytest.raises(Unavailable, match="append those first"):
                await store.append(epoch, batch(sample(2)))
            assert await asyncio.gather(store.append(epoch, large), store.append(epoch, batch(sample(2)))) == [1, 2]
            assert await store.append(epoch, batch(sample(9))) == 9, "a true hole is still taken"
            assert store.counts("greenhouse").lost == 6

    run(work())


def test_after_a_new_claim_a_failure_is_forgotten(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_MS", 5)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            await limit_pages(store, "page_count")
            with pytest.raises(Unavailable):
                await store.append(epoch, batch(*samples(1, 500)))
            await limit_pages(store, "1000000")
            epoch = await store.claim("greenhouse", "gw")
            assert await store.append(epoch, batch(sample(5))) == 5

    run(work())


def test_a_claim_fences_what_still_waits(state: Path) -> None:
    async def work() -> None:
        async with opened(state, commit_ms=500) as store:
            old = await store.claim("greenhouse", "gw")
            waiting = asyncio.create_task(store.append(old, batch(sample(0))))
            await asyncio.sleep(0)
            await store.claim("greenhouse", "gw")
            with pytest.raises(Fenced):
                await waiting

    run(work())


def test_numbers_no_database_holds_are_refused_and_harm_nobody(state: Path) -> None:
    async def work() -> None:
        async with opened(state, commit_ms=20) as store:
            epoch = await store.claim("greenhouse", "gw")
            other = await store.claim("cellar", "gw")
            outcomes = await asyncio.gather(
                store.append(other, batch(sample(0), device="cellar")),
                store.append(epoch, batch(Sample(0, 1 << 70, {"temperature": 1.0}))),
                store.append(epoch, batch(Event(1 << 70, 5, "boot"), boot_id="1" * 16)),
                store.append(epoch, batch(Event(0, 5, "boot", None, {"huge": 10**30}))),
                store.append(other, batch(sample(1), device="cellar")),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [int, StoreError, StoreError, int, int]
            assert records(await store.read("", device="greenhouse")) == [
                Event(0, 5, "boot", None, {"huge": "1" + "0" * 30})
            ]

    run(work())


def test_a_batch_that_cannot_be_written_down_harms_nobody(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with opened(state, commit_ms=20) as store:
            epoch = await store.claim("greenhouse", "gw")
            outcomes = await asyncio.gather(
                store.append(epoch, batch(sample(0))),
                store.append(epoch, batch(Event(0, 0, "boot", "\ud800"), boot_id="1" * 16)),
                store.append(epoch, batch(sample(1))),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [int, StoreError, int]
            assert seqs(await store.read("")) == [0, 1]

    run(work())
    assert "by a fault of ours" in caplog.text


def test_losses_beyond_reason_are_counted_as_far_as_numbers_go(state: Path) -> None:
    huge = (1 << 53) - 1

    async def claim_losses() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            gaps = [batch(Gap(0, None, huge, None, "full"), boot_id=f"{number:016x}") for number in range(1_100)]
            await asyncio.gather(*(store.append(epoch, gap) for gap in gaps))
            hole = batch(Gap(0, huge - 1, huge, None, "full"), sample(huge), boot_id="f" * 16)
            assert await store.append(epoch, hole) == huge

    async def open_again() -> None:
        async with opened(state) as store:
            assert store.counts("greenhouse").lost > 1 << 62

    run(claim_losses())
    run(open_again())


def test_boots_forgotten_in_memory_are_known_all_the_same(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "KNOWN_BOOTS", 2)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            for last in (4, 9):
                for boot in range(6):
                    again = batch(*samples(0, last), boot=boot, boot_id=f"{boot:016x}")
                    assert await store.append(epoch, again) == last
            counts = store.counts("greenhouse")
            assert (counts.samples, counts.committed_boots) == (60, 6)

    run(work())


def test_many_more_records_than_one_commit_takes_come_in_order(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await asyncio.gather(*(store.append(epoch, batch(*samples(i, i + 999))) for i in range(0, 60_000, 1_000)))
            assert store.stats()["commits"] >= 6
            assert store.stats()["queue"] == 0
            found, cursor = [], ""
            while batches := await store.read(cursor, limit=1_000):
                assert len(seqs(batches)) <= 11_000  # what an outlet that is behind has in memory
                found, cursor = found + seqs(batches), batches[-1].cursor
            assert found == list(range(60_000))

    run(work())


def test_quarantine_is_bounded_per_device_and_the_dropped_are_counted(state: Path) -> None:
    def bad(seq: int, device: str) -> Batch:
        refusal = Refusal("temperature", str(seq), "value.range", "too hot")
        return batch(Sample(seq, seq * 1000, {}, (refusal,)), device=device)

    async def fill() -> None:
        async with opened(state, quarantine_rows=10) as store:
            epochs = {device: await store.claim(device, "gw") for device in ("greenhouse", "cellar")}
            await store.append(epochs["cellar"], bad(0, "cellar"))
            for seq in range(25):
                await store.append(epochs["greenhouse"], bad(seq, "greenhouse"))
            await check(store)

    async def check(store: SqliteStore) -> None:
        rows = await History(store).quarantine("greenhouse", 100)
        assert [row.seq for row in rows] == list(range(24, 14, -1))
        counts = await History(store).counts("greenhouse")
        assert (counts.quarantined, counts.quarantine_dropped) == (25, 15)
        assert len(await History(store).quarantine("cellar", 100)) == 1

    async def again() -> None:
        async with opened(state, quarantine_rows=10) as store:
            await check(store)

    run(fill())
    run(again())


def test_a_replaced_file_confuses_no_cursor(state: Path) -> None:
    async def fill(count: int) -> str:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            for seq in range(count):
                await store.append(epoch, batch(sample(seq)))
            return await store.end()

    async def read(cursor: str) -> list[int]:
        async with opened(state) as store:
            return seqs(await store.read(cursor))

    old = run(fill(5))
    (state / "samples.db").rename(state / "samples.db.old")
    run(fill(8))
    assert run(read(old)) == list(range(8))

    for file in state.glob("samples.db*"):
        if file.name != "samples.db.old":
            file.unlink()
    (state / "samples.db.old").rename(state / "samples.db")
    newer = old.partition(":")[0] + ":7"  # a cursor from a future that this older copy of the same log does not have
    assert run(read(newer)) == list(range(5))


def test_a_fault_after_the_commit_holds_up_nobody(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            with monkeypatch.context() as fault:
                fault.setattr(store._latest, "note", lambda _: 1 / 0)
                with pytest.raises(Unavailable):
                    await store.append(epoch, batch(sample(0)))
            assert await store.append(epoch, batch(sample(0))) == 0  # it is there
            assert await store.append(epoch, batch(sample(1))) == 1
            first, second = await store.read("")
            assert (first.first, second.first) == (0, 1)
            assert await store.read(second.cursor) == []
            assert store.stats()["queue"] == 0

    run(work())


def test_a_live_reader_can_tell_how_much_it_skipped(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            live = store.live()
            parts = [batch(sample(i), offset_ms=i) for i in range(2_500)]  # each of its own offset: none is joined
            await asyncio.gather(*(store.append(epoch, part) for part in parts))
            first = await anext(live)
            assert live.skipped == first.first > 0

    run(work())


# ---- files -----------------------------------------------------------------------------------------------------


def test_files_are_ours_alone_whatever_the_umask(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
            assert {"samples.db", "samples.db-wal", "registry.db", "registry.db-wal", "lock"} <= modes.keys()
            assert set(modes.values()) == {0o600}
            assert stat.S_IMODE(state.stat().st_mode) == 0o700

    before = os.umask(0)
    try:
        run(work())
    finally:
        os.umask(before)


def test_a_closed_store_leaves_two_databases_and_nothing_half_written(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0)))
        await store.close()
        with pytest.raises(Unavailable):
            await store.append(epoch, batch(sample(1)))
        with pytest.raises(Unavailable):
            await store.put("k", b"")
        with pytest.raises(Unavailable):
            await store.committed("greenhouse", [BOOT_ID])

    run(work())
    assert sorted(path.name for path in state.iterdir()) == ["lock", "registry.db", "samples.db"]


def test_closing_ends_iterations(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            live, watch = store.live(), store.watch("")
            waiting = [asyncio.ensure_future(anext(live, None)), asyncio.ensure_future(anext(watch, None))]
            wait = asyncio.create_task(store.wait(await store.end(), 60))
            await asyncio.sleep(0)
        assert await asyncio.gather(*waiting) == [None, None]
        assert not await wait

    run(work())


def test_a_second_gateway_is_kept_out(state: Path) -> None:
    async def work() -> None:
        async with opened(state):
            second = SqliteStore(state)
            with pytest.raises(ConfigError, match=f"in use by another gateway .process {os.getpid()}.; stop that one"):
                await second.open()
        async with opened(state):
            pass

    run(work())


@pytest.mark.parametrize("name", ["samples.db", "registry.db"])
def test_another_programs_database_is_left_alone(state: Path, name: str) -> None:
    state.mkdir(0o700)
    with closing(sqlite3.connect(state / name)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (state / name).read_bytes()
    assert_open_fails(state, name, "belongs to another program")
    assert (state / name).read_bytes() == before


@pytest.mark.parametrize("name", ["samples.db", "registry.db"])
def test_a_newer_schema_is_not_touched(state: Path, name: str) -> None:
    async def make() -> None:
        async with opened(state):
            pass

    run(make())
    with closing(sqlite3.connect(state / name)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert_open_fails(state, name, "newer mpy-gateway", "schema 99")


def test_a_locked_file_is_said(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.database.BUSY_MS", 50)
    state.mkdir(0o700)
    with closing(sqlite3.connect(state / "samples.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_open_fails(state, "samples.db", "locked by another program")


def test_a_lock_that_only_keeps_writers_out_is_said_at_the_start_too(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def make() -> None:
        async with opened(state):
            pass

    run(make())
    monkeypatch.setattr("gateway.store.database.BUSY_MS", 50)
    with closing(sqlite3.connect(state / "samples.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_open_fails(state, "samples.db", "locked by another program")


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_open_fails(tmp_path / "file" / "state", str(tmp_path / "file" / "state"), "--state")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_said(state: Path) -> None:
    state.mkdir(mode=0o500)
    assert_open_fails(state, "--state", "permissions")


def assert_open_fails(state: Path, *words: str) -> None:
    async def work() -> str:
        store = SqliteStore(state, commit_ms=1)
        with pytest.raises(ConfigError) as failure:
            await store.open()
        return str(failure.value)

    sentence = run(work())
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_the_registry_alone_opens_beside_a_running_gateway(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as gateway:
            beside = SqliteStore(state)
            await beside.open_registry_only()
            await beside.put("device/new", b"x")
            await beside.close()
            entry = await gateway.get("device/new")
            assert entry is not None
            assert entry.value == b"x"

    run(work())


def test_memory_serves_readers_that_keep_up(state: Path) -> None:
    """The file's reader is held up, so only memory can answer."""

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            end = await store.end()
            await store.append(epoch, batch(sample(0)))
            release = threading.Event()
            held = asyncio.create_task(store._outlets.run(lambda _: release.wait(5)))
            assert seqs(await store.read(end)) == [0]
            release.set()
            assert await held

    run(work())


# ---- times -----------------------------------------------------------------------------------------------------


def test_a_long_correction_goes_in_steps_and_lets_commits_through(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 7)

    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            parts = [batch(sample(i), offset_ms=i, quality=Quality.ESTIMATED) for i in range(100)]
            await asyncio.gather(*(store.append(epoch, part) for part in parts))
            correcting = asyncio.create_task(store.restamp("greenhouse", BOOT_ID, AT_MS))
            other = await store.claim("cellar", "gw")
            between = 0
            while not correcting.done():
                await store.append(other, batch(sample(between), device="cellar"))
                between += 1
            assert await correcting == 100
            assert between > 1, "a commit waited for the whole correction"
            await check(store)

    async def check(store: SqliteStore) -> None:
        found = await store.read("", device="greenhouse", limit=1_000)
        assert {(one.offset_ms, one.quality) for one in found} == {(AT_MS, Quality.CORRECTED)}
        told = [record for one in found for record in one.records if isinstance(record, Correction)]
        assert [(one.seq, one.to, one.moved_ms) for one in told] == [(i, i, AT_MS - i) for i in range(100)]

    async def again() -> None:
        async with opened(state) as store:
            await check(store)

    run(work())
    run(again())


def test_a_correction_that_was_cut_short_is_completed_by_the_next(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restamp, "STEP_ROWS", 10)

    async def begin() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            for i in range(25):
                await store.append(epoch, batch(sample(i), offset_ms=100, quality=Quality.ESTIMATED))
            correct = store._writer._restamp
            steps = iter([False, True])

            def fail_at_the_second(*args: Any) -> Any:
                if next(steps):
                    raise sqlite3.OperationalError("disk I/O error")
                return correct(*args)

            with monkeypatch.context() as fault:
                fault.setattr(store._writer, "_restamp", fail_at_the_second)
                with pytest.raises(Unavailable):
                    await store.restamp("greenhouse", BOOT_ID, AT_MS)
            assert (await store.committed("greenhouse", [BOOT_ID]))[0] == Committed(
                BOOT_ID, 17, 24, False, True, AT_MS, AT_MS + 9_000, True
            )

    async def complete() -> None:
        async with opened(state) as store:
            assert await store.restamp("greenhouse", BOOT_ID, AT_MS) == 15
            told = [record for record in records(await store.read("")) if isinstance(record, Correction)]
            moved_ms = AT_MS - 100
            assert told == [Correction(0, 9, moved_ms), Correction(10, 19, moved_ms), Correction(20, 24, moved_ms)]

    run(begin())
    run(complete())


def test_a_correction_to_times_that_no_database_holds_changes_nothing(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(5), quality=Quality.ESTIMATED))
            for offset_ms in (1 << 70, (1 << 63) - 1, -(1 << 63)):
                with pytest.raises(StoreError, match="cannot be stored"):
                    await store.restamp("greenhouse", BOOT_ID, offset_ms)
            assert [one.quality for one in await store.read("")] == [Quality.ESTIMATED]
            assert await store.restamp("greenhouse", BOOT_ID, 0) == 2  # the gap before it counts too

    run(work())


def test_a_correction_whose_caller_has_gone_leaves_the_log_in_step(state: Path) -> None:
    async def work() -> None:
        async with opened(state) as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(sample(0), quality=Quality.ESTIMATED))
            impatient = asyncio.create_task(store.restamp("greenhouse", BOOT_ID, 7))
            await asyncio.sleep(0)
            impatient.cancel()
            await store.append(epoch, batch(sample(1)))
            assert [(one.first, one.offset_ms) for one in await store.read("")] == [(0, 7), (0, 7), (1, AT_MS)]
            assert await store.read(await store.end()) == []

    run(work())


async def trace(store: SqliteStore, statements: list[str]) -> None:
    """Note every statement of the writer's connection."""
    await store._writer._database.run(lambda connection: connection.set_trace_callback(statements.append))


async def limit_pages(store: SqliteStore, pages: str) -> None:
    """SQLite answers as on a full disk where the file would need more than so many pages."""

    def limit(connection: sqlite3.Connection) -> None:
        count = connection.execute("PRAGMA page_count").fetchone()[0] if pages == "page_count" else int(pages)
        connection.execute(f"PRAGMA max_page_count = {count}")

    await store._writer._database.run(limit)
