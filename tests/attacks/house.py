"""A whole gateway on loopback, as whoever is outside meets it: both doors, its log, and raw bytes to send to them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from gateway.app import Gateway
from gateway.config import load_config
from gateway.logs import TextLines
from gateway.profile import find_node, load_profile
from tests.gateway.device.door import SUBPROTOCOL, Device

PROFILE = load_profile(find_node("climate-node"))
UPGRADE = (
    "GET / HTTP/1.1",
    "Host: gateway.local:8765",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
)
"""A handshake at the devices' door, all but the token."""


@dataclass
class House:
    """The gateway, and what it writes to its log."""

    gateway: Gateway
    log: io.StringIO
    tokens: dict[str, str] = field(default_factory=dict)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def door(self) -> int:
        """Port of the devices' door."""
        return self.gateway.door.port

    @property
    def page(self) -> int:
        """Port of the people's door."""
        return self.gateway.people.port

    @property
    def bearer(self) -> str:
        """The header of the command line, who may do everything at the people's door."""
        return f"Authorization: Bearer {self.gateway.people.cli_token}"

    async def add(self, device: str) -> str:
        self.tokens[device] = await self.gateway.devices.add(device, PROFILE)
        return self.tokens[device]

    async def enter(self, device: str) -> Device:
        """A board that is connected and welcomed."""
        token = self.tokens.get(device) or await self.add(device)
        options: Any = {"subprotocols": [SUBPROTOCOL], "additional_headers": {"Authorization": f"Bearer {token}"}}
        socket = await connect(f"ws://127.0.0.1:{self.door}", compression=None, proxy=None, **options)
        self._open.push_async_callback(socket.close)
        board = Device(socket, device)
        await board.hello()
        await board.receive("welcome")
        return board

    async def say(self, port: int, data: bytes, *, within_s: float = 10) -> bytes:
        """All that comes back for `data` until the gateway ends the connection, or is quiet for a moment after it
        answered. Fails where it does neither."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            try:
                writer.write(data)
                await writer.drain()
                async with asyncio.timeout(within_s):
                    answer = await reader.read(65_536)
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(0.05):
                            more = await reader.read(65_536)
                        if not more:
                            break
                        answer += more
            except ConnectionError:  # a reset behind the answer, which asyncio keeps to itself then
                answer += bytes(reader._buffer)  # type: ignore[attr-defined]
        finally:
            writer.close()
        return answer

    async def ask(self, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """A request at the people's door by one who is logged in: status and body."""
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", self.bearer, *lines]
        if body:
            head += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        answer = await self.say(self.page, "\r\n".join([*head, "", ""]).encode("latin-1") + body)
        return status_of(answer), answer.partition(b"\r\n\r\n")[2]

    async def counts(self, device: str) -> dict[str, int]:
        _, body = await self.ask(f"/api/devices/{device}")
        counts: dict[str, int] = json.loads(body)["counts"]
        return counts

    async def works(self, board: Device) -> None:
        """An honest board delivers and the page answers, whatever came before; and no fault of ours is in the log."""
        await board.works()
        status, _ = await self.ask("/api/devices")
        assert status == 200
        assert "ERROR" not in self.log.getvalue(), self.log.getvalue()
        assert "Traceback" not in self.log.getvalue(), self.log.getvalue()


def status_of(answer: bytes) -> int:
    """Of the first response in `answer`; 0 where there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def request(*lines: str, end: str = "\r\n") -> bytes:
    return "".join(line + end for line in (*lines, "")).encode("latin-1")


@asynccontextmanager
async def house(state: Path, *settings: str) -> AsyncIterator[House]:
    """A gateway with `settings` ("limits.hello_s=1") other than the usual ones; its broker is away."""
    ours = ("devices.port=0", "people.port=0", "mqtt.away.url=mqtt://127.0.0.1:1", "store.commit_ms=5")
    gateway = Gateway(load_config(None, overrides=[*ours, *settings], environ={}, state=state / "state"))
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(TextLines(colour=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        await gateway.start()
        found = House(gateway, log)
        try:
            yield found
        finally:
            await found._open.aclose()
            await gateway.stop()
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
