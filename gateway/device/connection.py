"""One device's socket and its four tasks: reader, acknowledger, sender, timekeeper. Decides nothing: session.py does.

The reader never waits for the commit of its own frame: it hands batches to the acknowledger, which has one append under
way and makes one batch of what has gathered meanwhile. One at a time, because nothing may overtake a batch that failed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from gateway.clock import Clock
from gateway.device import wire
from gateway.device.listener import DeviceSocket
from gateway.device.session import (
    Answered,
    Append,
    Close,
    Echo,
    Greet,
    Newest,
    Noticed,
    Output,
    Reply,
    Restamp,
    Said,
    Session,
    Sleeps,
    Slow,
    Timed,
)
from gateway.device.stamps import Now
from gateway.device.underway import UnderWay, halves
from gateway.device.wire import CloseCode
from gateway.errors import Fenced, TooLarge, Unavailable
from gateway.model import Batch, Sample
from gateway.presence import ConnectionInfo
from gateway.store.port import Store

if TYPE_CHECKING:
    from gateway.config import Limits

log = logging.getLogger("device")

UNDER_WAY_BYTES: Final = 1 << 18
"""Frames waiting for their commit, in bytes: so many large ones are enough to keep a disk busy."""
OUTGOING_BYTES: Final = 1 << 17
"""What may wait to be sent before the reader waits for the sender."""
DRAIN_S: Final = 1.5
"""How long the end of a connection waits for the commits of what was received ..."""
CLOSE_S: Final = 1.0
"""... and then for the device's half of the closing handshake."""
EXPELLED_S: Final = 0.3
"""Instead of both, where the device's token is not valid any more: it is to be gone within a second."""
RETRY_S: Final = (0.1, 2.0)
"""First and longest wait before a batch is offered to the store again."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connection calls: parts of the gateway, and its server."""

    store: Store
    clock: Clock
    limits: Limits
    greet: Callable[[Connection, wire.Hello], Awaitable[list[Output]]]
    """Looks up what is known of the device and welcomes it."""
    newest: Callable[[Connection, Newest], None]
    answered: Callable[[Connection, Answered], None]
    """A device has answered a command."""
    said: Callable[[Connection, Said], None]
    """A line of a device's log, cleaned."""


class Connection:
    """A device's connection while it lasts."""

    def __init__(self, socket: DeviceSocket, session: Session, info: ConnectionInfo, around: Surroundings) -> None:
        self.socket = socket
        self.session = session
        self.info = info
        self.ended = asyncio.Event()
        """Nothing of it is under way any more; set by the server."""
        self.epoch = 0
        """Given by the store while greeting."""
        self.closing: Close | None = None
        """Why we end it; None while we do not."""
        self._around = around
        self._stall_s = around.limits.ping_s / 2
        self._under_way = UnderWay(frames=around.limits.frames_uncommitted, size_bytes=UNDER_WAY_BYTES)
        self._outgoing: deque[tuple[bytes, bool]] = deque()
        self._outgoing_bytes = 0
        self._frame_bytes = 0
        self._appended = asyncio.Event()
        self._replied = asyncio.Event()
        self._progress = asyncio.Event()
        """Something was committed or sent, or nothing can be sent any more."""
        self._gone = False
        self._broken = False
        self._timetable = asyncio.Event()
        """The session's next tick may have changed."""
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve the device until either side ends the connection. What was received is then committed, if it can be."""
        reader = asyncio.create_task(self._read())
        helpers = [asyncio.create_task(part()) for part in (self._acknowledge, self._send, self._keep_time)]
        reader.add_done_callback(lambda _: self._ending.set())
        for helper in helpers:
            helper.add_done_callback(self._helper_ended)
        try:
            await self._ending.wait()
            await _stop(reader)
            await self._drain()
            if self.socket.state is OPEN:
                self.end(CloseCode.GOING_AWAY)
            await _stop(*helpers)
        except Exception:  # the edge of our tasks: a fault of ours ends this connection and no other
            log.exception("%s: a fault in its connection", self.session.device)
            self.closing = Close(CloseCode.FAULT, wire.CLOSE_REASONS[CloseCode.FAULT])
        finally:
            for task in (reader, *helpers):
                task.cancel()
            await self._close_socket()

    def ended_by(self) -> str:
        """Who ended it and why, for a person."""
        if self.closing is not None:
            return f"{self.closing.code} {self.closing.reason}"
        return wire.clean(f"by the device, {self.socket.close_code} {self.socket.close_reason}", 100).strip()

    def stop(self) -> None:
        """End the connection because the gateway stops: commit and acknowledge what was received, then close."""
        self._ending.set()

    def _helper_ended(self, task: asyncio.Task[None]) -> None:
        """By a fault: then all ends. The sender alone ends when the device has gone: the reader goes on, because frames
        that came before may still be waiting for it."""
        if not task.cancelled() and task.exception() is not None:
            self._broken = True
            self._ending.set()

    def do(self, outputs: list[Output]) -> None:
        """Carry out what the session says, all but what only the reader can wait for."""
        for output in outputs:
            self._do(output)

    def end(self, code: int, reason: str | None = None) -> None:
        """Close the connection from our side."""
        self.do(self.session.close(code, reason=reason))

    def now(self) -> Now:
        return Now(*self._around.clock.both())

    def _do(self, output: Output) -> None:
        match output:
            case Append(batch):
                self._under_way.put(batch, self._frame_bytes)
                self._appended.set()
            case Reply(message):
                if isinstance(message, wire.Error):
                    self.info.errors[message.code] = self.info.errors.get(message.code, 0) + 1
                self._post(wire.encode(message), text=True)
            case Restamp():
                self._under_way.correct(output)
                self._appended.set()
            case Echo(data):
                self._post(data, text=False)
            case Newest():
                self._around.newest(self, output)
            case Answered():
                self._around.answered(self, output)
            case Timed() | Sleeps() | Said() | Noticed():
                self._note(output)
            case Close():
                self.closing = output
                self._ending.set()
            case Greet() | Slow():
                raise TypeError(f"{output} is for the reader")

    def _note(self, output: Timed | Sleeps | Said | Noticed) -> None:
        """What is for people alone."""
        match output:
            case Timed(round_trip_ms, quality):
                self.info.rtt_ms, self.info.quality = round_trip_ms, quality
            case Sleeps(ms):
                self.info.sleep_ms = ms
            case Said(level, text):
                said = replace(output, text=wire.clean(text, wire.MAX_LINE))
                log.log(logging.getLevelNamesMapping()[level.upper()], "%s says: %s", self.session.device, said.text)
                self._around.said(self, said)
            case Noticed(text):
                log.warning("%s: %s", self.session.device, text)

    def _post(self, data: bytes, *, text: bool) -> None:
        self._outgoing.append((data, text))
        self._outgoing_bytes += len(data)
        self._replied.set()

    # The four tasks

    async def _read(self) -> None:
        async for frame in self.socket:
            self._frame_bytes = len(frame)
            self.info.frames += 1
            self.info.bytes_in += len(frame)
            now = self.now()
            self.info.last_seen_ms = now.wall_ms
            for output in self.session.receive(frame, now):
                if isinstance(output, Greet):
                    self.do(await self._around.greet(self, output.hello))
                    self._timetable.set()
                elif isinstance(output, Slow):
                    await asyncio.sleep(output.wait_ms / 1000)
                else:
                    self._do(output)
            while self._under_way.full or (self._outgoing_bytes > OUTGOING_BYTES and not self._gone):
                self._progress.clear()
                await self._progress.wait()

    async def _acknowledge(self) -> None:
        while True:
            while self._under_way.waiting:
                batch = self._under_way.next()
                try:
                    if isinstance(batch, Restamp):
                        await self._correct(batch)
                    else:
                        through = await self._commit(batch)
                except Fenced:
                    self.end(CloseCode.REPLACED)
                    return
                self._under_way.done()
                if isinstance(batch, Batch):
                    self.info.samples += sum(isinstance(record, Sample) for record in batch.records)
                    self.do(self.session.committed(batch.boot, through))
                self._progress.set()
            self._appended.clear()
            await self._appended.wait()

    async def _commit(self, batch: Batch) -> int:
        """Returns once `batch` is on disk."""
        try:
            return await self._stubbornly(lambda: self._around.store.append(self.epoch, batch))
        except TooLarge:
            if len(batch.records) == 1:
                raise
            first, second = halves(batch)
            await self._commit(first)
            return await self._commit(second)

    async def _correct(self, restamp: Restamp) -> None:
        """Returns once what was estimated of a boot is corrected on disk."""
        store, device = self._around.store, self.session.device
        await self._stubbornly(lambda: store.restamp(device, restamp.boot_id, restamp.offset_ms))
        self.session.restamped(restamp.boot_id)

    async def _stubbornly(self, work: Callable[[], Awaitable[int]]) -> int:
        """A store that is unavailable is asked again and again: meanwhile nothing is acknowledged, and soon nothing
        more is read."""
        wait_s, longest_s = RETRY_S
        while True:
            try:
                return await work()
            except Unavailable:
                self.do(self.session.unavailable(self.now()))
                await asyncio.sleep(wait_s * random.uniform(0.5, 1))
                wait_s = min(2 * wait_s, longest_s)

    async def _send(self) -> None:
        while True:
            while self._outgoing:
                data, text = self._outgoing[0]
                try:
                    async with asyncio.timeout(self._stall_s):
                        await self.socket.send(data, text=text)
                except (TimeoutError, ConnectionClosed) as error:
                    if isinstance(error, TimeoutError) and self.socket.state is OPEN:
                        self.end(CloseCode.TOO_SLOW)
                        return
                    self._gone = True  # it may be closing, too, and then nothing is sent any more
                    self._progress.set()
                    return
                self._outgoing.popleft()
                self._outgoing_bytes -= len(data)
                self._progress.set()
            self._replied.clear()
            await self._replied.wait()

    async def _keep_time(self) -> None:
        while True:
            due_ms = self.session.next_tick_ms()
            wait_s = None if due_ms is None else max(0, due_ms - self._around.clock.monotonic_ms()) / 1000
            self._timetable.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._timetable.wait()
            except TimeoutError:
                self.do(self.session.tick(self.now()))

    # The end

    async def _drain(self) -> None:
        """Commit and acknowledge what was received, and send what is to be sent, as long as there is hope."""
        try:
            async with asyncio.timeout(EXPELLED_S if self._is_expelled() else DRAIN_S):
                while not self._hopeless() and (not self._under_way.empty or (self._outgoing and not self._gone)):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            pass

    def _hopeless(self) -> bool:
        return self._broken or (
            self.closing is not None and self.closing.code in (CloseCode.REPLACED, CloseCode.TOO_SLOW)
        )

    def _is_expelled(self) -> bool:
        return self.closing is not None and self.closing.code == CloseCode.NOT_ITS_TOKEN

    async def _close_socket(self) -> None:
        if self.closing is None:  # the device has ended it: the library has answered
            return
        try:
            async with asyncio.timeout(EXPELLED_S if self._is_expelled() else CLOSE_S):
                await self.socket.close(self.closing.code, self.closing.reason)
        except TimeoutError:
            self.socket.transport.abort()


async def _stop(*tasks: asyncio.Task[object]) -> None:
    """Cancel `tasks` and wait for them. Raises what one of them failed with, unless the device simply went away."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed):
            raise outcome
