"""The devices' door under load: frames a second and CPU per frame, beside a bare `websockets` echo in the same run.

    .venv/bin/python -m tests.bench.door [--seconds 3] [--devices 8] [--uvloop]

Every frame holds one sample of three quantities. The load comes from a process of its own: the CPU counted is the
server's, of the echo, of the door before a store that does nothing, and of the door before SQLite (commits included).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import DevicesConfig, Limits
from gateway.device.listener import DeviceSocket, Listener
from gateway.device.server import DeviceServer
from gateway.device.wire import SUBPROTOCOL
from gateway.model import Batch
from gateway.presence import Presence
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore

WINDOW = 256
LIMITS = Limits(frames_per_s=1_000_000, samples_per_s=1_000_000)


class NoDisk(SqliteStore):
    """Says at once that all is committed."""

    async def append(self, epoch: int, batch: Batch) -> int:
        return batch.last


async def device(url: str, name: str, token: str | None, seconds: float) -> int:
    """Send frames for so long, with at most a window of them unanswered. Returns how many were answered."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    offered: Any = [SUBPROTOCOL]
    async with connect(
        url, subprotocols=offered, additional_headers=headers, compression=None, proxy=None, max_queue=None
    ) as socket:
        boots = [{"boot": 1, "id": f"{abs(hash(name)):016x}"[:16], "first": 0, "next": 10**9}]
        hello = {"type": "hello", "device": name, "hardware": name, "t": 0, "boots": boots}
        await socket.send(json.dumps(hello))
        answered = room = 0
        changed = asyncio.Event()

        async def read() -> None:
            nonlocal answered
            async for frame in socket:
                message = json.loads(frame)
                if message["type"] == "clock":
                    await socket.send(json.dumps({"type": "clock", "id": message["id"], "t": 0}))
                elif message["type"] == "ack":
                    answered = message["seq"] + 1
                elif message["type"] == "samples":
                    answered += 1
                changed.set()

        reading = asyncio.create_task(read())
        end_s, seq = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            while seq - answered >= WINDOW:
                changed.clear()
                await changed.wait()
            values = '{"temperature":[21.5],"humidity":[48.1],"pressure":[1013.2]}'
            await socket.send(f'{{"type":"samples","boot":1,"seq":{seq},"t":[{seq}],"values":{values}}}')
            seq += 1
            room += 1
            if room % 32 == 0:
                await asyncio.sleep(0)
        reading.cancel()
        return answered


def load(url: str, tokens: dict[str, str | None], seconds: float, answered: Any) -> None:
    """The process the load comes from."""

    async def all_devices() -> int:
        return sum(await asyncio.gather(*(device(url, name, token, seconds) for name, token in tokens.items())))

    answered.value = asyncio.run(all_devices())


async def measure(title: str, url: str, tokens: dict[str, str | None], seconds: float) -> tuple[float, float]:
    """Frames a second, and microseconds of this process's CPU per frame."""
    answered = multiprocessing.Value("q", 0)
    process = multiprocessing.get_context("fork").Process(target=load, args=(url, tokens, seconds, answered))
    cpu_s, began_s = time.process_time(), time.monotonic()
    await asyncio.to_thread(lambda: (process.start(), process.join()))
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    frames = max(1, answered.value)
    print(f"{title:28}{frames / took_s:>12,.0f}{cpu_s / frames * 1e6:>14.1f}")
    return frames / took_s, cpu_s / frames * 1e6


async def echo(socket: DeviceSocket) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for frame in socket:
            await socket.send(frame)


@asynccontextmanager
async def door(store_class: type[SqliteStore], names: list[str]) -> AsyncIterator[tuple[str, dict[str, str | None]]]:
    with tempfile.TemporaryDirectory() as folder:
        store = store_class(Path(folder), commit_ms=20)
        await store.open()
        devices, profile = Devices(store), load_profile(find_node("climate-node"))
        tokens: dict[str, str | None] = {name: await devices.add(name, profile) for name in names}
        server = DeviceServer(
            DevicesConfig(port=0), LIMITS, store, devices, Presence(), Dispatcher(store, Clock()), Clock()
        )
        await server.start()
        try:
            yield f"ws://127.0.0.1:{server.port}", tokens
        finally:
            await server.stop()
            await store.close()


async def main(seconds: float, count: int) -> None:
    names = [f"device-{number}" for number in range(count)]
    print(f"{count} devices, {seconds:g} s each{'':12}frames/s   CPU us/frame")
    listener = Listener(echo, LIMITS)
    await listener.start("127.0.0.1", 0)
    _, bare_us = await measure("bare websockets echo", f"ws://127.0.0.1:{listener.port}", dict.fromkeys(names), seconds)
    listener.close()
    await listener.wait_closed()
    for title, store_class in (("door, no disk", NoDisk), ("door, SQLite, 20 ms", SqliteStore)):
        async with door(store_class, names) as (url, tokens):
            _, door_us = await measure(title, url, tokens, seconds)
        print(f"  CPU per frame against the echo: {door_us / bare_us:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    if arguments.uvloop:
        import uvloop

        sys.exit(uvloop.run(main(arguments.seconds, arguments.devices)))
    asyncio.run(main(arguments.seconds, arguments.devices))
