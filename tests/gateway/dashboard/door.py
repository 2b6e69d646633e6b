"""A people's door on a free port with the real store behind it, one device, and clients with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.clock import HandClock
from gateway.command.dispatch import Dispatcher
from gateway.config import Limits, PeopleConfig
from gateway.dashboard.server import PeopleServer
from gateway.model import Batch, Command, Quality, Record, Result, Sample, Status
from gateway.presence import ConnectionInfo, Presence
from gateway.profile import Profile, find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.history import History
from gateway.store.sqlite import SqliteStore
from tests.gateway.command.answering import answering

BOOT_ID = "9f3c11d2c01b6a55"
T0_MS = 1_790_000_000_000


def climate_profile() -> Profile:
    return load_profile(find_node("climate-node"))


def batch(
    *records: Record,
    device: str = "greenhouse",
    boot: int = 17,
    boot_id: str = BOOT_ID,
    offset_ms: int = T0_MS,
    quality: Quality = Quality.SYNCED,
) -> Batch:
    return Batch(device, boot, boot_id, records, offset_ms, quality, received_ms=offset_ms + 999)


def sample(seq: int, **values: float) -> Sample:
    """Taken every second."""
    return Sample(seq, seq * 1000, values or {"temperature": 20 + seq / 100})


@dataclass
class Answer:
    """A response as it came over the socket."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Door:
    """A people's door to start, and ways to knock. `commit` and `connect` stand for what a device does."""

    def __init__(
        self,
        state: Path,
        *,
        queue_bytes: int = 4 << 20,
        tls: ssl.SSLContext | None = None,
        limits: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.store = SqliteStore(state, commit_ms=1)
        self.devices = Devices(self.store, lambda: T0_MS)
        self.history = History(self.store)
        self.presence = Presence()
        self.clock = HandClock(wall_ms=T0_MS + 60_000)
        self.commands: list[Command] = []
        self.dispatcher = Dispatcher(self.store, self.clock)
        self._epochs: dict[str, int] = {}
        self.server = PeopleServer(
            PeopleConfig(**{"port": 0} | config),
            Limits.model_construct(**dict(Limits()) | {"feed_queue_bytes": queue_bytes} | (limits or {})),
            self.store,
            self.history,
            self.devices,
            self.presence,
            self.dispatcher,
            self.clock,
            gateway_id="gw-test",
            state=state,
            dismiss=self.store.dismiss_notice,
            extra_status=lambda: {"brokers": {"embedded": {"connected": True}}, "store": self.store.stats()},
            tls=tls,
        )

    async def start(self) -> None:
        await self.store.open()
        if await self.devices.get("greenhouse") is None:
            await self.devices.add("greenhouse", climate_profile())
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop()
        await self.dispatcher.stop()
        await self.store.close()

    # what a device does

    async def commit(self, *batches: Batch) -> None:
        for device in {b.device for b in batches} - self._epochs.keys():
            self._epochs[device] = await self.store.claim(device, "test")
        await asyncio.gather(*(self.store.append(self._epochs[b.device], b) for b in batches))

    async def connect(self, **figures: Any) -> ConnectionInfo:
        """A board called greenhouse comes; it does everything it is told, but never restarts."""
        epoch = self._epochs["greenhouse"] = await self.store.claim("greenhouse", "test")
        info = ConnectionInfo("greenhouse", epoch, "192.168.1.17:51234", T0_MS, node="climate-node", **figures)

        async def obey(command: Command) -> Result:
            self.commands.append(command)
            if command.name == "restart":
                return Result(command.id, Status.FAILED, error_code="busy", error_text="not now")
            return Result(command.id, Status.DONE, {"uptime_ms": 81234})

        answering(self.dispatcher, self.store, "greenhouse", epoch, obey)
        self.presence.connected(info)
        return info

    # what people do

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.cli_token}"}

    async def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: Any = None
    ) -> Answer:
        """One request on a connection of its own. No redirect is followed."""

        def in_thread() -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
            content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            typed = {} if content is None else {"Content-Type": "application/json"}
            try:
                connection.request(method, path, content, typed | (headers or {}))
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            finally:
                connection.close()

        return await asyncio.to_thread(in_thread)

    async def log_in(self) -> dict[str, str]:
        """Headers of a browser that used a link."""
        answer = await self.ask(self.server.one_time_link().removeprefix(self.server.url))
        assert answer.status == 303, answer.body
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    def feed(self, headers: dict[str, str] | None = None, **options: Any) -> connect:
        """`async with door.feed() as socket`, as the command line does it."""
        url = self.server.url.replace("http", "ws") + "/api/live"
        return connect(url, additional_headers=headers or self.bearer, max_size=None, compression=None, **options)

    async def open_feed_status(self, headers: dict[str, str]) -> int:
        """What an upgrade to the live feed is answered with, as a browser would ask; 101 where it is accepted."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        upgrade = {
            "Host": f"127.0.0.1:{self.server.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        lines = [f"{name}: {value}\r\n" for name, value in (upgrade | headers).items()]
        writer.write(f"GET /api/live HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status


@contextlib.asynccontextmanager
async def open_door(state: Path, **options: Any) -> AsyncIterator[Door]:
    door = Door(state, **options)
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


async def messages(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """The feed's messages, one by one."""
    async for frame in socket:
        for message in json.loads(frame):
            yield message


async def next_of(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next message of one of these types; others of the same frame are passed over."""
    async for message in messages(socket):
        if message["type"] in kinds:
            return message
    raise AssertionError(f"the feed ended without {kinds}")


async def close_code(socket: ClientConnection) -> int | None:
    """Read until the end, and say how it ended."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass
    return socket.close_code
