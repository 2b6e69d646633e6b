"""Commands from whoever asks (page, MQTT, command line) to the connection that holds the device, and results back.

ledger.py decides, shelf.py has the disk; this has both done in order, delivers, and tells who asked. What is on disk
comes first: `sent` is written before a command goes out, and a result is acknowledged to the device when it is
written. Per device one task, the pump, does all of that, one after the other. One process has the ledger (the store's
lock sees to that), so a plain `put` is decision enough; what changes together for one device shares a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from gateway.clock import Clock
from gateway.command.changes import Changes
from gateway.command.ledger import (
    ANSWER_GRACE_S,
    MOST_OPEN,
    Ledger,
    Line,
    Turn,
    command_of,
    failed,
    new_id,
)
from gateway.command.shelf import Shelf
from gateway.device import wire
from gateway.device.stamps import Now
from gateway.errors import NoHolder, StoreError
from gateway.model import CommandRecord, CommandState, Result, Status
from gateway.store.devices import Devices
from gateway.store.port import Store

log = logging.getLogger("command")

RETRY_S: Final = (0.1, 2.0)
"""First and longest wait before what could not be written is written again."""
LOOK_EVERY_S: Final = 1.0
"""Deadlines are looked at this often at least while commands are open: the machine may have slept."""
HUNG_S: Final = 10
"""How much longer than a command can take whoever asked waits for a disk that does not answer at all."""
STOP_S: Final = 1.0
"""For the last writes at a clean stop."""

Work: TypeAlias = Sequence[tuple[Line, CommandState]]


class Dispatcher:
    """Sends commands. Every one of them ends in exactly one `Result`, whatever becomes of the device and of us."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._shelf = Shelf(store)
        self._devices = Devices(store)
        self._clock = clock
        self._ledgers: dict[str, Ledger] = {}
        self._added_ms: dict[str, int] = {}
        """When the device of each ledger was registered: removed and made anew it is another one."""
        self._holders: dict[str, int] = {}
        """Epoch of the connection of each device that is there now."""
        self._asking: dict[str, asyncio.Future[Result]] = {}
        """Who waits for the end of a command, by its id."""
        self._acknowledge: dict[str, Callable[[], None]] = {}
        """What tells the device that its result is on disk, by the command's id."""
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._unhealthy: set[str] = set()
        """Devices whose ledger could not be written; said once in the log."""
        self._changes: weakref.WeakSet[Changes] = weakref.WeakSet()
        self._time = asyncio.Event()
        """The next deadline may have changed."""
        self._tasks: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Load what an earlier process left. Called before the first device is let in. Raises StoreError."""
        async with self._starting:
            if self._tasks or self._stopped:
                return
            watch = self._store.watch("device/")  # from before the look at the devices, so that no removal is missed
            await self._load()
            self._tasks = [
                asyncio.create_task(self._keep_time(), name="command-time"),
                asyncio.create_task(self._watch_devices(watch), name="command-devices"),
            ]

    async def stop(self) -> None:
        """End what somebody here waits for: they hear it now or never. The rest is for the next process."""
        self._stopped = True
        for ledger in self._ledgers.values():
            for line in ledger.opened():
                if line.record.id in self._asking:
                    ledger.turn(line, Turn.STOPPED, self._now())
            self._kick(ledger)
        if self._pumps:
            await asyncio.wait(self._pumps.values(), timeout=STOP_S)
        tasks = [*self._tasks, *self._pumps.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def send(
        self,
        device: str,
        name: str,
        args: Mapping[str, Any] | None = None,
        timeout_s: float = 10,
        asked_by: str = "api",
    ) -> Result:
        """Ask `device` to carry out `name`, to be begun within `timeout_s`: it waits that long for a device that is not
        connected. Returns when the command has ended, `ANSWER_GRACE_S` after that at the latest. What goes wrong is in
        the result. Whoever gives up waiting (cancels) leaves the command as it is.

        Codes: `device.unknown`, `device.removed`, `command.invalid`, `command.busy`, `command.expired`,
        `command.unanswered`, `gateway.stopped`, `store.unavailable`, and those of the device."""
        command_id = new_id()
        try:
            ledger = await self._open(device, command_id, name, args or {}, timeout_s, asked_by)
        except _Refused as refused:
            log.info("%s %s: refused: %s", device, wire.clean(name, 40), refused.result.error_text)
            return refused.result
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asking[command_id] = ended
        self._kick(ledger)
        self._time.set()
        try:
            async with asyncio.timeout(timeout_s + ANSWER_GRACE_S + HUNG_S):
                return await ended
        except TimeoutError:
            return Result(command_id, Status.UNKNOWN, {}, "store.unavailable", "the gateway's disk does not answer")
        finally:
            self._asking.pop(command_id, None)

    def recent(self, device: str) -> list[CommandRecord]:
        """Newest first: what is open, and the last that have ended."""
        ledger = self._ledgers.get(device)
        return ledger.recent() if ledger else []

    def changes(self) -> AsyncIterator[CommandRecord]:
        """Commands that are new, sent or ended, from now on. Coalesced per id, and bounded."""
        changes = Changes()
        self._changes.add(changes)
        return changes

    # What the device server tells

    def connected(self, device: str, epoch: int) -> None:
        """`device` is served from now on by the connection with that epoch: it gets what is still valid."""
        self._holders[device] = epoch
        if ledger := self._ledgers.get(device):
            ledger.connected()
            self._kick(ledger)

    def disconnected(self, device: str, epoch: int) -> None:
        if self._holders.get(device) == epoch:
            del self._holders[device]

    def answered(self, device: str, result: Result, acknowledge: Callable[[], None]) -> None:
        """A result has come. `acknowledge` is called once it is on disk, or at once where it ends nothing."""
        ledger = self._ledgers.get(device)
        line = ledger.get(result.id) if ledger else None
        if ledger is None or line is None:
            acknowledge()
        elif ledger.answered(result, self._now()) or not line.saved:
            self._acknowledge[result.id] = acknowledge
            self._kick(ledger)
        else:
            acknowledge()

    async def forget(self, device: str) -> None:
        """End its commands, and keep nothing of them."""
        pump = self._pumps.get(device)
        cleaning = self._forget_if_made_anew(device, None)
        if pump is not None:
            await asyncio.wait([pump])
        if cleaning is not None:
            await asyncio.wait([cleaning])

    # Opening

    async def _open(
        self, device: str, command_id: str, name: str, args: Mapping[str, Any], timeout_s: float, asked_by: str
    ) -> Ledger:
        try:
            name = msgspec.convert(name, wire.Name)
            args = msgspec.convert(dict(args), wire.Flat)
            await self.start()
            info = await self._devices.get(device)
        except msgspec.ValidationError as error:
            raise _Refused(failed(command_id, "command.invalid", f"not a command: {error}")) from None
        except StoreError as error:
            raise _Refused(failed(command_id, "store.unavailable", str(error))) from None
        if self._stopped:
            raise _Refused(failed(command_id, "gateway.stopped", "the gateway stops; nothing was sent"))
        if info is None:
            raise _Refused(failed(command_id, "device.unknown", f"there is no device {wire.clean(device, 40)}"))
        self._forget_if_made_anew(device, info.added_ms)
        ledger = self._ledgers.setdefault(device, Ledger(device))
        self._added_ms[device] = info.added_ms
        timeout_ms = int(timeout_s * 1000)
        line = ledger.open(command_id, name, dict(args), timeout_ms=timeout_ms, asked_by=asked_by, now=self._now())
        if line is None:
            text = f"{MOST_OPEN} commands are waiting for this device already"
            raise _Refused(failed(command_id, "command.busy", text))
        return ledger

    # The pump: one per device while there is something to write or to deliver

    def _kick(self, ledger: Ledger) -> None:
        if ledger.device not in self._pumps and self._ledgers.get(ledger.device) is ledger:
            pump = asyncio.create_task(self._pump(ledger), name=f"command-{ledger.device}")
            self._pumps[ledger.device] = pump

    async def _pump(self, ledger: Ledger) -> None:
        wait_s, longest_s = RETRY_S
        try:
            while work := self._work(ledger):
                if await self._turn(ledger, work):
                    wait_s = RETRY_S[0]
                else:
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, longest_s)
        except Exception:  # the edge of a task: the next change of this ledger starts another
            log.exception("%s: a fault in its commands", ledger.device)
        finally:
            if self._pumps.get(ledger.device) is asyncio.current_task():
                del self._pumps[ledger.device]

    def _work(self, ledger: Ledger) -> Work:
        """What is to be done now, in the order asked for: lines, and the state that must be on disk for each first."""
        work = {line.number: (line, line.record.state) for line in ledger.unsaved()}
        if ledger.device in self._holders:
            for line in ledger.to_deliver(self._now()):
                work[line.number] = line, CommandState.SENT
        return [work[number] for number in sorted(work)]

    async def _turn(self, ledger: Ledger, work: Work) -> bool:
        """Write, then act on what was written. False where nothing could be written."""
        writing = [(line, state) for line, state in work if line.on_disk is not state]
        outcomes = await asyncio.gather(
            *(self._write(ledger, line, state) for line, state in writing), return_exceptions=True
        )
        trouble = ""
        for (line, state), outcome in zip(writing, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                trouble = str(outcome)
                if line.on_disk is None and line.open:  # nothing goes out that is not written
                    ledger.turn(line, Turn.REFUSED, self._now())
            elif outcome is not None:
                raise outcome
            else:
                line.on_disk = state
        self._note_trouble(ledger.device, trouble)
        for line, state in work:
            if line.open and state is CommandState.SENT and line.on_disk is state:
                await self._deliver(ledger, line)
            elif not line.open and (line.saved or trouble):
                self._ended(line)
            if line.on_disk is not None:
                self._tell(line.record)
        return not trouble

    async def _write(self, ledger: Ledger, line: Line, state: CommandState) -> None:
        await self._shelf.put(ledger.device, line.place, line.kept(state, self._now()))

    async def _deliver(self, ledger: Ledger, line: Line) -> None:
        """Onto the connection, if it is still there and there is still time."""
        now = self._now()
        if line.delivered or line.left_ms(now) <= 0:
            return
        try:
            await self._store.send(ledger.device, command_of(line, now))
        except NoHolder:  # it is going; the next one will be told of with `connected`
            self._holders.pop(ledger.device, None)
            return
        line.delivered = True
        ledger.turn(line, Turn.SENT, now)

    def _ended(self, line: Line) -> None:
        """Tell who asked, and, once it is on disk, the device. The asker does not wait for a disk in trouble."""
        record = line.record
        waiting = self._asking.pop(record.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(line.result())
        if line.saved:
            if acknowledge := self._acknowledge.pop(record.id, None):
                acknowledge()
            took_ms = (record.ended_ms or record.asked_ms) - record.asked_ms
            text = f": {record.error_text} ({record.error_code})" if record.error_code else ""
            log.info("%s %s: %s after %d ms%s", record.device, record.name, record.state, took_ms, text)

    def _note_trouble(self, device: str, trouble: str) -> None:
        if trouble and device not in self._unhealthy:
            log.warning("%s: its commands cannot be written down: %s", device, trouble)
            self._unhealthy.add(device)
        elif not trouble:
            self._unhealthy.discard(device)

    def _tell(self, record: CommandRecord) -> None:
        for changes in self._changes:
            changes.tell(record)

    # Time, and removed devices

    async def _keep_time(self) -> None:
        while True:
            now = self._now()
            dues_ms = []
            for ledger in self._ledgers.values():
                if ledger.overdue(now):
                    self._kick(ledger)
                if (due_ms := ledger.next_due_ms()) is not None:
                    dues_ms.append(due_ms)
            wait_s = min(LOOK_EVERY_S, max(0, min(dues_ms) - now.monotonic_ms) / 1000) if dues_ms else None
            self._time.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._time.wait()

    async def _watch_devices(self, watch: AsyncIterator[Any]) -> None:
        async for change in watch:
            device = (change if isinstance(change, str) else change.key).removeprefix("device/")
            try:
                info = await self._devices.get(device)
            except StoreError as error:
                log.warning("%s: whether it was removed cannot be looked up: %s", device, error)
                continue
            self._forget_if_made_anew(device, info.added_ms if info else None)

    def _forget_if_made_anew(self, device: str, added_ms: int | None) -> asyncio.Task[None] | None:
        """Where `device` is not any more what it was (None: gone), end its commands and forget them; the task cleans up
        on disk."""
        ledger = self._ledgers.get(device)
        if ledger is None or self._added_ms[device] == added_ms:
            return None
        del self._ledgers[device], self._added_ms[device]
        if pump := self._pumps.pop(device, None):
            pump.cancel()
        for line in ledger.opened():
            ledger.turn(line, Turn.REMOVED, self._now())
            line.on_disk = line.record.state  # it goes as a whole
            self._ended(line)
            self._tell(line.record)
        cleaning = asyncio.create_task(self._shelf.clear(device), name=f"command-clean-{device}")
        self._tasks.append(cleaning)
        cleaning.add_done_callback(self._tasks.remove)
        return cleaning

    async def _load(self) -> None:
        for device, kept in (await self._shelf.all()).items():
            info = await self._devices.get(device)
            if info is None:
                await self._shelf.clear(device)
                continue
            ledger = self._ledgers[device] = Ledger(device)
            self._added_ms[device] = info.added_ms
            ledger.load(kept, self._now())

    def _now(self) -> Now:
        return Now(self._clock.monotonic_ms(), self._clock.wall_ms(), self._clock.wall_trusted())


class _Refused(Exception):
    """A command that is not begun. It stands in no ledger."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.error_text)
        self.result = result
