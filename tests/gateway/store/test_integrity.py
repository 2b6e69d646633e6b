"""Damaged files: found at the start or while they are used, moved aside, never deleted; service goes on."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.clock import HandClock
from gateway.errors import ConfigError, StoreError, Unavailable
from gateway.model import Gap, Quality
from gateway.store import integrity
from gateway.store.database import PAGE_BYTES, Database
from gateway.store.integrity import damage_of, set_aside, suspect_mark
from gateway.store.notices import KEPT_MS
from gateway.store.registry import Registry
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, records, sample, samples, seqs

NOW_MS = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC
ASIDE = "samples.db.damaged-20260921T141320Z"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Closed, with ten thousand samples that an outlet has taken half of."""

    async def fill(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        for first in range(0, 10_000, 1_000):
            await store.append(epoch, batch(*samples(first, first + 999)))
        log_id = (await store.end()).partition(":")[0]
        await store.put("outlet/mqtt.x/cursor", f"{log_id}:5".encode())
        await store.put("device/greenhouse", b"an identity")

    with_store(tmp_path / "state", fill)
    return tmp_path / "state"


def with_store(state: Path, work: Callable[[SqliteStore], Awaitable[None]], clock: HandClock | None = None) -> None:
    async def inside() -> None:
        store = SqliteStore(state, commit_ms=1, clock=clock or HandClock(wall_ms=NOW_MS))
        await store.open()
        try:
            await work(store)
        finally:
            await store.close()

    run(inside())


def overwrite(path: Path, at: int, length: int) -> bytes:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * length)
    return path.read_bytes()


def notices(store: SqliteStore) -> list[str]:
    return [notice["text"] for notice in store.stats()["notices"]]


def test_a_sound_file_passes(state: Path) -> None:
    assert damage_of(state / "samples.db") == ""
    assert damage_of(state / "registry.db") == ""
    assert damage_of(state / "missing.db") == ""


@pytest.mark.parametrize(("at", "length"), [(0, 100), (1024, 20_000), (100_000, 1_000), (300_000, 1_024)])
def test_a_damaged_log_is_moved_aside_and_service_goes_on(
    state: Path, caplog: pytest.LogCaptureFixture, at: int, length: int
) -> None:
    content = overwrite(state / "samples.db", at, length)

    async def work(store: SqliteStore) -> None:
        assert (state / ASIDE).read_bytes() == content
        (notice,) = store.stats()["notices"]
        assert (notice["level"], notice["since_ms"]) == ("error", NOW_MS)
        assert ASIDE in notice["text"]
        entry = await store.get("device/greenhouse")
        assert entry is not None, "a damaged sample file must not lock boards out"
        epoch = await store.claim("greenhouse", "gw")
        assert (await store.committed("greenhouse", ["9f3c11d2c01b6a55"]))[0].through == -1
        assert await store.append(epoch, batch(*samples(9_000, 9_010))) == 9_010, "the board sends what it holds"
        assert records(await store.read(""))[0] == Gap(0, 8_999, 9_000, None, "unexplained")
        cursor = await store.get("outlet/mqtt.x/cursor")
        assert cursor is not None
        assert seqs(await store.read(cursor.value.decode())) == [0, *range(9_000, 9_011)], "from the oldest"

    async def again(store: SqliteStore) -> None:
        (notice,) = store.stats()["notices"]
        assert ASIDE in notice["text"]
        assert seqs(await store.read(""))[-1] == 9_010
        assert await store.dismiss_notice(notice["id"])
        assert notices(store) == []
        assert not await store.dismiss_notice(notice["id"])

    async def dismissed(store: SqliteStore) -> None:
        assert notices(store) == []

    with caplog.at_level(logging.WARNING, "store"):
        with_store(state, work)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert ASIDE in caplog.text
    with_store(state, again)
    with_store(state, dismissed)
    assert {path.name for path in state.glob("samples.db*")} - {f"{ASIDE}-wal", f"{ASIDE}-shm"} == {"samples.db", ASIDE}


def test_a_notice_goes_after_a_month(state: Path) -> None:
    overwrite(state / "samples.db", 1_024, 20_000)
    clock = HandClock(wall_ms=NOW_MS)

    async def told(store: SqliteStore) -> None:
        assert len(notices(store)) == 1

    async def gone(store: SqliteStore) -> None:
        assert notices(store) == []
        assert await store.list("notice/") == []

    with_store(state, told, clock)
    clock.advance(KEPT_MS)
    with_store(state, told, clock)
    clock.advance(1)
    with_store(state, gone, clock)


def test_a_file_that_is_no_database_is_moved_aside_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    (state / "samples.db").write_text("this is text, and more than the header of a database would need" * 20)

    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        assert await store.append(epoch, batch(sample(0))) == 0

    with_store(state, work)
    assert (state / ASIDE).read_text().startswith("this is text")


def test_what_belongs_to_the_file_goes_with_it_and_a_second_one_takes_no_name(tmp_path: Path) -> None:
    for content in ("one", "two"):
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"samples.db{end}").write_text(content + end)
        set_aside(tmp_path / "samples.db", NOW_MS / 1000)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{ASIDE}{number}{end}": content + end
        for number, content in (("", "one"), ("-2", "two"))
        for end in ("", "-wal", "-shm")
    }


def test_damage_in_pages_that_are_not_read_first_is_found_too(state: Path) -> None:
    """Every single page: its content destroyed, the check says so, or the page was free or only values were."""
    path = state / "samples.db"
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0").fetchall()
    for name, page in roots:
        path.write_bytes(whole[: (page - 1) * PAGE_BYTES] + b"\xff" * PAGE_BYTES + whole[page * PAGE_BYTES :])
        assert damage_of(path), name
    path.write_bytes(whole)
    assert not damage_of(path)


def test_the_check_writes_nothing_also_where_a_log_was_left_behind(state: Path, tmp_path: Path) -> None:
    """As after kill -9: the write-ahead log is not folded into a file that may be damaged."""
    copy = tmp_path / "copy"
    copy.mkdir()

    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(*samples(10_000, 10_500)))
        for path in state.glob("samples.db*"):
            (copy / path.name).write_bytes(path.read_bytes())

    with_store(state, work)
    before = {path.name: path.read_bytes() for path in copy.iterdir() if not path.name.endswith("-shm")}
    assert len(before["samples.db-wal"]) > 0
    assert damage_of(copy / "samples.db") == ""
    after = {path.name: path.read_bytes() for path in copy.iterdir() if not path.name.endswith("-shm")}
    assert after == before


def test_a_large_file_is_not_waited_for(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written last is looked at all the same, and a file that is suspect is checked whole."""
    path = state / "samples.db"
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batches_by_time'").fetchone()[0]
    overwrite(path, (page - 1) * PAGE_BYTES, PAGE_BYTES)
    assert damage_of(path)
    monkeypatch.setattr(integrity, "CHECK_BYTES", 1_000)
    monkeypatch.setattr(integrity, "CHECK_S", -1)
    assert not damage_of(path)
    suspect_mark(path).touch()
    assert damage_of(path)


def test_a_damaged_registry_stops_the_start_with_what_to_do(state: Path) -> None:
    for at, length in ((0, 100), (1024, 4_000)):
        overwrite(state / "registry.db", at, length)
        before = {path.name: path.read_bytes() for path in state.iterdir()}
        with pytest.raises(ConfigError, match=r"registry\.db is damaged .*mpy-gateway restore.*") as caught:
            with_store(state, _nothing)
        assert "\n" not in str(caught.value)
        assert {path.name: path.read_bytes() for path in state.iterdir()}.items() >= before.items()


async def _nothing(store: SqliteStore) -> None:
    pass


def test_damage_found_while_running_acknowledges_nothing_and_a_restart_heals(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(sample(0), boot_id=BOOT_ID[::-1], quality=Quality.ESTIMATED))
        overwrite(state / "samples.db", 50_000, (state / "samples.db").stat().st_size - 50_000)
        with pytest.raises(Unavailable, match=r"samples\.db is damaged.*restart the gateway"):
            await store.read("", limit=100)
        with pytest.raises(Unavailable, match=r"samples\.db is damaged.*restart the gateway"):
            await store.append(epoch, batch(*samples(10_000, 10_001)))
        with pytest.raises(Unavailable, match=r"samples\.db is damaged"):
            await store.restamp("greenhouse", BOOT_ID[::-1], AT_MS + 5)
        assert "restart the gateway" in store.stats()["trouble"]
        assert ["nothing is stored or acknowledged" in text for text in notices(store)] == [True]
        await store._upkeep.once()
        assert suspect_mark(state / "samples.db").exists()

    async def after_a_restart(store: SqliteStore) -> None:
        assert [ASIDE in text for text in notices(store)] == [True]
        assert store.stats()["trouble"] == ""
        epoch = await store.claim("greenhouse", "gw")
        assert await store.append(epoch, batch(*samples(10_000, 10_001))) == 10_001

    with_store(state, work)
    with_store(state, after_a_restart)
    assert not suspect_mark(state / "samples.db").exists()


def test_a_suspect_that_proves_sound_is_used_and_cleared(state: Path) -> None:
    suspect_mark(state / "samples.db").touch()

    async def work(store: SqliteStore) -> None:
        assert seqs(await store.read("", limit=100)) == list(range(10_000))

    with_store(state, work)
    assert not suspect_mark(state / "samples.db").exists()


def test_a_body_that_cannot_be_read_stops_no_reader(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(state / "samples.db")) as connection, connection:
        (body,) = connection.execute("SELECT body FROM batches WHERE id = 3").fetchone()
        connection.execute("UPDATE batches SET body = ? WHERE id = 3", (b"\xc1" + body[1:],))

    async def work(store: SqliteStore) -> None:
        found = records(await store.read("", limit=100))
        assert found[1_000] == Gap(1_000, 1_600, None, 601, "other")  # a row spans ten minutes
        assert len(found) == 10_000 - 600

    with_store(state, work)
    assert "records 1000 to 1600 on the disk cannot be read any more" in caplog.text


def test_a_body_that_cannot_be_read_stops_no_list_of_gaps(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(sample(0), Gap(1, 5, 5, None, "full"), sample(6)))
        await store.append(epoch, batch(Gap(7, 8, 2, None, "full"), sample(9)))

    async def work(store: SqliteStore) -> None:
        found = [(gap.first, gap.to, gap.why) for gap in await store.gaps("greenhouse", 10)]
        assert found == [(7, 8, "full"), (0, 6, "other")]

    with_store(tmp_path / "state", fill)
    with closing(sqlite3.connect(tmp_path / "state" / "samples.db")) as connection, connection:
        connection.execute("UPDATE batches SET body = ? WHERE id = 1", (b"\xc1",))
    with_store(tmp_path / "state", work)


def test_one_append_that_cannot_be_stored_harms_no_neighbour(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some errors of SQLite's are about one row: they must not fail all that share its commit."""

    async def work(store: SqliteStore) -> None:
        connection = store._writer._database.connection
        connection.execute(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON batches WHEN NEW.first = 70000"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        epochs = [await store.claim(device, "gw") for device in ("a", "b", "c")]
        outcomes = await asyncio.gather(
            store.append(epochs[0], batch(sample(0), device="a")),
            store.append(epochs[1], batch(Gap(0, 69_999, None, None, "full"), device="b")),
            store.append(epochs[2], batch(sample(0), device="c")),
        )
        assert outcomes == [0, 69_999, 0]
        outcomes = await asyncio.gather(
            store.append(epochs[0], batch(sample(1), device="a")),
            store.append(epochs[1], batch(sample(70_000), device="b")),
            store.append(epochs[2], batch(sample(1), device="c")),
            return_exceptions=True,
        )
        assert outcomes[::2] == [1, 1]
        assert isinstance(outcomes[1], StoreError)
        assert not isinstance(outcomes[1], Unavailable)
        assert store.stats()["trouble"] == ""

    with_store(state, work)


def test_one_value_the_registry_cannot_hold_harms_no_neighbour(tmp_path: Path) -> None:
    async def work() -> None:
        registry = Registry(tmp_path)
        await registry.open()
        outcomes = await asyncio.gather(
            registry.put("a", b"1"),
            registry.put("b", {"not": "bytes"}),  # type: ignore[arg-type]
            registry.put("c", b"3"),
            return_exceptions=True,
        )
        assert (outcomes[0], type(outcomes[1]), outcomes[2]) == (1, StoreError, 1)
        assert [entry.key for entry in await registry.list("")] == ["a", "c"]
        await registry.close()

    run(work())


def test_a_file_system_without_a_write_ahead_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def without_wal(path: Path, **options: object) -> sqlite3.Connection:
        return connect(":memory:", **options)  # type: ignore[call-overload,no-any-return]  # keeps no log either

    monkeypatch.setattr("gateway.store.database.sqlite3.connect", without_wal)

    async def work() -> None:
        with pytest.raises(ConfigError, match="cannot be kept safe"):
            await Database(tmp_path / "samples.db").open()

    run(work())


def test_what_a_disk_lost_although_it_had_confirmed_it_is_told_and_its_ids_are_not_used_again(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An SD card that lies about syncs. An outlet whose broker is away keeps its cursor for long: what came under the
    old ids would be behind it, and never be published."""

    async def published(store: SqliteStore) -> None:
        await store.put("outlet/mqtt.x/cursor", (await store.end()).encode())

    async def goes_on(store: SqliteStore) -> None:
        assert ["it had confirmed" in text for text in notices(store)] == [True]
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(*samples(20_000, 20_009)))

    async def at_last(store: SqliteStore) -> None:
        cursor = await store.get("outlet/mqtt.x/cursor")
        assert cursor is not None
        assert seqs(await store.read(cursor.value.decode())) == list(range(20_000, 20_010))

    with_store(state, published)
    with closing(sqlite3.connect(state / "samples.db")) as connection, connection:
        connection.execute("DELETE FROM batches WHERE id > 15")
        connection.execute("UPDATE boots SET through = 19999")
    with_store(state, goes_on)
    with_store(state, at_last)
    assert "the disk has lost 5 batches" in caplog.text


@pytest.mark.parametrize("empty", [True, False])
def test_a_log_that_is_not_there_any_more_is_told(state: Path, empty: bool) -> None:
    (state / "samples.db").unlink()
    if empty:
        (state / "samples.db").touch()

    async def work(store: SqliteStore) -> None:
        assert ["was not there any more" in text for text in notices(store)] == [True]
        epoch = await store.claim("greenhouse", "gw")
        assert await store.append(epoch, batch(sample(0))) == 0

    with_store(state, work)


def test_a_registry_that_is_found_damaged_while_it_is_used_is_told(state: Path) -> None:
    async def work(store: SqliteStore) -> None:
        def damaged(connection: sqlite3.Connection) -> None:
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

        with pytest.raises(Unavailable):
            await store._registry._database.run(damaged)
        (text,) = notices(store)
        assert "registry.db is damaged" in text
        assert "which boards may connect" in text

    with_store(state, work)


def test_a_registry_that_became_empty_is_not_replaced(state: Path) -> None:
    (state / "registry.db").write_bytes(b"")

    async def work(store: SqliteStore) -> None:
        raise AssertionError("every board would be locked out without a word")

    with pytest.raises(ConfigError, match=r"registry\.db is damaged \(it is empty\).*restore a backup"):
        with_store(state, work)


@pytest.mark.parametrize("sql", ["DELETE FROM meta", "DROP TABLE untaken", "UPDATE batches SET quality = 'x'"])
def test_a_log_that_lacks_something_of_its_own_stops_no_start(state: Path, sql: str) -> None:
    with closing(sqlite3.connect(state / "samples.db")) as connection, connection:
        connection.execute(sql)

    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        assert await store.append(epoch, batch(sample(10_000))) == 10_000
        assert await store.read("", limit=100)

    with_store(state, work)
