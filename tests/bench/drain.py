"""A board that comes back with a long backlog, while others go on: samples a second, and how old live values get.

    .venv/bin/python -m tests.bench.drain [--backlog 100000] [--others 20] [--seconds 5]

One device sends its backlog as fast as window and frame limit allow; the others send a sample ten times a second. All
of them are another process. How old a live value is: from its frame's sending until a reader of the store's live feed
has it. The same others alone, in the same run, are what that is compared with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.client import connect

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import DevicesConfig, Limits
from gateway.device.server import DeviceServer
from gateway.device.wire import SUBPROTOCOL
from gateway.model import Sample
from gateway.presence import Presence
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore

FRAME_SAMPLES = 60
"""What our firmware puts into a frame of 4 KB."""
PERIOD_S = 0.1


class Device:
    """A connected device: acknowledged through `acked`; `room` is set when that has moved."""

    def __init__(self, name: str, held: int) -> None:
        self.name, self.held = name, held
        self.acked = -1
        self.window = 0
        self.moved = asyncio.Event()

    async def run(self, url: str, token: str, work: Any) -> None:
        offered: Any = [SUBPROTOCOL]
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(
            url, subprotocols=offered, additional_headers=headers, compression=None, proxy=None, max_queue=None
        ) as socket:
            boot = {"boot": 1, "id": f"{sum(self.name.encode()):016x}", "first": 0, "next": self.held}
            hello = {"type": "hello", "device": self.name, "hardware": self.name, "t": now_ms(), "boots": [boot]}
            await socket.send(json.dumps(hello))
            reading = asyncio.create_task(self._read(socket))
            while not self.window:
                await self._news()
            await work(self, socket)
            reading.cancel()

    async def _read(self, socket: Any) -> None:
        async for frame in socket:
            message = json.loads(frame)
            if message["type"] == "clock":
                await socket.send(json.dumps({"type": "clock", "id": message["id"], "t": now_ms()}))
            elif message["type"] == "welcome":
                self.window = message["window"]
            elif message["type"] == "ack":
                self.acked = message["seq"]
            self.moved.set()

    async def _news(self) -> None:
        self.moved.clear()
        await self.moved.wait()


def now_ms() -> int:
    """A device's clock: the computer's own, so that stamps are when a sample was sent."""
    return time.monotonic_ns() // 1_000_000


def frame(seq: int, times: list[int]) -> str:
    values = {"temperature": 21.52, "humidity": 48.1, "pressure": 1013.25}
    columns = {name: [value] * len(times) for name, value in values.items()}
    return json.dumps({"type": "samples", "boot": 1, "seq": seq, "t": times, "values": columns})


async def drain(device: Device, socket: Any) -> None:
    seq = 0
    while device.acked < device.held - 1:
        count = min(FRAME_SAMPLES, device.held - seq)
        if not count or seq + count - device.acked - 1 > device.window:
            await device._news()
            continue
        await socket.send(frame(seq, list(range(seq, seq + count))))
        seq += count


async def live(device: Device, socket: Any, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    seq = 0
    while time.monotonic() < end_s:
        await socket.send(frame(seq, [now_ms()]))
        seq += 1
        await asyncio.sleep(PERIOD_S)


def load(url: str, tokens: dict[str, str], backlog: int, seconds: float, report: Any) -> None:
    """The process the load comes from."""

    async def everyone() -> None:
        stop = asyncio.Event()

        async def until_stopped(device: Device, socket: Any) -> None:
            going = asyncio.create_task(live(device, socket, 1e9))
            await stop.wait()
            going.cancel()

        async def backlogged() -> None:
            await asyncio.sleep(1)
            device = Device("backlog", backlog)
            began_s = time.monotonic()
            await device.run(url, tokens["backlog"], drain)
            report["drain_s"] = time.monotonic() - began_s
            report["window"] = device.window

        others = [Device(name, 0) for name in tokens if name != "backlog"]
        tasks = [asyncio.create_task(other.run(url, tokens[other.name], until_stopped)) for other in others]
        report["began_ms"] = now_ms() + 1000
        await (backlogged() if backlog else asyncio.sleep(1 + seconds))
        report["ended_ms"] = now_ms()
        stop.set()
        await asyncio.gather(*tasks)

    asyncio.run(everyone())


async def measure(backlog: int, others: int, seconds: float) -> tuple[dict[str, Any], list[float]]:
    """The load's report, and the ages in ms of the others' values, sorted."""
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Manager() as manager:
        store = SqliteStore(Path(folder))
        await store.open()
        devices, profile = Devices(store), load_profile(find_node("climate-node"))
        names = ["backlog", *(f"other-{number}" for number in range(others))]
        tokens = {name: await devices.add(name, profile) for name in names}
        dispatcher = Dispatcher(store, Clock())
        server = DeviceServer(DevicesConfig(port=0), Limits(), store, devices, Presence(), dispatcher, Clock())
        await server.start()
        seen: list[tuple[int, int]] = []

        async def watch() -> None:
            async for batch in store.live(names[1:]):
                now = now_ms()
                seen.extend((record.t_ms, now) for record in batch.records if isinstance(record, Sample))

        watching = asyncio.create_task(watch())
        report = manager.dict()
        url = f"ws://127.0.0.1:{server.port}"
        process = multiprocessing.get_context("fork").Process(target=load, args=(url, tokens, backlog, seconds, report))
        await asyncio.to_thread(lambda: (process.start(), process.join()))
        watching.cancel()
        await server.stop()
        await store.close()
        span = range(report["began_ms"], report["ended_ms"])
        return dict(report), sorted(at - sent for sent, at in seen if sent in span)


async def main(backlog: int, others: int, seconds: float) -> None:
    print(f"{others} devices with {1 / PERIOD_S:g} samples a second each\n{'':26}median    95 %     max  (age in ms)")
    for title, samples in (("alone", 0), (f"beside {backlog:,}", backlog)):
        report, ages = await measure(samples, others, seconds)
        median, late, oldest = ages[len(ages) // 2], ages[len(ages) * 95 // 100], ages[-1]
        print(f"{title:24}{median:>8}{late:>8}{oldest:>8}")
    drain_s = report["drain_s"]
    print(f"drained in {drain_s:.2f} s, {backlog / drain_s:,.0f} samples/s, with a window of {report['window']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.backlog, arguments.others, arguments.seconds))
