"""A device of a hundred lines that does what any device must (gateway/device/WIRE.md): it counts what it takes, keeps
it until it is acknowledged, and comes back whatever happens to the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

HARDWARE = "a4cf12b0c3d4"
FRAME_SAMPLES = 20


class ScriptedDevice:
    """`async with` it: it is running then. `taken` samples so far, numbered from 0 in its one boot."""

    def __init__(self, name: str, token: str, port: int, *, period_s: float = 0.01, seed: int = 1) -> None:
        self.name = name
        self.boot_id = f"{seed:016x}"
        self.taken = 0
        self.acked = -1
        """Through this every sample was acknowledged, by `ack` or by `welcome`."""
        self.welcomes = 0
        self.stored_unheard = 0
        """Samples that a `welcome` said are committed and no `ack` had told of."""
        self.away = False
        """It is switched off: takes nothing, is not connected."""
        self.may_forget = False
        """The gateway may have less than it acknowledged: it was restored from a backup."""
        self._token, self._url = token, f"ws://127.0.0.1:{port}"
        self._period_s = period_s
        self._rng = random.Random(seed)
        self._began_s = time.monotonic()
        self._held: deque[tuple[int, int]] = deque()
        """(seq, t in ms)"""
        self._sent = -1
        self._window = 0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def value(seq: int) -> float:
        """Its temperature. A slow one: nothing of it may be refused."""
        return 20 + seq % 1_000 / 1_000

    async def __aenter__(self) -> ScriptedDevice:
        self._tasks = [asyncio.create_task(self._take()), asyncio.create_task(self._stay())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def rest(self) -> None:
        """Take no more samples. What is held is still delivered."""
        self._tasks[0].cancel()
        await asyncio.gather(self._tasks[0], return_exceptions=True)

    def _now_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    async def _take(self) -> None:
        while True:
            if not self.away:
                self._held.append((self.taken, self._now_ms()))
                self.taken += 1
                self._news.set()
            await asyncio.sleep(self._period_s)

    async def _stay(self) -> None:
        """Connected, whenever there is somebody to connect to."""
        headers = {"Authorization": f"Bearer {self._token}"}
        while True:
            while self.away:  # noqa: ASYNC110 - a test sets it
                await asyncio.sleep(0.01)
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    self._url, subprotocols=["mpy-gateway.v1"], additional_headers=headers, compression=None,
                    proxy=None, open_timeout=5, ping_interval=None, close_timeout=0.2,
                ) as socket:  # fmt: skip
                    await self._session(socket)
            await asyncio.sleep(self._rng.uniform(0.01, 0.1))

    async def _session(self, socket: ClientConnection) -> None:
        first = self._held[0][0] if self._held else self.taken
        boot = {"boot": 1, "id": self.boot_id, "first": first, "next": self.taken}
        hello = {"type": "hello", "device": self.name, "hardware": HARDWARE + self.name, "t": self._now_ms()}
        await socket.send(json.dumps({**hello, "boots": [boot]}))
        sender: asyncio.Task[None] | None = None
        try:
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "welcome":
                    self._welcomed(frame)
                    sender = asyncio.create_task(self._send(socket))
                await self._on(socket, frame)
        finally:
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    def _welcomed(self, welcome: dict[str, Any]) -> None:
        self.welcomes += 1
        self._window = welcome["window"]
        committed = welcome["boots"][0]["committed"]
        assert committed >= self.acked or self.may_forget, f"{self.acked} was acknowledged, and {committed} is there"
        self.stored_unheard += max(0, committed - self.acked)
        self._free(committed)
        self._sent = self.acked

    async def _on(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "clock":
                await socket.send(json.dumps({"type": "clock", "id": frame["id"], "t": self._now_ms()}))
            case "ack" if "seq" in frame:
                self._free(frame["seq"])

    def _free(self, through: int) -> None:
        self.acked = max(self.acked, through)
        while self._held and self._held[0][0] <= through:
            self._held.popleft()
        self._news.set()

    async def _send(self, socket: ClientConnection) -> None:
        with contextlib.suppress(OSError, WebSocketException):
            while True:
                frame = self._next_frame()
                if frame is None:
                    self._news.clear()
                    await self._news.wait()
                    continue
                self._sent = frame["seq"] + len(frame["t"]) - 1
                await socket.send(json.dumps(frame))

    def _next_frame(self) -> dict[str, Any] | None:
        room = min(FRAME_SAMPLES, self._window - (self._sent - self.acked))
        rows = [row for row in self._held if self._sent < row[0] <= self._sent + room]
        if not rows:
            return None
        values = {"temperature": [self.value(seq) for seq, _ in rows]}
        return {"type": "samples", "boot": 1, "seq": rows[0][0], "t": [t for _, t in rows], "values": values}
