"""Opening SQLite files so that they are private, durable and of the schema we know. The only module that knows pragmas.

A `Database` is one connection and the one thread that uses it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib.resources
import os
import sqlite3
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gateway.errors import ConfigError, StoreError, Unavailable
from gateway.store import workshop
from gateway.store.private import keep_others_out

P = ParamSpec("P")
T = TypeVar("T")

APPLICATION_ID = 0x4D504757  # "MPGW" in the file's header: an SQLite file of another program is not touched
PAGE_BYTES = 512
"""A commit rewrites a handful of pages whole, so small ones spare the SD card (figures: tests/bench/store.py)."""
CHECKPOINT_BYTES = 4 << 20
"""The write-ahead log is folded into the file when it is this long: late, as a hot page is then written back once."""
BUSY_MS = 5_000
DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Primary result codes that say the file itself is damaged."""
_OUR_FAULT = frozenset(
    getattr(sqlite3, f"SQLITE_{name}") for name in ("ERROR", "TOOBIG", "CONSTRAINT", "MISMATCH", "MISUSE", "RANGE")
)
"""Primary result codes that calling again with the same arguments will not change."""


class DamagedFile(ConfigError):
    """A database file is damaged, found when it was opened."""


class Damaged(Unavailable):
    """A database file is damaged, found when it was used."""


class Database:
    """One connection, used by one thread of its own."""

    def __init__(self, path: Path, *, read_only: bool = False):
        self.path = path
        self.read_only = read_only
        self.connection: sqlite3.Connection
        self.damage = ""
        """What was found to be damaged in it while it was used; set in the thread."""
        self._thread = ThreadPoolExecutor(1, f"{path.stem}-{'read' if read_only else 'write'}")

    async def open(self) -> None:
        """Raises ConfigError. For a writer: creates the file where there is none, and brings its schema up to date."""
        try:
            self.connection = await asyncio.wrap_future(self._thread.submit(self._connect))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, ...)` in the thread, after what was asked before. Raises `Unavailable` for SQLite's
        errors, and StoreError for those that are a fault of ours or of the data; a transaction that is left open is
        rolled back."""
        if not hasattr(self, "connection"):
            raise Unavailable(f"{self.path.name} is closed")
        return await asyncio.wrap_future(self._thread.submit(self._guarded, self.connection, work, *args, **kwargs))  # type: ignore[arg-type]  # mypy loses T through submit

    async def close(self) -> None:
        """Idempotent. A writer's last act is to fold the write-ahead log into the file."""
        if hasattr(self, "connection"):
            connection = self.connection
            del self.connection
            await asyncio.wrap_future(self._thread.submit(connection.close))
        self._thread.shutdown(wait=False)

    def _connect(self) -> sqlite3.Connection:
        try:
            if not self.read_only:
                touch_private(self.path)
            return connect(self.path, read_only=self.read_only)
        except (sqlite3.Error, OSError) as error:
            kind = DamagedFile if primary_code(error) in DAMAGE else ConfigError
            raise kind(open_problem(self.path, error)) from error

    def _guarded(
        self,
        connection: sqlite3.Connection,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            return work(connection, *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            raise self._store_error(error) from error
        finally:
            if connection.in_transaction:
                connection.rollback()

    def _store_error(self, error: sqlite3.Error | OSError) -> StoreError:
        code = primary_code(error)
        if code in DAMAGE:
            self.damage = f"{self.path.name} is damaged ({error}); {damage_advice(self.path, running=True)}"
            return Damaged(self.damage)
        # Without a code it comes from Python's own module: a value that cannot be bound, say.
        if code in _OUR_FAULT or (code == 0 and not isinstance(error, sqlite3.OperationalError | OSError)):
            return StoreError(f"{self.path.name}: {error}")
        return Unavailable(f"{self.path.name}: {problem(error)}")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun and ended by hand. Raises sqlite3.Error, ConfigError."""
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        # FULL: a commit returns after fsync. It is set per connection, so it stands here and nowhere else. And first:
        # the first commit of a connection also syncs what a killed process has left unsynced, and will be relied on.
        connection.execute("PRAGMA synchronous = FULL")
        if not read_only:
            _prepare(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])  # a file keeps that it was made with
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // page_bytes}")
        connection.execute(f"PRAGMA journal_size_limit = {4 * CHECKPOINT_BYTES}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection
    except BaseException:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # counts only while the file is empty
    # What is deleted is overwritten: of a device that is forgotten nothing stays. Debian's SQLite does so by itself.
    connection.execute("PRAGMA secure_delete = ON")
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise ConfigError(f"{path} belongs to another program; move it away or choose another --state")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise ConfigError(
            f"{path} cannot be kept safe where it lies (no write-ahead log there; a network drive?);"
            " choose another --state"
        )
    steps = migrations(path.stem)
    migrate(connection, path, steps)
    # Write something in any case: better that a lock or a full disk stops the start than the first sample. And it syncs
    # the log: the commits that a killed process wrote but did not sync are read, and boards will be told of them.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute("COMMIT")


def migrations(name: str) -> list[str]:
    """The SQL of schema/<name>/0001.sql and so on, in order."""
    folder = importlib.resources.files("gateway.store") / "schema" / name
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files]


def migrate(connection: sqlite3.Connection, path: Path, steps: list[str]) -> None:
    """Bring the schema from `PRAGMA user_version` to `len(steps)`, each step one transaction. Raises ConfigError."""
    while (version := user_version(connection)) < len(steps):
        connection.execute("BEGIN IMMEDIATE")
        if user_version(connection) == version:  # else another process has just done it
            _run_script(connection, steps[version])
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    if version > len(steps):
        raise ConfigError(
            f"{path} was written by a newer mpy-gateway (schema {version}, this one knows {len(steps)}); "
            "install that version again or choose another --state"
        )


def user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    """Like `executescript`, which would commit first: here a step that fails leaves nothing behind."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def make_state_directory(directory: Path) -> None:
    """Make `directory`, readable by us alone, where it does not exist; where it does, keep others out of it, and remove
    what a killed backup left there. Raises ConfigError."""
    if directory.is_dir():
        keep_others_out(directory)
        workshop.sweep(directory, workshop.INSIDE)
    try:
        made = [parent for parent in directory.parents if not parent.exists()]
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        for new in (directory, *made):
            sync_directory(new.parent)  # else a power cut could take the new directory with all that is in it
    except OSError as error:
        raise ConfigError(
            f"cannot make the state directory {directory}: {error.strerror}; give a writable one with --state"
        ) from error


def sync_directory(directory: Path) -> None:
    """Bring the names in `directory` to disk: those of new and renamed files need that of their own."""
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # it may be passed through, not read: then there is no way to sync it
        return
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def touch_private(path: Path) -> None:
    """Make `path` with mode 0600 from its first moment on. SQLite gives the same mode to the files beside it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


class StateLock:
    """Keeps a second gateway out of a state directory. Ends with the process, however that ends."""

    def __init__(self, directory: Path):
        self._path = directory / "lock"
        self._file = -1

    def take(self) -> None:
        """Raises ConfigError."""
        try:
            file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(open_problem(self._path, error)) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise ConfigError(
                f"{self._path.parent} is in use by another gateway (process {holder}); "
                "stop that one or give this one another directory with --state"
            ) from None
        except OSError as error:
            os.close(file)
            raise ConfigError(open_problem(self._path, error)) from error
        self._file = file

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def measure_fsync_ms(directory: Path) -> float:
    """What one small synced write costs in `directory`: the median of five. Raises OSError."""
    path = directory / f".fsync-{os.getpid()}"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        return statistics.median(_timed_write_ms(file) for _ in range(5))
    finally:
        os.close(file)
        path.unlink()


def _timed_write_ms(file: int) -> float:
    began = time.perf_counter()
    os.pwrite(file, bytes(4096), 0)
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1000


def is_flash_card(directory: Path, sys_dev_block: Path = Path("/sys/dev/block")) -> bool:
    """Whether `directory` lies on an SD card or eMMC (mmcblk), also through a mapped or encrypted device."""
    device = directory.stat().st_dev
    block = sys_dev_block / f"{os.major(device)}:{os.minor(device)}"
    below = (block, *(block / "slaves").glob("*"))
    return any("mmcblk" in str(part.resolve()) for part in below)


def problem(error: sqlite3.Error | OSError) -> str:
    """What went wrong and what helps, as the second half of a sentence."""
    code = primary_code(error)
    number = error.errno if isinstance(error, OSError) else 0
    if code == sqlite3.SQLITE_FULL or number == errno.ENOSPC:
        return "the disk is full; free some space"
    if code == sqlite3.SQLITE_IOERR:
        return f"{error}; check the disk, and whether it is full"
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "the file is locked by another program; end that one"
    if code == sqlite3.SQLITE_READONLY or number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "it cannot be written; check owner and permissions, or choose another --state"
    if code == sqlite3.SQLITE_CANTOPEN:
        return "it cannot be opened; check the directory's owner and permissions, or choose another --state"
    if isinstance(error, OSError):
        return f"{error.strerror}; check the directory, or choose another --state"
    return f"{error}; check the disk"


def primary_code(error: sqlite3.Error | OSError) -> int:
    """SQLite's primary result code; 0 where the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damage_advice(path: Path, *, running: bool = False) -> str:
    """What helps against damage, as the second half of a sentence."""
    if path.stem == "samples":
        if running:
            return "nothing is acknowledged; restart the gateway: it moves the file aside and begins a new one"
        return "move it away and a new one is made"
    return (
        "it says which boards may connect: stop the gateway and restore a backup (mpy-gateway restore), "
        "or, if there is none, move it away and add every board again"
    )


def open_problem(path: Path, error: sqlite3.Error | OSError) -> str:
    if primary_code(error) in DAMAGE:
        return f"{path} is damaged ({error}); {damage_advice(path)}"
    return f"cannot open {path}: {problem(error)}"
