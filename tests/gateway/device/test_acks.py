"""An ack means: on disk. Wherever the gateway dies between a frame and its ack, nothing acknowledged is lost and
nothing is stored twice."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Batch, Sample
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.device.door import BOOT_ID, Device, Door, open_door


class DyingStore(SqliteStore):
    """A store in a process that dies at a chosen point of its `countdown`-th append."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.point = ""
        self.countdown = 0
        self.dead = asyncio.Event()
        self.returned: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, epoch: int, batch: Batch) -> int:
        self.countdown -= 1
        dies = self.countdown == 0
        if dies and self.point == "before the commit":
            await self._die()
        through = await super().append(epoch, batch)
        if dies and self.point == "after the commit, before the ack":
            await self._die()
        self.returned.append(through)
        await self.gate.wait()
        return through

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()  # what is behind this point never happens


def on_disk(directory: Path) -> int:
    """Highest seq of the boot that is committed in the file, read beside the gateway; -1 for none."""
    (file,) = directory.glob("samples.db")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        row = connection.execute("SELECT through FROM boots WHERE boot_id = ?", (BOOT_ID,)).fetchone()
    return row[0] if row else -1


def test_each_ack_is_on_disk_when_it_arrives(tmp_path: Path) -> None:
    """Whoever sends an ack before the commit fails here: the file itself is asked, by another connection."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            for seq in range(0, 300, 3):
                await device.samples(seq, 20, 20, 20)
            acked = -1
            while acked < 299:
                acked = (await device.receive("ack"))["seq"]
                assert on_disk(tmp_path) >= acked

    run(scenario())


def test_while_an_append_is_under_way_there_is_no_ack_on_the_wire(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=DyingStore) as door:
            device = await door.enter()
            door.store.gate.clear()
            await device.samples(0, 20)
            await device.send(b"MG\1\0....")
            while isinstance(frame := await device.socket.recv(), str):
                assert '"ack"' not in frame
            assert door.store.returned in ([], [0])
            door.store.gate.set()
            await device.acked(0)

    run(scenario())


@pytest.mark.parametrize("countdown", [1, 2, 5])
@pytest.mark.parametrize("point", ["before the commit", "after the commit, before the ack"])
def test_a_gateway_that_dies_between_frame_and_ack_loses_nothing_and_stores_nothing_twice(
    point: str, countdown: int, tmp_path: Path
) -> None:
    async def feed(device: Device, first: int) -> int:
        """Samples one by one, each after the ack of the one before; the last ack that came."""
        for seq in range(first, 20):
            await device.samples(seq, 20)
            await device.acked(seq)
        return 19

    async def scenario() -> None:
        async with open_door(tmp_path, store_class=DyingStore) as door:
            device = await door.enter()
            door.store.point, door.store.countdown = point, countdown
            feeding = asyncio.create_task(feed(device, 0))
            await door.store.dead.wait()
            device.socket.transport.abort()
            await asyncio.wait((feeding,))
            acked = max([frame["seq"] for frame in device.seen if frame["type"] == "ack"], default=-1)
            assert acked == countdown - 2
            token = door.tokens["greenhouse"]
        async with open_door(tmp_path) as door:
            door.tokens["greenhouse"] = token
            device = await door.enter(boots=[{"boot": 1, "id": BOOT_ID, "first": acked + 1, "next": 1_000}])
            committed = device.welcome["boots"][0]["committed"]
            assert committed == (acked if point == "before the commit" else acked + 1)
            await feed(device, committed + 1)
            assert await seqs(door) == list(range(20))

    run(scenario())


async def seqs(door: Door) -> list[int]:
    return [record.seq for record in await door.records("greenhouse") if isinstance(record, Sample)]
