"""Restore: what a backup holds becomes a state directory's data. All of it or nothing, also through a crash.

    unpack and check in restoring/ -> write restoring.json -> rename the old files aside, the new ones in -> remove it

Until restoring.json is there the old data is untouched. From then on everything is a rename that can be done again:
whoever opens the directory next (`finish`) completes it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.errors import ConfigError
from gateway.store import archive, sealed
from gateway.store.archive import Manifest, Part
from gateway.store.database import (
    APPLICATION_ID,
    StateLock,
    connect,
    make_state_directory,
    migrations,
    problem,
    sync_directory,
    user_version,
)
from gateway.store.logins import take_out
from gateway.store.restored import mark_restored
from gateway.store.sealed import Unsealed

JOURNAL, UNPACKED = "restoring.json", "restoring"
ASIDE = "before-restore"
_SPARE_BYTES = 1 << 20


class Restored(msgspec.Struct, frozen=True):
    """`aside` is the directory that has the former data, None where there was none."""

    manifest: Manifest
    aside: Path | None


class _Journal(msgspec.Struct, frozen=True):
    """What is to be renamed: `names` from restoring/ into place, whatever is in their way into `aside`."""

    aside: str
    names: list[str]


def is_sealed(file: Path) -> bool:
    """Whether the backup `file` needs a passphrase. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            return sealed.is_sealed(stream)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def restore(
    state_dir: Path, file: Path, *, now_ms: int, passphrase: str | None = None, replace: bool = False
) -> Restored:
    """Make `state_dir` hold what the backup `file` holds. Raises ConfigError; the old data is then as it was.

    Where there is data already it is kept aside, and only with `replace`. Not while a gateway runs on `state_dir`."""
    make_state_directory(state_dir)
    with _locked(state_dir):
        finish(state_dir)
        old = [name for name in archive.DATABASES if (state_dir / name).exists()]
        if old and not replace:
            raise ConfigError(
                f"{state_dir} holds a gateway's data already; with --replace it is kept aside in that directory "
                "and the backup takes its place"
            )
        try:
            manifest = _unpack(state_dir, file, passphrase)
            _prepare(state_dir / UNPACKED, manifest, now_ms, unsealed=passphrase is None)
            journal = _Journal(_free_name(state_dir, now_ms), [part.name for part in manifest.parts])
            _write_journal(state_dir, journal)
        except BaseException as error:
            shutil.rmtree(state_dir / UNPACKED, ignore_errors=True)
            (state_dir / f"{JOURNAL}.new").unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise ConfigError(f"{file} cannot be restored in {state_dir}: {problem(error)}") from error
            raise
        finish(state_dir)
    aside = state_dir / journal.aside
    return Restored(manifest, aside if aside.exists() else None)


def finish(state_dir: Path) -> None:
    """Complete a restore that was cut short. Only with the directory's lock. Raises ConfigError."""
    journal_file = state_dir / JOURNAL
    try:
        if not journal_file.exists():
            return
        journal = msgspec.json.decode(journal_file.read_bytes(), type=_Journal)
        for name in journal.names:
            _swap(state_dir, name, state_dir / journal.aside)
        sync_directory(state_dir)
        journal_file.unlink()
        shutil.rmtree(state_dir / UNPACKED, ignore_errors=True)
        sync_directory(state_dir)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{state_dir} is in the middle of a restore that cannot be completed ({error}); the new files are in "
            f"{UNPACKED}/, the old ones in the newest {ASIDE}-.../ or in place: put right what is in the way, "
            "then start the gateway again"
        ) from error


def check_finished(state_dir: Path) -> None:
    """For whoever opens the directory without its lock. Raises ConfigError in the middle of a restore."""
    if (state_dir / JOURNAL).exists():
        raise ConfigError(f"{state_dir} is in the middle of a restore; starting the gateway completes it")


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    lock = StateLock(state_dir)
    lock.take()
    try:
        yield
    finally:
        lock.release()


def _unpack(state_dir: Path, file: Path, passphrase: str | None) -> Manifest:
    """The parts, each as the manifest says, in restoring/."""
    directory = state_dir / UNPACKED
    try:
        shutil.rmtree(directory, ignore_errors=True)
        with file.open("rb") as plain:
            stream: BinaryIO | Unsealed = plain
            if sealed.is_sealed(plain):
                if passphrase is None:
                    raise ConfigError("it is sealed with a passphrase, which is needed to restore it")
                stream = Unsealed(plain, passphrase)
            elif passphrase is not None:
                raise ConfigError("it is not sealed, and a passphrase was given: is it the file you mean?")
            manifest = archive.read_manifest(stream)
            if passphrase is None:
                _check_unsealed(manifest)
            free = shutil.disk_usage(state_dir).free
            if free < manifest.bytes + _SPARE_BYTES:
                text = f"it unpacks to {manifest.bytes / 1e6:,.0f} MB, and {state_dir} has {free / 1e6:,.0f} MB free"
                raise ConfigError(text)
            directory.mkdir(mode=0o700)
            archive.unpack(stream, manifest, directory)
            if isinstance(stream, Unsealed):
                stream.finish()
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be restored: {error.strerror} ({error.filename or state_dir})") from error
    return manifest


def _check_unsealed(manifest: Manifest) -> None:
    """Raises ConfigError where it holds what only sealed backups do: somebody else has made it."""
    names = {part.name for part in manifest.parts}
    if manifest.format > 1 and (manifest.secrets or names & set(archive.AUTHORITY)):
        raise ConfigError("it is not sealed, and holds what lets somebody in: it was not made by `mpy-gateway backup`")


def _prepare(directory: Path, manifest: Manifest, now_ms: int, *, unsealed: bool) -> None:
    """Check the databases, bring them to today's schema, and mark them as restored. What nothing seals brings nobody
    in: accounts and API tokens were never in such a backup of ours."""
    for part in manifest.parts:
        if part.name in archive.DATABASES:
            try:
                _check(directory / part.name, part)
            except sqlite3.Error as error:
                raise ConfigError(f"{part.name} in the backup is damaged: {error}") from error
    try:
        with (
            closing(connect(directory / archive.SAMPLES)) as samples,
            closing(connect(directory / archive.REGISTRY)) as registry,
        ):
            take_out(registry, people=unsealed, boards=not manifest.secrets)
            mark_restored(samples, registry, now_ms)
            for connection in (registry, samples):  # the small one first: that makes room
                _fold(connection)
        for name in archive.DATABASES:
            _sync_file(directory / name)
        for folder in {(directory / part.name).parent for part in manifest.parts} | {directory}:
            sync_directory(folder)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"the backup cannot be unpacked in {directory}: {problem(error)}") from error


def _check(path: Path, part: Part) -> None:
    """Raises ConfigError unless it is a sound database of ours, and not of a newer version."""
    known = len(migrations(path.stem))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise ConfigError(f"{part.name} in the backup is not a database of mpy-gateway")
        if (schema := user_version(connection)) > known:
            raise ConfigError(
                f"the backup was made by a newer mpy-gateway ({part.name} has schema {schema}, this one knows "
                f"{known}); install that version, then restore"
            )
        ours = "type IN ('table', 'index') AND (sql IS NULL OR sql NOT LIKE 'CREATE VIRTUAL%')"
        if connection.execute(f"SELECT 1 FROM sqlite_master WHERE NOT ({ours})").fetchone():  # noqa: S608 - our own words
            raise ConfigError(f"{part.name} in the backup holds code of somebody else")
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise ConfigError(f"{part.name} in the backup is damaged: {'; '.join(problems)}")


def _fold(connection: sqlite3.Connection) -> None:
    """Write the write-ahead log into its file, which is moved without it. `close` would do that too, but keep silent
    where the disk is full. Raises sqlite3.Error."""
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("another program reads it")


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _free_name(state_dir: Path, now_ms: int) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
    names = (f"{ASIDE}-{stamp}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1_000))))
    return next(name for name in names if not (state_dir / name).exists())


def _write_journal(state_dir: Path, journal: _Journal) -> None:
    """From here on the restore will be completed, whatever happens."""
    scratch = state_dir / f"{JOURNAL}.new"
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(journal))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(state_dir / JOURNAL)
    sync_directory(state_dir)


def _swap(state_dir: Path, name: str, aside: Path) -> None:
    """The old `name` aside, with the logs beside it; the new one in. Does nothing where that was done before."""
    new = state_dir / UNPACKED / name
    if not new.exists():
        return
    (state_dir / name).parent.mkdir(mode=0o700, exist_ok=True)
    for old in (f"{name}-wal", f"{name}-shm", f"{name}-journal", name):  # its name last: the others mean nothing alone
        if (state_dir / old).exists():
            for folder in (aside, (aside / old).parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            (state_dir / old).replace(aside / old)
    if aside.exists():
        sync_directory(aside)
    sync_directory(state_dir)  # an old log must never be found beside a new file
    new.replace(state_dir / name)
    sync_directory((state_dir / name).parent)
