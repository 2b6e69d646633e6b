"""Memory and speed of the embedded broker: is its child as large after a million messages as after the first ones?

    python -m tests.bench.broker [--messages N] [--bytes B] [--devices D] [--subscriber 3.1.1|5|none] [--report FILE]

One publisher (MQTT 5, QoS 1, properties as the bridge has them, 90 under way) and one subscriber (QoS 1), both as small
as possible and in this process, so that the figures are the broker's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.config import BrokerConfig
from gateway.mqtt import v311
from gateway.mqtt.embedded import MAX_PACKET_BYTES, EmbeddedBroker
from gateway.mqtt.outflow import WINDOW

LAG = 10_000
"""Messages the publisher may be ahead of the subscriber: this measures the broker, not what a slow reader misses."""


class Client:
    """Sends and splits packets; nothing more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.splitter = v311.Splitter(2 * MAX_PACKET_BYTES)

    @classmethod
    async def connect(cls, port: int, name: bytes, level: int) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        properties = b"\0" if level == 5 else b""
        head = b"\0\4MQTT" + bytes((level,)) + b"\2\0\x3c" + properties
        client.writer.write(v311.packet(v311.CONNECT << 4, head, len(name).to_bytes(2, "big"), name))
        await client.packets()
        return client

    async def packets(self) -> list[tuple[int, bytes]]:
        """What has arrived, at least something."""
        data = await self.reader.read(1 << 16)
        if not data:
            raise ConnectionError("the broker has closed the connection")
        return list(self.splitter.packets(data))

    def close(self) -> None:
        self.writer.close()


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


class Run:
    """One measurement."""

    def __init__(self, broker: EmbeddedBroker, options: argparse.Namespace) -> None:
        self.broker, self.options = broker, options
        self.sent = self.acked = self.received = 0
        self.moved, self.subscribed = asyncio.Event(), asyncio.Event()
        self.rss_bytes: dict[str, int] = {}

    async def subscriber(self, client: Client, level: int) -> None:
        client.writer.write(v311.packet(0x82, b"\0\1", b"\0" if level == 5 else b"", text(b"bench/+/samples"), b"\1"))
        await client.packets()
        self.subscribed.set()
        while True:
            acks = bytearray()
            for first, body in await client.packets():
                if first >> 4 == v311.PUBLISH:
                    self.received += 1
                    mid = 2 + int.from_bytes(body[:2], "big")
                    acks += v311.packet(v311.PUBACK << 4, body[mid : mid + 2])
            client.writer.write(acks)
            self.moved.set()

    async def acknowledgements(self, client: Client) -> None:
        while True:
            self.acked += sum(first >> 4 == v311.PUBACK for first, _ in await client.packets())
            self.moved.set()

    async def publisher(self, client: Client) -> None:
        payload = b"x" * self.options.bytes
        user = b"".join(
            b"\x26" + text(key) + text(value) for key, value in ((b"schema", b"1"), (b"boot_id", b"9" * 16))
        )
        quarter = max(1, self.options.messages // 4)
        topics = [text(b"bench/device-%d/samples" % number) for number in range(self.options.devices)]
        while self.sent < self.options.messages:
            while self.sent - self.acked < WINDOW and self.sent < self.options.messages and not self._too_far_ahead():
                mid = (self.sent % 65_535 + 1).to_bytes(2, "big")
                topic = topics[self.sent % len(topics)]
                client.writer.write(v311.packet(0x32, topic, mid, bytes((len(user),)), user, payload))
                self.sent += 1
                if self.sent % quarter == 0:
                    self.note(f"{25 * (self.sent // quarter)}%")
            await client.writer.drain()
            self.moved.clear()
            await self.moved.wait()
        while self.acked < self.sent or (self.options.subscriber != "none" and self.received < self.sent):
            self.moved.clear()
            async with asyncio.timeout(30):
                await self.moved.wait()

    def _too_far_ahead(self) -> bool:
        return self.options.subscriber != "none" and self.sent - self.received > LAG

    def note(self, when: str) -> None:
        self.rss_bytes[when] = self.broker.rss_bytes()
        print(f"{when:>5}: {self.broker.rss_bytes() / 1e6:6.1f} MB", flush=True)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        broker = EmbeddedBroker(BrokerConfig(port=0, port_v5=0), Path(folder))
        await broker.start()
        try:
            return await _measure(broker, options)
        finally:
            await broker.stop()


async def _measure(broker: EmbeddedBroker, options: argparse.Namespace) -> dict[str, Any]:
    run = Run(broker, options)
    level = {"3.1.1": 4, "5": 5}.get(options.subscriber)
    publisher = await Client.connect(broker.ports.v5, b"publisher", 5)
    clients, tasks = [publisher], [asyncio.create_task(run.acknowledgements(publisher))]
    if level:
        clients.append(await Client.connect(broker.ports.v311, b"subscriber", level))
        tasks.append(asyncio.create_task(run.subscriber(clients[-1], level)))
        await run.subscribed.wait()
    run.note("0%")
    began = time.monotonic()
    try:
        await run.publisher(publisher)
    finally:
        for task in tasks:
            task.cancel()
        for client in clients:
            client.close()
    seconds = time.monotonic() - began
    run.rss_bytes["end"] = broker.rss_bytes()
    return {
        "messages": run.sent,
        "payload_bytes": options.bytes,
        "devices": options.devices,
        "subscriber": options.subscriber,
        "received": run.received,
        "messages_per_s": round(run.sent / seconds),
        "rss_bytes": run.rss_bytes,
        "growth_25_to_100_percent": round(run.rss_bytes["100%"] / run.rss_bytes["25%"] - 1, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--subscriber", choices=["3.1.1", "5", "none"], default="3.1.1")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=1))
    if options.report:
        options.report.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
