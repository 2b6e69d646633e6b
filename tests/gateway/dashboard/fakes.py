"""A store and a device registry in memory, and a people's door on a free port with clients that use real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.clock import HandClock
from gateway.config import PeopleConfig
from gateway.dashboard.server import PeopleServer
from gateway.errors import Unavailable
from gateway.model import Batch, Event, Gap, Quality, Record, Refused, Result, Sample, Status
from gateway.profile import Profile, find_node, load_profile
from gateway.store.port import Entry

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


class FakeStore:
    """The store's port, as far as the people's door uses it, in memory. `commit` stands for what devices bring."""

    def __init__(self) -> None:
        self.log: list[Batch] = []
        self.values: dict[str, bytes] = {}
        self.broken = False
        self.more = asyncio.Event()

    def commit(self, *batches: Batch) -> None:
        self.log += batches
        self.more.set()

    async def read(self, cursor: str, *, device: str | None = None, limit: int = 100) -> list[Batch]:
        if self.broken:
            raise Unavailable("the disk is full")
        await asyncio.sleep(0)  # a real store gives way to others here
        start = int(cursor or "0")
        some = self.log[start : start + limit]
        return [
            Batch(b.device, b.boot, b.boot_id, b.records, b.offset_ms, b.quality, b.received_ms, str(start + i + 1))
            for i, b in enumerate(some)
        ]

    async def end(self) -> str:
        return str(len(self.log))

    async def wait(self, cursor: str, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self.log) <= int(cursor or "0"):
                    self.more.clear()
                    await self.more.wait()
        return len(self.log) > int(cursor or "0")

    async def put(self, key: str, value: bytes) -> int:
        self.values[key] = value
        return 1

    async def delete(self, key: str, revision: int | None = None) -> bool:
        return self.values.pop(key, None) is not None

    async def list(self, prefix: str) -> list[Entry]:
        return [Entry(key, value, 1) for key, value in sorted(self.values.items()) if key.startswith(prefix)]


@dataclass
class FakeInfo:
    id: str
    node: str
    profile_hash: str
    hardware: str | None = None
    added_ms: int = T0_MS
    last_seen_ms: int | None = None


class FakeDevices:
    def __init__(self) -> None:
        self.profiles: dict[str, Profile] = {}
        self.infos: dict[str, FakeInfo] = {}

    def add(self, device: str, profile: Profile) -> None:
        self.profiles[profile.hash] = profile
        self.infos[device] = FakeInfo(device, profile.node.name, profile.hash)

    async def list(self) -> list[FakeInfo]:
        return list(self.infos.values())

    async def get(self, device: str) -> FakeInfo | None:
        return self.infos.get(device)

    async def profile(self, profile_hash: str) -> Profile | None:
        return self.profiles.get(profile_hash)


@dataclass
class FakeCounts:
    samples: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    quarantined: int = 0
    committed_boots: int = 1


@dataclass
class Row:
    """A row of quarantine or events."""

    at_ms: int
    boot_id: str
    seq: int
    code: str
    quantity: str | None = None
    value: str = ""
    reason: str = ""
    sensor: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


class FakeHistory:
    """Answers from the log of a `FakeStore`."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store

    def _records(self, device: str) -> list[tuple[Batch, Record]]:
        return [(b, record) for b in self.store.log if b.device == device for record in b.records]

    async def latest(self, device: str) -> dict[str, tuple[int, float, Quality]]:
        await asyncio.sleep(0)
        latest: dict[str, tuple[int, float, Quality]] = {}
        for b, record in self._records(device):
            if isinstance(record, Sample):
                latest |= {name: (b.at_ms(record.t_ms), value, b.quality) for name, value in record.values.items()}
        return latest

    async def counts(self, device: str) -> FakeCounts:
        await asyncio.sleep(0)
        counts = FakeCounts()
        for _, record in self._records(device):
            counts.samples += isinstance(record, Sample)
            counts.events += isinstance(record, Event)
            counts.gaps += isinstance(record, Gap)
            counts.quarantined += len(record.refused) if isinstance(record, Sample) else isinstance(record, Refused)
            counts.lost += (record.count or record.at_most or 0) if isinstance(record, Gap) else 0
        return counts

    async def samples(
        self, device: str, quantities: Sequence[str] | None, from_ms: int, to_ms: int, max_points: int
    ) -> dict[str, dict[str, list[Any]]]:
        columns: dict[str, dict[str, list[Any]]] = {}
        for b, record in self._records(device):
            if isinstance(record, Sample) and from_ms <= b.at_ms(record.t_ms) <= to_ms:
                for name, value in record.values.items():
                    if quantities is None or name in quantities:
                        column = columns.setdefault(name, {"at_ms": [], "value": []})
                        column["at_ms"].append(b.at_ms(record.t_ms))
                        column["value"].append(value)
        return columns

    async def quarantine(self, device: str, limit: int) -> list[Row]:
        return [
            Row(b.at_ms(record.t_ms), b.boot_id, record.seq, r.code, r.quantity, r.value, r.reason)
            for b, record in reversed(self._records(device))
            if isinstance(record, Sample)
            for r in record.refused
        ][:limit]

    async def events(self, device: str, limit: int) -> list[Row]:
        return [
            Row(b.at_ms(record.t_ms), b.boot_id, record.seq, record.code, sensor=record.sensor, data=record.data)
            for b, record in reversed(self._records(device))
            if isinstance(record, Event)
        ][:limit]


@dataclass
class FakeConnection:
    device: str
    node: str = "climate-node"
    address: str = "192.168.1.17:51234"
    firmware: str = "0.1.0"
    since_ms: int = T0_MS
    last_seen_ms: int = T0_MS + 500
    frames: int = 1
    bytes_in: int = 100
    samples: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    rate: float = 0.0
    rtt_ms: float | None = None
    quality: Quality | None = None


@dataclass
class FakeChange:
    device: str
    latest: tuple[int, dict[str, float]] | None = None


class FakePresence:
    def __init__(self) -> None:
        self.connections: dict[str, FakeConnection] = {}
        self.changes: asyncio.Queue[FakeChange] = asyncio.Queue()

    def connected(self, connection: FakeConnection) -> None:
        self.connections[connection.device] = connection
        self.changes.put_nowait(FakeChange(connection.device))

    def disconnected(self, device: str) -> None:
        del self.connections[device]
        self.changes.put_nowait(FakeChange(device))

    def latest(self, device: str, at_ms: int, values: dict[str, float]) -> None:
        self.changes.put_nowait(FakeChange(device, (at_ms, values)))

    def get(self, device: str) -> FakeConnection | None:
        return self.connections.get(device)

    def all(self) -> list[FakeConnection]:
        return list(self.connections.values())

    async def watch(self) -> AsyncIterator[FakeChange]:
        while True:
            yield await self.changes.get()


class FakeDispatcher:
    """Answers as the connected device would."""

    def __init__(self, presence: FakePresence) -> None:
        self.presence = presence
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    async def send(self, device: str, name: str, args: dict[str, Any], timeout_s: float) -> Result:
        self.sent.append((device, name, args))
        if self.presence.get(device) is None:
            return Result("c1", Status.FAILED, error_code="device.offline", error_text="not connected")
        if name == "restart":
            return Result("c2", Status.FAILED, error_code="busy", error_text="not now")
        return Result("c3", Status.DONE, {"uptime_ms": 81234})


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
    """A running people's door, and ways to knock."""

    def __init__(self, state: Path, *, store: FakeStore | None = None, queue_bytes: int = 4 << 20, **config: Any):
        self.store = store or FakeStore()
        self.history = FakeHistory(self.store)
        self.devices = FakeDevices()
        self.devices.add("greenhouse", climate_profile())
        self.presence = FakePresence()
        self.dispatcher = FakeDispatcher(self.presence)
        self.clock = HandClock(wall_ms=T0_MS + 60_000)
        self.server = PeopleServer(
            PeopleConfig(port=config.pop("port", 0), **config),
            self.store,  # type: ignore[arg-type]  # as much of each part as the door uses
            self.history,  # type: ignore[arg-type]
            self.devices,  # type: ignore[arg-type]
            self.presence,  # type: ignore[arg-type]
            self.dispatcher,  # type: ignore[arg-type]
            self.clock,
            gateway_id="gw-test",
            state=state,
            extra_status=lambda: {"brokers": {"embedded": {"connected": True}}, "store": {"commits": 3}},
            feed_queue_bytes=queue_bytes,
        )

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
        link = self.server.one_time_link()
        answer = await self.ask(link.removeprefix(self.server.url))
        assert answer.status == 303, answer.body
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    def feed(self, headers: dict[str, str] | None = None, **options: Any) -> connect:
        """`async with door.feed() as socket`, as the command line does it."""
        url = self.server.url.replace("http", "ws") + "/api/live"
        return connect(url, additional_headers=headers or self.bearer, max_size=None, compression=None, **options)


@contextlib.asynccontextmanager
async def open_door(state: Path, **options: Any) -> AsyncIterator[Door]:
    door = Door(state, **options)
    await door.server.start()
    try:
        yield door
    finally:
        await door.server.stop()


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
    try:
        async for _ in socket:
            pass
    except ConnectionClosed:
        pass
    return socket.close_code
