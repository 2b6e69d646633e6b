"""Backup: one file that moves a gateway to another machine, made beside a gateway that goes on working.

The file is a tar of a manifest and the parts it names (archive.py), sealed with a passphrase (sealed.py), or, without
one, plain, and then without anything that lets somebody in. Restoring it: restore.py.

Two things make it right. Each database is copied from one pinned read transaction: in WAL mode that holds up no commit,
and the copy is one instant of the file (without the pin SQLite would begin anew at every commit, and never end). And
outlets' cursors are read before the samples: they may be behind the samples of the backup, never ahead of them.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway import __version__
from gateway.errors import ConfigError
from gateway.store import archive, sealed, workshop
from gateway.store.archive import Manifest, Part
from gateway.store.database import connect, open_problem, primary_code, sync_directory, user_version
from gateway.store.logins import take_out
from gateway.store.restore import check_finished

STEP_BYTES = 1 << 20
"""Copied at once. Between two steps others get at the disk."""
SYNC_BYTES = 8 << 20
"""The copy is synced this often: a gateway's fsync would have to wait for all that we left to be written."""
_SPARE_BYTES = 1 << 20
_STATE_ROOM_BYTES = 256 << 20
"""Stays free on the gateway's disk when the samples are copied there: below this it warns of a full one."""

Progress = Callable[[int, int], None]
"""(bytes copied, of how many)"""


def make(
    state_dir: Path,
    target: Path,
    *,
    now_ms: int,
    passphrase: str | None = None,
    settings_file: Path | None = None,
    replace: bool = False,
    progress: Progress = lambda done, of: None,
) -> Manifest:
    """Back the gateway's data in `state_dir` up into the file `target`, which only its owner can read; `settings_file`
    goes with it. Sealed with `passphrase` it is all that another machine needs; without one it is plain, and data only.
    Returns what is in it. Raises ConfigError, and leaves no half file behind then.

    What lies where meanwhile: README.md, "Backup and restore"."""
    if passphrase is not None:
        sealed.check_passphrase(passphrase)
    check(state_dir, target, replace)
    try:
        with (
            workshop.opened(state_dir, workshop.INSIDE) as inside,
            workshop.opened(target.parent, _beside(target)) as beside,
        ):
            samples = (inside if _samples_inside(state_dir, passphrase is not None) else beside) / archive.SAMPLES
            manifest, parts = _copy_parts(
                state_dir, inside, samples, settings_file, passphrase is not None, now_ms, progress
            )
            finished = beside / "backup"
            with open_private(finished) as file:
                if passphrase is None:
                    archive.write(file, manifest, parts)
                else:
                    seal = sealed.Seal(file, passphrase)
                    archive.write(seal, manifest, parts)
                    seal.close()
                file.flush()
                os.fsync(file.fileno())
            finished.replace(target)
        sync_directory(target.parent)
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:  # only the copies are written
            raise ConfigError(
                f"{target} cannot be written: the disk is full, its own or that of {state_dir}; free some "
                "space, or name a file on another disk"
            ) from error
        raise ConfigError(f"{state_dir} cannot be read for a backup: {error}") from error
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}; name another file") from error
    return manifest


def open_private(path: Path) -> io.BufferedWriter:
    """A new file that only its owner can read, from its first moment on."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def check(state_dir: Path, target: Path, replace: bool) -> None:
    """Whether a backup could be made just now. Raises ConfigError."""
    check_finished(state_dir)  # else one file could be from before the restore, and one from after it
    for name in archive.DATABASES:
        if not (state_dir / name).is_file():
            raise ConfigError(f"there is no gateway's data in {state_dir}: no {name}. Name its directory with --state")
    if target.is_dir():
        raise ConfigError(f"{target} is a directory; name a file in it")
    if target.exists() and not replace:
        raise ConfigError(f"{target} exists already; name another file, or replace it with --replace")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no directory {target.parent}")
    need = 2 * sum(_size(state_dir / name) for name in archive.DATABASES) + _SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < need:
        raise ConfigError(
            f"{target.parent} has {_mb(free)} free, and the backup needs {_mb(need)} while it is made; "
            "name a file on another disk"
        )


def _size(database: Path) -> int:
    log = database.with_name(database.name + "-wal")
    return database.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def _beside(target: Path) -> str:
    return f".{target.name}.backup-"


def _samples_inside(state_dir: Path, sealed_one: bool) -> bool:
    """Whether the plain copy of the samples is made in the state directory: where the file is to be sealed, and the
    gateway's disk stays far from full. Of a plain file they may lie beside it: there they are plain anyway."""
    after = shutil.disk_usage(state_dir).free - sum(_size(state_dir / name) for name in archive.DATABASES)
    return sealed_one and after > _STATE_ROOM_BYTES


def _copy_parts(
    state_dir: Path,
    inside: Path,
    samples: Path,
    settings_file: Path | None,
    secrets: bool,
    now_ms: int,
    progress: Progress,
) -> tuple[Manifest, list[tuple[Part, Path]]]:
    """Consistent copies of all parts, smallest first: the samples in `samples`, all else in `inside`, never beside the
    file, which may be on a stick."""
    registry = inside / archive.REGISTRY
    cursors = read_cursors(state_dir / archive.REGISTRY)  # before the samples: see the head of this file
    copy_database(state_dir / archive.SAMPLES, samples, progress)
    copy_database(state_dir / archive.REGISTRY, registry)
    gateway_id = _turn_back(registry, cursors, secrets)
    paths = {archive.REGISTRY: registry, archive.SAMPLES: samples}
    if secrets and (state_dir / archive.AUTHORITY[0]).exists():
        # read where it lies: no plain copy of the key is ever beside the file, which may be on a stick
        paths = {name: state_dir / name for name in archive.AUTHORITY} | paths
        for name in archive.AUTHORITY:
            _read(state_dir / name)
    if settings_file is not None:
        with open_private(inside / archive.SETTINGS) as copy:
            copy.write(_read(settings_file))
        paths = {archive.SETTINGS: inside / archive.SETTINGS} | paths
    parts = [(archive.describe(path, name, _schema(path)), path) for name, path in paths.items()]
    manifest = Manifest(archive.FORMAT, __version__, gateway_id, now_ms, [part for part, _ in parts], secrets)
    return manifest, parts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read for a backup: {error.strerror}") from error


def _schema(path: Path) -> int:
    if path.name not in archive.DATABASES:
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return user_version(connection)


def copy_database(source: Path, target: Path, progress: Progress = lambda done, of: None) -> None:
    """One instant of `source` into the new file `target`, on disk when this returns. Raises sqlite3.Error, OSError."""
    open_private(target).close()
    with (
        closing(connect(source, read_only=True)) as reader,
        closing(sqlite3.connect(target, isolation_level=None)) as writer,
        open(target, "rb") as file,
    ):
        writer.execute("PRAGMA synchronous = OFF")  # nobody relies on the copy before it is whole; synced by hand
        reader.execute("BEGIN")
        page_bytes = int(reader.execute("PRAGMA page_size").fetchone()[0])
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on this instant is pinned
        step, unsynced = max(1, STEP_BYTES // page_bytes), 0

        def copied(_status: int, remaining: int, total: int) -> None:
            nonlocal unsynced
            unsynced += STEP_BYTES
            if unsynced >= SYNC_BYTES or not remaining:
                os.fdatasync(file.fileno())
                unsynced = 0
            progress((total - remaining) * page_bytes, total * page_bytes)

        reader.backup(writer, pages=step, progress=copied)
        reader.execute("ROLLBACK")
        os.fsync(file.fileno())


_CURSORS = "SELECT key, value FROM entries WHERE key GLOB 'outlet/*/cursor' AND value IS NOT NULL"


def read_cursors(registry: Path) -> dict[str, bytes]:
    """Where each outlet stands, by key. Raises ConfigError."""
    try:
        with closing(connect(registry, read_only=True)) as connection:
            return dict(connection.execute(_CURSORS))
    except sqlite3.Error as error:
        raise ConfigError(open_problem(registry, error)) from error


def _turn_back(registry: Path, cursors: dict[str, bytes], secrets: bool) -> str:
    """Put `cursors` into the copy; one that is younger than these begins anew. Take out of it what is not to be in the
    backup, also from pages that are free. Returns the gateway's id."""
    with closing(sqlite3.connect(registry, isolation_level=None)) as connection:
        for key, _ in connection.execute(_CURSORS).fetchall():
            connection.execute("UPDATE entries SET value = ? WHERE key = ?", (cursors.get(key), key))
        take_out(connection, people=not secrets, boards=not secrets)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = connection.execute("SELECT value FROM entries WHERE key = 'gateway/id'").fetchone()
        return row[0].decode() if row and row[0] else ""
