"""The one writer of samples.db: what arrives within the commit window becomes one transaction.

    append -> waiting -> (window over) -> thread: plan, write, commit to disk -> readers told, appends return

All but the transaction itself happens on the event loop, so nothing here needs a lock. Other work on the file (an
errand: correcting times, say) waits in the same line, so that it sees what was appended before it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from gateway.errors import ConfigError, Fenced, StoreError, TooLarge, Unavailable
from gateway.model import Batch, Quality, Record
from gateway.store import forget, restamp, retention
from gateway.store.commit import Boot, BootKey, Commit, Quarantined, Row
from gateway.store.database import Damaged, DamagedFile, Database
from gateway.store.history import Counts

log = logging.getLogger("store")

T = TypeVar("T")

APPEND_RECORDS = 10_000
"""Records of one append at most."""
COMMIT_RECORDS = 10_000
"""Records of one commit, about. With so many waiting, it does not wait for its window to end."""
RETRY_MS = 1_000
"""Window while commits fail: whoever tries again at once is slowed to this."""
KNOWN_BOOTS = 10_000
"""Boots kept in memory; others are read from the file when they come back."""

encode_records = msgspec.msgpack.Encoder().encode


class _Append(msgspec.Struct):
    """One append that waits for its commit."""

    epoch: int
    batch: Batch
    future: asyncio.Future[int]

    @property
    def key(self) -> BootKey:
        return self.batch.device, self.batch.boot_id


class _Errand(msgspec.Struct):
    """Other work that waits for its turn. `work` returns its result and the batches it added to the log."""

    work: Callable[[sqlite3.Connection], tuple[Any, list[Batch]]]
    future: asyncio.Future[Any]


class _Restamped(NamedTuple):
    """One step of a correction: how many records it moved, and whether there are more."""

    records: int
    more: bool


class _Outcome(msgspec.Struct):
    """What a commit did: for each append the highest committed seq or an error, and its rows as batches."""

    results: list[int | StoreError]
    batches: list[Batch]
    written: bool


class Writer:
    """`on_commit` is called on the loop with each commit's batches, before the appends of that commit return.

    `epochs` is the newest claim per device; the writer only reads it. `may_commit` is called in the writer's thread
    before each commit and correction, and raises `Unavailable` where there must be none."""

    def __init__(
        self,
        path: Path,
        *,
        epochs: dict[str, int],
        on_commit: Callable[[list[Batch]], None],
        quarantine_rows: int,
        window_ms: float,
        may_commit: Callable[[], None] = lambda: None,
    ):
        self._database = Database(path)
        self._may_commit = may_commit
        self._epochs = epochs
        self._on_commit = on_commit
        self._quarantine_rows = quarantine_rows
        self._waiting: deque[_Append | _Errand] = deque()
        self._errands = 0  # how many of these are errands
        self._timer: asyncio.TimerHandle | None = None  # runs while appends wait for their window to end
        self._overdue = False  # it ended while the thread was busy
        self._committing: asyncio.Task[None] | None = None
        self._closed = False
        self._failed: dict[BootKey, tuple[int, int]] = {}  # (epoch, highest seq) of appends that failed
        # From here on: what the file says. The writer's thread changes these, after COMMIT.
        self._boots: dict[BootKey, Boot] = {}
        self._device_ids: dict[str, int] = {}
        self._counts: dict[str, Counts] = {}
        self._quarantine_kept: dict[int, int] = {}  # rows by devices.id
        self.untaken: Counter[str] = Counter()
        """Samples ever deleted before an outlet had taken them, by outlet."""
        self.restored_ms: int | None = None
        self._next_id = self._next_boot = self._next_device = 1

        self.window_ms = window_ms
        self.log_id = ""
        self.queued = 0
        """Records that wait for their commit. Each belongs to an append that has not returned, so callers bound it."""
        self.commits = 0
        self.last_commit_ms = 0.0
        self.trouble = ""
        """Why commits fail now; empty while they succeed."""

    async def open(self) -> int:
        """Returns the newest committed id. Raises ConfigError."""
        await self._database.open()
        try:
            return await self._database.run(self._load)
        except StoreError as error:
            await self._database.close()
            # Unavailable: it may be well another time. Else what we once made is not there any more: a table, say.
            kind = DamagedFile if isinstance(error, Damaged) or not isinstance(error, Unavailable) else ConfigError
            raise kind(f"cannot read {error}") from error

    async def skip_to(self, id: int) -> None:
        """Use no id up to `id`: a cursor stands there already. Before the first append. Raises `Unavailable`."""
        await self._database.run(self._skip_to, id)

    @property
    def damage(self) -> str:
        """See `Database.damage`."""
        return self._database.damage

    async def finish(self) -> None:
        """Commit what waits, and take no more."""
        self._closed = True
        while self._waiting or self._committing:
            self._flush()
            if self._committing:
                await self._committing

    async def close(self) -> None:
        """Close the file; after `finish`, and after all readers."""
        await self._database.close()

    async def append(self, epoch: int, batch: Batch) -> int:
        """See `Store.append`. Where a commit failed, later records of that boot fail too until the failed ones are
        appended again or the device is claimed anew: else they would leave a hole where nothing was lost."""
        if self._closed:
            raise Unavailable("the store is closed")
        if self._epochs.get(batch.device) != epoch:
            raise _fenced(batch.device)
        if len(batch.records) > APPEND_RECORDS:
            raise TooLarge(f"{len(batch.records)} records at once; at most {APPEND_RECORDS}, so split them")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Append(epoch, batch, future))
        self.queued += len(batch.records)
        if self._committing is None:
            self._schedule()
        return await future

    async def restamp(self, device: str, boot_id: str, offset_ms: int, now_ms: int) -> int:
        """See `Store.restamp`. Commits go on between its steps."""
        records = 0
        while True:
            step = await self.errand(lambda connection: self._restamp(connection, (device, boot_id), offset_ms, now_ms))
            records += step.records
            if not step.more:
                return records

    async def errand(self, work: Callable[[sqlite3.Connection], tuple[T, list[Batch]]]) -> T:
        """Call `work` in the writer's thread, after what was appended before and before what comes after. The batches
        it returns, committed, are told like those of a commit. It holds up all commits, so it must be short. Raises
        `Unavailable` for SQLite's errors."""
        if self._closed:
            raise Unavailable("the store is closed")
        errand = _Errand(work, asyncio.get_running_loop().create_future())
        self._waiting.append(errand)
        self._errands += 1
        if self._committing is None:
            self._schedule()
        result: T = await errand.future
        return result

    async def prune(self, limits: retention.Limits, now_ms: int | None, cursors: Mapping[str, int]) -> retention.Pruned:
        """One step of retention, see there."""
        return await self.errand(lambda connection: (self._prune(connection, limits, now_ms, cursors), []))

    async def forget(self, device: str) -> None:
        """Erase `device`, step by step; commits go on in between. Its claim must be over. Raises `Unavailable`, perhaps
        half done: call again."""
        while await self.errand(lambda connection: (self._forget(connection, device), [])):
            pass
        self._failed = {key: failed for key, failed in self._failed.items() if key[0] != device}

    async def empty_log(self) -> bool:
        """Whether the write-ahead log was folded into the file and is empty: else a reader still needs it."""
        return await self.errand(lambda connection: (forget.empty_log(connection), []))

    async def probe(self) -> None:
        """Where commits fail: try one that changes nothing, so that it is known when they can go on. Raises
        `Unavailable` while they cannot."""
        await self.errand(self._probe)
        self._note_recovered()

    def counts(self, device: str) -> Counts:
        return self._counts.get(device) or Counts()

    @property
    def samples(self) -> int:
        """Samples ever committed."""
        return sum(counts.samples for counts in self._counts.values())

    @property
    def pruned(self) -> int:
        """Samples ever deleted by retention."""
        return sum(counts.pruned for counts in self._counts.values())

    # ---- on the loop -------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._errands or self._overdue or (self.queued >= COMMIT_RECORDS and not self.trouble):
            self._flush()
        elif self._timer is None:
            window_ms = max(self.window_ms, RETRY_MS) if self.trouble else self.window_ms
            self._timer = asyncio.get_running_loop().call_later(window_ms / 1000, self._window_ended)

    def _window_ended(self) -> None:
        self._timer = None
        self._overdue = self._committing is not None
        self._flush()

    def _flush(self) -> None:
        """Begin with what has waited longest."""
        if not self._waiting or self._committing is not None:
            return
        if isinstance(errand := self._waiting[0], _Errand):
            self._waiting.popleft()
            self._errands -= 1
            work = self._run(errand)
        else:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._overdue = False
            work = self._commit(self._take())
        self._committing = asyncio.create_task(work, name="store-commit")

    def _take(self) -> list[_Append]:
        """The oldest that wait, as many as one commit takes, and none from behind an errand."""
        taken: list[_Append] = []
        records = 0
        while self._waiting and records < COMMIT_RECORDS:
            append = self._waiting[0]
            if isinstance(append, _Errand):
                break
            taken.append(append)
            records += len(append.batch.records)
            self._waiting.popleft()
        return taken

    def _go_on(self) -> None:
        """The thread is free again."""
        self._committing = None
        if self._waiting and not self._closed:
            self._schedule()

    async def _run(self, errand: _Errand) -> None:
        try:
            result, batches = await self._database.run(errand.work)
            if batches:
                self._on_commit(batches)
        except Exception as error:  # the edge of a task: whoever waits must hear of it
            if not isinstance(error, StoreError):
                log.exception("work on the samples failed by a fault of ours")
                error = StoreError(f"fault in the store: {error!r}")
            if not errand.future.done():
                errand.future.set_exception(error)
        else:
            if not errand.future.done():
                errand.future.set_result(result)
        finally:
            self._go_on()

    async def _commit(self, appends: list[_Append]) -> None:
        began = time.perf_counter()
        try:
            await self._attempt(appends)
        except Exception as error:  # the edge of a task: whoever waits must hear of it, and may ask again
            log.exception("a commit could not be told of, by a fault of ours")
            for append in appends:
                _resolve(append.future, Unavailable(f"fault in the store: {error!r}"))
        finally:
            self.last_commit_ms = (time.perf_counter() - began) * 1000
            self.queued -= sum(len(append.batch.records) for append in appends)
            self._go_on()

    async def _attempt(self, appends: list[_Append]) -> None:
        try:
            outcome = await self._database.run(self._write, appends)
        except Unavailable as error:
            self._fail(appends, error)
        except Exception as error:  # the edge of a task: whoever waits must hear of it
            if len(appends) > 1:
                for append in appends:  # one of them is at fault; the others need not suffer
                    await self._attempt([append])
                return
            log.exception("%s: a batch cannot be stored, by a fault of ours", appends[0].batch.device)
            _resolve(appends[0].future, StoreError(f"this batch cannot be stored: {error!r}"))
        else:
            self._succeed(appends, outcome)

    def _succeed(self, appends: list[_Append], outcome: _Outcome) -> None:
        if outcome.written:
            self._note_written()
        if outcome.batches:
            self._on_commit(outcome.batches)
        for append, result in zip(appends, outcome.results, strict=True):
            _resolve(append.future, result)

    def _note_written(self) -> None:
        self.commits += 1
        self._note_recovered()
        if self._failed:
            self._forgive()

    def _note_recovered(self) -> None:
        if self.trouble:
            log.warning("committing again")
            self.trouble = ""

    def _fail(self, appends: list[_Append], error: Unavailable) -> None:
        if not self.trouble:
            log.error("cannot commit, so nothing is acknowledged: %s", error)
        self.trouble = str(error)
        for append in appends:
            self._note_failed(append)
            _resolve(append.future, Unavailable(str(error)))

    def _note_failed(self, append: _Append) -> None:
        if append.batch.records:
            epoch, last = self._failed.get(append.key, (append.epoch, -1))
            self._failed[append.key] = append.epoch, max(append.batch.last, last if epoch == append.epoch else -1)

    def _forgive(self) -> None:
        """Forget failures that were made good, or whose claim is over."""
        for key, (epoch, last) in list(self._failed.items()):
            boot = self._boots.get(key)
            if self._epochs.get(key[0]) != epoch or (boot is not None and boot.through >= last):
                del self._failed[key]

    # ---- in the writer's thread --------------------------------------------------------------------------------

    def _load(self, connection: sqlite3.Connection) -> int:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        if not {"log", "highest_id"} <= meta.keys():
            raise StoreError("samples.db: it lacks its own id")
        self.log_id = str(meta["log"])
        self.restored_ms = meta.get("restored_ms")
        highest = connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0]
        newest = max(int(meta["highest_id"]), int(highest))
        self._next_id = newest + 1
        self._next_boot = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM boots").fetchone()[0]
        self._device_ids = dict(connection.execute("SELECT name, id FROM devices"))
        self._next_device = max(self._device_ids.values(), default=0) + 1
        self._quarantine_kept = dict(connection.execute("SELECT device, count(*) FROM quarantine GROUP BY device"))
        self.untaken = Counter(dict(connection.execute("SELECT outlet, samples FROM untaken")))
        for name, device_id, pruned, *sums in connection.execute(
            "SELECT name, devices.id, devices.pruned,"
            " sum(samples), sum(events), sum(gaps), CAST(total(lost) AS INTEGER), sum(quarantined), count(*),"
            " CAST(total(uncertain) AS INTEGER)"  # total, as sum fails where a device claims to have lost too much
            " FROM boots JOIN devices ON devices.id = boots.device GROUP BY devices.id"
        ):
            counts = Counts(*sums)
            dropped = counts.quarantined - self._quarantine_kept.get(device_id, 0)
            self._counts[name] = msgspec.structs.replace(counts, quarantine_dropped=dropped, pruned=pruned)
        return newest

    def _skip_to(self, connection: sqlite3.Connection, id: int) -> None:
        connection.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'highest_id'", (id,))
        self._next_id = max(self._next_id, id + 1)

    def _write(self, connection: sqlite3.Connection, appends: Sequence[_Append]) -> _Outcome:
        """One transaction. Memory follows only after COMMIT, so that a failure leaves it as the file is."""
        commit, results = self._plan(connection, appends)
        rows = commit.rows
        first_id = self._next_id
        written = any(boot.changed for boot in commit.boots.values())
        if written:
            self._may_commit()
            connection.execute("BEGIN IMMEDIATE")
            _insert(connection, commit, enumerate(rows, first_id))
            kept = self._bound_quarantine(connection, commit.quarantined)
            connection.execute("COMMIT")
            self._remember(commit, kept)
            self._next_id += len(rows)
        return _Outcome(results, [self._batch(row, id) for id, row in enumerate(rows, first_id)], written)

    def _plan(
        self, connection: sqlite3.Connection, appends: Sequence[_Append]
    ) -> tuple[Commit, list[int | StoreError]]:
        """Work the commit out. What can never be stored is left out and gets its error; the others go on."""
        unfit: dict[int, StoreError] = {}
        while True:
            commit = Commit(self.restored_ms)
            results: list[int | StoreError] = []
            for index, append in enumerate(appends):
                if self._epochs.get(append.batch.device) != append.epoch:  # claimed anew while it waited
                    results.append(_fenced(append.batch.device))
                    continue
                boot = commit.boots.get(append.key) or self._boot(connection, append, commit)
                if error := unfit.get(index) or self._behind_failed(append, boot):
                    results.append(error)
                    continue
                try:
                    commit.add(append.batch, boot)
                except StoreError as error:
                    unfit[index] = error
                    break
                results.append(boot.through)
            else:
                commit.note_times()
                return commit, results

    def _behind_failed(self, append: _Append, boot: Boot) -> StoreError | None:
        """The error of an append that would leave a hole only because the one before it failed."""
        if not self._failed or not append.batch.records or append.batch.first <= boot.through + 1:
            return None
        epoch, last = self._failed.get(append.key, (-1, -1))
        if epoch != append.epoch or boot.through >= last:
            return None
        return Unavailable(f"{append.batch.device}: records before these could not be committed; append those first")

    def _restamp(
        self, connection: sqlite3.Connection, key: BootKey, offset_ms: int, now_ms: int
    ) -> tuple[_Restamped, list[Batch]]:
        """One step, one transaction. Memory follows after COMMIT."""
        boot = self._known_boot(connection, key)
        rows, more = restamp.next_rows(connection, boot.id) if boot else ([], False)
        if boot is None or not rows:
            return _Restamped(0, False), []
        self._may_commit()
        connection.execute("BEGIN IMMEDIATE")
        corrections: list[Record] = [*restamp.correct(connection, boot.id, rows, offset_ms)]
        source = Batch(key[0], boot.boot, key[1], (), offset_ms, Quality.CORRECTED, now_ms, profile=rows[-1].profile)
        row = Row(source, boot, corrections, notable=len(corrections))
        boot.note_times(Quality.CORRECTED, offset_ms, restamp.latest_ms(rows, offset_ms))
        boot.last_guess_ms = boot.last_guess_ms if more else None
        connection.execute(_UPSERT_BOOT, _boot_columns(boot))
        connection.execute(_INSERT_BATCH, _columns(self._next_id, row))
        connection.execute("COMMIT")
        self._boots[key] = boot
        self._next_id += 1
        return _Restamped(sum(row.records for row in rows), more), [self._batch(row, self._next_id - 1)]

    def _prune(
        self,
        connection: sqlite3.Connection,
        limits: retention.Limits,
        now_ms: int | None,
        cursors: Mapping[str, int],
    ) -> retention.Pruned:
        pruned = retention.step(connection, limits, now_ms, cursors)
        for device, samples in pruned.samples.items():
            counts = self.counts(device)
            refused = pruned.quarantined[device]
            self._counts[device] = msgspec.structs.replace(
                counts, pruned=counts.pruned + samples, quarantine_dropped=counts.quarantine_dropped + refused
            )
            if refused:
                self._quarantine_kept[self._device_ids[device]] -= refused
        self.untaken.update(pruned.untaken)
        return pruned

    def _forget(self, connection: sqlite3.Connection, device: str) -> bool:
        """One step; whether there may be more. Memory goes with the last one."""
        if forget.step(connection, device):
            return True
        self._boots = {key: boot for key, boot in self._boots.items() if key[0] != device}
        self._quarantine_kept.pop(self._device_ids.pop(device, 0), None)
        self._counts.pop(device, None)
        return False

    def _probe(self, connection: sqlite3.Connection) -> tuple[None, list[Batch]]:
        self._may_commit()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET value = value WHERE key = 'highest_id'")
        connection.execute("COMMIT")
        return None, []

    def _known_boot(self, connection: sqlite3.Connection, key: BootKey) -> Boot | None:
        """A copy of the boot as it is committed; None where nothing of it is."""
        if boot := self._boots.get(key):
            return msgspec.structs.replace(boot)
        row = connection.execute(_SELECT_BOOT, (self._device_ids.get(key[0]), key[1])).fetchone()
        if row:
            self._boots[key] = Boot(*row)
            return Boot(*row)
        return None

    def _boot(self, connection: sqlite3.Connection, append: _Append, commit: Commit) -> Boot:
        """A copy of the boot as it is committed, or a new one."""
        if boot := self._known_boot(connection, append.key):
            return boot
        device, boot_id = append.key
        device_id = self._device_ids.get(device) or commit.new_devices.setdefault(
            device, self._next_device + len(commit.new_devices)
        )
        commit.new_boots += 1
        return Boot(self._next_boot + commit.new_boots - 1, device_id, boot_id, append.batch.boot)

    def _bound_quarantine(self, connection: sqlite3.Connection, added: Iterable[Quarantined]) -> dict[int, int]:
        """Let the oldest rows go where there are too many. Returns how many each device touched has now."""
        kept: dict[int, int] = {}
        for device_id, count in Counter(row.device_id for row in added).items():
            total = self._quarantine_kept.get(device_id, 0) + count
            if total > self._quarantine_rows:
                connection.execute(_DELETE_OLDEST_QUARANTINED, (device_id, total - self._quarantine_rows))
            kept[device_id] = min(total, self._quarantine_rows)
        return kept

    def _remember(self, commit: Commit, quarantine_kept: dict[int, int]) -> None:
        """Take over what was committed."""
        self._device_ids |= commit.new_devices
        self._next_device += len(commit.new_devices)
        self._next_boot += commit.new_boots
        self._quarantine_kept |= quarantine_kept
        for key, boot in commit.boots.items():
            if not boot.changed:
                continue
            old = self._boots.get(key)
            boot.changed = False
            self._boots[key] = boot
            self._counts[key[0]] = self._count(self.counts(key[0]), boot, old)
        while len(self._boots) > KNOWN_BOOTS:
            del self._boots[next(iter(self._boots))]

    def _count(self, counts: Counts, boot: Boot, old: Boot | None) -> Counts:
        """`counts` of a device after `old` (None: a new boot) has become `boot`."""
        before = old or _NOTHING
        quarantined = counts.quarantined + boot.quarantined - before.quarantined
        return Counts(
            samples=counts.samples + boot.samples - before.samples,
            events=counts.events + boot.events - before.events,
            gaps=counts.gaps + boot.gaps - before.gaps,
            lost=counts.lost + boot.lost - before.lost,
            uncertain=counts.uncertain + boot.uncertain - before.uncertain,
            quarantined=quarantined,
            quarantine_dropped=quarantined - self._quarantine_kept.get(boot.device_id, 0),
            committed_boots=counts.committed_boots + (old is None),
            pruned=counts.pruned,
        )

    def _batch(self, row: Row, id: int) -> Batch:
        """The row as readers get it: what is said once per row is that of its first batch."""
        source = row.source
        return Batch(
            device=source.device,
            boot=row.boot.boot,
            boot_id=source.boot_id,
            records=tuple(row.records),
            offset_ms=source.offset_ms,
            quality=source.quality,
            received_ms=source.received_ms,
            cursor=f"{self.log_id}:{id}",
            profile=source.profile,
        )


_NOTHING = Boot(0, 0, "", 0)
_BOOT_COLUMNS = (
    "id, device, boot_id, boot, through, ended, samples, events, gaps, lost, uncertain, quarantined,"
    " zero_ms, last_at_ms, last_guess_ms, restored"
)
_SELECT_BOOT = f"SELECT {_BOOT_COLUMNS} FROM boots WHERE device = ? AND boot_id = ?"  # noqa: S608 - our own names
_UPSERT_BOOT = (
    f"INSERT INTO boots ({_BOOT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names
    " ON CONFLICT (id) DO UPDATE SET through = excluded.through, ended = excluded.ended, samples = excluded.samples,"
    " events = excluded.events, gaps = excluded.gaps, lost = excluded.lost, uncertain = excluded.uncertain,"
    " quarantined = excluded.quarantined, zero_ms = excluded.zero_ms, last_at_ms = excluded.last_at_ms,"
    " last_guess_ms = excluded.last_guess_ms, restored = excluded.restored"
)
_INSERT_BATCH = (
    "INSERT INTO batches (id, device, boot, first, last, at_first_ms, at_last_ms, offset_ms, quality, received_ms,"
    " profile, notable, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_QUARANTINED = (
    "INSERT INTO quarantine (device, boot_id, seq, quantity, value, code, reason, at_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_DELETE_OLDEST_QUARANTINED = (
    "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE device = ? ORDER BY id LIMIT ?)"
)


def _insert(connection: sqlite3.Connection, commit: Commit, rows: Iterable[tuple[int, Row]]) -> None:
    connection.executemany("INSERT INTO devices (name, id) VALUES (?, ?)", commit.new_devices.items())
    connection.executemany(_UPSERT_BOOT, (_boot_columns(boot) for boot in commit.boots.values() if boot.changed))
    connection.executemany(_INSERT_BATCH, (_columns(id, row) for id, row in rows))
    connection.executemany(_INSERT_QUARANTINED, map(msgspec.structs.astuple, commit.quarantined))


def _boot_columns(boot: Boot) -> tuple[object, ...]:
    return msgspec.structs.astuple(boot)[:-1]


def _columns(id: int, row: Row) -> tuple[object, ...]:
    source = row.source
    return (
        id,
        row.boot.device_id,
        row.boot.id,
        row.records[0].seq,
        row.records[-1].last,
        None if row.t_first is None else source.at_ms(row.t_first),
        None if row.t_last is None else source.at_ms(row.t_last),
        source.offset_ms,
        str(source.quality),
        source.received_ms,
        source.profile,
        row.notable,
        encode_records(row.records),
    )


def _resolve(future: asyncio.Future[int], result: int | StoreError) -> None:
    if future.done():  # its caller has gone
        return
    if isinstance(result, int):
        future.set_result(result)
    else:
        future.set_exception(result)


def _fenced(device: str) -> Fenced:
    return Fenced(f"{device}: a newer connection has claimed this device")
