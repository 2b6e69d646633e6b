"""The bridge against real brokers: an independent subscriber counts every (boot_id, seq)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Batch, Command, Event, Gap, Quality, Refused, Result, Sample, Status
from gateway.mqtt.bridge import SAVE_EVERY_S, Bridge
from gateway.mqtt.embedded import EmbeddedBroker
from gateway.presence import ConnectionInfo
from gateway.store.retention import Limits
from tests.aio import run, until
from tests.gateway.command.answering import answering
from tests.gateway.mqtt.witness import WitnessBroker, log_only
from tests.gateway.mqtt.world import (
    BOOT_ID,
    Client,
    Mosquitto,
    World,
    embedded,
    free_port,
    in_thread,
    subscriber,
)

BROKERS = ["embedded", "mosquitto"]


@contextlib.asynccontextmanager
async def started(kind: str, folder: Path) -> AsyncIterator[EmbeddedBroker | Mosquitto]:
    if kind == "embedded":
        async with embedded(folder) as broker:
            yield broker
    else:
        with Mosquitto(folder) as mosquitto:
            yield mosquitto


def port_of(broker: EmbeddedBroker | Mosquitto) -> int:
    return broker.port if isinstance(broker, Mosquitto) else broker.ports.v311


def is_in(bridge: Bridge, state: str) -> Any:
    return lambda: bridge.stats()["state"] == state


@pytest.mark.parametrize("kind", BROKERS)
@pytest.mark.parametrize("v5", [False, True])
def test_every_sample_arrives_once_with_its_values(tmp_path: Path, kind: str, v5: bool) -> None:
    async def scenario() -> None:
        async with started(kind, tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            with subscriber(port_of(broker), "#", v5=v5) as client:
                bridge = await world.bridge(broker.url)
                for _ in range(10):
                    await world.samples("greenhouse", 30, frame=10)
                    await world.samples("cellar", 3)
                await until(lambda: set(client.identities()) == world.expected())
                assert set(client.identities().values()) == {1}
                message = client.payloads("/greenhouse/samples")[0]
                assert message["at"][0] == 1_790_000_000_000 + message["seq"][0] * 1_000
                assert message["values"]["temperature"][0] == 20.25 + message["seq"][0] % 7
                if v5:
                    first = next(m for m in client.messages if m.topic.endswith("/samples"))
                    properties = dict(first.properties.UserProperty)
                    assert properties["boot_id"] == BOOT_ID
                    assert properties["schema"] == "1"
                    assert first.properties.ContentType == "application/json"
                await world.end(bridge)
                assert bridge.stats()["version"] is None

    run(scenario())


def test_events_gaps_and_refused_frames_leave_no_hole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            records = (
                Sample(0, 0, {"temperature": 20.0}),
                Event(1, 10, "sensor.failed", "climate", {"errno": 19}),
                Gap(2, 9, 8, None, "full"),
                Refused(10, 12, "{}", "frame.columns", "lists of different length"),
                Sample(13, 20, {"temperature": 21.0}),
            )
            batch = Batch("greenhouse", 1, BOOT_ID, records, 0, Quality.SYNCED, 0, profile=world.profile.hash)
            with subscriber(broker.ports.v311, "mpy-gateway/greenhouse/+") as client:
                await world.store.append(world.epoch("greenhouse"), batch)
                await world.bridge(broker.url)
                await until(lambda: client.payloads("/quarantine"))
                covered = {seq for message in client.payloads("/samples") for seq in message["seq"]}
                covered |= {message["seq"] for message in client.payloads("/event")}
                for message in client.payloads("/gap") + client.payloads("/quarantine"):
                    covered |= set(range(message["from"], message["to"] + 1))
                assert covered == set(range(14))

    run(scenario())


@pytest.mark.parametrize("kind", BROKERS)
def test_a_broker_killed_in_mid_stream_holds_up_nothing(tmp_path: Path, kind: str) -> None:
    """What it acknowledged and forgot is its own loss (README, "what survives what"); all else arrives."""

    async def scenario() -> None:
        async with started(kind, tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            bridge = await world.bridge(broker.url)
            await until(is_in(bridge, "connected"))
            with subscriber(port_of(broker), "#") as client:
                feeding = asyncio.gather(world.samples("greenhouse", 400, frame=2), world.samples("cellar", 100))
                await until(lambda: len(client.identities()) > 50)
                await kill_and_restart(broker, bridge)
                await feeding
                await until(lambda: client.connections > 1, what="the subscriber's own reconnect")
                await world.samples("greenhouse", 20)
                await until(lambda: cursor_at_end(world, bridge))
                await until(
                    lambda: {("greenhouse", BOOT_ID, seq) for seq in range(400, 420)} <= set(client.identities())
                )
                assert set(client.identities()) <= world.expected()
            assert bridge.stats()["aside"] == 0

    run(scenario(), timeout_s=50)


def test_a_broker_with_a_memory_restarted_in_mid_stream_loses_nothing(tmp_path: Path) -> None:
    config = (
        f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/\nmax_queued_messages 0\nuser root"
    )

    async def scenario() -> None:
        with Mosquitto(tmp_path, config=config) as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse", "cellar")
                bridge = await world.bridge(broker.url)
                await until(is_in(bridge, "connected"))
                with Client(broker.port, client_id="counts", clean=False).subscribe_later("+/+/samples") as client:
                    for _ in range(2):
                        feeding = asyncio.gather(world.samples("greenhouse", 200, frame=2), world.samples("cellar", 50))
                        await asyncio.sleep(0.05)
                        connections = bridge.stats()["connections"]
                        await in_thread(broker.restart)
                        await feeding
                        await until(lambda: bridge.stats()["connections"] > connections)  # noqa: B023  # awaited in this turn
                    await until(lambda: set(client.identities()) == world.expected())

    run(scenario(), timeout_s=50)


async def cursor_at_end(world: World, bridge: Bridge) -> bool:
    return bool(bridge.stats()["cursor"] == await world.store.end())


async def kill_and_restart(broker: EmbeddedBroker | Mosquitto, bridge: Bridge) -> None:
    connections = bridge.stats()["connections"]
    if isinstance(broker, Mosquitto):
        broker.kill()
        await until(lambda: bridge.stats()["state"] == "away")
        await in_thread(broker.start)
    else:
        assert broker.pid
        os.kill(broker.pid, signal.SIGKILL)  # it restarts by itself
    await until(lambda: bridge.stats()["connections"] > connections, timeout_s=20, what="a new connection")


def test_the_cursor_moves_on_acknowledgement_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            broker.ack = lambda topic: None if log_only(topic) else True
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", 5)
            await until(lambda: len(set(broker.samples())) == 5)
            assert bridge.stats()["cursor"] == ""
            broker.release()
            await until(lambda: cursor_at_end(world, bridge))
            await world.end(bridge)
            kept = await world.store.get("outlet/mqtt.test/cursor")
            assert kept is not None
            assert kept.value.decode() == await world.store.end()

    run(scenario())


def test_no_more_than_the_window_waits_for_acknowledgement(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            devices = [f"d{number}" for number in range(150)]
            await world.add(*devices)
            for device in devices:
                await world.samples(device, 1)
            broker.ack = lambda topic: None if log_only(topic) else True
            await world.bridge(broker.url)
            await until(lambda: len(broker.pending) >= 4)
            await asyncio.sleep(0.1)
            assert len(broker.pending) <= 60
            broker.ack = lambda topic: True
            broker.release()
            await until(lambda: len(set(broker.published_devices())) == 150)

    run(scenario())


def test_what_was_not_acknowledged_is_sent_again_in_order_and_nothing_else(tmp_path: Path) -> None:
    """Cut at random moments: everything arrives, repeats carry the same identity, first arrivals are in order."""

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge(broker.url)
            count = 0

            def sometimes(topic: str) -> bool | None:
                nonlocal count
                count += log_only(topic)
                return not (log_only(topic) and count % 37 == 0)

            broker.ack = sometimes
            await world.samples("greenhouse", 200)
            await until(lambda: cursor_at_end(world, bridge), timeout_s=25)
            arrived = broker.samples()
            assert set(arrived) == {(BOOT_ID, seq) for seq in range(200)}
            assert list(dict.fromkeys(arrived)) == [(BOOT_ID, seq) for seq in range(200)]
            assert bridge.stats()["connections"] > 2

    run(scenario())


def test_the_cursor_is_kept_soon_after_the_start(tmp_path: Path) -> None:
    """A gateway that is killed every few seconds must not publish everything again each time."""

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            await world.samples("greenhouse", 5)
            bridge = await world.bridge(broker.url)
            await until(lambda: cursor_at_end(world, bridge))

            async def kept() -> bool:
                entry = await world.store.get("outlet/mqtt.test/cursor")
                return entry is not None and entry.value.decode() == await world.store.end()

            await until(kept, timeout_s=SAVE_EVERY_S / 2)

    run(scenario())


def test_a_restart_goes_on_where_the_cursor_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", 20)
            await world.end(bridge)  # drains what is committed
            assert broker.samples() == [(BOOT_ID, seq) for seq in range(20)]
            await world.samples("greenhouse", 5)
            await world.bridge(broker.url)
            await until(lambda: len(broker.samples()) == 25)
            assert broker.samples() == [(BOOT_ID, seq) for seq in range(25)]

    run(scenario())


def test_a_stop_does_not_wait_for_a_broker_that_is_silent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            broker.ack = lambda topic: None if log_only(topic) else True
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", 5)
            await until(lambda: broker.pending)
            began = asyncio.get_running_loop().time()
            await world.end(bridge)
            assert asyncio.get_running_loop().time() - began < 2.5
            cursor = await world.store.get("outlet/mqtt.test/cursor")
            assert cursor is not None
            assert cursor.value == b"", "nothing was acknowledged"

    run(scenario())


def test_a_broker_absent_at_the_start_is_only_a_late_cursor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with World(tmp_path) as world:
            await world.add("greenhouse")
            broker = WitnessBroker()
            bridge = await world.bridge(broker.url)
            await world.samples("greenhouse", 10)
            await until(is_in(bridge, "away"))
            async with broker:
                await until(lambda: len(set(broker.samples())) == 10)
                assert bridge.stats()["state"] == "connected"

    with caplog.at_level(logging.INFO, "mqtt"):
        run(scenario())
    sentences = [record.getMessage() for record in caplog.records if record.name == "mqtt"]
    assert len(sentences) == 3  # away, connected, and away once more as the broker ends
    assert sentences[0].endswith(": nothing listens there; samples wait in the store")
    assert "connected to mqtt://127.0.0.1:" in sentences[1]


def test_a_profile_that_cannot_be_read_any_more_stops_no_outlet(tmp_path: Path) -> None:
    """It was kept by a version with other rules, say."""

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            await world.samples("greenhouse", 5)
            for entry in await world.store.list("profile/"):
                await world.store.put(entry.key, b'{"of": "another version"}')
            await world.store.put("device/broken", b"{")
            await world.store.put("seen/greenhouse", b"?")
            await world.store.put("command/x", b"{}")
            await world.bridge(broker.url)
            await until(lambda: len(set(broker.samples())) == 5)

    run(scenario())


def test_what_is_deleted_before_a_broker_was_ever_there_is_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge(f"mqtt://127.0.0.1:{free_port()}")
            await world.samples("greenhouse", 10)
            world.store._upkeep._limits = Limits(None, 1)
            await world.store._upkeep._prune()
            assert world.store.stats()["untaken"] == {"mqtt.test": 10}
            await world.end(bridge)

    run(scenario())


@pytest.mark.parametrize("version", [4, None])
def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1(tmp_path: Path, version: int | None) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            broker.version = version
            bridge = await world.bridge(broker.url)
            await until(is_in(bridge, "connected"))
            assert bridge.stats()["version"] == "3.1.1"
            assert [body[6] for body in broker.connects] == [5, 4]

    run(scenario())


def test_a_login_that_is_refused_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "gateway", "right"], check=True)
    passwords.chmod(0o644)
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")

    async def scenario() -> None:
        config = f"allow_anonymous false\npassword_file {passwords}\nuser root"
        with Mosquitto(tmp_path, config=config) as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                login = {"username": "gateway", "password_file": secret}
                bridge = await world.bridge(broker.url, config=login)
                await until(is_in(bridge, "refused"))
                assert "login" in bridge.stats()["why"]
                await world.end(bridge)
                secret.write_text("right\n")
                bridge = await world.bridge(broker.url, config=login)
                await until(is_in(bridge, "connected"))

    with caplog.at_level(logging.WARNING, "mqtt"):
        run(scenario())
    (sentence,) = [record.getMessage() for record in caplog.records if record.name == "mqtt"]
    assert "the broker does not accept this login: put right mqtt.test.username, or the password in" in sentence
    assert "wrong" not in caplog.text


def test_a_name_that_does_not_exist_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path) as world:
            bridge = await world.bridge("mqtt://no-such-host.invalid")
            await until(is_in(bridge, "away"), timeout_s=15)
            assert bridge.stats()["why"] == "the name no-such-host.invalid is not known here"

    run(scenario())


@pytest.mark.parametrize("kind", BROKERS)
def test_state_and_availability_are_retained(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with started(kind, tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            bridge = await world.bridge(broker.url)
            world.presence.connected(ConnectionInfo("greenhouse", 1, "here", 0))
            await world.samples("greenhouse", 3)
            await until(lambda: cursor_at_end(world, bridge))

            def late_reader() -> Client:
                return Client(port_of(broker)).__enter__().subscribe("#")

            client = await in_thread(late_reader)
            await until(lambda: client.retained("mpy-gateway/greenhouse/state"))
            await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"online")
            assert client.retained("mpy-gateway/cellar/availability") == b"offline"
            assert client.retained("mpy-gateway/bridge/state") == b"online"
            await until(lambda: state(client)["seq"] == 2)
            assert state(client)["temperature"] == 22.25

            sleeper = ConnectionInfo("cellar", 1, "here", 0)
            world.presence.connected(sleeper)
            await until(lambda: client.retained("mpy-gateway/cellar/availability") == b"online")
            sleeper.sleep_ms = 3_600_000
            world.presence.disconnected("cellar", 1)
            world.presence.disconnected("greenhouse", 1)
            await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"offline")
            assert client.retained("mpy-gateway/cellar/availability") == b"online", "it sleeps as it said"
            await world.devices.remove("cellar")
            await until(lambda: client.retained("mpy-gateway/cellar/availability") == b"")
            world.presence.connected(ConnectionInfo("greenhouse", 2, "here", 0))
            await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"online")
            await world.end(bridge)
            await until(lambda: client.retained("mpy-gateway/bridge/state") == b"offline")
            assert client.retained("mpy-gateway/greenhouse/availability") == b"offline"
            await in_thread(client.__exit__)

    run(scenario())


def state(client: Client, device: str = "greenhouse") -> Any:
    return json.loads(client.retained(f"mpy-gateway/{device}/state") or b'{"seq":null}')


def test_a_broker_that_has_forgotten_gets_everything_retained_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge(broker.url)
            world.presence.connected(ConnectionInfo("greenhouse", 1, "here", 0))
            await world.samples("greenhouse", 3)
            await until(lambda: cursor_at_end(world, bridge))
            await kill_and_restart(broker, bridge)
            with subscriber(broker.ports.v311, "#") as client:
                await until(lambda: state(client)["seq"] == 2)
                await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"online")
                assert client.retained("mpy-gateway/bridge/state") == b"online"
            await world.end(bridge)
            bridge = await world.bridge(broker.url)  # and after a restart of ours, before any new sample
            await kill_and_restart(broker, bridge)
            with subscriber(broker.ports.v311, "#") as client:
                await until(lambda: state(client)["seq"] == 2)

    run(scenario())


def test_state_is_published_once_a_second_and_provisional_values_are_marked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            await world.bridge(broker.url)
            with subscriber(broker.ports.v311, "+/+/state") as client:
                began = time.monotonic()
                for _ in range(150):
                    await world.samples("greenhouse", 1)
                    await asyncio.sleep(0.01)
                await until(lambda: state(client)["seq"] == 149)
                states = client.payloads("/greenhouse/state")
                assert 2 <= len(states) <= 2 + (time.monotonic() - began)  # the first at once, then one a second
                assert [s["at"] for s in states] == sorted(s["at"] for s in states)
                world.presence.latest("greenhouse", 1_790_000_500_000, {"temperature": 30.123})
                await until(lambda: state(client).get("provisional"))
                assert state(client)["temperature"] == 30.12
                await world.samples("greenhouse", 1)
                await asyncio.sleep(0.05)
                assert state(client)["temperature"] == 30.12  # an older sample changes nothing

    run(scenario())


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from gateway.presence import ConnectionInfo
    from tests.gateway.mqtt.world import World
    async def main():
        async with World(Path(sys.argv[1])) as world:
            await world.add("greenhouse")
            world.presence.connected(ConnectionInfo("greenhouse", 1, "here", 0))
            login = {"username": sys.argv[3], "password_file": Path(sys.argv[4])} if sys.argv[3:] else {}
            await world.bridge(sys.argv[2], config=login)
            await world.samples("greenhouse", 3)
            await asyncio.sleep(60)
    asyncio.run(main())
"""


@pytest.mark.parametrize("kind", BROKERS)
def test_the_last_will_says_that_the_gateway_is_gone(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with started(kind, tmp_path) as broker:
            own = []
            if isinstance(broker, EmbeddedBroker):
                login = broker.for_the_gateway
                (tmp_path / "own").write_text(login.password() or "")
                own = [login.username or "", str(tmp_path / "own")]
            with subscriber(port_of(broker), "#") as client:
                gateway = subprocess.Popen(  # noqa: ASYNC220  # killed hard, so asyncio must not own it
                    [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "state"), broker.url, *own]
                )
                try:
                    await until(lambda: client.retained("mpy-gateway/greenhouse/availability") == b"online")
                    await until(lambda: client.retained("mpy-gateway/bridge/state") == b"online")
                    await until(lambda: len(client.identities()) == 3)
                finally:
                    gateway.kill()
                    gateway.wait()
                await until(lambda: client.retained("mpy-gateway/bridge/state") == b"offline")

    run(scenario())


async def a_device_that_answers(world: World, device: str = "greenhouse") -> list[Command]:
    """What the device server does for commands, without a device."""
    commands: list[Command] = []

    async def handle(command: Command) -> Result:
        commands.append(command)
        if command.name == "dance":
            return Result(command.id, Status.FAILED, {}, "command.unknown", "no command 'dance'")
        return Result(command.id, Status.DONE, {"echo": command.args.get("seconds")})

    answering(world.dispatcher, world.store, device, world.epoch(device), handle)
    return commands


@pytest.mark.parametrize("kind", BROKERS)
@pytest.mark.parametrize("v5", [False, True])
def test_commands_go_in_and_results_come_out(tmp_path: Path, kind: str, v5: bool) -> None:
    async def scenario() -> None:
        async with started(kind, tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse", "cellar")
            commands = await a_device_that_answers(world)
            bridge = await world.bridge(broker.url)
            await until(is_in(bridge, "connected"))
            with subscriber(port_of(broker), "+/+/result", v5=v5) as client:

                async def ask(topic: str, payload: bytes = b"", **options: Any) -> Any:
                    before = len(client.messages)
                    await in_thread(lambda: client.publish(f"mpy-gateway/{topic}", payload, **options))
                    await until(lambda: len(client.messages) > before, what=f"an answer to {topic}")
                    return json.loads(client.messages[-1].payload)

                result = await ask("greenhouse/command/identify", b'{"seconds": 5, "transaction": "t-1"}')
                assert (result["status"], result["data"], result["transaction"]) == ("done", {"echo": 5}, "t-1")
                assert result["id"] == commands[0].id
                assert (await ask("greenhouse/command/dance"))["error"]["code"] == "command.unknown"
                assert (await ask("attic/command/ping"))["error"]["code"] == "device.unknown"
                assert (await ask("greenhouse/command/ping", b"no"))["error"]["code"] == "command.payload"
                assert [command.name for command in commands] == ["identify"], "what it cannot do is not sent to it"
                assert {line.asked_by for line in world.dispatcher.recent("greenhouse")} == {"mqtt.test"}
                if v5:
                    await ask("greenhouse/command/ping", CorrelationData=b"\1\2")
                    assert client.messages[-1].properties.CorrelationData == b"\1\2"

    run(scenario())


def test_a_retained_command_is_refused_and_not_carried_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            commands = await a_device_that_answers(world)
            with subscriber(broker.ports.v311, "+/+/result") as client:
                client.publish("mpy-gateway/greenhouse/command/ping", b"", retain=False)
                client.publish("mpy-gateway/greenhouse/command/identify", b"{}", retain=True)
                await world.bridge(broker.url)
                await until(lambda: client.payloads("/result"))
                assert client.payloads("/result")[0]["error"]["code"] == "command.retained"
                assert commands == []

    run(scenario())


def test_no_more_commands_than_allowed_are_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            go = asyncio.Event()

            async def handle(command: Command) -> Result:
                await go.wait()
                return Result(command.id, Status.DONE)

            answering(world.dispatcher, world.store, "greenhouse", world.epoch("greenhouse"), handle)
            bridge = await world.bridge(broker.url)
            await until(is_in(bridge, "connected"))
            with subscriber(broker.ports.v311, "+/+/result") as client:
                for _ in range(40):
                    await in_thread(client.publish, "mpy-gateway/greenhouse/command/ping")
                await until(lambda: len(client.payloads("/result")) >= 8)
                assert {message["error"]["code"] for message in client.payloads("/result")} == {"command.busy"}
                go.set()
                await until(lambda: len(client.payloads("/result")) == 40)

    run(scenario())


def test_a_message_the_broker_answers_by_closing_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mqtt.link.LONGEST_WAIT_S", 0.05)

    async def scenario() -> None:
        async with WitnessBroker() as broker, World(tmp_path) as world:
            await world.add("greenhouse", "poison", "cellar")
            await world.samples("greenhouse", 1)
            await world.samples("poison", 1)
            await world.samples("cellar", 1)
            broker.ack = lambda topic: "/poison/samples" not in topic
            bridge = await world.bridge(broker.url)
            await until(lambda: cursor_at_end(world, bridge), timeout_s=20)
            (aside,) = bridge.stats()["last_aside"]
            assert (aside["topic"], aside["seq"]) == ("mpy-gateway/poison/samples", 0)
            assert {"greenhouse", "cellar"} <= set(broker.published_devices())

    run(scenario())


def test_a_message_larger_than_the_broker_takes_is_split(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path, config="allow_anonymous true\nmax_packet_size 20000") as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                await world.samples("greenhouse", 3_000, frame=500)
                with subscriber(broker.port, "+/+/samples") as client:
                    bridge = await world.bridge(broker.url)
                    await until(lambda: set(client.identities()) == world.expected())
                    assert max(len(message.payload) for message in client.messages) <= 19_000
                    assert bridge.stats()["aside"] == 0

    run(scenario())


def test_a_refusal_by_reason_code_sets_aside_that_message_alone(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite #\ntopic deny mpy-gateway/secret/#\n")
    acl.chmod(0o644)

    async def scenario() -> None:
        with Mosquitto(tmp_path, config=f"allow_anonymous true\nacl_file {acl}\nuser root") as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse", "secret")
                await world.samples("secret", 1)
                await world.samples("greenhouse", 1)
                with subscriber(broker.port, "+/+/samples") as client:
                    bridge = await world.bridge(broker.url)
                    await until(lambda: cursor_at_end(world, bridge))
                    await until(client.identities)
                    aside = [entry for entry in bridge.stats()["last_aside"] if entry["topic"].endswith("samples")]
                    assert [entry["topic"] for entry in aside] == ["mpy-gateway/secret/samples"]
                    assert "Not authorized" in aside[0]["why"]

    run(scenario())


def test_a_broker_that_stops_answering_is_left_and_found_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                bridge = await world.bridge(broker.url, keepalive_s=2)
                await until(is_in(bridge, "connected"))
                os.kill(broker.pid, signal.SIGSTOP)
                try:
                    await world.samples("greenhouse", 5)
                    await until(is_in(bridge, "away"), timeout_s=8)
                    assert "acknowledged nothing for 2 s" in bridge.stats()["why"]
                finally:
                    os.kill(broker.pid, signal.SIGCONT)
                await until(lambda: cursor_at_end(world, bridge), timeout_s=20)

    run(scenario())


def test_two_bridges_have_a_cursor_each(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WitnessBroker() as one, WitnessBroker() as other, World(tmp_path) as world:
            await world.add("greenhouse")
            other.ack = lambda topic: None
            first = await world.bridge(one.url, "one")
            second = await world.bridge(other.url, "other")
            await world.samples("greenhouse", 5)
            await until(lambda: cursor_at_end(world, first))
            assert second.stats()["cursor"] == ""

    run(scenario())


def test_no_thread_or_descriptor_is_left_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            bridge = await world.bridge(broker.url)
            await until(is_in(bridge, "connected"))
            await world.end(bridge)

    run(scenario())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(3):
        (tmp_path / str(number)).mkdir()

    async def again() -> None:
        for number in range(3):
            async with embedded(tmp_path / str(number)) as broker, World(tmp_path / str(number)) as world:
                bridge = await world.bridge(broker.url)
                await until(is_in(bridge, "connected"))
                await world.end(bridge)

    run(again())
    gc.collect()
    assert [thread.name for thread in threading.enumerate() if "mqtt" in thread.name] == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_a_bridge_whose_port_answers_something_else_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            async with World(tmp_path) as world:
                port = silent.getsockname()[1]
                bridge = await world.bridge(f"mqtt://127.0.0.1:{port}")
                await asyncio.sleep(0.1)
                began = asyncio.get_running_loop().time()
                await world.end(bridge)  # in the middle of connecting
                assert asyncio.get_running_loop().time() - began < 1

    run(scenario())
