"""Restoring: everything is checked before anything is replaced, and a crash leaves all of the old or all of the new."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.store import archive, backup, restore
from gateway.store.database import PAGE_BYTES, StateLock, migrations
from gateway.store.restored import mark_restored
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store import disk
from tests.gateway.store.disk import Disk
from tests.gateway.store.recording import Op, Recorder, recording
from tests.gateway.store.samples import batch, samples, seqs

NOW_MS = 1_790_000_000_000
OLD = Path(__file__).parent / "old"


async def fill(state: Path, through: int) -> None:
    store = SqliteStore(state, commit_ms=1)
    await store.open()
    await store.append(await store.claim("greenhouse", "gw"), batch(*samples(0, through)))
    await store.put("through", str(through).encode())
    await store.close()


async def found(state: Path) -> tuple[int, int]:
    """The newest sample, and what the registry has noted of it: two files that belong together."""
    store = SqliteStore(state, commit_ms=1)
    await store.open()
    entry = await store.get("through")
    newest = seqs(await store.read("", limit=100))[-1]
    await store.close()
    assert entry is not None
    return newest, int(entry.value)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is in a good backup, by name."""
    directory = tmp_path_factory.mktemp("good")
    run(fill(directory / "state", 9))
    backup.make(directory / "state", directory / "file", now_ms=NOW_MS)
    with tarfile.open(directory / "file") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]


def pack(file: Path, contents: dict[str, bytes], **manifest: Any) -> Path:
    """A backup of `contents` that is right in itself."""
    rows = [
        {
            "name": name,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "schema": 1,
        }
        for name, data in contents.items()
        if name != "manifest.json"
    ]
    text = {"format": 1, "version": "0", "gateway": "gw", "made_ms": NOW_MS, "parts": rows, **manifest}
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "manifest.json", json.dumps(text).encode())
        for name, data in contents.items():
            if name != "manifest.json":
                add(tar, name, data)
    return file


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def refused(tmp_path: Path, file: Path, match: str) -> None:
    """It is refused with a sentence that names the file, and the data that is there stays as it is."""
    state = tmp_path / "there"
    if not state.exists():
        run(fill(state, 3))
    outside = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=match) as caught:
        restore.restore(state, file, now_ms=NOW_MS, replace=True)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in state.iterdir()) == ["lock", "registry.db", "samples.db"]
    assert run(found(state)) == (3, 3)
    assert sorted(tmp_path.iterdir()) == outside, "something was written elsewhere"


def test_good_parts_are_restored(tmp_path: Path, parts: dict[str, bytes]) -> None:
    done = restore.restore(tmp_path / "new", pack(tmp_path / "file", parts), now_ms=NOW_MS)
    assert done.aside is None
    assert run(found(tmp_path / "new")) == (9, 9)


def test_data_that_is_there_is_refused_or_kept_aside(tmp_path: Path, parts: dict[str, bytes]) -> None:
    state = tmp_path / "state"
    run(fill(state, 3))
    file = pack(tmp_path / "file", parts)
    with pytest.raises(ConfigError, match="--replace"):
        restore.restore(state, file, now_ms=NOW_MS)
    assert run(found(state)) == (3, 3)
    done = restore.restore(state, file, now_ms=NOW_MS, replace=True)
    assert run(found(state)) == (9, 9)
    assert done.aside is not None
    assert run(found(done.aside)) == (3, 3)
    again = restore.restore(state, file, now_ms=NOW_MS, replace=True)
    assert again.aside not in {None, done.aside}


def test_what_a_close_leaves_in_the_write_ahead_log_is_not_left_behind(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite folds the log into the file when the last connection closes, but says nothing where it cannot (a full
    disk): here that one is not the last."""
    others = []

    def mark(samples: sqlite3.Connection, registry: sqlite3.Connection, now_ms: int) -> None:
        for name in archive.DATABASES:
            other = sqlite3.connect(tmp_path / "new" / restore.UNPACKED / name)
            other.execute("SELECT count(*) FROM sqlite_master").fetchone()
            others.append(other)
        mark_restored(samples, registry, now_ms)

    monkeypatch.setattr(restore, "mark_restored", mark)
    restore.restore(tmp_path / "new", pack(tmp_path / "file", parts), now_ms=NOW_MS)
    with closing(sqlite3.connect(tmp_path / "new" / "samples.db")) as connection:
        assert connection.execute("SELECT restored FROM boots").fetchall() == [(1,)]
    with closing(sqlite3.connect(tmp_path / "new" / "registry.db")) as connection:
        assert connection.execute("SELECT key FROM entries WHERE key = 'notice/restored'").fetchall()
    for other in others:
        other.close()


def test_a_disk_that_fills_up_at_the_last_step_leaves_the_old_data(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state_dir: Path, journal: object) -> None:
        (state_dir / f"{restore.JOURNAL}.new").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(restore, "_write_journal", full)
    refused(tmp_path, pack(tmp_path / "file", parts), "the disk is full")


def test_not_while_a_gateway_holds_the_directory(tmp_path: Path, parts: dict[str, bytes]) -> None:
    state = tmp_path / "state"
    run(fill(state, 3))
    lock = StateLock(state)
    lock.take()
    try:
        with pytest.raises(ConfigError, match="in use by another gateway"):
            restore.restore(state, pack(tmp_path / "file", parts), now_ms=NOW_MS, replace=True)
    finally:
        lock.release()
    assert run(found(state)) == (3, 3)


# ---- hostile and damaged files ------------------------------------------------------------------------------------


def entry(**fields: Any) -> Callable[[tarfile.TarFile], None]:
    name = fields.pop("name", "samples.db")
    return lambda tar: add(tar, name, fields.pop("data", b""), **fields)


@pytest.mark.parametrize(
    ("hostile", "match"),
    [
        (entry(name="../registry.db", data=b"x"), "something else"),
        (entry(name="/etc/passwd", data=b"x"), "something else"),
        (entry(name="registry.db", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "other than plain files"),
        (entry(name="registry.db", type=tarfile.LNKTYPE, linkname="manifest.json"), "other than plain files"),
        (entry(name="registry.db", type=tarfile.DIRTYPE), "other than plain files"),
        (entry(name="registry.db", type=tarfile.CHRTYPE, devmajor=1, devminor=5), "other than plain files"),
        (entry(name="registry.db", type=tarfile.FIFOTYPE), "other than plain files"),
        (entry(name="registry.db", type=tarfile.GNUTYPE_SPARSE), "other than plain files"),
        (entry(name="x" * 200, data=b"x"), "other than plain files"),
    ],
)
def test_a_hostile_entry_is_refused(
    tmp_path: Path, parts: dict[str, bytes], hostile: Callable[[tarfile.TarFile], None], match: str
) -> None:
    file = tmp_path / "file"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "manifest.json", parts["manifest.json"])
        hostile(tar)
        add(tar, "samples.db", parts["samples.db"])
    refused(tmp_path, file, match)


def test_half_an_authority_or_one_elsewhere_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    for number, name in enumerate(("tls/ca.key", "tls/ca.pem", "tls/devices.pem", "tls/../ca.key", "/tls/ca.key")):
        refused(tmp_path, pack(tmp_path / f"file-{number}", parts | {name: b"x"}), "does not consist of")


def test_extensions_of_tar_are_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    file = tmp_path / "file"
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "manifest.json", parts["manifest.json"], pax_headers={"comment": "a name may hide in here"})
    refused(tmp_path, file, "other than plain files")


def test_what_the_manifest_does_not_name_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    file = pack(tmp_path / "file", parts)
    with tarfile.open(file, "a") as tar:
        add(tar, "more.db", b"more")
    refused(tmp_path, file, "something follows")
    refused(tmp_path, pack(tmp_path / "file", {**parts, "../../evil": b"x"}), "does not consist")
    refused(tmp_path, pack(tmp_path / "file", {"samples.db": parts["samples.db"]}), "does not consist")


def test_sizes_that_cannot_be_true_are_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    rows = json.loads(parts["manifest.json"])["parts"]
    for wrong in (-1, 1 << 60):
        rows[0]["bytes"] = wrong
        refused(tmp_path, pack(tmp_path / "file", parts, parts=rows), "cannot be true|MB free")
    huge = {**parts, "mpy-gateway.toml": bytes(2 << 20)}
    refused(tmp_path, pack(tmp_path / "file", huge), "cannot be true")


@pytest.mark.parametrize(
    "text", [b'{"format":1,"x":' + b"[" * 60_000, b"[" * 65_536, b'{"format":' + b"9" * 60_000 + b"}"], ids=len
)
def test_a_manifest_that_is_a_bomb_is_refused(tmp_path: Path, text: bytes) -> None:
    with tarfile.open(tmp_path / "file", "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "manifest.json", text)
    refused(tmp_path, tmp_path / "file", "is no backup")


def test_a_changed_byte_is_found(tmp_path: Path, parts: dict[str, bytes]) -> None:
    good = pack(tmp_path / "file", parts).read_bytes()
    place = good.index(b"SQLite format 3") + 500
    (tmp_path / "file").write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    refused(tmp_path, tmp_path / "file", "is damaged: its SHA-256")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    good = pack(tmp_path / "file", parts).read_bytes()
    end = good.index(b"SQLite format 3", good.index(b"SQLite format 3") + 1) + len(parts["samples.db"])
    random_places = random.Random(5).sample(range(end), 20)
    for cut in (0, 1, 511, 512, 513, *random_places):
        (tmp_path / "file").write_bytes(good[:cut])
        refused(tmp_path, tmp_path / "file", "ends too early")


@pytest.mark.parametrize("data", [b"", b"hello", bytes(10_240), random.Random(3).randbytes(5_000)])
def test_whatever_is_no_backup_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    refused(tmp_path, tmp_path / "file", "is no backup|ends too early")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    refused(tmp_path, tmp_path / "nowhere", "No such file")


def test_a_newer_format_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    refused(tmp_path, pack(tmp_path / "file", parts, format=3, parts="unknown"), "newer mpy-gateway")


# ---- the databases in it --------------------------------------------------------------------------------------------


def changed(tmp_path: Path, data: bytes, script: str) -> bytes:
    """The database after `script`."""
    path = tmp_path / "change.db"
    path.write_bytes(data)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.executescript(script)
    changed = path.read_bytes()
    path.unlink()
    return changed


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("PRAGMA user_version = 99", "newer mpy-gateway"),
        ("PRAGMA application_id = 7", "not a database of mpy-gateway"),
        ("CREATE TRIGGER t AFTER INSERT ON batches BEGIN DELETE FROM batches; END", "somebody else"),
        ("CREATE VIEW v AS SELECT 1", "somebody else"),
    ],
)
def test_a_database_that_is_not_ours_is_refused(
    tmp_path: Path, parts: dict[str, bytes], script: str, match: str
) -> None:
    bad = {**parts, "samples.db": changed(tmp_path, parts["samples.db"], script)}
    refused(tmp_path, pack(tmp_path / "file", bad), match)


def test_a_damaged_database_with_the_right_hash_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    data = bytearray(parts["samples.db"])
    data[3 * PAGE_BYTES : 4 * PAGE_BYTES] = random.Random(1).randbytes(PAGE_BYTES)
    refused(tmp_path, pack(tmp_path / "file", {**parts, "samples.db": bytes(data)}), "damaged")


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    old = {}
    for name in ("samples", "registry"):
        path = tmp_path / f"{name}.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript((OLD / f"{name}_0001.sql").read_text())
        old[f"{name}.db"] = path.read_bytes()
        path.unlink()
    restore.restore(tmp_path / "new", pack(tmp_path / "file", old), now_ms=NOW_MS)
    for name in ("samples", "registry"):
        with closing(sqlite3.connect(tmp_path / "new" / f"{name}.db")) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] == len(migrations(name))

    async def opens() -> int:
        store = SqliteStore(tmp_path / "new", commit_ms=1)
        await store.open()
        rows = len(await store.read("", limit=1000))
        await store.close()
        return rows

    assert run(opens()) > 0


# ---- a crash in the middle ------------------------------------------------------------------------------------------


def with_authority(number: int) -> dict[str, bytes]:
    """Stands for an authority that belongs to the data that was filled through `number`."""
    return {name: str(number).encode() for name in archive.AUTHORITY}


def authority_in(state: Path) -> set[int]:
    return {int((state / name).read_bytes()) for name in archive.AUTHORITY}


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("had_data", [True, False])
def test_a_crash_at_any_step_leaves_all_of_the_old_or_all_of_the_new(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, had_data: bool
) -> None:
    file = pack(tmp_path / "file", parts | with_authority(9))
    run(fill(tmp_path / "old", 3))
    (tmp_path / "old" / "tls").mkdir()
    for name, content in with_authority(3).items():
        (tmp_path / "old" / name).write_bytes(content)
    outcomes, step = [], 0
    while True:
        state = tmp_path / f"state-{step}"
        if had_data:
            shutil.copytree(tmp_path / "old", state)
        left = step
        crashed = False

        def steps(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **options: Any) -> Any:
                nonlocal left, crashed
                if left == 0 and not crashed:
                    crashed = True
                if crashed:
                    raise Crash(name)
                left -= 1
                return real(*arguments, **options)

            return counted

        with monkeypatch.context() as patched:
            for name in ("replace", "mkdir", "unlink"):
                patched.setattr(Path, name, steps(name, getattr(Path, name)))
            patched.setattr(restore.shutil, "rmtree", steps("rmtree", restore.shutil.rmtree))
            patched.setattr(restore, "sync_directory", steps("sync", restore.sync_directory))
            with suppress(Crash):
                restore.restore(state, file, now_ms=NOW_MS, replace=True)
        if not crashed:
            break
        if had_data or (state / "samples.db").exists() or (state / restore.JOURNAL).exists():
            outcomes.append(run(found(state)))
            assert authority_in(state) == set(outcomes[-1]), "boards pin the authority of the data that is there"
        assert not (state / restore.JOURNAL).exists()
        step += 1
    assert set(outcomes) == ({(3, 3), (9, 9)} if had_data else {(9, 9)})
    assert outcomes == sorted(outcomes), "once it is the new, it stays the new"


@pytest.mark.campaign
def test_a_power_cut_at_any_step_leaves_all_of_the_old_or_all_of_the_new(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, root = pack(tmp_path / "file", parts), tmp_path / "root"
    state = root / "state"
    run(fill(state, 3))
    recorder = Recorder(root)
    before = [Op("mkdir", "state"), Op("dirsync", "")]
    for name in archive.DATABASES:
        path = f"state/{name}"
        before += [Op("open", path), Op("write", path, 0, (root / path).read_bytes()), Op("sync", path)]
    with recording(recorder, monkeypatch):
        restore.restore(state, file, now_ms=NOW_MS, replace=True)
    rng = random.Random(4)
    left, outcomes = Disk(), []
    for op in (*before, Op("dirsync", "state")):
        left.feed(op)
    for place, op in enumerate(recorder.ops):
        left.feed(op)
        if op.kind in {"write", "truncate"} and rng.random() > 0.1:
            continue  # hundreds, into files that nobody looks at yet
        for number, (writes, names) in enumerate(
            ((disk.nothing, lambda count: 0), (disk.any_part(rng), lambda count: rng.randint(0, count)))
        ):
            cut = tmp_path / f"cut-{place}-{number}"
            cut.mkdir()
            left.lay_out(cut, writes, names)
            (cut / "state").chmod(0o700)  # as it was: the recording knows no modes
            outcomes.append(run(found(cut / "state")))
    assert set(outcomes) == {(3, 3), (9, 9)}
    assert outcomes[-1] == outcomes[-2] == (9, 9), "what was said to be restored is restored"


def test_in_the_middle_of_a_restore_nobody_else_may_use_the_directory(tmp_path: Path, parts: dict[str, bytes]) -> None:
    state = tmp_path / "state"
    run(fill(state, 3))
    (state / restore.JOURNAL).write_text('{"aside":"before-restore-x","names":[]}')

    async def devices_add() -> None:
        await SqliteStore(state).open_registry_only()

    with pytest.raises(ConfigError, match="starting the gateway completes it"):
        run(devices_add())
    with pytest.raises(ConfigError, match="starting the gateway completes it"):
        backup.make(state, tmp_path / "file", now_ms=NOW_MS)
    assert run(found(state)) == (3, 3)
    run(devices_add())


def test_a_journal_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run(fill(state, 3))
    (state / restore.JOURNAL).write_text("{")
    with pytest.raises(ConfigError, match="put right what is in the way"):
        run(found(state))


PLANTED = """
INSERT INTO entries VALUES ('user/mallory', CAST('{"role": "admin"}' AS BLOB), 1), ('token/ef', CAST('"x"' AS BLOB), 1),
    ('api-token/ab', CAST('{"scope": "admin"}' AS BLOB), 1), ('session/cd', CAST('{"account": ""}' AS BLOB), 1);
"""


@pytest.mark.parametrize(
    ("manifest", "kept"), [({"format": 2, "secrets": False}, set()), ({"format": 1}, {"token/ef"})], ids=["2", "1"]
)
def test_what_nothing_seals_brings_nobody_in_whatever_was_put_into_it(
    tmp_path: Path, parts: dict[str, bytes], manifest: dict[str, Any], kept: set[str]
) -> None:
    """Whoever had the file in hand may have put an account of their own into it. (Format 1 had tokens of boards.)"""
    planted = {**parts, "registry.db": changed(tmp_path, parts["registry.db"], PLANTED)}
    restore.restore(tmp_path / "new", pack(tmp_path / "file", planted, **manifest), now_ms=NOW_MS)
    with closing(sqlite3.connect(tmp_path / "new" / "registry.db")) as connection:
        keys = {key for (key,) in connection.execute("SELECT key FROM entries")}
    assert {key for key in keys if key.startswith(("user/", "api-token/", "session/", "token/"))} == kept
    assert "through" in keys


def test_what_only_sealed_backups_hold_is_refused_in_another(tmp_path: Path, parts: dict[str, bytes]) -> None:
    refused(tmp_path, pack(tmp_path / "a", with_authority(1) | parts, format=2, secrets=False), "not sealed")
    refused(tmp_path, pack(tmp_path / "b", parts, format=2, secrets=True), "not sealed")


def test_with_a_passphrase_nothing_but_a_sealed_backup_is_taken(tmp_path: Path, parts: dict[str, bytes]) -> None:
    """Somebody has put another file in its place."""
    with pytest.raises(ConfigError, match="it is not sealed, and a passphrase was given"):
        restore.restore(
            tmp_path / "new", pack(tmp_path / "file", parts), now_ms=NOW_MS, passphrase="four words or more"
        )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
