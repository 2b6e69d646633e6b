"""The registry: small values with a revision each, in a file of its own.

Apart from the samples, because a damaged sample file must not lock boards out. Other processes may use the same file
at the same time (`mpy-gateway devices add` beside a running gateway).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from gateway.errors import ConfigError, Conflict, StoreError, Unavailable
from gateway.store import integrity
from gateway.store.database import DamagedFile, Database, damage_advice, make_state_directory
from gateway.store.forget import empty_log
from gateway.store.port import Entry
from gateway.store.restore import check_finished

log = logging.getLogger("store")

T = TypeVar("T")

_Newest: TypeAlias = tuple[str, bytes | None, int]
"""(key, value or None once deleted, revision)"""

POLL_S = 0.5
"""How often a watched registry looks whether another process has changed it."""


class Registry:
    """The registry half of `Store`, which see. Usable alone, beside a running gateway."""

    def __init__(self, state_dir: Path):
        self._state_dir = state_dir
        self._database = Database(state_dir / "registry.db")
        self._waiting: list[_Change] = []
        self._committing: asyncio.Task[None] | None = None
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._polling: asyncio.Task[None] | None = None
        self._revisions: dict[str, int] = {}  # as watchers know them
        self._closed = False

    async def open(self) -> None:
        """Raises ConfigError."""
        make_state_directory(self._state_dir)
        check_finished(self._state_dir)
        path = self._database.path
        found = await asyncio.to_thread(integrity.damage_of, path)
        samples = path.with_name("samples.db")
        if path.exists() and not path.stat().st_size and samples.exists() and samples.stat().st_size:
            found = "it is empty"
        if found:
            raise DamagedFile(f"{path} is damaged ({found}); {damage_advice(path)}")
        await self._database.open()
        try:
            self._revisions = {entry.key: entry.revision for entry in await self.list("")}
        except StoreError as error:
            await self._database.close()
            raise ConfigError(f"cannot read {error}") from error

    @property
    def damage(self) -> str:
        """See `Database.damage`."""
        return self._database.damage

    async def close(self) -> None:
        """Idempotent. Changes under way are committed first; watches end."""
        self._closed = True
        if self._polling:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        if self._committing:
            await self._committing
        for watch in list(self._watches):
            watch.end()
        await self._database.close()

    async def get(self, key: str) -> Entry | None:
        return await self._database.run(_get, key)

    async def list(self, prefix: str) -> list[Entry]:
        """Entries whose key begins with `prefix`, by key."""
        return await self._database.run(_list, prefix)

    async def put(self, key: str, value: bytes) -> int:
        return await self._change(key, lambda connection: _write(connection, key, value))

    async def create(self, key: str, value: bytes) -> int:
        def create(connection: sqlite3.Connection) -> int:
            if _get(connection, key):
                raise Conflict(f"{key} exists already")
            return _write(connection, key, value)

        return await self._change(key, create)

    async def cas(self, key: str, value: bytes, revision: int) -> int:
        def cas(connection: sqlite3.Connection) -> int:
            _check_revision(connection, key, revision)
            return _write(connection, key, value)

        return await self._change(key, cas)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Whether there was something. Raises `Conflict` where it is not at `revision` any more."""

        def delete(connection: sqlite3.Connection) -> bool:
            if _get(connection, key) is None:
                return False
            if revision is not None:
                _check_revision(connection, key, revision)
            _write(connection, key, None)
            return True

        return await self._change(key, delete)

    async def purge(self, match: Callable[[str, bytes], bool]) -> None:
        """Erase every entry for which `match(key, value)` holds, and deleted ones (their value is empty) too. Their
        revisions begin anew: for keys that nobody decides by any more."""
        keys = await self._change("", lambda connection: _purge(connection, match))
        for key, had_value in keys:
            self._revisions.pop(key, None)
            for watch in self._watches:
                if had_value:
                    watch.tell(key, key)

    async def empty_log(self) -> bool:
        """See `forget.empty_log`."""
        return await self._database.run(empty_log)

    def watch(self, prefix: str) -> Watch:
        """See `Store.watch`. Another process's changes show within half a second."""
        watch = Watch(prefix)
        self._watches.add(watch)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="registry-poll")
        return watch

    async def _change(self, key: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in the next transaction. Whoever waits for it shares it, and its fsync: two hundred boards that
        come back at once cost a few."""
        if self._closed:
            raise Unavailable("the registry is closed")
        change = _Change(key, work, asyncio.get_running_loop().create_future())
        self._waiting.append(change)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit(), name="registry-commit")
        result: T = await change.future
        return result

    async def _commit(self) -> None:
        try:
            while self._waiting:
                changes, self._waiting = self._waiting, []
                for change, result in zip(changes, await self._results(changes), strict=True):
                    change.resolve(result)
        finally:
            self._committing = None

    async def _results(self, changes: Sequence[_Change]) -> Sequence[Any]:
        """Of one transaction, which watchers have been told of."""
        try:
            results, entries = await self._database.run(_transaction, changes)
            self._tell(entries)
        except Unavailable as error:
            return [Unavailable(str(error)) for _ in changes]
        except Exception as error:  # the edge of a task: whoever waits must hear of it
            log.exception("a change of the registry failed by a fault of ours")
            return [Unavailable(f"fault in the registry: {error!r}") for _ in changes]
        return results

    async def _poll(self) -> None:
        """Tell watchers what other processes changed."""
        seen = -1
        while True:
            try:
                version, entries = await self._database.run(_changed_by_others, seen, self._revisions)
            except Unavailable as error:
                log.debug("registry: %s", error)
            else:
                seen = version
                self._tell(entries)
            await asyncio.sleep(POLL_S)

    def _tell(self, entries: Iterable[_Newest]) -> None:
        for key, value, revision in entries:
            if self._revisions.get(key, 0) >= revision:
                continue
            self._revisions[key] = revision
            for watch in self._watches:
                watch.tell(key, key if value is None else Entry(key, value, revision))


class Watch:
    """The changes below one prefix, coalesced per key: a slow reader sees the newest of each, never a long queue."""

    def __init__(self, prefix: str):
        self.prefix = prefix
        self._changed: dict[str, Entry | str] = {}
        self._news = asyncio.Event()
        self._ended = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Entry | str:
        while not self._changed:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._changed.pop(next(iter(self._changed)))

    def tell(self, key: str, change: Entry | str) -> None:
        if key.startswith(self.prefix):
            self._changed[key] = change
            self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()


class _Change:
    """One change that waits for its transaction."""

    def __init__(self, key: str, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]):
        self.key = key
        self.work = work
        self.future = future

    def resolve(self, result: Any) -> None:
        if self.future.done():  # its caller has gone
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


# ---- in the database's thread ----------------------------------------------------------------------------------


def _transaction(connection: sqlite3.Connection, changes: Sequence[_Change]) -> tuple[list[Any], list[_Newest]]:
    """Returns each change's result, and the newest state of every key touched."""
    results: list[Any] = []
    touched: set[str] = set()
    connection.execute("BEGIN IMMEDIATE")  # at once, so that what is read below cannot change before it is written
    for change in changes:
        try:
            results.append(change.work(connection))
            touched.add(change.key)
        except (Conflict, ValueError) as error:  # ValueError: a key that SQLite cannot hold
            results.append(error)
        except (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.IntegrityError) as error:
            results.append(StoreError(f"{change.key}: {error}"))  # the others are not at fault
    newest = [row for key in touched if (row := _newest(connection, key))]
    connection.execute("COMMIT")
    return results, newest


def _newest(connection: sqlite3.Connection, key: str) -> _Newest | None:
    row: _Newest | None = connection.execute(
        "SELECT key, value, revision FROM entries WHERE key = ?", (key,)
    ).fetchone()
    return row


def _get(connection: sqlite3.Connection, key: str) -> Entry | None:
    row = _newest(connection, key)
    return None if row is None or row[1] is None else Entry(key, row[1], row[2])


def _list(connection: sqlite3.Connection, prefix: str) -> list[Entry]:
    rows = connection.execute(
        "SELECT key, value, revision FROM entries WHERE key >= ? AND key < ? AND value IS NOT NULL ORDER BY key",
        (prefix, prefix + "\U0010ffff"),
    )
    return [Entry(*row) for row in rows]


def _write(connection: sqlite3.Connection, key: str, value: bytes | None) -> int:
    """Returns the new revision. None deletes; the row stays, so that the revision goes on from there."""
    row = connection.execute(
        "INSERT INTO entries VALUES (?, ?, 1)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = revision + 1 RETURNING revision",
        (key, value),
    ).fetchone()
    return int(row[0])


def _purge(connection: sqlite3.Connection, match: Callable[[str, bytes], bool]) -> list[tuple[str, bool]]:
    """Returns the keys that are gone, and whether there was something."""
    found = [
        (key, value is not None)
        for key, value in connection.execute("SELECT key, value FROM entries")
        if match(key, value or b"")
    ]
    connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key, _ in found])
    return found


def _check_revision(connection: sqlite3.Connection, key: str, revision: int) -> None:
    entry = _get(connection, key)
    if entry is None or entry.revision != revision:
        found = f"revision {entry.revision}" if entry else "gone"
        raise Conflict(f"{key} is not at revision {revision} any more: {found}")


def _changed_by_others(
    connection: sqlite3.Connection, seen: int, revisions: dict[str, int]
) -> tuple[int, list[_Newest]]:
    """SQLite's data_version, which only foreign commits move, and, unless it is `seen`, what `revisions` lacks."""
    version = int(connection.execute("PRAGMA data_version").fetchone()[0])
    if version == seen:
        return version, []
    rows = connection.execute("SELECT key, value, revision FROM entries").fetchall()
    return version, [row for row in rows if revisions.get(row[0], 0) < row[2]]
