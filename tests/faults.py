"""A bad network between two programs: a TCP proxy on loopback, in a thread of its own, whose faults are commanded.

    with FaultProxy(gateway_port) as proxy:
        ...  # connect to proxy.port
        proxy.cut("rst")

Faults hold for connections that stand and for those to come, until `heal()`; `cut`, `half_open` and `duplicate` happen
once, to those that stand. Nothing is ever changed or left out within a stream that stays up: that is TCP's promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Literal

_READ_BYTES = 16384
_RECORDED_BYTES = 1 << 20
_PIECE_S = 0.05
"""A slow line gives what it has every so often."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s: close() sends RST


class FaultProxy:
    """Carries `port` (free, if 0) to `target_port` on 127.0.0.1. All methods may be called from any thread."""

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self.faults: Counter[str] = Counter()
        """How often each fault was commanded."""
        self.accepted_s: list[float] = []
        """time.monotonic() of each connection that was accepted."""
        self.given_up_s: list[float] = []
        """... and of each that the client itself closed."""
        self.up_bytes = self.down_bytes = 0
        self._target = ("127.0.0.1", target_port)
        self._listener = _listener(port)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes_per_s = 0
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._accepting: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fault proxy {self.port}", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    # Faults.

    def cut(self, how: Literal["rst", "fin"] = "rst") -> None:
        """End every connection, on both sides."""
        self._call(self._cut(how))

    def stall(self) -> None:
        """From now on nothing passes, though everything stays open; new connections are accepted, and stall too."""
        self._call(self._stall())

    def half_open(self, gone: Literal["gateway", "board"] = "gateway") -> None:
        """One side goes: its connections are reset, while the other side's stay open, silent for ever."""
        self._call(self._half_open(gone))

    def slow(self, bytes_per_s: int) -> None:
        """So many bytes a second in each direction, in small pieces."""
        self._call(self._slow(bytes_per_s))

    def delay(self, seconds: float) -> None:
        """Everything arrives so much later."""
        self._call(self._delay(seconds))

    def duplicate(self) -> None:
        """Each connection is made a second time: all that the client has said on it so far is said to the target
        again, on a connection of its own, whose answers nobody reads."""
        self._call(self._duplicate())

    def refuse(self) -> None:
        """Cut, and refuse new connections (the port is closed)."""
        self._call(self._refuse())

    def heal(self) -> None:
        """No fault any more. What was cut stays cut."""
        self._call(self._heal())

    def retarget(self, target_port: int) -> None:
        """New connections go to another port."""
        self._target = ("127.0.0.1", target_port)

    @property
    def connections(self) -> int:
        """That stand, whole or half."""
        return len(self._connections)

    # Inside; all of it on the proxy's own loop.

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._listener.fileno() < 0:
            self._listener = _listener(self.port)
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted_s.append(time.monotonic())
            task = asyncio.create_task(self._carry(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, client: socket.socket) -> None:
        client.setblocking(False)
        try:
            await self._flowing.wait()
            target = await self._connect()
        except OSError:  # nobody listens there: what the client sees is a refusal, a moment late
            _reset(client)
            return
        connection = _Connection(client, target)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(connection, client, target))
                pumps.create_task(self._pump(connection, target, client))
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _connect(self) -> socket.socket:
        target = socket.socket()
        target.setblocking(False)
        try:
            await self._loop.sock_connect(target, self._target)
        except OSError:
            target.close()
            raise
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return target

    async def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        """One direction, until its source ends; then the other side hears of it."""
        upwards = source is connection.client
        while True:
            try:
                data = await self._loop.sock_recv(source, _READ_BYTES)
            except OSError:
                data = b""
            if upwards and not data and not connection.ended:
                self.given_up_s.append(time.monotonic())
            if connection.silent:
                if not data:
                    return
                continue
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            if upwards:
                self.up_bytes += len(data)
                connection.record(data)
            else:
                self.down_bytes += len(data)
            try:
                await self._pass(connection, data, sink)
            except OSError:
                with contextlib.suppress(OSError):
                    source.shutdown(socket.SHUT_RDWR)
                return

    async def _pass(self, connection: _Connection, data: bytes, sink: socket.socket) -> None:
        while data:
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            size = len(data)
            if self._bytes_per_s:
                size = max(1, int(self._bytes_per_s * _PIECE_S))
                await asyncio.sleep(_PIECE_S)
            await self._flowing.wait()
            if connection.silent:
                return
            await self._loop.sock_sendall(sink, data[:size])
            data = data[size:]

    async def _cut(self, how: str) -> None:
        self.faults[f"cut.{how}"] += 1
        for connection in tuple(self._connections):
            connection.cut(how)

    async def _stall(self) -> None:
        self.faults["stall"] += 1
        self._flowing.clear()

    async def _half_open(self, gone: str) -> None:
        self.faults[f"half_open.{gone}"] += 1
        for connection in tuple(self._connections):
            connection.silent = True
            connection.ended = gone == "board"
            _abort(connection.target if gone == "gateway" else connection.client)

    async def _slow(self, bytes_per_s: int) -> None:
        self.faults["slow"] += 1
        self._bytes_per_s = bytes_per_s

    async def _delay(self, seconds: float) -> None:
        self.faults["delay"] += 1
        self._delay_s = seconds

    async def _duplicate(self) -> None:
        self.faults["duplicate"] += 1
        for connection in tuple(self._connections):
            task = asyncio.create_task(self._repeat(bytes(connection.said)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _repeat(self, said: bytes) -> None:
        with contextlib.suppress(OSError):
            target = await self._connect()
            with target:
                await self._loop.sock_sendall(target, said)
                while await self._loop.sock_recv(target, _READ_BYTES):
                    pass

    async def _refuse(self) -> None:
        self.faults["refuse"] += 1
        await self._close_door()
        for connection in tuple(self._connections):
            connection.cut("rst")

    async def _heal(self) -> None:
        self._bytes_per_s, self._delay_s = 0, 0.0
        self._flowing.set()
        if self._accepting is None:
            await self._listen()

    async def _close_door(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None
        self._listener.close()

    async def _end(self) -> None:
        await self._close_door()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _Connection:
    def __init__(self, client: socket.socket, target: socket.socket) -> None:
        self.client, self.target = client, target
        self.silent = False
        """What arrives is dropped: one side has gone, and the other is not told."""
        self.ended = False
        """The client's end was closed by a fault."""
        self.said = bytearray()

    def record(self, data: bytes) -> None:
        if len(self.said) + len(data) <= _RECORDED_BYTES:
            self.said += data

    def cut(self, how: str) -> None:
        self.ended = True
        for end in (self.client, self.target):
            if how == "rst":
                _abort(end)
            else:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.client.close()
        self.target.close()


def _abort(end: socket.socket) -> None:
    """The other side gets a reset now; our own reader sees the end, and closes."""
    with contextlib.suppress(OSError):
        # connect() to AF_UNSPEC ends a TCP connection with RST at once, and leaves the descriptor to its readers.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        _disconnect(end)


def _disconnect(end: socket.socket) -> None:
    unspecified = struct.pack("H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None, use_errno=True).connect(end.fileno(), unspecified, len(unspecified))


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    listener.setblocking(False)
    return listener
