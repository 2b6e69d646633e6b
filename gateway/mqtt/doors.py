"""The doors of the embedded broker: one client each, from its first byte to its last. They ask for the login (gate.py),
translate 3.1.1 (v311.py), and hand on to rumqttd."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from gateway.logs import clean
from gateway.mqtt import v311
from gateway.mqtt.gate import Gate, Login, Visit, Who

CONNECT_WITHIN_S = 10
"""For TLS, and then for the CONNECT."""
FIRST_BYTES = 128 * 1024
"""Of a connection that has not logged in yet, beyond one chunk."""
TELL_EVERY_S = 60
MOST_TOLD = 200

Translate = Callable[[int, bytes], bytes]


class Refusals:
    """Says what was refused, each kind of an address once in a while."""

    def __init__(self, say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now_s = now_s
        self._told_s: dict[tuple[str, str], float] = {}

    def tell(self, kind: str, address: str, sentence: str) -> None:
        now_s = self._now_s()
        told_s = self._told_s.get((kind, address))
        if told_s is None or now_s - told_s >= TELL_EVERY_S:
            if len(self._told_s) >= MOST_TOLD:
                self._told_s.clear()
            self._told_s[kind, address] = now_s
            self._say(f"{address}: {sentence}")


class Tls:
    """The certificate of the doors, and the same when it was renewed: new handshakes show the new one."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._read_ns = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        if trouble := self.renew():
            raise ValueError(trouble)

    def renew(self) -> str:
        """Read the files again if they have changed. Returns why that was not possible; the old one is shown on."""
        try:
            changed_ns = self._certificate.stat().st_mtime_ns
            if changed_ns != self._read_ns:
                self.context.load_cert_chain(self._certificate, self._key, password="")
                self._read_ns = changed_ns
        except OSError as error:  # ssl.SSLError is one
            return f"{self._certificate} cannot be used: {error.strerror or error}"
        return ""


class Door:
    """Takes clients of both versions. 3.1.1 is translated on the way, MQTT 5 only looked at."""

    CHUNK_BYTES: Final = 65_536

    def __init__(
        self,
        upstream: tuple[str, int],
        inner: Login,
        gate: Gate,
        refusals: Refusals,
        max_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._upstream = upstream
        self._inner = inner
        self._gate = gate
        self._refusals = refusals
        self._max_bytes = max_bytes
        self._tls = tls

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first byte to its last."""
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        visit = self._gate.enter(address)
        try:
            if visit is None:
                self._refusals.tell("many", address, "refused: too many connections")
            else:
                await self._serve(reader, writer, visit)
        except (v311.Malformed, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client's doing, or it is gone: MQTT 3.1.1 has nothing to say but closing (4.8)
        finally:
            if visit:
                visit.leave()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, visit: Visit) -> None:
        splitter = v311.Splitter(self._max_bytes)
        async with asyncio.timeout(CONNECT_WITHIN_S):
            if self._tls:
                await writer.start_tls(self._tls)
            packets = await self._first_packets(reader, splitter)
        (first, body), *others = packets
        level = v311.protocol_level(first, body)
        if level not in (4, 5):
            writer.write(v311.refused_connack(level, v311.WRONG_VERSION))
            return await writer.drain()
        connect = v311.connect(first, body)
        who, refused = await self._admitted(connect, visit.address)
        visit.known()
        if refused:
            writer.write(v311.refused_connack(level, refused))
            return await writer.drain()
        there = self._checked(who, visit.address, v311.upgraded if level == 4 else v311.passed)
        broker_reader, broker_writer = await asyncio.open_connection(*self._upstream)
        try:
            inner = self._inner.username.encode(), self._inner.password.encode()
            own = connect.rebuilt(*inner, reserved=who is Who.GATEWAY)
            broker_writer.write(own + b"".join(there(*packet) for packet in others))
            await _both(
                _translate(reader, splitter, there, broker_writer),
                _translate(broker_reader, v311.Splitter(2 * self._max_bytes), v311.downgraded, writer)
                if level == 4
                else _copy(broker_reader, writer),
            )
        finally:
            broker_writer.close()

    async def _first_packets(self, reader: asyncio.StreamReader, splitter: v311.Splitter) -> list[tuple[int, bytes]]:
        """The first packet, which must be a CONNECT, and what has come behind it."""
        while data := await reader.read(self.CHUNK_BYTES):
            packets = list(splitter.packets(data))
            rest = splitter.rest()
            first = packets[0][0] if packets else rest[0]
            if first >> 4 != v311.CONNECT or (not packets and len(rest) > FIRST_BYTES):
                break
            if packets:
                return packets
        raise v311.Malformed("something other than MQTT")

    async def _admitted(self, connect: v311.Connect, address: str) -> tuple[Who, int]:
        """Who that is, and 0, or the reason to refuse them with."""
        gate = self._gate
        who = gate.who(connect.username, connect.password)
        if who is not Who.GATEWAY and not gate.may_try(address):
            return who, v311.TOO_MANY
        if who is Who.NOBODY:
            self._refusals.tell("login", address, "refused: it does not have the login of broker.username")
            await self._delay(address)
            return who, v311.NOT_AUTHORIZED if connect.username is None else v311.WRONG_LOGIN
        gate.welcome(address)
        if connect.will_topic and not gate.may_publish(who, connect.will_topic):
            self._tell_topic(address, connect.will_topic)
            return who, v311.NOT_AUTHORIZED
        return who, 0

    async def _delay(self, address: str) -> None:
        delay_s = self._gate.refusing(address, time.monotonic_ns() // 1_000_000)
        try:
            await asyncio.sleep(delay_s)
        finally:
            self._gate.refused(address)

    def _checked(self, who: Who, address: str, translate: Translate) -> Translate:
        """What only the gateway publishes goes nowhere where others send it."""

        def checked(first: int, body: bytes) -> bytes:
            if first >> 4 == v311.PUBLISH and not self._gate.may_publish(who, topic := v311.published_topic(body)):
                self._tell_topic(address, topic)
                first, body = v311.nowhere(first, body)
            return translate(first, body)

        return checked

    def _tell_topic(self, address: str, topic: bytes) -> None:
        name = clean(topic.decode(errors="replace"), 100)
        self._refusals.tell("topic", address, f"a message to {name} is dropped: only the gateway publishes there")


async def _both(*directions: Coroutine[Any, Any, None]) -> None:
    """Run both directions until one of them ends."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(Door.CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _translate(
    reader: asyncio.StreamReader, splitter: v311.Splitter, translate: Translate, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(Door.CHUNK_BYTES):
        writer.write(b"".join(translate(*packet) for packet in splitter.packets(data)))
        await writer.drain()
