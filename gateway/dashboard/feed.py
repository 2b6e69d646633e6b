"""The live feed, shell: one reader of the store for all browsers, and one task per browser that sends.

The reader is an outlet like any other: it reads on from a cursor, so that nothing can be skipped. A browser is attached
first and given its snapshot second; what was committed in between comes as a change, maybe twice, never not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway import __version__
from gateway.dashboard.live import Live, Outbox
from gateway.dashboard.messages import (
    CommandMessage,
    CountsMessage,
    DeviceMessage,
    HeartbeatMessage,
    LogMessage,
    RemovedMessage,
    SnapshotMessage,
    StatusMessage,
)
from gateway.dashboard.shapes import Panel, command_row
from gateway.dashboard.view import View
from gateway.errors import StoreError
from gateway.model import CommandRecord, Quality

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.presence import LogLine, Presence
    from gateway.store.devices import DeviceInfo
    from gateway.store.port import Store

log = logging.getLogger("feed")

FRAME_S = 0.05
"""Shortest time between two frames to one browser: 20 a second."""
IDLE_S = 1.0
"""How often the store is looked at while nobody watches: only the newest values are kept up."""
HEARTBEAT_S = 2.0
SEND_S = 10.0
"""A browser that takes no frame for so long is too slow."""
FRAME_BYTES = 256 * 1024
"""A frame is sent once it has reached this size, whatever still waits."""
QUEUE_BYTES = 16 * 1024 * 1024
"""What may wait for one browser; enough for 200 boards that come back at once. Browsers share what they wait for."""
READ_BATCHES = 64
RETRY_S = 1.0

GOING_AWAY, FAULT, TRY_LATER, TOO_SLOW, SESSION_ENDED = 1001, 1011, 1013, 4006, 4401


class Socket(Protocol):
    """A browser's open WebSocket."""

    async def send(self, text: str) -> bool:
        """Put a frame on its way; waits while the browser reads nothing. False: the browser has gone."""

    async def closed(self) -> None:
        """Returns when the browser has gone."""

    def close(self, code: int, reason: str) -> None:
        """Begin closing. Never waits, for a browser that reads nothing would never let it end."""


class Browser:
    """One open feed. `ended` gets the close code and the reason, once."""

    def __init__(self, socket: Socket, still_welcome: Callable[[], bool], queue_bytes: int) -> None:
        self.socket = socket
        self.still_welcome = still_welcome
        self.outbox = Outbox(queue_bytes)
        self.news = asyncio.Event()
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def put(self, messages: Iterable[bytes]) -> None:
        self.outbox.put(messages)
        self.news.set()
        if self.outbox.too_slow:
            self.end(TOO_SLOW, "too slow")

    def end(self, code: int, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result((code, reason))


class Feed:
    """Start, then `serve` every browser until it goes; `stop` sends all of them away."""

    def __init__(
        self,
        store: Store,
        view: View,
        live: Live,
        presence: Presence,
        clock: Clock,
        *,
        gateway_id: str,
        panel: Callable[[], Panel],
        commands: Callable[[], AsyncIterator[CommandRecord]],
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self._store = store
        self._view = view
        self._live = live
        self._presence = presence
        self._clock = clock
        self._gateway_id = gateway_id
        self._panel = panel
        self._commands = commands
        self._panel_told: Panel | None = None
        self._queue_bytes = queue_bytes
        self._browsers: set[Browser] = set()
        self._watched = asyncio.Event()
        self._encode = msgspec.json.Encoder().encode
        self._known: dict[str, DeviceInfo] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def browsers(self) -> int:
        """How many watch."""
        return len(self._browsers)

    async def start(self) -> None:
        cursor = await self._store.end()
        self._known = {info.id: info for info in await self._view.infos()}
        self._presence.hear(self._heard)
        for part in (self._read_store(cursor), self._watch_presence(), self._watch_commands(), self._beat()):
            task = asyncio.create_task(part)
            task.add_done_callback(self._part_ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Every browser is told that the gateway goes away; their tasks end by themselves."""
        self._end_all(GOING_AWAY, "the gateway stops")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def forget(self, device: str) -> None:
        """`device` is no more: nothing of it is shown, also where a new one has its name at once."""
        self._publish()  # what is before it stays before it
        self._known.pop(device, None)
        self._view.forget(device)
        self._live.tell(RemovedMessage(device))
        self._publish()

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """A fault of ours must not look like a quiet day: whoever watches is sent away."""
        if task.cancelled():
            return
        log.error("the live feed has failed", exc_info=task.exception())
        self._end_all(FAULT, "a fault of the gateway")
        for other in self._tasks:
            other.cancel()

    def _end_all(self, code: int, reason: str) -> None:
        for browser in self._browsers:
            browser.end(code, reason)

    # one task per browser

    async def serve(self, socket: Socket, still_welcome: Callable[[], bool]) -> None:
        """Send the snapshot, then the changes, until the browser goes, is too slow, or is not welcome any more."""
        browser = Browser(socket, still_welcome, self._queue_bytes)
        self._browsers.add(browser)  # before the snapshot is made: what is committed meanwhile waits in its outbox
        self._watched.set()
        gone = asyncio.create_task(socket.closed())
        sender = asyncio.create_task(self._send(browser))
        try:
            await asyncio.wait((gone, sender, browser.ended), return_when=asyncio.FIRST_COMPLETED)
            if browser.ended.done():
                socket.close(*browser.ended.result())
        finally:
            self._browsers.discard(browser)
            for task in (gone, sender):
                task.cancel()
            for outcome in await asyncio.gather(gone, sender, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("a browser's feed has failed", exc_info=outcome)

    async def _send(self, browser: Browser) -> None:
        """Send for ever, or until the browser is gone or has ended."""
        try:
            frame = await self._snapshot()
        except StoreError as error:
            log.warning("no snapshot for a browser: %s", error)
            browser.end(TRY_LATER, "the store cannot be read")
            return
        full = False
        while True:
            try:
                async with asyncio.timeout(SEND_S):
                    if not await browser.socket.send(frame.decode()):
                        return
            except TimeoutError:
                browser.end(TOO_SLOW, "too slow")
                return
            if not full:
                await asyncio.sleep(FRAME_S)
            while not browser.outbox:
                browser.news.clear()
                await browser.news.wait()
            frame = browser.outbox.take(FRAME_BYTES)
            full = bool(browser.outbox)  # then the next one goes at once

    async def _snapshot(self) -> bytes:
        devices = [await self._view.device(info) for info in await self._view.infos()]
        message = SnapshotMessage(self._gateway_id, __version__, self._clock.wall_ms(), devices)
        return b"[" + self._encode(message) + b"," + self._encode(_status(self._panel())) + b"]"

    # what there is to tell

    def _publish(self) -> None:
        """Give everybody what has been taken in since the last time, encoded once."""
        messages = self._live.take()
        if not messages or not self._browsers:
            return
        encoded = [self._encode(message) for message in messages]
        for browser in self._browsers:
            browser.put(encoded)

    async def _read_store(self, cursor: str) -> None:
        while True:
            try:
                batches = await self._store.read(cursor, limit=READ_BATCHES)
                if not batches:
                    await self._store.wait(cursor, HEARTBEAT_S)
                    continue
            except StoreError as error:
                log.warning("the store cannot be read, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            for batch in batches:
                self._live.committed(batch)
            cursor = batches[-1].cursor
            self._publish()
            await (self._pause() if len(batches) < READ_BATCHES else asyncio.sleep(0))

    async def _pause(self) -> None:
        """Let more come together: a frame's time while somebody watches, longer while nobody does."""
        if self._browsers:
            await asyncio.sleep(FRAME_S)
            return
        self._watched.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._watched.wait(), IDLE_S)

    async def _watch_presence(self) -> None:
        async for change in self._presence.watch():
            if change.latest is not None:
                at_ms, values = change.latest
                quality = change.connection and change.connection.quality
                now_ms = self._clock.wall_ms()
                self._live.provisional(change.device, at_ms, values, quality or Quality.ESTIMATED, now_ms)
            self._live.tell(self._view.presence(change.device))
            self._publish()

    def _heard(self, device: str, line: LogLine) -> None:
        if self._browsers:
            self._live.tell(LogMessage(device, line.at_ms, line.uptime_ms, line.level, line.text))
            self._publish()

    async def _watch_commands(self) -> None:
        async for record in self._commands():
            self._live.tell(CommandMessage(record.device, command_row(record)))
            self._publish()

    def look_again(self) -> None:
        """Somebody may have lost the right to be here: who has is sent away now."""
        for browser in [b for b in self._browsers if not b.still_welcome()]:
            browser.end(SESSION_ENDED, "the session has ended")

    async def _beat(self) -> None:
        """Every two seconds: who is registered, how connections and counts stand, and that we are alive."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.look_again()  # sessions and tokens end by time, too
            if self._browsers:
                try:
                    await self._tell_devices()
                    await self._tell_counts()
                except StoreError as error:
                    log.warning("the store cannot be read: %s", error)
                for row in self._view.connections():
                    self._live.tell(self._view.presence(row.device))
                if (panel := self._panel()) != self._panel_told:
                    self._panel_told = panel
                    self._live.tell(_status(panel))
            self._live.tell(HeartbeatMessage(self._clock.wall_ms()))
            self._publish()

    async def _tell_devices(self) -> None:
        """Devices that were added, changed or removed, maybe by another process."""
        now = {info.id: info for info in await self._view.infos()}
        for info in now.values():
            before = self._known.get(info.id)
            if before is None or _identity(before) != _identity(info):
                self._live.tell(DeviceMessage(info.id, await self._view.device(info)))
        for device in self._known.keys() - now.keys():
            self._view.forget(device)
            self._live.tell(RemovedMessage(device))
        self._known = now

    async def _tell_counts(self) -> None:
        for device in sorted(self._live.take_counted()):
            self._live.tell(CountsMessage(device, await self._view.counts(device)))


def _status(panel: Panel) -> StatusMessage:
    return StatusMessage(panel.notices, panel.store, panel.brokers, panel.door)


def _identity(info: DeviceInfo) -> tuple[str, str, str | None]:
    """What makes a device another one on the page; when it was last seen does not."""
    return info.node, info.profile_hash, info.hardware
