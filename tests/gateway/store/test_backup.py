"""Making a backup: one instant of everything, beside a gateway that goes on working."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.profile import find_node, load_profile
from gateway.store import archive, backup, database, restore, sealed, workshop
from gateway.store.devices import Devices, hash_of
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store import disk
from tests.gateway.store.disk import Disk
from tests.gateway.store.recording import Recorder, recording
from tests.gateway.store.samples import batch, records, samples, seqs

NOW_MS = 1_790_000_000_000
CURSOR = "outlet/mqtt.home/cursor"
PASSPHRASE = "four words do well"


async def filled(state: Path, through: int) -> SqliteStore:
    """An open store that has the samples 0 to `through`, and an outlet that has taken them."""
    store = SqliteStore(state, commit_ms=1)
    await store.open()
    epoch = await store.claim("greenhouse", "gw")
    for first in range(0, through + 1, 1000):
        await store.append(epoch, batch(*samples(first, min(first + 999, through))))
    await store.put(CURSOR, (await store.end()).encode())
    await store.put("gateway/id", b"gw-12345678")
    await store.put("token/0123", b"greenhouse")
    return store


async def everything(store: SqliteStore) -> list[int]:
    found = []
    while more := await store.read(found[-1].cursor if found else "", limit=1000):
        found += more
    return seqs(found)


def unpacked(file: Path, directory: Path) -> Path:
    directory.mkdir()
    with file.open("rb") as stream:
        archive.unpack(stream, archive.read_manifest(stream), directory)
    return directory


def newest_id(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "samples.db")) as connection:
        return int(connection.execute("SELECT max(id) FROM batches").fetchone()[0])


def cursor_in(directory: Path) -> str | None:
    with closing(sqlite3.connect(directory / "registry.db")) as connection:
        (value,) = connection.execute("SELECT value FROM entries WHERE key = ?", (CURSOR,)).fetchone()
        return None if value is None else bytes(value).decode()


def test_what_is_restored_is_what_was_backed_up(tmp_path: Path) -> None:
    async def work() -> None:
        store = await filled(tmp_path / "state", 2_500)
        await store.close()
        settings = tmp_path / "some.toml"
        settings.write_text("[people]\nport = 8081\n")
        manifest = backup.make(
            tmp_path / "state", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE, settings_file=settings
        )
        assert (manifest.gateway, manifest.made_ms) == ("gw-12345678", NOW_MS)
        restore.restore(tmp_path / "other", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
        other = SqliteStore(tmp_path / "other", commit_ms=1)
        await other.open()
        assert await everything(other) == list(range(2_501))
        token = await other.get("token/0123")
        assert token is not None
        assert token.value == b"greenhouse"
        assert (tmp_path / "other" / "mpy-gateway.toml").read_text() == settings.read_text()
        await other.close()

    run(work())


def test_beside_a_writer_it_ends_and_holds_one_instant_and_commits_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite begins a copy anew whenever another connection commits in between: it would never end."""
    monkeypatch.setattr(backup, "STEP_BYTES", 1 << 16)
    commits = steps = 0

    def wait_for_commits(done: int, of: int) -> None:
        nonlocal steps
        steps += 1
        enough = commits + 2
        deadline = time.monotonic() + 10
        while commits < enough:
            assert time.monotonic() < deadline, "commits are held up by the backup"
            time.sleep(0.001)

    async def work() -> None:
        nonlocal commits
        store = await filled(tmp_path / "state", 20_000)
        epoch = await store.claim("greenhouse", "gw")
        making = asyncio.create_task(
            asyncio.to_thread(
                backup.make, tmp_path / "state", tmp_path / "file", now_ms=NOW_MS, progress=wait_for_commits
            )
        )
        through = 20_000
        while not making.done():
            through = await store.append(epoch, batch(*samples(through + 1, through + 5)))
            await store.put(CURSOR, (await store.end()).encode())
            commits += 1
        await making
        await store.close()
        assert steps > 5, "too little data for this test"
        restore.restore(tmp_path / "other", tmp_path / "file", now_ms=NOW_MS)
        other = SqliteStore(tmp_path / "other", commit_ms=1)
        await other.open()
        restored = await everything(other)
        await other.close()
        assert restored == list(range(len(restored)))
        assert 20_001 <= len(restored) <= 20_001 + 5 * 20 < through, "of one instant, near the beginning"

    run(work(), timeout_s=50)


def test_a_cursor_is_never_ahead_of_the_samples(tmp_path: Path) -> None:
    async def work() -> None:
        store = await filled(tmp_path / "state", 100)
        epoch = await store.claim("greenhouse", "gw")
        loop = asyncio.get_running_loop()
        through = 100

        async def goes_on() -> None:
            nonlocal through
            through = await store.append(epoch, batch(*samples(through + 1, through + 1)))
            await store.put(CURSOR, (await store.end()).encode())

        def during(done: int, of: int) -> None:  # called while the samples are copied: all that comes now is too late
            asyncio.run_coroutine_threadsafe(goes_on(), loop).result()

        await asyncio.to_thread(backup.make, tmp_path / "state", tmp_path / "file", now_ms=NOW_MS, progress=during)
        await store.close()
        assert through > 100

    run(work())
    directory = unpacked(tmp_path / "file", tmp_path / "unpacked")
    cursor = cursor_in(directory)
    assert cursor is not None
    assert int(cursor.partition(":")[2]) <= newest_id(directory)


def test_an_outlet_that_came_in_between_begins_anew(tmp_path: Path) -> None:
    async def work() -> None:
        store = await filled(tmp_path / "state", 10)
        await store.delete(CURSOR)
        loop = asyncio.get_running_loop()

        def during(done: int, of: int) -> None:
            asyncio.run_coroutine_threadsafe(store.put(CURSOR, b"log:99"), loop).result()

        await asyncio.to_thread(backup.make, tmp_path / "state", tmp_path / "file", now_ms=NOW_MS, progress=during)
        await store.close()

    run(work())
    assert cursor_in(unpacked(tmp_path / "file", tmp_path / "unpacked")) is None


def made(tmp_path: Path) -> Path:
    """A state directory with a little in it."""

    async def work() -> None:
        await (await filled(tmp_path / "state", 10)).close()

    run(work())
    return tmp_path / "state"


def test_the_file_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    state = made(tmp_path)
    old_mask = os.umask(0)
    try:
        backup.make(state, tmp_path / "file", now_ms=NOW_MS)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "state"]


def test_tar_lists_it(tmp_path: Path) -> None:
    import tarfile

    backup.make(made(tmp_path), tmp_path / "file", now_ms=NOW_MS)
    with tarfile.open(tmp_path / "file") as tar:
        assert tar.getnames() == ["manifest.json", "registry.db", "samples.db"]


def test_an_older_file_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    state = made(tmp_path)
    (tmp_path / "file").write_text("older")
    with pytest.raises(ConfigError, match=r"exists already.*--replace"):
        backup.make(state, tmp_path / "file", now_ms=NOW_MS)
    assert (tmp_path / "file").read_text() == "older"
    backup.make(state, tmp_path / "file", now_ms=NOW_MS, replace=True)
    assert (tmp_path / "file").stat().st_size > 1_000


def test_a_disk_that_fills_up_leaves_the_older_file_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    state = made(tmp_path)
    (tmp_path / "file").write_text("older")
    monkeypatch.setattr(archive, "write", full)
    with pytest.raises(ConfigError, match="No space left"):
        backup.make(state, tmp_path / "file", now_ms=NOW_MS, replace=True)
    assert (tmp_path / "file").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "state"]


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = made(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000))
    with pytest.raises(ConfigError, match="free, and the backup needs"):
        backup.make(state, tmp_path / "file", now_ms=NOW_MS)


def test_no_data_and_no_place_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no gateway's data.*--state"):
        backup.make(tmp_path, tmp_path / "file", now_ms=NOW_MS)
    state = made(tmp_path)
    with pytest.raises(ConfigError, match="is a directory"):
        backup.make(state, tmp_path, now_ms=NOW_MS)
    with pytest.raises(ConfigError, match="no directory"):
        backup.make(state, tmp_path / "nowhere" / "file", now_ms=NOW_MS)


def test_a_backup_of_a_killed_gateway_has_what_was_in_its_log(tmp_path: Path) -> None:
    """What a killed gateway leaves lies in the write-ahead log."""

    async def work() -> None:
        store = await filled(tmp_path / "state", 10)
        shutil.copytree(tmp_path / "state", tmp_path / "killed")
        await store.close()
        backup.make(tmp_path / "killed", tmp_path / "file", now_ms=NOW_MS)
        restore.restore(tmp_path / "other", tmp_path / "file", now_ms=NOW_MS)
        other = SqliteStore(tmp_path / "other", commit_ms=1)
        await other.open()
        assert len(records(await other.read("", limit=100))) == 11
        await other.close()

    run(work())


def test_a_finished_backup_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = made(tmp_path)
    folder = tmp_path / "backups"
    folder.mkdir()
    recorder = Recorder(folder)
    with recording(recorder, monkeypatch):
        backup.make(state, folder / "file", now_ms=NOW_MS)
    left = Disk()
    for op in recorder.ops:
        left.feed(op)
    cut = tmp_path / "cut"
    cut.mkdir()
    left.lay_out(cut, disk.nothing, lambda count: 0)
    assert (cut / "file").read_bytes() == (folder / "file").read_bytes()


@pytest.mark.parametrize("page_bytes", [1_024, 4_096])
def test_a_file_with_pages_of_before_is_used_backed_up_and_restored(
    tmp_path: Path, page_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(database, "PAGE_BYTES", page_bytes)
        state = made(tmp_path)
    backup.make(state, tmp_path / "file", now_ms=NOW_MS)
    restore.restore(tmp_path / "new", tmp_path / "file", now_ms=NOW_MS)

    async def look(directory: Path) -> list[int]:
        store = SqliteStore(directory, commit_ms=1)
        await store.open()
        try:
            return await everything(store)
        finally:
            await store.close()

    assert run(look(tmp_path / "new")) == run(look(state)) != []
    for directory in (state, tmp_path / "new"):
        for name in archive.DATABASES:
            with closing(database.connect(directory / name)) as connection:
                assert connection.execute("PRAGMA page_size").fetchone() == (page_bytes,)
                (pages,) = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
                assert pages * page_bytes == database.CHECKPOINT_BYTES


# -- secrets


async def with_secrets(state: Path) -> dict[str, bytes]:
    """A gateway's state with one of each secret; returns what is in it of each, and what is there no more."""
    store = SqliteStore(state, commit_ms=1)
    await store.open()
    devices = Devices(store)
    token = await devices.add("greenhouse", load_profile(find_node("climate-node")))
    secrets = {"token": hash_of(token)}
    for key, name in (("user/anna", "password"), ("session/ab12", "session"), ("api-token/cd34", "script")):
        secrets[name] = f"planted-hash-of-{name}"
        await store.put(key, json.dumps({"hash": secrets[name]}).encode())
    await store.close()
    secrets["somebody gone"] = "planted-hash-of-somebody-gone"
    with closing(sqlite3.connect(state / "registry.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")  # as SQLite is built in most places
        connection.execute("INSERT INTO entries VALUES ('user/gone', ?, 1)", (secrets["somebody gone"].encode() * 100,))
        connection.execute("DELETE FROM entries WHERE key = 'user/gone'")
    assert secrets["somebody gone"].encode() in (state / "registry.db").read_bytes(), "what is deleted can be read"
    (state / "tls").mkdir(mode=0o700)
    secrets["authority"] = "planted-key-of-the-authority"
    (state / "tls" / "ca.key").write_text(secrets["authority"])
    (state / "tls" / "ca.pem").write_text("certificate")
    return {name: secret.encode() for name, secret in secrets.items()}


def test_a_sealed_backup_can_be_read_by_nobody_and_moves_all_but_sessions(tmp_path: Path) -> None:
    state = tmp_path / "state"
    secrets = run(with_secrets(state))
    manifest = backup.make(state, tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
    assert manifest.secrets
    hidden = (tmp_path / "file").read_bytes()
    for name, secret in secrets.items():
        assert secret not in hidden, name
    for word in (b"SQLite format", b"greenhouse", b"manifest.json"):
        assert word not in hidden
    restore.restore(tmp_path / "new", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
    assert (tmp_path / "new" / "tls" / "ca.key").read_bytes() == secrets["authority"]
    assert stat.S_IMODE((tmp_path / "new" / "tls" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "tls").stat().st_mode) == 0o700
    found = (tmp_path / "new" / "registry.db").read_bytes()
    assert [name for name, secret in secrets.items() if secret in found] == ["token", "password", "script"]


def test_data_only_holds_nothing_that_lets_anybody_in_not_even_where_it_was_deleted(tmp_path: Path) -> None:
    state = tmp_path / "state"
    secrets = run(with_secrets(state))
    manifest = backup.make(state, tmp_path / "file", now_ms=NOW_MS)
    assert not manifest.secrets
    plain = (tmp_path / "file").read_bytes()
    for name, secret in secrets.items():
        assert secret not in plain, name
    assert b"SQLite format" in plain
    restore.restore(tmp_path / "new", tmp_path / "file", now_ms=NOW_MS)
    assert not (tmp_path / "new" / "tls").exists()

    async def look() -> None:
        store = SqliteStore(tmp_path / "new", commit_ms=1)
        await store.open()
        devices = Devices(store)
        (device,) = await devices.list()
        assert (device.id, device.revoked) == ("greenhouse", True)
        assert await store.list("token/") == await store.list("user/") == await store.list("api-token/") == []
        await store.close()

    run(look())


def test_a_wrong_passphrase_or_none_changes_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run(with_secrets(state))
    backup.make(state, tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
    before = sorted(path.name for path in state.iterdir())
    for passphrase, says in ((None, "sealed with a passphrase, which is needed"), ("not the one at all", "is wrong")):
        with pytest.raises(ConfigError, match=says) as caught:
            restore.restore(state, tmp_path / "file", now_ms=NOW_MS, passphrase=passphrase, replace=True)
        assert str(caught.value).startswith(f"{tmp_path / 'file'}: ")
    cut = (tmp_path / "file").read_bytes()[:-1]
    (tmp_path / "file").write_bytes(cut)
    with pytest.raises(ConfigError, match="damaged or was changed, or not copied whole"):
        restore.restore(state, tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE, replace=True)
    assert sorted(path.name for path in state.iterdir()) == before


def test_damage_behind_all_that_is_used_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "CHUNK_BYTES", 512)
    run(with_secrets(tmp_path / "state"))
    backup.make(tmp_path / "state", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
    changed = bytearray((tmp_path / "file").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "file").write_bytes(changed)
    with pytest.raises(ConfigError, match="damaged or was changed"):
        restore.restore(tmp_path / "new", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)


def test_while_it_is_made_nothing_of_the_authority_lies_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be on a stick, where what is deleted can be found again."""
    state = tmp_path / "state"
    secrets = run(with_secrets(state))
    (tmp_path / "stick").mkdir()
    written = archive.write

    def look(*arguments: Any) -> None:
        for path in (tmp_path / "stick").rglob("*"):
            if path.is_file():
                assert secrets["authority"] not in path.read_bytes()
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
        written(*arguments)

    monkeypatch.setattr(archive, "write", look)
    backup.make(state, tmp_path / "stick" / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)


def test_a_short_passphrase_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 12 characters"):
        backup.make(tmp_path / "nowhere", tmp_path / "file", now_ms=NOW_MS, passphrase="short")


# -- killed in the middle

KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.store import archive, backup, sealed
def now(*_):
    os.kill(os.getpid(), signal.SIGKILL)
sealed.LOG_N = 4
archive.write = now
word = sys.argv[3] or None
backup.make(Path(sys.argv[1]), Path(sys.argv[2]), now_ms=1, passphrase=word, settings_file=Path(sys.argv[4]))
"""


@pytest.mark.parametrize("passphrase", [PASSPHRASE, ""], ids=["sealed", "plain"])
def test_a_killed_one_leaves_no_registry_outside_and_the_next_cleans_up(tmp_path: Path, passphrase: str) -> None:
    state = made(tmp_path)
    stick = tmp_path / "stick"
    stick.mkdir()
    settings = tmp_path / "some.toml"
    settings.write_text("")
    foreign = stick / ".file.backup-abcdefgh"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("of somebody else")
    words = [sys.executable, "-c", KILLED, str(state), str(stick / "file"), passphrase, str(settings)]
    assert subprocess.run(words, check=False, timeout=30).returncode == -signal.SIGKILL
    found = {path.name for path in stick.rglob("*")}
    assert not found & {"registry.db", "mpy-gateway.toml"}
    assert ("samples.db" in found) == (not passphrase), "a sealed one leaves nothing that can be read"
    (left,) = state.glob(".backup-*")
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert (left / "registry.db").exists()
    backup.make(state, stick / "file", now_ms=NOW_MS)
    assert not list(state.glob(".backup-*"))
    assert {path.name for path in stick.rglob("*")} == {"file", foreign.name, "letter.txt"}


def test_the_start_of_a_gateway_removes_what_is_left_and_not_what_is_in_use(tmp_path: Path) -> None:
    state = made(tmp_path)
    left = state / ".backup-abcdefgh"
    left.mkdir()
    (left / "registry.db").write_text("")
    with workshop.opened(tmp_path / "state", ".backup-x") as other_pattern, workshop.opened(state, ".backup-") as used:
        left.mkdir()
        database.make_state_directory(state)
        assert not left.exists()
        assert used.is_dir()
        assert other_pattern.is_dir()


def test_without_room_for_it_the_samples_are_copied_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = made(tmp_path)
    places: list[Path] = []
    copy = backup.copy_database
    monkeypatch.setattr(backup, "copy_database", lambda *words: (places.append(words[1]), copy(*words)))
    for free in (100 << 20, 1 << 30):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        backup.make(state, tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE, replace=True)
    assert [place.parent.parent for place in places] == [tmp_path, state, state, state]
