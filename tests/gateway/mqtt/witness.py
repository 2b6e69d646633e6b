"""A broker of a few lines that counts what reaches it, and answers every message as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from tests.programs import free_port

QUOTA_EXCEEDED, NOT_AUTHORIZED, IMPLEMENTATION_SPECIFIC, TAKEN_OVER, TOO_LARGE = 0x97, 0x87, 0x83, 0x8E, 0x95


class Witness(asyncio.Protocol):
    """One connection. It keeps everything over its own deaths, and never forgets: so what it counts is what the bridge
    sent."""

    def __init__(self, world: WitnessBroker) -> None:
        self.world = world
        self.buffer = b""
        self.v5 = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.world.connections.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.world.connections.remove(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.transport.is_closing() and (packet := self._next()):
            self.world.packet(self, *packet)

    def _next(self) -> tuple[int, bytes] | None:
        if (bounds := varint(self.buffer, 1)) is None:
            return None
        start, length = bounds
        if len(self.buffer) < start + length:
            return None
        first, body = self.buffer[0], self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        return first, body

    def puback(self, mid: bytes, reason: int = 0) -> None:
        self.transport.write(b"\x40\3" + mid + bytes((reason,)) if self.v5 else b"\x40\2" + mid)

    def disconnect(self, reason: int) -> None:
        """As MQTT 5 does, with a reason."""
        self.transport.write(b"\xe0\1" + bytes((reason,)))
        self.transport.close()


class WitnessBroker:
    """See `Witness`. `ack` decides about every PUBLISH by its topic (and, where it takes two, its payload): acknowledge
    (True), keep silent (None), close (False), refuse with a reason (0x80 and more), or end the session with a reason
    (negative). `version` is the one it speaks, None: 3.1.1, and not a word to those who speak another."""

    def __init__(self, *, version: int | None = 4, receive_maximum: int | None = None) -> None:
        self.connections: list[Witness] = []
        self.published: list[tuple[str, bytes]] = []
        """What it took, or was told to keep silent about."""
        self.offered: list[tuple[str, bytes]] = []
        """All that reached it."""
        self.connects: list[bytes] = []
        self.pending: list[tuple[Witness, bytes]] = []
        self.most_pending = 0
        self.ack: Callable[[str], int | None] = lambda topic: True
        self.version = version
        self.receive_maximum = receive_maximum
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def __aenter__(self) -> WitnessBroker:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Witness(self), "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for connection in list(self.connections):
            connection.transport.abort()

    def packet(self, connection: Witness, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 1:
            self._connect(connection, body)
        elif kind == 3:
            self._publish(connection, body)
        elif kind == 8:
            connection.transport.write(
                b"\x90\4" + body[:2] + b"\0\1" if connection.v5 else b"\x90\3" + body[:2] + b"\1"
            )
        elif kind == 12:
            connection.transport.write(b"\xd0\0")

    def _connect(self, connection: Witness, body: bytes) -> None:
        self.connects.append(body)
        level = body[6]
        if self.version is None and level == 5:
            connection.transport.close()  # some say nothing to a version they do not know
        elif self.version == level == 5:
            connection.v5 = True
            properties = b"" if self.receive_maximum is None else b"\x21" + self.receive_maximum.to_bytes(2, "big")
            connack = b"\0\0" + bytes((len(properties),)) + properties
            connection.transport.write(b"\x20" + bytes((len(connack),)) + connack)
        elif level == 4 and self.version != 5:
            connection.transport.write(b"\x20\x02\0\0")
        else:
            connection.transport.write(b"\x20\x02\0\1")
            connection.transport.close()

    def _publish(self, connection: Witness, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        topic, mid, payload = body[2:end].decode(), body[end : end + 2], body[end + 2 :]
        if connection.v5:
            bounds = varint(payload, 0)
            assert bounds
            payload = payload[sum(bounds) :]
        self.offered.append((topic, payload))
        verdict = self.ack(topic)
        if verdict is True or verdict is None:
            self.published.append((topic, payload))
        if verdict is True:
            connection.puback(mid)
        elif verdict is None:
            self.pending.append((connection, mid))
            self.most_pending = max(self.most_pending, len(self.pending))
        elif verdict is False:
            connection.transport.abort()
        elif verdict < 0:
            connection.disconnect(-verdict)
        else:
            connection.puback(mid, verdict)

    def samples(self) -> list[tuple[str, int]]:
        """(boot_id, seq) of everything on `samples`, in the order it came."""
        found = [json.loads(payload) for topic, payload in self.published if topic.endswith("/samples")]
        return [(message["boot_id"], seq) for message in found for seq in message["seq"]]

    def published_devices(self) -> list[str]:
        """The devices of everything on `samples`."""
        return [topic.split("/")[-2] for topic, _ in self.published if topic.endswith("/samples")]

    def newest(self, topic: str) -> bytes | None:
        """Payload that came last on `topic`."""
        return next((payload for found, payload in reversed(self.published) if found == topic), None)

    def release(self) -> None:
        """Acknowledge what is pending, newest first."""
        for connection, mid in reversed(self.pending):
            connection.puback(mid)
        self.pending.clear()


def varint(data: bytes, start: int) -> tuple[int, int] | None:
    """(where what follows begins, the number) of MQTT's variable byte integer."""
    number = 0
    for index, byte in enumerate(data[start : start + 4]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return start + index + 1, number
    return None


def log_only(topic: str) -> bool:
    return topic.endswith("/samples")
