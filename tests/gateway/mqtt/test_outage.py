"""Hours without a broker, a crash of the gateway, and a log that is another: what the cursor makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Batch, Command, Quality, Result, Sample, Status
from gateway.mqtt.bridge import Bridge
from gateway.presence import ConnectionInfo
from tests.aio import run, until
from tests.gateway.mqtt.witness import WitnessBroker, log_only
from tests.gateway.mqtt.world import BOOT_ID, Client, Mosquitto, World, in_thread, subscriber

BACKLOG = 120_000


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def at_end(world: World, bridge: Bridge) -> bool:
    return bool(bridge.stats()["cursor"] == await world.store.end())


@pytest.mark.campaign
def test_a_backlog_of_hours_drains_in_order_while_states_and_results_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0"
        broker = Mosquitto(tmp_path, config=config)
        async with World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", BACKLOG, frame=500)

            async def handle(command: Command) -> Result:
                return Result(command.id, Status.DONE)

            world.store.serve("cellar", world.epoch("cellar"), handle)
            held = bridge.stats()
            assert held["waiting_bytes"] < 4 << 20
            before_bytes = rss_bytes()
            with broker, subscriber(broker.port, "#") as client:
                await until(lambda: bridge.stats()["state"] == "connected", timeout_s=40)
                began, ages, most_held, asked = time.monotonic(), [], 0, 0
                zero_ms = time.time_ns() // 1_000_000
                while not await at_end(world, bridge):
                    now_ms = time.time_ns() // 1_000_000
                    if len(ages) % 10 == 0:
                        world.presence.latest("cellar", now_ms, {"temperature": 20 + (now_ms - zero_ms) / 1_000})
                        await in_thread(client.publish, "mpy-gateway/cellar/command/ping")
                        asked += 1
                    await asyncio.sleep(0.1)
                    shown = json.loads(client.retained("mpy-gateway/cellar/state") or b'{"at":0}')["at"]
                    ages.append(time.time_ns() // 1_000_000 - shown)
                    most_held = max(most_held, bridge.stats()["waiting_bytes"])
                took_s = time.monotonic() - began
                grown = rss_bytes() - before_bytes
                await until(lambda: set(client.identities()) >= world.expected() - {("cellar", BOOT_ID, 0)})
                await until(lambda: len(client.payloads("/result")) == asked)
                seqs = [seq for m in client.payloads("/greenhouse/samples") for seq in m["seq"]]
                theirs = sum(len(message.payload) for message in client.messages)
                print(f"{len(seqs):,} samples in {took_s:.1f} s: {BACKLOG / took_s:,.0f} a second")
                print(f"at most {most_held:,} bytes held; states at most {max(ages[5:] or [0])} ms old")
                print(f"{grown / 1e6:.0f} MB more in memory, of which the subscriber has {theirs / 1e6:.0f} MB")
                assert seqs == list(range(BACKLOG))  # in order, and none twice
                assert most_held < 4 << 20
                assert max(ages[15:], default=0) < 4_000  # on a machine that is busy with other things, too

    run(scenario(), timeout_s=58)


GATEWAY = """
    import asyncio, sys
    from pathlib import Path
    from gateway.presence import ConnectionInfo
    from tests.gateway.mqtt.world import World
    async def main():
        async with World(Path(sys.argv[1])) as world:
            if sys.argv[3] == "first":
                await world.add("greenhouse", "cellar")
            bridge = await world.bridge(sys.argv[2])
            if sys.argv[3] == "first":
                for device in ("greenhouse", "cellar"):
                    world.presence.connected(ConnectionInfo(device, 1, "here", 0))
                await world.samples("greenhouse", 5)
                await world.samples("cellar", 5)
                await bridge._retained.keep()  # as every ten minutes
                await world.samples("greenhouse", 5)
                await world.samples("cellar", 5)
            else:
                world.presence.connected(ConnectionInfo("greenhouse", 2, "here", 0))
            await asyncio.sleep(60)
    asyncio.run(main())
"""


@contextlib.contextmanager
def gateway(state: Path, url: str, which: str) -> Iterator[None]:
    """A gateway's bridge in a process of its own, killed hard at the end."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(GATEWAY), str(state), url, which])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_after_a_crash_the_will_says_offline_and_after_the_restart_all_that_is_retained_is_right(
    tmp_path: Path,
) -> None:
    """The cellar's board is gone for good: its state must be its newest, though nothing new ever comes of it."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Client(broker.port).subscribe_later("#") as client:

            def state(device: str) -> Any:
                return json.loads(client.retained(f"mpy-gateway/{device}/state") or b'{"seq":null}')

            with gateway(tmp_path / "state", broker.url, "first"):
                await until(lambda: state("cellar")["seq"] == state("greenhouse")["seq"] == 9, timeout_s=30)
                await until(lambda: client.retained("mpy-gateway/cellar/availability") == b"online")
            await until(lambda: client.retained("mpy-gateway/bridge/state") == b"offline")
            assert client.retained("mpy-gateway/cellar/availability") == b"online"  # hence the other one
            heard = len(client.messages)
            with gateway(tmp_path / "state", broker.url, "second"):
                await until(lambda: client.retained("mpy-gateway/bridge/state") == b"online", timeout_s=30)
                await until(lambda: client.retained("mpy-gateway/cellar/availability") == b"offline")
                await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"online")
                await until(
                    lambda: (
                        {m.topic for m in client.messages[heard:]}
                        >= {"mpy-gateway/cellar/state", "mpy-gateway/greenhouse/state"}
                    )
                )
            for device in ("cellar", "greenhouse"):
                seqs = [message["seq"] for message in client.payloads(f"/{device}/state")]
                assert seqs == sorted(seqs)
                assert seqs[-1] == 9
            assert set(client.identities()) == {
                (device, BOOT_ID, seq) for device in ("greenhouse", "cellar") for seq in range(10)
            }

    run(scenario(), timeout_s=58)


def test_a_device_removed_while_the_gateway_was_down_leaves_nothing_retained(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            await world.samples("cellar", 1)
            bridge = await world.bridge(broker.url)
            await until(lambda: broker.newest("mpy-gateway/cellar/state"))
            await world.end(bridge)
            await world.devices.remove("cellar")
            bridge = await world.bridge(broker.url)
            for leaf in ("state", "availability"):
                await until(lambda: broker.newest(f"mpy-gateway/cellar/{leaf}") == b"")  # noqa: B023
            await world.end(bridge)
            before = len(broker.published)
            bridge = await world.bridge(broker.url)
            await until(lambda: bridge.stats()["state"] == "connected")
            await world.end(bridge)
            assert not [topic for topic, _ in broker.published[before:] if "cellar" in topic]  # once is enough

    run(scenario())


def test_estimated_samples_and_their_correction_go_out_in_order_and_the_state_follows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            records = tuple(Sample(seq, seq * 1_000, {"temperature": 20.0}) for seq in range(3))
            batch = Batch("greenhouse", 1, BOOT_ID, records, 1_000, Quality.ESTIMATED, 0, profile=world.profile.hash)
            await world.store.append(world.epoch("greenhouse"), batch)
            bridge = await world.bridge(broker.url)
            await until(broker.samples)
            assert await world.store.restamp("greenhouse", BOOT_ID, 1_790_000_000_000) == 3
            await until(lambda: broker.newest("mpy-gateway/greenhouse/corrected"))
            await until(lambda: at_end(world, bridge))
            moved = json.loads(broker.newest("mpy-gateway/greenhouse/corrected") or b"")
            assert moved == {
                "device": "greenhouse",
                "boot": 1,
                "boot_id": BOOT_ID,
                "from": 0,
                "to": 2,
                "moved_ms": 1_789_999_999_000,
                "quality": "corrected",
            }
            await until(
                lambda: (
                    json.loads(broker.newest("mpy-gateway/greenhouse/state") or b"{}").get("at") == 1_790_000_002_000
                )
            )
            topics = [topic.rpartition("/")[2] for topic, _ in broker.published]
            assert topics.index("samples") < topics.index("corrected")

    run(scenario())


def test_a_damaged_log_that_was_replaced_is_published_from_its_beginning(tmp_path: Path) -> None:
    """The cursor is of the old log. Skipping is what must not happen, and repeats can be recognised."""

    async def scenario() -> None:
        async with WitnessBroker() as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                bridge = await world.bridge(broker.url)
                await world.samples("greenhouse", 20)
                await until(lambda: at_end(world, bridge))
            for file in tmp_path.glob("samples.db*"):
                file.unlink()
            before = len(broker.samples())
            async with World(tmp_path) as world:
                world._epochs["greenhouse"] = await world.store.claim("greenhouse", "test")
                world._next["greenhouse"] = 0
                await world.samples("greenhouse", 5)
                bridge = await world.bridge(broker.url)
                await until(lambda: at_end(world, bridge))
                assert broker.samples()[before:] == [(BOOT_ID, seq) for seq in range(5)]

    run(scenario())


def test_a_crash_repeats_and_never_skips(tmp_path: Path) -> None:
    """At ten moments of a stream of which the broker acknowledges some: the saved cursor is never ahead of it."""

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            for round in range(10):
                answered = 0

                def some(topic: str) -> bool | None:
                    nonlocal answered
                    answered += log_only(topic)
                    return True if not log_only(topic) or answered <= round else None  # noqa: B023

                broker.ack = some
                bridge = await world.bridge(broker.url)
                for _ in range(5):
                    await world.samples("greenhouse", 1)
                await until(lambda: bridge.stats()["published"] >= min(round, 1), what="some are taken")  # noqa: B023
                await bridge._save()
                for task in bridge._tasks:
                    task.cancel()
                await asyncio.gather(*bridge._tasks, return_exceptions=True)
                bridge._link.abort()
                world._bridges.remove(bridge)
                await until(lambda: not broker.connections)
            broker.ack = lambda topic: True
            bridge = await world.bridge(broker.url)
            await until(lambda: at_end(world, bridge))
            assert set(broker.samples()) == {(BOOT_ID, seq) for seq in range(50)}

    run(scenario())


def test_a_boards_own_state_is_fresh_though_the_broker_acknowledges_no_sample(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            broker.ack = lambda topic: None if log_only(topic) else True
            await world.samples("greenhouse", 2_000, frame=10)
            await world.bridge(broker.url)
            await until(lambda: broker.pending)
            world.presence.connected(ConnectionInfo("greenhouse", 1, "here", 0))
            world.presence.latest("greenhouse", 1_790_009_000_000, {"temperature": 30.0})
            await until(
                lambda: (
                    json.loads(broker.newest("mpy-gateway/greenhouse/state") or b"{}").get("at") == 1_790_009_000_000
                ),
                timeout_s=5,
            )

    run(scenario())
