"""Every older schema is kept as SQL text in old/, with data in it. Opening it gives all of that, in today's schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model import Event, Gap, Quality, Refusal, Sample
from gateway.store.database import APPLICATION_ID, connect, migrate, migrations
from gateway.store.history import History
from gateway.store.port import Committed
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, records, sample, samples

OLD = Path(__file__).parent / "old"
SCHEMAS = sorted({path.stem.rpartition("_")[2] for path in OLD.glob("*.sql")})


def restored(directory: Path, schema: str) -> Path:
    """A state directory as a gateway whose samples.db was of `schema` left it."""
    state = directory / "state"
    state.mkdir()
    for name in ("samples", "registry"):
        path = max(path for path in OLD.glob(f"{name}_*.sql") if path.stem <= f"{name}_{schema}")
        with closing(sqlite3.connect(state / f"{name}.db")) as connection:
            connection.executescript(path.read_text())
    return state


def test_every_schema_but_tomorrows_is_kept() -> None:
    assert len(SCHEMAS) == len(migrations("samples"))
    assert len(list(OLD.glob("registry_*.sql"))) == len(migrations("registry"))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_an_old_state_is_taken_over_whole(tmp_path: Path, schema: str) -> None:
    state = restored(tmp_path, schema)

    async def work() -> None:
        store = SqliteStore(state, commit_ms=1)
        await store.open()
        refusal = Refusal("temperature", "140.2", "value.range", "temperature 140.2 is outside -40..85")
        assert records(await store.read("", device="greenhouse")) == [
            *samples(0, 2),
            Sample(3, 3000, {"humidity": 48.5}, (refusal,)),
            Event(4, 4000, "boot", None, {"reset_cause": 1}),
            Gap(5, 9, 5, None, "full"),
            sample(10),
            Gap(11, None, None, 7, "power_loss"),
        ]
        counts = store.counts("greenhouse")
        assert (counts.samples, counts.events, counts.gaps, counts.lost, counts.quarantined) == (5, 1, 2, 12, 1)
        latest = {
            "temperature": (AT_MS + 10_000, 20.1, Quality.ESTIMATED, BOOT_ID, 10),
            "humidity": (AT_MS + 3_000, 48.5, Quality.SYNCED, BOOT_ID, 3),
        }
        assert await History(store).latest("greenhouse") == latest
        assert [row.value for row in await History(store).quarantine("greenhouse", 9)] == ["140.2"]
        assert [entry.key for entry in await store.list("device/")] == ["device/greenhouse"]
        assert await store.get("gone") is None
        assert await store.create("gone", b"again") == 3

        assert await store.claim("greenhouse", "gw") == 2
        assert await store.append(2, batch(*samples(0, 11))) == 11, "what was committed is still known"
        epoch = await store.claim("cellar", "gw")
        assert await store.append(epoch, batch(sample(1), device="cellar", boot_id="0c5d9be1f2a34477")) == 1
        ended = Committed(BOOT_ID, 17, 11, True, True, AT_MS, AT_MS + 10_000)
        assert await store.committed("greenhouse", [BOOT_ID]) == [ended]
        (newest,) = await store.read("3d37ffb78815ad28:3")
        assert newest.first == 1
        assert await store.restamp("greenhouse", BOOT_ID, AT_MS + 50) == 3
        await store.close()

    run(work())


@pytest.mark.parametrize("name", ["samples", "registry"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_migrated_file_is_like_a_new_one(tmp_path: Path, schema: str, name: str) -> None:
    def shape(directory: Path) -> list[str]:
        with closing(connect(directory / f"{name}.db")) as connection:
            return [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql NOTNULL ORDER BY 1")]

    assert shape(restored(tmp_path, schema)) == shape(tmp_path)


STEPS = ["CREATE TABLE a (x);\nINSERT INTO a VALUES ('; not the end');\n", "-- add\nALTER TABLE a ADD COLUMN y;\n"]


def test_steps_are_taken_in_order_and_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, STEPS[:1])
        migrate(connection, path, STEPS)
        migrate(connection, path, STEPS)
        assert connection.execute("SELECT x, y FROM a").fetchall() == [("; not the end", None)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.Error):
            migrate(connection, path, [*STEPS[:1], "CREATE TABLE b (x);\nCREATE TABLE a (x);\n"])
        connection.execute("ROLLBACK")
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["a"]
        migrate(connection, path, STEPS)
