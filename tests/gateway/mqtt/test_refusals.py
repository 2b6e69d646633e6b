"""What a broker does not take goes aside, with the reason and for good; what it does not take now is sent later."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from gateway.model import Batch, Event, Quality
from gateway.mqtt.bridge import Bridge
from tests.aio import run, until
from tests.gateway.mqtt.witness import (
    IMPLEMENTATION_SPECIFIC,
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
    TAKEN_OVER,
    TOO_LARGE,
    WitnessBroker,
    log_only,
)
from tests.gateway.mqtt.world import BOOT_ID, Mosquitto, World, subscriber


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between sessions are not the subject here."""
    monkeypatch.setattr("gateway.mqtt.link.LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr("gateway.mqtt.link.QUIET_MS", 100)
    monkeypatch.setattr("gateway.mqtt.link.LONGEST_HOLD_S", 0.2)


async def at_end(world: World, bridge: Bridge) -> bool:
    return bool(bridge.stats()["cursor"] == await world.store.end())


async def crash(world: World, bridge: Bridge) -> None:
    """End `bridge` as kill -9 does: nothing more is sent, nothing is written."""
    for task in bridge._tasks:
        task.cancel()
    await asyncio.gather(*bridge._tasks, return_exceptions=True)
    bridge._link.abort()
    world._bridges.remove(bridge)


def test_what_was_set_aside_is_known_after_a_restart_with_where_its_samples_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: NOT_AUTHORIZED if "/secret/" in topic else True
            await world.add("greenhouse", "secret")
            await world.samples("secret", 3, frame=3)
            await world.samples("greenhouse", 2)
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge))
            before = bridge.stats()
            assert before["aside"] == 1
            await world.end(bridge)
            broker.ack = lambda topic: True
            bridge = await world.bridge(broker.url)
            after = bridge.stats()
            assert (after["aside"], after["last_aside"]) == (1, before["last_aside"])
            (entry,) = after["last_aside"]
            assert entry["at_ms"] > 1_700_000_000_000
            assert {**entry, "at_ms": 0} == {
                "device": "secret",
                "boot_id": BOOT_ID,
                "seq": 0,
                "through": 2,
                "topic": "mpy-gateway/secret/samples",
                "why": "the broker refuses it: Not authorized",
                "at_ms": 0,
            }
            assert set(broker.samples()) == {(BOOT_ID, 0), (BOOT_ID, 1)}  # of the greenhouse

    run(scenario())


def test_a_retained_topic_that_is_refused_is_named_and_does_not_fill_the_list(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: NOT_AUTHORIZED if topic.endswith("/state") else True
            await world.add("greenhouse")
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", 3)
            await until(lambda: "mpy-gateway/greenhouse/state" in bridge.stats()["refused"])
            assert "Not authorized" in bridge.stats()["refused"]["mpy-gateway/greenhouse/state"]
            assert bridge.stats()["aside"] == 0
            broker.ack = lambda topic: True  # somebody has allowed it
            await world.samples("greenhouse", 3)
            await until(lambda: broker.newest("mpy-gateway/greenhouse/state"))
            await until(lambda: "mpy-gateway/greenhouse/state" not in bridge.stats()["refused"])

    run(scenario())


def test_a_crash_after_a_message_was_set_aside_neither_forgets_nor_doubles_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: NOT_AUTHORIZED if "/secret/" in topic else True
            await world.add("secret")
            await world.samples("secret", 1)
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge))
            await crash(world, bridge)  # before anything was written
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge))
            await bridge._save()
            assert await world.store.delete("outlet/mqtt.test/cursor")  # as if the power had gone in between
            await crash(world, bridge)
            bridge = await world.bridge(broker.url)
            assert bridge.stats()["aside"] == 1
            await until(lambda: at_end(world, bridge))
            assert bridge.stats()["aside"] == 1

    run(scenario())


@pytest.mark.campaign
def test_a_quota_is_waited_out_and_nothing_is_set_aside(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            offered: Counter[str] = Counter()

            def full(topic: str) -> int:
                offered[topic] += 1
                return QUOTA_EXCEEDED if sum(offered.values()) < 40 else True

            await world.add("greenhouse", "cellar")
            bridge = await world.bridge(broker.url)
            await until(lambda: bridge.stats()["state"] == "connected")
            broker.ack = full
            for _ in range(20):
                await world.samples("greenhouse", 1)
                await world.samples("cellar", 1)
            await until(lambda: bridge.stats()["held_up"])
            await until(lambda: at_end(world, bridge), timeout_s=25)
            assert set(zip(broker.published_devices(), broker.samples(), strict=True)) >= {
                (device, (BOOT_ID, 0)) for device in ("greenhouse", "cellar")
            }
            taken = [json.loads(p)["seq"] for t, p in broker.published if t.endswith("greenhouse/samples")]
            assert [seq for numbers in taken for seq in numbers] == list(range(20))
            assert (bridge.stats()["aside"], bridge.stats()["connections"]) == (0, 1)
            await until(lambda: json.loads(broker.newest("mpy-gateway/greenhouse/state") or b"{}").get("seq") == 19)
            await until(lambda: not bridge.stats()["held_up"])

    run(scenario(), timeout_s=50)


def test_a_reason_that_may_pass_is_for_the_message_when_the_broker_takes_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: IMPLEMENTATION_SPECIFIC if topic.endswith("odd/samples") else True
            await world.add("greenhouse", "odd")
            await world.samples("odd", 1)
            bridge = await world.bridge(broker.url)
            for _ in range(30):
                await world.samples("greenhouse", 1)
                await world.samples("odd", 1)
                await asyncio.sleep(0.05)
            await until(lambda: at_end(world, bridge), timeout_s=25)
            assert {seq for device, (_, seq) in zip(broker.published_devices(), broker.samples(), strict=True)} == set(
                range(30)
            )
            entries = bridge.stats()["last_aside"]
            assert {entry["device"] for entry in entries} == {"odd"}
            numbers = [seq for entry in entries for seq in range(entry["seq"], entry["through"] + 1)]
            assert sorted(numbers) == list(range(31))
            tried = Counter(payload for topic, payload in broker.offered if topic.endswith("odd/samples"))
            assert max(tried.values()) >= 5

    run(scenario(), timeout_s=50)


def test_another_client_with_our_id_is_no_messages_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: -TAKEN_OVER if log_only(topic) else True
            await world.add("greenhouse")
            await world.samples("greenhouse", 1)
            bridge = await world.bridge(broker.url)
            await until(lambda: bridge.stats()["connections"] >= 10, timeout_s=20)
            assert "another client" in bridge.stats()["why"] or bridge.stats()["state"] == "connected"
            assert bridge.stats()["aside"] == 0
            broker.ack = lambda topic: True
            await until(lambda: at_end(world, bridge))
            assert broker.samples() == [(BOOT_ID, 0)]

    run(scenario(), timeout_s=40)


def test_a_topic_on_which_everything_ends_the_connection_does_not_stop_the_rest(tmp_path: Path) -> None:
    """Five sessions for each of its messages would be a standstill for all."""

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            broker.ack = lambda topic: not topic.endswith("poison/samples")
            await world.add("greenhouse", "poison")
            for _ in range(30):  # one message each: the runs of a page are of one device each
                await world.samples("poison", 1)
                await world.samples("greenhouse", 1)
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge), timeout_s=40)
            for _ in range(12):
                await world.samples("poison", 1)
                await world.samples("greenhouse", 1)
                await until(lambda: at_end(world, bridge), timeout_s=40)
            assert {seq for _, seq in broker.samples()} == set(range(42))
            assert bridge.stats()["connections"] < 3 * 5 + 10
            entries = bridge.stats()["last_aside"]
            numbers = [seq for entry in entries for seq in range(entry["seq"], entry["through"] + 1)]
            assert sorted(numbers) == list(range(42))

    run(scenario(), timeout_s=55)


def test_a_state_that_ends_the_connection_does_not_stop_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            broker.ack = lambda topic: not topic.endswith("poison/state")
            await world.add("greenhouse", "poison")
            await world.samples("poison", 3)
            await world.samples("greenhouse", 3)
            bridge = await world.bridge(broker.url)
            await until(lambda: bridge.stats()["refused"], timeout_s=25)
            assert list(bridge.stats()["refused"]) == ["mpy-gateway/poison/state"]
            await until(lambda: bridge.stats()["state"] == "connected")
            connections = bridge.stats()["connections"]
            await world.samples("poison", 3)
            await world.samples("greenhouse", 3)
            await until(lambda: at_end(world, bridge))
            assert set(broker.published_devices()) == {"greenhouse", "poison"}
            assert (bridge.stats()["connections"], bridge.stats()["aside"]) == (connections, 0)

    run(scenario(), timeout_s=40)


def test_a_line_that_breaks_all_the_time_is_no_messages_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mqtt.link.QUIET_MS", 1_000)

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            await world.samples("greenhouse", 1)
            broker.ack = lambda topic: None if log_only(topic) else True  # the line breaks before the answer
            bridge = await world.bridge(broker.url)
            for number in range(1, 15):
                await until(lambda: bridge.stats()["connections"] >= number)  # noqa: B023  # awaited in this turn
                await asyncio.sleep(0.03)  # sooner than a suspect is sent
                for connection in list(broker.connections):
                    connection.transport.abort()
            assert bridge.stats()["aside"] == 0
            broker.ack = lambda topic: True
            await until(lambda: at_end(world, bridge))

    run(scenario(), timeout_s=40)


@pytest.mark.campaign
def test_a_message_that_alone_is_never_answered_does_not_hang(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            seen: Counter[str] = Counter()

            def silent_at_first(topic: str) -> bool | None:
                seen[topic] += 1
                return None if topic.endswith("greenhouse/samples") and seen[topic] < 3 else True

            broker.ack = silent_at_first
            await world.samples("greenhouse", 1)
            bridge = await world.bridge(broker.url, keepalive_s=1)
            while bridge.stats()["connections"] < 2:  # the states are acknowledged all the time
                await world.samples("cellar", 1)
                await asyncio.sleep(0.05)
            await until(lambda: at_end(world, bridge), timeout_s=20)
            assert set(broker.published_devices()) == {"greenhouse", "cellar"}

    run(scenario(), timeout_s=40)


def large_event(world: World, seq: int, size: int) -> Batch:
    event = Event(seq, 0, "note", None, {"text": "x" * size})
    return Batch("greenhouse", 1, BOOT_ID, (event,), 0, Quality.SYNCED, 0, profile=world.profile.hash)


@pytest.mark.parametrize("limit", ["max_packet_size 3000", "message_size_limit 3000"])
def test_mosquitto_refuses_a_size_and_only_what_cannot_be_smaller_goes_aside(tmp_path: Path, limit: str) -> None:
    """The second limit is not announced, and answered with a reason that MQTT does not have there."""

    async def scenario() -> None:
        with Mosquitto(tmp_path, config=f"allow_anonymous true\n{limit}") as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                await world.samples("greenhouse", 400, frame=200)
                await world.store.append(world.epoch("greenhouse"), large_event(world, 400, 3_500))
                world._next["greenhouse"] = 401
                await world.samples("greenhouse", 20)
                with subscriber(broker.port, "+/+/samples", v5=True) as client:
                    bridge = await world.bridge(broker.url)
                    await until(lambda: at_end(world, bridge), timeout_s=45)
                    expected = {identity for identity in world.expected() if identity[2] != 400}
                    await until(lambda: set(client.identities()) == expected)
                    (entry,) = bridge.stats()["last_aside"]
                    assert (entry["topic"], entry["seq"]) == ("mpy-gateway/greenhouse/event", 400)

    run(scenario(), timeout_s=58)


def test_a_broker_that_ends_the_session_for_a_size_gets_smaller_messages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker(version=5) as broker, World(tmp_path) as world:
            broker.ack = lambda topic: -TOO_LARGE if log_only(topic) and len(broker.offered[-1][1]) > 5_000 else True
            await world.add("greenhouse")
            await world.samples("greenhouse", 2_000, frame=500)
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge), timeout_s=25)
            assert {seq for _, seq in broker.samples()} == set(range(2_000))
            assert bridge.stats()["aside"] == 0
            assert bridge.stats()["connections"] < 10

    run(scenario(), timeout_s=40)
