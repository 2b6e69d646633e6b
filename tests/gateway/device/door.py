"""The devices' door on a free port with a real store, and devices to knock at it: real sockets, real SQLite."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import DevicesConfig, Limits
from gateway.device.server import DeviceServer
from gateway.model import Batch, Record
from gateway.presence import ConnectionInfo, Presence
from gateway.store.devices import Devices
from gateway.store.history import History
from gateway.store.sqlite import SqliteStore
from tests.nodes import plain_profile

SUBPROTOCOL = "mpy-gateway.v1"
PROFILE = plain_profile()
BOOT_ID = "9f3c11d2c01b6a55"
HARDWARE = "a4cf12b0c3d4"


class Door:
    """A device server with everything behind it."""

    def __init__(
        self, server: DeviceServer, store: Any, devices: Devices, presence: Presence, dispatcher: Dispatcher
    ) -> None:
        self.server = server
        self.store = store
        self.devices = devices
        self.presence = presence
        self.history = History(store)
        self.dispatcher = dispatcher
        self.tokens: dict[str, str] = {}
        self._open = AsyncExitStack()

    @property
    def url(self) -> str:
        return self.server.url

    async def add(self, device: str) -> str:
        self.tokens[device] = await self.devices.add(device, PROFILE)
        return self.tokens[device]

    async def knock(self, device: str = "greenhouse", **options: Any) -> Device:
        """Connected, nothing said yet."""
        if device not in self.tokens:
            await self.add(device)
        headers = {"Authorization": f"Bearer {self.tokens[device]}"}
        socket = await connect(
            self.url, subprotocols=[SUBPROTOCOL], additional_headers=headers, compression=None, proxy=None, **options
        )
        self._open.push_async_callback(socket.close)
        return Device(socket, device)

    async def enter(self, device: str = "greenhouse", **hello: Any) -> Device:
        """Connected and welcomed."""
        knocked = await self.knock(device)
        await knocked.hello(**hello)
        knocked.welcome = await knocked.receive("welcome")
        return knocked

    def info(self, device: str = "greenhouse") -> ConnectionInfo:
        """Its counters. It must be connected."""
        found = self.presence.get(device)
        assert found is not None, f"{device} is not connected"
        return found

    async def batches(self, device: str | None = None) -> list[Batch]:
        """All that is committed."""
        found: list[Batch] = []
        while more := await self.store.read(found[-1].cursor if found else "", device=device):
            found += more
        return found

    async def records(self, device: str | None = None) -> list[Record]:
        return [record for batch in await self.batches(device) for record in batch.records]

    async def close(self) -> None:
        await self._open.aclose()


class Device:
    """A device as a test plays it."""

    def __init__(self, socket: ClientConnection, device: str) -> None:
        self.socket = socket
        self.device = device
        self.welcome: dict[str, Any] = {}
        self.seen: list[dict[str, Any]] = []
        """All frames received, in order."""

    async def send(self, frame: dict[str, Any] | str | bytes) -> None:
        await self.socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def hello(self, **changes: Any) -> None:
        await self.send({**hello(self.device), **changes})

    async def samples(self, seq: int, *values: Any, boot: int = 1, **changes: Any) -> None:
        """One sample per value of the temperature, a second apart."""
        times = [1000 * (seq + place) for place in range(len(values))]
        frame = {"type": "samples", "boot": boot, "seq": seq, "t": times, "values": {"temperature": list(values)}}
        await self.send({**frame, **changes})

    async def receive(self, kind: str, *, timeout_s: float = 10) -> dict[str, Any]:
        """The next frame of that type; others are skipped."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                self.seen.append(frame)
                if frame["type"] == kind:
                    return frame

    async def error(self) -> str:
        code: str = (await self.receive("error"))["code"]
        return code

    async def acked(self, seq: int, boot: int = 1) -> None:
        """Wait until all through `seq` is acknowledged."""
        while True:
            ack = await self.receive("ack")
            if ack.get("boot") == boot and ack["seq"] >= seq:
                assert ack["seq"] == seq
                return

    async def closed(self, *, timeout_s: float = 10) -> tuple[int, str]:
        """Wait for the end; its close code and reason."""
        async with asyncio.timeout(timeout_s):
            try:
                while True:
                    frame = await self.socket.recv()
                    if isinstance(frame, str):
                        self.seen.append(json.loads(frame))
            except ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")

    async def works(self) -> None:
        """A sample goes in, an ack comes out: the next one after those before."""
        committed = max([ack["seq"] for ack in self.seen if ack["type"] == "ack" and "seq" in ack], default=-1)
        await self.samples(committed + 1, 20)
        await self.acked(committed + 1)


def hello(device: str) -> dict[str, Any]:
    boots = [{"boot": 1, "id": BOOT_ID, "first": 0, "next": 1_000_000}]
    return {"type": "hello", "device": device, "hardware": f"{HARDWARE}-{device}", "boots": boots}


@asynccontextmanager
async def open_door(
    directory: Path,
    *,
    store_class: type[SqliteStore] = SqliteStore,
    clock: Clock | None = None,
    tls: ssl.SSLContext | None = None,
    **limits: Any,
) -> AsyncIterator[Door]:
    """A door with `limits` other than the usual ones."""
    store = store_class(directory, commit_ms=5)
    await store.open()
    try:
        devices, presence = Devices(store), Presence()
        config = DevicesConfig(port=0)
        dispatcher = Dispatcher(store, clock or Clock())
        server = DeviceServer(
            config,
            Limits(**limits),
            store,
            devices,
            presence,
            dispatcher,
            clock or Clock(),
            gateway_id="gw-test",
            tls=tls,
        )
        await server.start()
        door = Door(server, store, devices, presence, dispatcher)
        try:
            yield door
        finally:
            await door.close()
            await server.stop()
            await dispatcher.stop()
    finally:
        await store.close()
