"""Readers that never read: a browser's feed and an MQTT subscriber. Everybody else goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from tests.aio import run, until
from tests.rig import BASE, Subscriber, add_device, make_board, quick_node, settle, system

FEED_BYTES = 1 << 20
FLOOD_FRAMES = 120
FLOOD = {"temperature": 21.51, "humidity": 48.25, "pressure": 1001.25, "rssi": -51, "free_heap": 8123456, "uptime": 1e8}
"""With it, 60,000 samples are more than what systems on both sides keep for a reader (2.3 MB were not)."""


def deaf(port: int, *sent: bytes) -> socket.socket:
    """A connection that says `sent` and never reads: what the other side sends stays in 4 KB."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    for data in sent:
        client.sendall(data)
    return client


def feed_request(url: str, token: str) -> bytes:
    return (
        f"GET /api/live HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def mqtt_connect_and_subscribe() -> bytes:
    """MQTT 3.1.1, sections 3.1 and 3.8: no keepalive, everything with QoS 0."""
    name, topic = b"deaf", f"{BASE}/#".encode()
    connect_body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    subscribe_body = b"\x00\x01" + struct.pack(">H", len(topic)) + topic + b"\x00"
    return bytes([0x10, len(connect_body)]) + connect_body + bytes([0x82, len(subscribe_body)]) + subscribe_body


async def flood(port: int, device: str, token: str) -> int:
    """A device with as much to say as the window allows: megabytes for whoever listens. Returns how many samples."""
    size, acked = 500, -1
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(
        f"ws://127.0.0.1:{port}", subprotocols=["mpy-gateway.v1"], additional_headers=headers, compression=None
    ) as door:  # type: ignore[arg-type]
        boots = [{"boot": 1, "id": "9f3c11d2c01b6a55", "first": 0, "next": FLOOD_FRAMES * size}]
        await door.send(json.dumps({"type": "hello", "device": device, "hardware": "flood", "boots": boots}))
        window = 0
        for number in range(FLOOD_FRAMES):
            seq = number * size
            values = {name: [value] * size for name, value in FLOOD.items()}
            while window == 0 or seq + size - 1 - acked > max(window, size):
                frame = json.loads(await door.recv())
                if frame["type"] == "welcome":
                    window = frame["window"]
                elif frame["type"] == "ack" and "seq" in frame:
                    acked = frame["seq"]
            await door.send(
                json.dumps(
                    {"type": "samples", "boot": 1, "seq": seq, "t": list(range(seq, seq + size)), "values": values}
                )
            )
        while acked < FLOOD_FRAMES * size - 1:
            frame = json.loads(await door.recv())
            if frame["type"] == "ack" and "seq" in frame:
                acked = frame["seq"]
    return FLOOD_FRAMES * size


@pytest.mark.campaign
@pytest.mark.timeout(90)
def test_readers_that_never_read_hold_nobody_up_and_nothing_is_lost(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path, f"limits.feed_queue_bytes={FEED_BYTES}") as (broker, gateway, port):
            profile = quick_node(tmp_path, period_ms=50)
            token = add_device("greenhouse", profile, gateway.state)
            flood_token = add_device("flood", profile, gateway.state)
            run_file = json.loads((gateway.state / "run.json").read_text())
            page = run_file["people_url"]
            cli_token = (gateway.state / "cli.token").read_text().strip()
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            seen: set[int] = set()

            async def watch() -> None:
                headers = {"Authorization": f"Bearer {cli_token}"}
                url = page.replace("http", "ws", 1) + "/api/live"
                async with connect(url, additional_headers=headers, max_size=None) as feed:
                    async for text in feed:
                        for message in json.loads(text):
                            if message["type"] == "samples" and message["device"] == "greenhouse":
                                seen.update(message["seq"])

            watching = asyncio.create_task(watch())
            with (
                deaf(urlsplit(page).port or 0, feed_request(page, cli_token)) as browser,
                deaf(broker.port, mqtt_connect_and_subscribe()),
            ):
                try:
                    await board.start()
                    await until(lambda: subscriber.of().samples > 5 and seen, timeout_s=20, what="the first samples")
                    before = sum(board.taken().values())
                    began_s = time.monotonic()
                    sent = await flood(port, "flood", flood_token)
                    took_s = time.monotonic() - began_s
                    await until(lambda: subscriber.of("flood").samples == sent, timeout_s=20, what="the flood on MQTT")
                    during = sum(board.taken().values()) - before
                    assert during > 0.5 * took_s / 0.05  # the board went on measuring
                    await until(lambda: ended(browser), timeout_s=20, what="the end of the browser that does not read")
                    await board.stop()
                    outcome = await settle(board, subscriber)
                    assert outcome.delivered == outcome.taken
                    assert not outcome.problems
                    boot = next(iter(subscriber.of().boots.values()))
                    await until(lambda: seen >= set(boot.samples), what="the same in a browser that does read")
                    assert subscriber.of("flood").repeated == 0
                finally:
                    watching.cancel()
                    subscriber.close()
                    await board.power_cut()

    run(flow(), timeout_s=85)


def ended(client: socket.socket) -> bool:
    """Whether the other side has closed, as the kernel knows: we cannot hear it behind all that we did not read."""
    here, there = (f"{address[1]:04X}" for address in (client.getsockname(), client.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if local.endswith(f":{there}") and remote.endswith(f":{here}"):
            return state != "01"  # ESTABLISHED
    return True
