"""A gateway that is killed again and again: nothing is lost, stored twice or invented, and what a broker gets twice has
the same (boot_id, seq). The broker is Debian's; device and subscriber share nothing with the gateway."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Sample
from gateway.profile import find_node, load_profile
from gateway.store.body import decode_records
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.flow.crash_points import POINTS
from tests.flow.nursery import Nursery
from tests.flow.scripted import ScriptedDevice
from tests.programs import free_port
from tests.rig import Mosquitto, Subscriber

PROFILE = load_profile(find_node("climate-node"))


@dataclass
class Rig:
    nursery: Nursery
    subscriber: Subscriber
    devices: list[ScriptedDevice]
    state: Path

    async def started(self, crash: tuple[str, int] | None = None) -> None:
        await asyncio.to_thread(self.nursery.start, crash=crash, wait=crash is None)

    def published(self) -> int:
        return sum(self.subscriber.of(device.name).samples for device in self.devices)

    @property
    def taken(self) -> int:
        return sum(device.taken for device in self.devices)

    async def settle(self) -> None:
        """Everything that was taken is acknowledged and published; the gateway is stopped."""
        for device in self.devices:
            await device.rest()
        await until(
            lambda: all(device.acked == device.taken - 1 for device in self.devices),
            timeout_s=30, what="the acknowledgement of all that was taken",
        )  # fmt: skip
        await until(lambda: self.published() >= self.taken, timeout_s=30, what="the publishing of all that was taken")
        await asyncio.to_thread(self.nursery.stop)

    def check(self) -> dict[str, int]:
        """Every sample, counted at each place. Returns the figures."""
        stored = stored_in(self.state)
        figures: Counter[str] = Counter()
        for device in self.devices:
            taken = set(range(device.taken))
            there = {seq for name, boot_id, seq in stored if (name, boot_id) == (device.name, device.boot_id)}
            delivered = self.subscriber.of(device.name)
            assert set(delivered.boots) == {device.boot_id}
            brought = set(delivered.boots[device.boot_id].samples)
            figures["taken"] += len(taken)
            figures["stored"] += len(there)
            figures["published"] += len(brought)
            figures["repeats"] += delivered.repeated
            figures["lost"] += len(taken - there) + len(taken - brought)
            assert there == taken, f"{device.name}: not stored {sorted(taken - there)[:5]}, {sorted(there - taken)[:5]}"
            assert brought == taken, f"{device.name}: not published {sorted(taken - brought)[:5]}"
            assert not delivered.boots[device.boot_id].gaps
            assert not delivered.contradictions, delivered.contradictions[:3]
        twice = [identity for identity, times in stored.items() if times > 1]
        assert not twice, f"stored twice: {twice[:5]}"
        assert len(stored) == figures["taken"]
        return dict(figures)


def stored_in(state: Path) -> Counter[tuple[str, str, int]]:
    """Every sample in a closed store, and how often it is there. Read by hand: no code of the store helps."""
    found: Counter[tuple[str, str, int]] = Counter()
    with closing(sqlite3.connect(state / "samples.db")) as connection:
        rows = connection.execute(
            "SELECT devices.name, boot_id, body FROM batches JOIN devices ON devices.id = batches.device"
            " JOIN boots ON boots.id = batches.boot"
        )
        for name, boot_id, body in rows:
            for record in decode_records(body):
                if isinstance(record, Sample):
                    assert record.values == {"temperature": ScriptedDevice.value(record.seq)}
                    found[name, boot_id, record.seq] += 1
    return found


async def registered(state: Path, names: list[str]) -> list[str]:
    """New devices; their tokens."""
    store = SqliteStore(state)
    await store.open_registry_only()
    try:
        return [await Devices(store).add(name, PROFILE) for name in names]
    finally:
        await store.close()


@asynccontextmanager
async def rig(tmp_path: Path, *, devices: int, period_s: float = 0.01, seed: int = 1) -> AsyncIterator[Rig]:
    broker, door, state = Mosquitto(tmp_path / "broker", free_port()), free_port(), tmp_path / "state"
    names = [f"device-{number}" for number in range(devices)]
    tokens = await registered(state, names)
    settings = (f"devices.port={door}", f"mqtt.home.url=mqtt://127.0.0.1:{broker.port}", "log.level=warning")
    try:
        await asyncio.to_thread(broker.start)
        subscriber = Subscriber(broker.port)
        await until(lambda: subscriber.subscribed, what="the subscription")
        try:
            with Nursery(state, *settings) as nursery:
                made = [
                    ScriptedDevice(name, token, door, period_s=period_s, seed=100 * seed + number)
                    for number, (name, token) in enumerate(zip(names, tokens, strict=True))
                ]
                for device in made:
                    await device.__aenter__()
                try:
                    yield Rig(nursery, subscriber, made, state)
                finally:
                    for device in made:
                        await device.__aexit__()
        finally:
            subscriber.close()
    finally:
        broker.kill()


async def killed_again_and_again(rig: Rig, kills: int, rng: random.Random) -> None:
    for _ in range(kills):
        at_start = rng.random() < 0.2  # some never come to serve
        await asyncio.to_thread(rig.nursery.start, wait=not at_start)
        if not at_start:
            before = rig.published()
            with suppress(AssertionError):  # killed before anything came of it: that is a case, too
                await until(lambda n=before: rig.published() > n, timeout_s=rng.uniform(0.1, 3), what="")
        await asyncio.sleep(rng.uniform(0, 0.4))
        await asyncio.to_thread(rig.nursery.kill)
    await rig.started()


def test_five_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    async def flow() -> None:
        async with rig(tmp_path, devices=3) as world:
            await killed_again_and_again(world, 5, random.Random(5))
            await world.settle()
            figures = world.check()
            assert figures["taken"] > 300
            assert figures["lost"] == 0

    run(flow(), timeout_s=55)


@pytest.mark.campaign
def test_sixty_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    async def flow() -> None:
        async with rig(tmp_path, devices=10, period_s=0.02) as world:
            await killed_again_and_again(world, 60, random.Random(60))
            await world.settle()
            print("60 kills:", world.check())

    run(flow(), timeout_s=600)


async def crashed_at_every_step(world: Rig, rounds: int, rng: random.Random) -> dict[str, Counter[str]]:
    """What was found after the crashes at each point: samples a `welcome` told of, repeats on MQTT."""
    (device,) = world.devices
    found = {point: Counter[str]() for point in POINTS}
    delivered = world.subscriber.of(device.name)
    point: str | None = None
    for crash in [*POINTS * rounds, None]:
        unheard, repeated, heard = device.stored_unheard, delivered.repeated, device.acked
        if crash is None:
            await world.started()
            await until(lambda heard=heard: device.acked > heard + 10, timeout_s=20, what="acknowledgements again")
        else:
            await world.started(crash=(crash, rng.randint(3, 12)))
            assert await asyncio.to_thread(world.nursery.ended) == 9
        if point:
            found[point] += Counter(unheard=device.stored_unheard - unheard, repeats=delivered.repeated - repeated)
        point = crash
    return found


def check_crashes(tmp_path: Path, rounds: int, seed: int) -> dict[str, Any]:
    async def flow() -> dict[str, Any]:
        async with rig(tmp_path, devices=1) as world:
            found = await crashed_at_every_step(world, rounds, random.Random(seed))
            await world.settle()
            figures = world.check()
            log = world.nursery.log.read_text()
            assert {point: log.count(f"CRASH: {point}\n") for point in POINTS} == dict.fromkeys(POINTS, rounds)
            assert found["after commit, before ack"]["unheard"] > 0, "committed, not acknowledged: welcome tells of it"
            for point in ("after publish, before PUBACK", "after PUBACK, before cursor"):
                assert found[point]["repeats"] > 0, "published, not noted: it is published again"
            return {**figures, **found}

    return run(flow(), timeout_s=55 + 25 * rounds)


def test_a_crash_at_each_step_loses_nothing(tmp_path: Path) -> None:
    check_crashes(tmp_path, rounds=1, seed=1)


@pytest.mark.campaign
def test_fifty_crashes_at_the_steps_lose_nothing(tmp_path: Path) -> None:
    print("50 crashes:", check_crashes(tmp_path, rounds=10, seed=10))


def test_the_embedded_broker_of_a_killed_gateway_gives_its_ports_back_at_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ports = [free_port() for _ in range(3)]
    settings = [
        f"{key}={port}" for key, port in zip(("devices.port", "broker.port", "broker.port_v5"), ports, strict=True)
    ]
    with Nursery(state, *settings) as nursery:
        state.mkdir()
        for _ in range(3):
            nursery.start()
            assert nursery.left_behind()
            nursery.kill()
        nursery.start()
        nursery.stop()

        async def alone() -> None:
            await until(lambda: not nursery.left_behind(), what="the end of all that the gateway started")

        run(alone())
