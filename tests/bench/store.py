"""What the store costs: CPU, and bytes written, against the same path without it.

    python -m tests.bench.store [--samples N] [--directory DIR]

Each figure of the store stands beside that of `NoStore`, which resolves appends in the same windows but keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Protocol

import msgspec
import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gateway.model import Batch, Quality, Sample
from gateway.store.sqlite import SqliteStore
from tests.aio import until

AT_MS = 1_790_000_000_000
DEVICES = 10
RATE = 5_000
"""Samples per second of the path with sockets: frames of one, all devices together."""


class Appends(Protocol):
    async def append(self, epoch: int, batch: Batch) -> int: ...


class NoStore:
    """Takes batches and forgets them: answers every 20 ms."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Batch, asyncio.Future[int]]] = []

    async def append(self, epoch: int, batch: Batch) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        if not self._waiting:
            loop.call_later(0.020, self._answer)
        self._waiting.append((batch, future))
        return await future

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for batch, future in waiting:
            future.set_result(batch.last)


@contextlib.asynccontextmanager
async def opened(directory: Path, **settings: int) -> AsyncIterator[SqliteStore]:
    state = Path(tempfile.mkdtemp(dir=directory))
    store = SqliteStore(state, **settings)  # type: ignore[arg-type]  # commit_ms alone is ever given
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        shutil.rmtree(state)


def batch(device: int, seq: int, count: int) -> Batch:
    records = tuple(
        Sample(i, i * 1000, {"temperature": 20 + i % 700 / 100, "humidity": 40 + i % 900 / 100, "pressure": 1013.25})
        for i in range(seq, seq + count)
    )
    return Batch(
        f"dev-{device}", 1, f"{device:016x}", records, AT_MS, Quality.SYNCED, AT_MS, profile="5a0f9c3be1d27718"
    )


async def epochs(store: SqliteStore) -> list[int]:
    return [await store.claim(f"dev-{device}", "bench") for device in range(DEVICES)]


async def throughput(store: Appends, epoch: list[int], samples: int, frame: int) -> tuple[float, float]:
    """As fast as it goes, each device with 64 frames under way: samples per second, and CPU in us per sample."""
    prepared = [[batch(d, seq, frame) for seq in range(0, samples // DEVICES, frame)] for d in range(DEVICES)]

    async def device(number: int) -> None:
        frames = prepared[number]
        for start in range(0, len(frames), 64):
            await asyncio.gather(*(store.append(epoch[number], one) for one in frames[start : start + 64]))

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(device, range(DEVICES)))
    return samples / (time.perf_counter() - began), (time.process_time() - cpu) / samples * 1e6


class Frame(msgspec.Struct):
    boot: int
    seq: int
    t: list[int]
    values: dict[str, list[float]]


async def socket_path(store: Appends, epoch: list[int], seconds: float) -> float:
    """CPU in us per sample: a frame from a socket is decoded and appended, its commit acknowledged. The devices are
    another process, so only this side counts."""
    decode = msgspec.json.Decoder(Frame).decode
    encode = msgspec.json.Encoder().encode

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        device = int(socket.request.path[1:])
        running = set()

        async def one(frame: Frame) -> None:
            names = list(frame.values)
            columns = zip(frame.t, zip(*frame.values.values(), strict=True), strict=True)
            records = tuple(
                Sample(frame.seq + i, t, dict(zip(names, row, strict=True))) for i, (t, row) in enumerate(columns)
            )
            through = await store.append(
                epoch[device],
                Batch(f"dev-{device}", 1, f"{device:016x}", records, AT_MS, Quality.SYNCED, AT_MS, profile="5a0f"),
            )
            await socket.send(encode({"type": "ack", "boot": 1, "seq": through}), text=True)

        async for data in socket:
            task = asyncio.create_task(one(decode(data)))
            running.add(task)
            task.add_done_callback(running.discard)

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        devices = await asyncio.create_subprocess_exec(
            *("python", "-m", "tests.bench.store", "--devices-of", str(port), "--seconds", str(seconds)),
            executable=sys.executable,
            stdout=asyncio.subprocess.PIPE,
        )
        assert devices.stdout is not None
        await devices.stdout.readline()
        cpu = time.process_time()
        sent = int(await devices.stdout.readline())
        cpu = time.process_time() - cpu
        await devices.wait()
    return cpu / sent * 1e6


async def devices_of(port: int, seconds: float) -> None:
    """The devices' process: frames of one at RATE, then how many were acknowledged."""
    acked = [0] * DEVICES

    async def device(number: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/{number}", compression=None) as socket:

            async def read() -> None:
                async for data in socket:
                    acked[number] = msgspec.json.decode(data)["seq"] + 1

            reader = asyncio.create_task(read())
            began, seq = time.monotonic(), 0
            while time.monotonic() - began < seconds:
                while seq < (time.monotonic() - began) * RATE / DEVICES:
                    text = f'{{"type":"samples","boot":1,"seq":{seq},"t":[{seq * 1000}],"values":'
                    await socket.send(text + '{"temperature":[21.5],"humidity":[48.1],"pressure":[1013.25]}}')
                    seq += 1
                await asyncio.sleep(0.005)
            await until(lambda: acked[number] == seq, what="the last ack")
            reader.cancel()

    print("go", flush=True)
    await asyncio.gather(*map(device, range(DEVICES)))
    print(sum(acked), flush=True)


def written() -> tuple[int, int]:
    """Bytes this process has handed to write(2), and those of whole pages on their way to the disk."""
    figures = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(figures["wchar"]), int(figures["write_bytes"])


async def bytes_written(directory: Path, per_commit: int, samples: int) -> tuple[float, float]:
    """MB per 10,000 samples with so many per commit, the devices taking turns. Folding the log is included."""
    frame = max(1, per_commit // DEVICES)
    together = max(1, per_commit // frame)
    before = written()
    async with opened(directory, commit_ms=0) as store:
        epoch = await epochs(store)
        seq = [0] * DEVICES
        for commit in range(samples // per_commit):
            now = [(commit + i) % DEVICES for i in range(together)]
            await asyncio.gather(*(store.append(epoch[d], batch(d, seq[d], frame)) for d in now))
            for device in now:
                seq[device] += frame
    after = written()
    return (after[0] - before[0]) / samples / 100, (after[1] - before[1]) / samples / 100


async def day_written(directory: Path, window_s: float, hours: float) -> tuple[float, float]:
    """MB a day of ten devices with a sample every 10 s each, at random moments, in commits of `window_s`. The time
    between is left out, so the grouping is as it would be and the rest is not."""
    random = Random(1)
    begins = [random.random() * 10 for _ in range(DEVICES)]
    due = sorted((begins[d] + 10 * n, d, n) for d in range(DEVICES) for n in range(int(hours * 360)))
    before = written()
    async with opened(directory, commit_ms=0) as store:
        epoch = await epochs(store)
        while due:
            together = [entry for entry in due[: DEVICES * 10] if entry[0] <= due[0][0] + window_s]
            del due[: len(together)]
            await asyncio.gather(*(store.append(epoch[d], batch(d, n, 1)) for _, d, n in together))
    after = written()
    return (after[0] - before[0]) * 24 / hours / 1e6, (after[1] - before[1]) * 24 / hours / 1e6


async def main(directory: Path, samples: int, seconds: float) -> None:
    print(f"{'as fast as it goes':32}{'samples/s':>12}{'us CPU each':>14}{'ratio':>8}")
    for frame in (1, 100):
        _, bare = await throughput(NoStore(), [0] * DEVICES, samples, frame)
        async with opened(directory) as store:
            rate, cpu = await throughput(store, await epochs(store), samples, frame)
        print(f"{f'append, frames of {frame}':32}{rate:12,.0f}{cpu:14.2f}{cpu / bare:8.2f}")
    bare = await socket_path(NoStore(), [0] * DEVICES, seconds)
    async with opened(directory) as store:
        cpu = await socket_path(store, await epochs(store), seconds)
    print(f"{f'socket to ack, {RATE:,}/s of one':32}{'':12}{cpu:14.2f}{cpu / bare:8.2f}")

    print(f"\n{'written per 10,000 samples':32}{'MB':>12}{'MB in pages':>14}")
    for per_commit in (1, 10, 100, 1000):
        count = max(2_000, per_commit * 20)
        handed, pages = await bytes_written(directory, per_commit, count)
        print(f"{f'{per_commit} per commit':32}{handed:12.2f}{pages:14.2f}")

    print(f"\n{'ten devices, every 10 s, a day':32}{'MB':>12}{'MB in pages':>14}")
    for window_s in (1, 2, 5, 10):
        handed, pages = await day_written(directory, window_s, hours=1)
        print(f"{f'commits of {window_s} s':32}{handed:12.0f}{pages:14.0f}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=100_000)
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("--directory", type=Path, help="where to write; left out: the usual place for scratch files")
    arguments.add_argument("--devices-of", type=int, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.devices_of:
        uvloop.run(devices_of(chosen.devices_of, chosen.seconds))
    else:
        uvloop.run(main(chosen.directory, chosen.samples, chosen.seconds))
