"""`SqliteStore`: the store's port on two SQLite files, samples.db and registry.db.

writer.py    the one writer: group commit            commit.py   pure: what a commit consists of
reader.py    queries, each in a reader's thread      feed.py     the newest batches, in memory
restamp.py   correcting times, in steps              newest.py   pure: the newest value of each quantity
forget.py    erasing a device, in steps
upkeep.py    the task beside commits                 retention.py  what is deleted, in steps
space.py     room on the disk                        integrity.py  damaged files
body.py      records as they stand in a row
notices.py   what a person should know               restored.py   marking a restored log
registry.py  small values with a revision each       database.py files, pragmas, migrations, the state lock
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.clock import Clock
from gateway.errors import ConfigError, NoHolder, Unavailable
from gateway.model import Batch, Command
from gateway.store import integrity, reader, restore
from gateway.store.database import (
    Damaged,
    DamagedFile,
    Database,
    StateLock,
    is_flash_card,
    make_state_directory,
    measure_fsync_ms,
    open_problem,
)
from gateway.store.feed import Feed, Live
from gateway.store.gaps import GapRow, gaps
from gateway.store.history import Counts, EventRow, Latest, Place, QuarantineRow
from gateway.store.newest import NewestValues
from gateway.store.notices import Level, Notices
from gateway.store.port import CommandHandler, Committed, Entry, Load
from gateway.store.registry import Registry, Watch
from gateway.store.retention import DAY_MS, Limits
from gateway.store.space import Space
from gateway.store.upkeep import Upkeep
from gateway.store.writer import Writer

log = logging.getLogger("store")

COMMIT_MS = 20
FLASH_CARD_COMMIT_MS = 2_000
"""Ten devices with a sample every 10 s write 180 MB a day so, 203 with 1,000 (tests/bench/store)."""
MOST_COMMIT_MS = 5_000
SCRUB_WAITS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Between attempts to empty the write-ahead log, which must wait for readers; a chart of years takes a second."""


class SqliteStore:
    """Implements `Store` and `HistorySource`. One event loop uses it, from `open` to `close`."""

    def __init__(
        self,
        state_dir: Path,
        *,
        commit_ms: int | Literal["auto"] = "auto",
        quarantine_rows: int = 10_000,
        retention_days: float = 0,
        max_mb: float = 0,
        outlets: Collection[str] | None = None,
        clock: Clock | None = None,
    ):
        """`retention_days` and `max_mb`: what is kept at most, 0 for all. `outlets`: names of those who read with a
        cursor in the registry and whose misses are to be counted; None for all who ever did."""
        self._state_dir = state_dir
        self._commit_ms = commit_ms
        self._quarantine_rows = quarantine_rows
        self._clock = clock or Clock()
        self._parts = AsyncExitStack()
        self._samples_path = state_dir / "samples.db"
        self._registry = Registry(state_dir)
        self._epochs: dict[str, int] = {}
        self._handlers: dict[str, tuple[int, CommandHandler]] = {}
        self._forgotten: dict[str, int] = {}
        """Up to which id there is nothing of a device, although it may just have been read."""
        self._limits = Limits(
            round(retention_days * DAY_MS) if retention_days else None, round(max_mb * 1e6) if max_mb else None
        )
        self._cursors_of = outlets
        self._space = Space(state_dir)
        self._notices = Notices(self._registry)
        self._latest = NewestValues()
        self._feed = Feed()
        self._upkeep: Upkeep
        self._writer: Writer
        self._outlets: Database  # one reader for those who follow the log ...
        self._people: Database  # ... and one for those who look at history, which takes longer

    async def open(self) -> None:
        """Raises ConfigError: a sentence that says what to do."""
        try:
            await self._open()
        except BaseException:
            await self._parts.aclose()
            raise

    async def open_registry_only(self) -> None:
        """For a second process beside a running gateway: the registry's methods work, the others do not."""
        self._parts.push_async_callback(self._registry.close)
        await self._registry.open()

    async def close(self) -> None:
        """Commit what waits, end all iterations, close the files. Idempotent."""
        await self._parts.aclose()

    async def _open(self) -> None:
        make_state_directory(self._state_dir)
        lock = StateLock(self._state_dir)
        lock.take()
        self._parts.callback(lock.release)
        restore.finish(self._state_dir)  # one that was cut short
        await self.open_registry_only()
        await self._notices.load(self._clock.wall_ms())
        await asyncio.to_thread(self._space.look)
        await self._open_sound_log()
        self._upkeep = Upkeep(
            self._writer,
            (self._outlets, self._people),
            self._registry,
            self._space,
            self._notices,
            self._clock,
            limits=self._limits,
            outlets=self._cursors_of,
            id_of=self._id_of,
        )
        upkeep = asyncio.create_task(self._upkeep.run(), name="store-upkeep")
        self._parts.push_async_callback(_cancel, upkeep)
        log.debug("commits every %g ms, %d batches so far", self._writer.window_ms, self._feed.newest)

    async def _open_sound_log(self) -> None:
        """Open samples.db, or, where that is damaged, a new one in its place: boards are not locked out, what they
        hold they send again, and the damaged file is kept."""
        was_there = self._samples_path.exists() and self._samples_path.stat().st_size > 0
        damage = await asyncio.to_thread(integrity.damage_of, self._samples_path)
        if not damage:
            try:
                await self._open_log()
                if not was_there and await self._registry.list("outlet/"):
                    await self._tell_lost(
                        "samples.missing", "samples.db was not there any more, and a new file was begun"
                    )
                integrity.suspect_mark(self._samples_path).unlink(missing_ok=True)
                return
            except (DamagedFile, Damaged) as error:
                damage = str(error.__cause__ or error)
        await self._set_aside(damage)
        await self._open_log()

    async def _set_aside(self, damage: str) -> None:
        now_ms = self._clock.wall_ms()
        try:
            aside = integrity.set_aside(self._samples_path, now_ms / 1000)
        except OSError as error:
            raise ConfigError(open_problem(self._samples_path, error)) from error
        text = (
            f"the samples on the disk were damaged ({damage}): they are in {aside.name} now, and a new file was begun;"
            " samples that boards do not hold any more are missing from it. Check the disk or SD card"
        )
        log.error(text)
        await self._notices.keep(aside.name, "error", text, now_ms)

    async def _tell_lost(self, id: str, what: str) -> None:
        text = f"{what}; samples that boards do not hold any more are missing. Check the disk or SD card"
        log.error(text)
        await self._notices.keep(id, "error", text, self._clock.wall_ms())

    async def _open_feed(self) -> Feed:
        """Where a cursor is further than the log, the disk has lost what it had confirmed. Those ids are not used
        again: what gets them next would be taken for published."""
        newest = await self._writer.open()
        ours = f"{self._writer.log_id}:".encode()
        ids = [
            entry.value.removeprefix(ours)
            for entry in await self._registry.list("outlet/")
            if entry.value.startswith(ours)
        ]
        furthest = max((int(id) for id in ids if id.isdigit() and len(id) < 16), default=0)
        if furthest > newest:
            what = f"the disk has lost {furthest - newest} batches that it had confirmed"
            await self._tell_lost("samples.lost", what)  # before the ids are passed: then it would not be seen again
            await self._writer.skip_to(furthest)
        return Feed(max(newest, furthest))

    async def _open_log(self) -> None:
        async with AsyncExitStack() as parts:
            self._latest = NewestValues()
            self._writer = Writer(
                self._samples_path,
                epochs=self._epochs,
                on_commit=self._committed,
                quarantine_rows=self._quarantine_rows,
                window_ms=self._window_ms(),
                may_commit=self._check_may_commit,
            )
            parts.push_async_callback(self._writer.close)
            self._feed = await self._open_feed()
            self._outlets = await self._open_reader(parts)
            self._people = await self._open_reader(parts)
            parts.callback(self._feed.close)
            parts.push_async_callback(self._writer.finish)  # first when closing: what waits is committed, and seen
            await self._people.run(reader.newest_values, self._latest.note)
            self._parts.push_async_exit(parts.pop_all())

    async def _open_reader(self, parts: AsyncExitStack) -> Database:
        database = Database(self._samples_path, read_only=True)
        await database.open()
        parts.push_async_callback(database.close)
        return database

    def _check_may_commit(self) -> None:
        """In the writer's thread. Raises `Unavailable`."""
        for damage in (self._writer.damage, self._outlets.damage, self._people.damage):
            if damage:
                raise Unavailable(damage)
        self._space.check()

    def _window_ms(self) -> float:
        """`commit_ms`, or what suits the disk: 20, on a flash card 1,000, and at least five times an fsync."""
        if self._commit_ms != "auto":
            return self._commit_ms
        try:
            fsync_ms = measure_fsync_ms(self._state_dir)
            least = FLASH_CARD_COMMIT_MS if is_flash_card(self._state_dir) else COMMIT_MS
        except OSError as error:
            raise ConfigError(open_problem(self._samples_path, error)) from error
        return min(max(least, 5 * fsync_ms), MOST_COMMIT_MS)

    def stats(self) -> dict[str, Any]:
        """Figures for the status page. `trouble` says why nothing can be committed now, and is empty otherwise.
        `notices` is what a person should know, see `Notice`."""
        writer = self._writer
        self._upkeep.tell()
        files = (self._samples_path, self._samples_path.with_name("samples.db-wal"))
        return {
            "commits": writer.commits,
            "samples": writer.samples,
            "bytes": sum(file.stat().st_size for file in files if file.exists()),
            "queue": writer.queued,
            "last_commit_ms": round(writer.last_commit_ms, 2),
            "commit_ms": round(writer.window_ms, 1),
            "trouble": writer.trouble,
            "pruned_samples": writer.pruned,
            "untaken": dict(writer.untaken),
            "disk_free_bytes": self._space.free_bytes,
            "notices": self._notices.now(),
        }

    async def keep_notice(self, id: str, level: Level, text: str) -> None:
        """Something has happened that a person should know: shown until it was read, or for 30 days."""
        await self._notices.keep(id, level, text, self._clock.wall_ms())

    async def dismiss_notice(self, id: str) -> bool:
        """Forget a notice that was read. False where there is none with this `id`."""
        return await self._notices.dismiss(id)

    def load(self) -> Load:
        return Load(commit_ms=self._writer.last_commit_ms, trouble=bool(self._writer.trouble))

    # ---- the log ------------------------------------------------------------------------------------------------

    async def claim(self, device: str, node: str) -> int:
        epoch = await self._registry.put(f"holder/{device}", node.encode())  # its revision never goes back
        self._epochs[device] = max(epoch, self._epochs.get(device, 0))
        return epoch

    async def committed(self, device: str, boot_ids: Sequence[str]) -> list[Committed]:
        return await self._outlets.run(reader.committed, device, boot_ids)

    async def end_restored(self, epoch: int, device: str, listed: Sequence[str]) -> bool:
        if self._writer.restored_ms is None:
            return False
        cut_off = await self._outlets.run(reader.cut_off, device)
        if cut_off is None or cut_off.boot_id in listed:
            return False
        await self.append(epoch, msgspec.structs.replace(cut_off, received_ms=self._clock.wall_ms()))
        return True

    async def append(self, epoch: int, batch: Batch) -> int:
        """See `Store.append`. A batch behind one that failed fails too, until that one was appended again or the device
        is claimed anew: it would leave a hole where nothing is lost. What follows an open gap goes to quarantine."""
        return await self._writer.append(epoch, batch)

    async def restamp(self, device: str, boot_id: str, offset_ms: int) -> int:
        records = await self._writer.restamp(device, boot_id, offset_ms, self._clock.wall_ms())
        if records:
            await self._look_again(device)
        return records

    async def _look_again(self, device: str) -> None:
        """Times of `device` were corrected: what was thought older may be the newest now."""
        while True:
            corrected = self._latest.corrections(device)
            batches = await self._people.run(reader.newest_batches, device)
            if any(map(self._is_forgotten, batches)):
                return
            if corrected == self._latest.corrections(device):  # else these may be as they were before
                for batch in batches:
                    self._latest.note(batch)
                return

    async def read(self, cursor: str, *, device: str | None = None, limit: int = 100) -> list[Batch]:
        after = self._id_of(cursor)
        batches = self._feed.after(after, device, limit)
        while batches is None or any(map(self._is_forgotten, batches)):  # forgotten while it was read: then again
            batches = await self._outlets.run(reader.read, self._writer.log_id, after, device, limit)
        return batches

    def _is_forgotten(self, batch: Batch) -> bool:
        through = self._forgotten.get(batch.device)
        return through is not None and int(batch.cursor.rpartition(":")[2]) <= through

    async def forget(self, device: str) -> None:
        """See `Store.forget`."""
        self._epochs.pop(device, None)
        self._handlers.pop(device, None)
        await self._writer.forget(device)
        self._forgotten[device] = self._feed.newest
        self._latest.forget(device)
        self._feed.forget(device)

    async def purge(self, match: Callable[[str, bytes], bool]) -> None:
        await self._registry.purge(match)

    async def scrub(self) -> bool:
        """See `Store.scrub`."""
        for wait_s in SCRUB_WAITS_S:
            if await self._writer.empty_log() & await self._registry.empty_log():
                return True
            await asyncio.sleep(wait_s)
        return False

    async def end(self) -> str:
        return f"{self._writer.log_id}:{self._feed.newest}"

    def live(self, devices: Sequence[str] | None = None) -> Live:
        """See `Store.live`. The iterator's `skipped` counts the batches this reader was too slow for."""
        return self._feed.subscribe(devices)

    async def wait(self, cursor: str, timeout_s: float) -> bool:
        return await self._feed.wait(self._id_of(cursor), timeout_s)

    def _id_of(self, cursor: str) -> int:
        """The id a cursor stands behind. Of another log, or of this one's lost future: 0, where everything begins."""
        log_id, _, id = cursor.partition(":")
        if log_id != self._writer.log_id or not id.isdecimal() or int(id) > self._feed.newest:
            return 0
        return int(id)

    def _committed(self, batches: list[Batch]) -> None:
        try:
            for batch in batches:
                self._latest.note(batch)
        finally:
            self._feed.publish(batches)  # whatever happens: the feed counts them

    # ---- history (HistorySource) --------------------------------------------------------------------------------

    async def scan(
        self, device: str, from_ms: int, to_ms: int, after: Place | None
    ) -> tuple[list[Batch], Place | None]:
        return await self._people.run(reader.scan, device, from_ms, to_ms, after)

    async def extent(self, device: str) -> tuple[int, int] | None:
        return await self._people.run(reader.extent, device)

    async def quarantined(self, device: str, limit: int) -> list[QuarantineRow]:
        return await self._people.run(reader.quarantine, device, limit)

    async def events(self, device: str, limit: int) -> list[EventRow]:
        return await self._people.run(reader.events, device, limit)

    async def gaps(self, device: str, limit: int) -> list[GapRow]:
        return await self._people.run(gaps, device, limit)

    def latest(self, device: str) -> dict[str, Latest]:
        return self._latest.of(device)

    def counts(self, device: str) -> Counts:
        return self._writer.counts(device)

    # ---- commands -----------------------------------------------------------------------------------------------

    def serve(self, device: str, epoch: int, handler: CommandHandler) -> None:
        if epoch >= self._handlers.get(device, (0, handler))[0]:
            self._handlers[device] = epoch, handler

    def unserve(self, device: str, epoch: int) -> None:
        if self._handlers.get(device, (-1, None))[0] == epoch:
            del self._handlers[device]

    async def send(self, device: str, command: Command) -> None:
        if device not in self._handlers:
            raise NoHolder(f"{device} is not connected")
        self._handlers[device][1](command)

    # ---- registry -----------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Entry | None:
        return await self._registry.get(key)

    async def put(self, key: str, value: bytes) -> int:
        return await self._registry.put(key, value)

    async def create(self, key: str, value: bytes) -> int:
        return await self._registry.create(key, value)

    async def cas(self, key: str, value: bytes, revision: int) -> int:
        return await self._registry.cas(key, value, revision)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        return await self._registry.delete(key, revision)

    def watch(self, prefix: str) -> Watch:
        return self._registry.watch(prefix)

    async def list(self, prefix: str) -> list[Entry]:
        return await self._registry.list(prefix)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
