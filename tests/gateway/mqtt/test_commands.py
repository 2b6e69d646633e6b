"""Commands from a broker are input from anybody: the device gets only what it can do, and states go on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.model import Command, Result, Status
from gateway.mqtt.commands import BURST_S, COMMANDS_PER_S, MAX_CORRELATION_BYTES, Commands
from gateway.mqtt.connection import MAX_PACKET_BYTES, Received
from gateway.mqtt.topics import MAX_COMMAND_BYTES, Message, Topics
from tests.aio import run, until
from tests.gateway.command.answering import answering
from tests.gateway.mqtt.world import Client, Mosquitto, World, embedded, in_thread, subscriber

PING = "mpy-gateway/greenhouse/command/ping"


class Stopped(Clock):
    """A clock that is turned by hand."""

    ms = 1_000_000

    def monotonic_ms(self) -> int:
        return self.ms


class Desk:
    """`Commands` without a broker: what it carries out, and what it answers."""

    def __init__(self, world: World) -> None:
        self.clock = Stopped()
        self.asked: list[Command] = []
        self.answers: list[Message] = []
        topics = Topics("mpy-gateway")
        self.commands = Commands("t", topics, world.devices, world.dispatcher, self.clock, self.answers.append)

        async def handle(command: Command) -> Result:
            self.asked.append(command)
            return Result(command.id, Status.DONE)

        answering(world.dispatcher, world.store, "greenhouse", world.epoch("greenhouse"), handle)

    async def ask(
        self, topic: str, payload: bytes = b"", *, retain: bool = False, correlation: bytes | None = None
    ) -> Any:
        """The answer, None where there is none."""
        self.answers.clear()
        self.commands.received(Received(topic, payload, retain, correlation))
        await until(lambda: not self.commands.tasks)
        return json.loads(self.answers[0].payload) if self.answers else None


def at_a_desk(folder: Path, scenario: Any) -> None:
    async def work() -> None:
        async with World(folder) as world:
            await world.add("greenhouse")
            await scenario(Desk(world))

    run(work())


HOSTILE: list[tuple[str, bytes, str]] = [
    ("identify", b'{"seconds": 61}', "command.args"),
    ("identify", b'{"seconds": -1}', "command.args"),
    ("identify", b'{"seconds": 1e400}', "command.payload"),
    ("identify", b'{"seconds": ' + b"9" * 4_000 + b"}", "command.args"),
    ("identify", b'{"seconds": true}', "command.args"),
    ("identify", b'{"seconds": "5"}', "command.args"),
    ("identify", b'{"seconds": null}', "command.args"),
    ("identify", b'{"seconds": [5]}', "command.payload"),
    ("identify", b'{"seconds": NaN}', "command.payload"),
    ("identify", b'{"sec\\u0000onds": 5}', "command.args"),
    ("identify", b'{"' + b"k" * 4_000 + b'": 5}', "command.args"),
    ("ping", b'{"a": 1}', "command.args"),
    ("ping", b'{"a": "\\ud800"}', "command.payload"),
    ("ping", b"[" * 4_096, "command.payload"),
    ("ping", b'{"a":' + b"[" * 4_000, "command.payload"),
    ("ping", b"\x00", "command.payload"),
    ("ping", b"{" + b" " * MAX_COMMAND_BYTES + b"}", "command.payload"),
    ("ping", b'{"transaction": "' + b"t" * 65 + b'"}', "command.payload"),
    ("dance", b"", "command.unknown"),
    ("__class__", b"", "command.unknown"),
    ("ping\r\nfake line", b"", "command.unknown"),
    ("x" * 30_000, b"", "command.unknown"),
]


def test_what_a_device_cannot_do_never_reaches_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for name, payload, code in HOSTILE:
            answer = await desk.ask(f"mpy-gateway/greenhouse/command/{name}", payload)
            assert (answer["status"], answer["error"]["code"]) == ("failed", code), (name[:40], payload[:40])
            assert len(desk.answers[0].payload) < 500, "an answer is short, whatever was asked"
        assert desk.asked == []
        assert (await desk.ask(PING))["status"] == "done"

    at_a_desk(tmp_path, scenario)


def test_a_command_to_be_retained_or_with_endless_correlation_data_is_refused(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask(PING, retain=True))["error"]["code"] == "command.retained"
        answer = await desk.ask(PING, correlation=b"c" * (MAX_CORRELATION_BYTES + 1))
        assert answer["error"]["code"] == "command.payload"
        assert desk.answers[0].correlation is None
        assert (await desk.ask(PING, correlation=b"c" * MAX_CORRELATION_BYTES))["status"] == "done"
        assert desk.answers[0].correlation == b"c" * MAX_CORRELATION_BYTES
        assert len(desk.asked) == 1

    at_a_desk(tmp_path, scenario)


def test_a_flood_is_dropped_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(5_000):
            desk.commands.received(Received(f"mpy-gateway/d{number}/command/a\nb", b"", False, None))
        assert len(desk.answers) == COMMANDS_PER_S * BURST_S
        assert desk.commands.dropped == 5_000 - COMMANDS_PER_S * BURST_S
        assert await desk.ask(PING) is None
        desk.clock.ms += 1_000
        assert (await desk.ask(PING))["status"] == "done", "it passes by itself"

    at_a_desk(tmp_path, scenario)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mqtt"]
    assert "more than 20 commands a second" in line


def test_topics_of_no_device_are_said_once_and_on_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(desk: Desk) -> None:
        for topic in (
            "mpy-gateway/BAD\x1b[2J\nfake/command/ping",
            "mpy-gateway/bridge/command/ping",
            "mpy-gateway/a/b/c",
        ):
            assert await desk.ask(topic) is None
        assert desk.commands.dropped == 3

    at_a_desk(tmp_path, scenario)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mqtt"]
    assert line == r"t: a command to no device: mpy-gateway/BAD\x1b[2J\nfake/command/ping"


@pytest.mark.parametrize("v5", [False, True])
def test_packets_larger_than_a_command_are_dropped_by_the_broker_and_others_pass(tmp_path: Path, v5: bool) -> None:
    """On MQTT 5, which the bridge speaks with both brokers, whatever the sender does."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                bridge = await world.bridge(broker.url)
                await until(lambda: bridge.stats()["state"] == "connected")
                with subscriber(broker.port, "+/+/result") as reader, Client(broker.port, v5=v5) as writer:
                    await in_thread(writer.publish, PING, b"x" * MAX_PACKET_BYTES)
                    await in_thread(writer.publish, PING, b"x" * (MAX_COMMAND_BYTES + 1))
                    await until(lambda: reader.messages)
                    assert len(reader.messages) == 1
                    assert "4,096" in reader.payloads()[0]["error"]["text"]
                    assert bridge.stats()["connections"] == 1

    run(scenario())


def test_a_command_that_is_to_be_retained_is_refused_also_when_it_is_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                bridge = await world.bridge(broker.url)
                await until(lambda: bridge.stats()["state"] == "connected")
                with subscriber(broker.port, "+/+/result") as client:
                    await until(lambda: bridge.stats()["under_way"] == 0)
                    await in_thread(lambda: client.publish(PING, b"", retain=True))
                    # an empty payload only clears what is retained
                    await in_thread(lambda: client.publish(PING, b"{}", retain=True))
                    await until(lambda: len(client.messages) == 2)
                    assert {answer["error"]["code"] for answer in client.payloads()} == {"command.retained"}

    run(scenario())


def test_a_broker_that_lets_us_read_no_commands_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """mosquitto refuses a subscription only by a plugin, so a few lines of a broker do."""
    from tests.gateway.mqtt.witness import Witness, WitnessBroker

    class Refusing(WitnessBroker):
        def packet(self, connection: Witness, first: int, body: bytes) -> None:
            if first >> 4 == 8:
                connection.transport.write(b"\x90\3" + body[:2] + b"\x80")
            else:
                super().packet(connection, first, body)

    async def scenario() -> None:
        async with Refusing() as broker, World(tmp_path) as world:
            bridge = await world.bridge(broker.url)
            await until(lambda: "mpy-gateway/+/command/+" in bridge.stats()["refused"], what="the refusal")

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert "does not let us subscribe to it" in caplog.text


def test_many_commands_through_a_real_broker_leave_states_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge(broker.url)
            await until(lambda: bridge.stats()["state"] == "connected")
            with (
                subscriber(broker.ports.v311, "+/greenhouse/state") as reader,
                Client(broker.ports.v5, v5=True) as writer,
            ):
                for _ in range(3_000):
                    writer.paho.publish("mpy-gateway/nobody/command/ping", b"{}", qos=0)
                await world.samples("greenhouse", 1)
                await until(lambda: reader.payloads("/state"), what="a state behind the flood")
                await until(lambda: bridge.stats()["commands_dropped"] > 0, what="the flood")
                assert bridge.stats()["notices_dropped"] == 0

    run(scenario())
