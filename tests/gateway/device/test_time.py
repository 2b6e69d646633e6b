"""Time with provenance at the door: real sockets, real store, clocks turned by hand (WIRE.md, section 7)."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import HandClock
from gateway.device import server
from gateway.errors import Unavailable
from gateway.model import Batch, Correction, Gap, Quality, Sample
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.gateway.device.door import BOOT_ID, Device, Door, open_door

OLD_BOOT_ID = "0c5d9be1f2a34477"
TRUE_MS = 1_790_000_000_000
OLD, RUNNING = {"boot": 1, "id": OLD_BOOT_ID, "first": 0}, {"boot": 2, "id": BOOT_ID, "first": 0, "next": 0}


class MoodyStore(SqliteStore):
    """A store whose disk the test holds up."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.running = asyncio.Event()
        self.running.set()
        self.delay_s = 0.0
        self.failures = 0
        self.restamped: list[str] = []

    async def append(self, epoch: int, batch: Batch) -> int:
        await self.running.wait()
        await asyncio.sleep(self.delay_s)
        return await super().append(epoch, batch)

    async def restamp(self, device: str, boot_id: str, offset_ms: int) -> int:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        self.restamped.append(boot_id)
        return await super().restamp(device, boot_id, offset_ms)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_AT_TIME_S", 0.05)


async def synced(door: Door, t_ms: int, **hello: Any) -> Device:
    """Connected, its first clock question answered with `t_ms`."""
    device = await door.knock()
    await device.hello(**hello)
    question = await device.receive("clock")
    await device.send({"type": "clock", "id": question["id"], "t": t_ms})
    device.welcome = await device.receive("welcome")
    await until(lambda: door.info().rtt_ms is not None, what="the answer read")
    return device


async def stamps(door: Door) -> dict[int, tuple[int, Quality]]:
    """Unix milliseconds and quality of every sample of the running boot, by seq."""
    return {
        record.seq: (batch.at_ms(record.t_ms), batch.quality)
        for batch in await door.batches()
        for record in batch.records
        if isinstance(record, Sample) and batch.boot_id == BOOT_ID
    }


async def until_corrected(door: Door, count: int) -> None:
    async def corrected() -> bool:
        found = await stamps(door)
        return len(found) == count and all(quality is Quality.CORRECTED for _, quality in found.values())

    await until(corrected, what="the correction")


def no_date() -> HandClock:
    """A Raspberry Pi that has just started: it says 1970."""
    return HandClock(wall_ms=60_000, trusted=False)


def ntp_answers(clock: HandClock) -> None:
    clock.set_wall(TRUE_MS)
    clock.trusted = True


def test_when_the_date_becomes_known_a_connected_board_is_corrected_and_it_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = no_date()
        async with open_door(tmp_path, clock=clock) as door:
            device = await synced(door, 5_000)
            await device.samples(0, 20, 21, t=[3_000, 4_000])
            await device.acked(1)
            assert set((await stamps(door)).values()) == {
                (58_000, Quality.ESTIMATED),
                (59_000, Quality.ESTIMATED),
            }
            assert door.info().quality is Quality.ESTIMATED
            ntp_answers(clock)
            await until_corrected(door, 2)
            assert [at_ms - TRUE_MS for at_ms, _ in (await stamps(door)).values()] == [-2_000, -1_000]
            assert door.info().quality is Quality.SYNCED
            (correction,) = [
                record for batch in await door.batches() for record in batch.records if isinstance(record, Correction)
            ]
            assert correction == Correction(0, 1, TRUE_MS - 60_000)
            await device.samples(2, 22, t=[5_000])
            await device.acked(2)
            assert (await stamps(door))[2] == (TRUE_MS, Quality.SYNCED)

    run(scenario())


def test_a_board_that_left_before_the_date_became_known_is_corrected_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = no_date()
        async with open_door(tmp_path, clock=clock, store_class=MoodyStore) as door:
            device = await synced(door, 5_000)
            await device.samples(0, 20, 21, t=[3_000, 4_000])
            await device.acked(1)
            await device.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="its end")
            door.store.failures = 3
            ntp_answers(clock)
            await until_corrected(door, 2)
            assert [at_ms - TRUE_MS for at_ms, _ in (await stamps(door)).values()] == [-2_000, -1_000]
            await asyncio.sleep(0.2)  # several looks later it is still one correction
            assert door.store.restamped == [BOOT_ID]

    run(scenario())


def test_a_correction_that_a_lost_connection_left_undone_is_made_without_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = no_date()
        async with open_door(tmp_path, clock=clock, store_class=MoodyStore) as door:
            device = await synced(door, 5_000)
            await device.samples(0, 20, t=[3_000])
            await device.acked(0)
            door.store.failures = 1_000_000
            ntp_answers(clock)
            assert await device.error() == "store.unavailable"
            await device.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="its end")
            door.store.failures = 0
            await until_corrected(door, 1)

    run(scenario())


def test_what_is_under_way_when_the_date_becomes_known_is_corrected_as_well(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = no_date()
        async with open_door(tmp_path, clock=clock, store_class=MoodyStore) as door:
            device = await synced(door, 5_000)
            door.store.running.clear()
            for seq in range(4):
                await device.samples(seq, 20, t=[3_000 + seq])
            await until(lambda: door.info().frames == 6, what="all frames read")
            ntp_answers(clock)
            await until(lambda: door.info().quality is Quality.SYNCED, what="the date noticed")
            door.store.failures = 2
            door.store.running.set()
            await device.samples(4, 20, t=[4_000])
            await until_acked(device, 4)
            found = await stamps(door)
            assert [quality for _, quality in found.values()] == [Quality.CORRECTED] * 4 + [Quality.SYNCED]
            assert [at_ms - TRUE_MS for at_ms, _ in found.values()] == [-2_000, -1_999, -1_998, -1_997, -1_000]

    run(scenario())


def test_a_restarted_gateway_without_a_date_goes_on_with_the_times_it_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock(wall_ms=TRUE_MS)
        async with open_door(tmp_path, clock=clock) as door:
            device = await synced(door, 5_000)
            await device.samples(0, 20, t=[3_000])
            await device.acked(0)
            token = door.tokens["greenhouse"]
        async with open_door(tmp_path, clock=no_date()) as door:
            door.tokens["greenhouse"] = token
            device = await synced(door, 8_000)
            await device.samples(1, 20, t=[7_000])
            await device.acked(1)
            assert await stamps(door) == {
                0: (TRUE_MS - 2_000, Quality.SYNCED),
                1: (TRUE_MS + 2_000, Quality.SYNCED),
            }

    run(scenario())


def test_a_jump_of_the_wall_clock_moves_no_board_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        clock = HandClock(wall_ms=TRUE_MS)
        async with open_door(tmp_path, clock=clock) as door:
            device = await synced(door, 5_000)
            clock.set_wall(TRUE_MS + 86_400_000)
            await until(lambda: "was set by +86400.0 s" in caplog.text, what="a line in the log")
            await device.samples(0, 20, t=[5_000])
            await device.acked(0)
            await asyncio.sleep(0.2)
            assert await stamps(door) == {0: (TRUE_MS, Quality.SYNCED)}
            lines = [record.getMessage() for record in caplog.records if "was set" in record.getMessage()]
            assert len(lines) == 1
            info = door.presence.get("greenhouse")
            assert info is not None
            assert 0 <= clock.wall_ms() - info.since_ms < 5_000, "it is not online for a day"
            assert "keep the time they have" in lines[0]

    caplog.set_level(logging.WARNING, "device")
    run(scenario())


def test_a_power_cut_cannot_have_cost_more_than_fits_between_two_boots(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock(wall_ms=TRUE_MS)
        async with open_door(tmp_path, clock=clock) as door:
            device = await synced(door, 5_000, boots=[{**OLD, "next": 5}])
            await device.samples(0, *[20] * 5, t=[1_000, 2_000, 3_000, 4_000, 5_000])
            await device.acked(4)
            await device.socket.close()
            clock.advance(3_000)  # the power was off for a second and a half, or less
            device = await synced(door, 1_500, boots=[{**OLD, "first": 5, "next": 5, "t": 5_000}, RUNNING])
            await device.send({"type": "gap", "boot": 1, "from": 5, "to": None, "at_most": 99, "why": "power_loss"})
            await device.acked(5)
            (gap,) = [record for record in await door.records() if isinstance(record, Gap)]
            climate, vitals = 2 * (1 + 2) + 1, 2 * (0 + 2) + 1  # samples every second and every ten, and their events
            assert gap.at_most == 4 + climate + vitals

    run(scenario())


def test_the_live_value_of_a_board_that_drains_a_backlog_is_under_two_seconds_old(tmp_path: Path) -> None:
    """On this machine's own clock: an old boot of 3,000 samples drains through a slow disk, a `latest` every second."""

    async def drain(device: Device) -> None:
        for seq in range(0, 3_000, 60):
            await device.samples(seq, *[20] * 60)
            await until_acked(device, seq + 59)

    async def keep_fresh(device: Device, began_s: float) -> None:
        while True:
            t_ms = int((time.monotonic() - began_s) * 1000)
            await device.send({"type": "latest", "boot": 2, "t": t_ms, "values": {"temperature": 21}})
            await asyncio.sleep(1)

    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            began_s = time.monotonic() - 100
            device = await synced(door, 100_000, boots=[{**OLD, "next": 3_000, "t": 2_999_000}, RUNNING])
            door.store.delay_s = 0.06
            shown: list[tuple[float, int]] = []
            ages_ms: list[float] = []

            async def watch() -> None:
                async for change in door.presence.watch():
                    if change.latest is not None:
                        shown.append((time.time() * 1000, change.latest[0]))

            async def look() -> None:
                while True:
                    await asyncio.sleep(0.05)
                    if shown:
                        ages_ms.append(time.time() * 1000 - shown[-1][1])

            tasks = [asyncio.create_task(work) for work in (watch(), look(), keep_fresh(device, began_s))]
            await drain(device)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert len(shown) >= 3
            assert max(ages_ms) < 2_000
            assert [at_ms for _, at_ms in shown] == sorted(at_ms for _, at_ms in shown)
            old = [batch for batch in await door.batches() if batch.boot_id == OLD_BOOT_ID]
            newest_ms = max(batch.at_ms(record.t_ms) for batch in old for record in batch.records)  # type: ignore[union-attr]
            assert newest_ms <= shown[0][1], "the backlog is older than what is live"
            assert not [batch for batch in await door.batches() if batch.boot_id == BOOT_ID], "latest is not stored"

    run(scenario())


async def until_acked(device: Device, seq: int) -> None:
    while (await device.receive("ack"))["seq"] < seq:
        pass
