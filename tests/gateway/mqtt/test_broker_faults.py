"""Brokers and lines that fail, counted by an independent subscriber: 0 lost, repeats with the same identity only.

The bridge reaches the broker through a proxy; the subscriber sits at the broker itself. While a broker that has
forgotten its sessions comes back, the proxy is closed until the subscriber is there again: what a broker acknowledges
while nobody listens is its own business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import MqttConfig
from gateway.mqtt.bridge import Bridge
from gateway.mqtt.embedded import EmbeddedBroker
from gateway.mqtt.outflow import Item, Outflow
from tests.aio import run, until
from tests.faults import FaultProxy
from tests.gateway.mqtt.world import Client, Mosquitto, World, embedded, in_thread

FORGETFUL = "allow_anonymous true\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0"
KEEPALIVE_S = 2
ROUNDS = 3


class Rig:
    """Two boards' samples into a store, a bridge, a proxy, a broker, and a subscriber that counts."""

    def __init__(self, world: World, bridge: Bridge, proxy: FaultProxy, client: Client, broker: Any) -> None:
        self.world, self.bridge, self.proxy, self.client, self.broker = world, bridge, proxy, client, broker

    async def feed(self, *, seconds: float) -> None:
        """Samples at about 100 a second."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await self.world.samples("greenhouse", 2, frame=2)
            await self.world.samples("cellar", 1)
            await asyncio.sleep(0.02)

    async def during(self, fault: Callable[[], Awaitable[None]]) -> None:
        """`fault` in the middle of the stream; afterwards the bridge goes on."""
        feeding = asyncio.create_task(self.feed(seconds=1.0))
        await asyncio.sleep(0.3)
        await fault()
        await feeding
        await until(self.all_is_acknowledged, timeout_s=30, what="the cursor at the end")

    async def all_is_acknowledged(self) -> bool:
        return bool(self.bridge.stats()["cursor"] == await self.world.store.end())

    async def subscriber_is_back(self, connections: int) -> None:
        await until(lambda: self.client.connections > connections, timeout_s=20, what="the subscriber's reconnect")
        await in_thread(self.client._subscribed.get, True, 10)

    async def count(self) -> tuple[int, int]:
        """(stored, repeated). Fails where one is missing, or where one came that was never stored."""
        expected = self.world.expected()
        await until(lambda: set(self.client.identities()) >= expected, timeout_s=15, what="every sample")
        arrived = self.client.identities()
        assert set(arrived) == expected
        return len(expected), sum(arrived.values()) - len(arrived)


@contextlib.asynccontextmanager
async def rig(folder: Path, broker: Any, port: int) -> AsyncIterator[Rig]:
    async with World(folder) as world:
        await world.add("greenhouse", "cellar")
        with FaultProxy(port) as proxy, Client(port).subscribe_later("+/+/samples") as client:
            await in_thread(client._subscribed.get, True, 10)
            url = f"mqtt://127.0.0.1:{proxy.port}"
            own = broker.for_the_gateway if isinstance(broker, EmbeddedBroker) else MqttConfig(url=url)
            bridge = await world.bridge_with(own.model_copy(update={"url": url}), keepalive_s=KEEPALIVE_S)
            await until(lambda: bridge.stats()["state"] == "connected")
            yield Rig(world, bridge, proxy, client, broker)


def proven(folder: Path, what: str, faults: Callable[[Rig], Awaitable[None]], timeout_s: float = 58) -> None:
    """Against mosquitto, which forgets everything when it ends."""

    async def scenario() -> None:
        with Mosquitto(folder, config=FORGETFUL) as broker:
            async with rig(folder, broker, broker.port) as world:
                await faults(world)
                stored, repeated = await world.count()
                print(f"{what}: {stored} stored, 0 lost, {repeated} repeated")
                assert world.bridge.stats()["aside"] == 0

    run(scenario(), timeout_s=timeout_s)


async def end_and_start(rig: Rig, number: signal.Signals) -> None:
    connections = rig.client.connections
    os.kill(rig.broker.pid, number)
    await in_thread(rig.proxy.refuse)
    await in_thread(rig.broker._process.wait)
    await in_thread(rig.broker.start)
    await rig.subscriber_is_back(connections)
    await in_thread(rig.proxy.heal)


@pytest.mark.campaign
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_mosquitto_ended_in_mid_stream_and_back_with_no_session(tmp_path: Path, number: signal.Signals) -> None:
    async def faults(rig: Rig) -> None:
        for _ in range(ROUNDS):
            await rig.during(lambda: end_and_start(rig, number))

    proven(tmp_path, f"mosquitto, {number.name} and lost sessions, {ROUNDS} times", faults)


@pytest.mark.campaign
def test_mosquitto_paused_for_longer_than_the_keepalive(tmp_path: Path) -> None:
    async def faults(rig: Rig) -> None:
        async def pause() -> None:
            os.kill(rig.broker.pid, signal.SIGSTOP)
            try:
                await until(lambda: rig.bridge.stats()["state"] != "connected", timeout_s=3 * KEEPALIVE_S + 4)
                await asyncio.sleep(KEEPALIVE_S)
            finally:
                os.kill(rig.broker.pid, signal.SIGCONT)

        await rig.during(pause)

    proven(tmp_path, "mosquitto, SIGSTOP for over two keepalives", faults)


@pytest.mark.campaign
@pytest.mark.parametrize("fault", ["half_open", "stall"])
def test_a_line_that_swallows_everything_is_left_within_two_keepalives(tmp_path: Path, fault: str) -> None:
    async def faults(rig: Rig) -> None:
        async def swallow() -> None:
            began = time.monotonic()
            connections = rig.bridge.stats()["connections"]
            await in_thread(getattr(rig.proxy, fault))
            await until(lambda: rig.bridge.stats()["state"] != "connected", timeout_s=30, what="noticing")
            assert time.monotonic() - began < 2 * KEEPALIVE_S + 3
            await in_thread(rig.proxy.heal)
            await until(lambda: rig.bridge.stats()["connections"] > connections, timeout_s=20)

        await rig.during(swallow)
        await rig.during(swallow)

    proven(tmp_path, f"line: {fault}, twice", faults)


@pytest.mark.campaign
def test_a_line_cut_again_and_again(tmp_path: Path) -> None:
    async def faults(rig: Rig) -> None:
        async def cuts() -> None:
            for how in ("rst", "fin") * 3:
                connections = rig.bridge.stats()["connections"]
                await in_thread(rig.proxy.cut, how)
                await until(lambda: rig.bridge.stats()["connections"] > connections, timeout_s=20)  # noqa: B023

        await rig.during(cuts)

    proven(tmp_path, "line: cut 6 times", faults)


@pytest.mark.campaign
def test_behind_a_slow_line_the_state_stays_fresh_and_what_is_held_bounded(tmp_path: Path) -> None:
    """20,000 samples behind a line of 20,000 bytes a second, and live values of another board beside them."""

    async def faults(rig: Rig) -> None:
        await in_thread(rig.proxy.slow, 20_000)
        await rig.world.samples("greenhouse", 20_000, frame=500)
        rig.client.subscribe_later("+/+/state")
        await in_thread(rig.client.paho.subscribe, "+/+/state", 1)
        ages, most_bytes = [], 0
        ends = time.monotonic() + 15
        zero_ms = time.time_ns() // 1_000_000
        while time.monotonic() < ends:
            now_ms = time.time_ns() // 1_000_000
            rig.world.presence.latest("cellar", now_ms, {"temperature": 20 + (now_ms - zero_ms) / 1_000})
            for _ in range(10):
                await asyncio.sleep(0.1)
                shown = json.loads(rig.client.retained("mpy-gateway/cellar/state") or b'{"at":0}')["at"]
                ages.append(time.time_ns() // 1_000_000 - shown)
                most_bytes = max(most_bytes, rig.bridge.stats()["waiting_bytes"])
        behind = rig.bridge.stats()["cursor"] != await rig.world.store.end()
        print(f"slow line: states at most {max(ages[40:])} ms old, {most_bytes:,} bytes held, backlog left: {behind}")
        assert behind  # or the line was not slow enough to prove anything
        assert sorted(ages[40:])[len(ages[40:]) * 9 // 10] < 7_000
        assert most_bytes < 4 << 20
        await in_thread(rig.proxy.heal)
        await until(rig.all_is_acknowledged, timeout_s=25)

    proven(tmp_path, "slow line", faults)


@pytest.mark.campaign
def test_a_slow_broker_is_given_less_and_loses_nothing(tmp_path: Path) -> None:
    async def faults(rig: Rig) -> None:
        await in_thread(rig.proxy.delay, 0.2)
        await rig.feed(seconds=3)
        assert rig.bridge.stats()["state"] == "connected"
        assert rig.bridge.stats()["connections"] == 1
        await until(rig.all_is_acknowledged, timeout_s=25)

    proven(tmp_path, "answers 0.4 s late", faults)


@pytest.fixture
def acked(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, int]]:
    """Identities that a broker has acknowledged."""
    found: set[tuple[str, str, int]] = set()
    done = Outflow.done

    def noted(outflow: Outflow, item: Item) -> None:
        if item.message.topic.endswith("/samples"):
            body = json.loads(item.message.payload)
            found.update((body["device"], body["boot_id"], seq) for seq in body["seq"])
        done(outflow, item)

    monkeypatch.setattr(Outflow, "done", noted)
    return found


@pytest.mark.campaign
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_embedded_broker_loses_no_more_than_it_had_acknowledged(
    tmp_path: Path, number: signal.Signals, acked: set[tuple[str, str, int]]
) -> None:
    """Its acknowledgement means: in memory. What it had not acknowledged is published to the one that follows it."""

    async def scenario() -> None:
        async with (
            embedded(tmp_path, probe_every_s=0.2, silent_s=2) as broker,
            rig(tmp_path, broker, broker.ports.v311) as world,
        ):
            assert isinstance(broker, EmbeddedBroker)
            excused: set[tuple[str, str, int]] = set()

            async def fail() -> None:
                pid, connections = broker.pid, world.client.connections
                began = time.monotonic()
                assert pid
                os.kill(pid, number)
                await in_thread(world.proxy.refuse)
                await until(lambda: broker.pid not in (None, pid), timeout_s=20, what="a new process")
                print(f"{number.name}: served again after {time.monotonic() - began:.1f} s")
                await world.subscriber_is_back(connections)
                excused.update(acked)  # all of it by the one before: its last answers may come after its end
                await in_thread(world.proxy.heal)

            await world.during(fail)
            await until(lambda: set(world.client.identities()) >= world.world.expected() - excused, timeout_s=15)
            arrived = set(world.client.identities())
            missing = world.world.expected() - arrived
            assert missing <= excused
            assert arrived <= world.world.expected()
            print(f"{number.name}: {len(world.world.expected())} stored, {len(missing)} in the memory that was lost")
            assert broker.restarts == 1

    run(scenario(), timeout_s=58)
