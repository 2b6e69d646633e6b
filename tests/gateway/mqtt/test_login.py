"""The embedded broker with a login and TLS, for real: on both ports, in both versions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import BrokerConfig
from gateway.mqtt import v311
from gateway.mqtt.embedded import EmbeddedBroker
from tests.aio import run, until
from tests.gateway.mqtt.certificates import Authority, Pair
from tests.gateway.mqtt.world import Client, World, in_thread

PASSWORD = "planted-broker-password"
HOME = ("home", PASSWORD)


class Files:
    """A certificate as the broker wants it."""

    def __init__(self, pair: Pair) -> None:
        self.file = pair.certificate
        self.key = pair.key


@contextlib.asynccontextmanager
async def guarded(folder: Path, **options: Any) -> AsyncIterator[EmbeddedBroker]:
    (folder / "password").write_text(PASSWORD + "\n")
    config = BrokerConfig(port=0, port_v5=0, username="home", password_file=folder / "password")
    broker = EmbeddedBroker(config, folder, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def text(data: str) -> bytes:
    return len(data).to_bytes(2, "big") + data.encode()


def connack(port: int, level: int, login: tuple[str, str] | None, *, will: str = "") -> bytes:
    """What the door says to a CONNECT with that login."""
    flags = 2 | (0xC0 if login else 0) | (4 if will else 0)
    properties = b"\0" if level == 5 else b""
    wills = properties + text(will) + text("gone") if will else b""
    body = text("MQTT") + bytes((level, flags)) + b"\0\x3c" + properties + text("c") + wills
    body += b"".join(map(text, login)) if login else b""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(5)
        client.sendall(v311.packet(0x10, body))
        return client.recv(100)


def test_only_who_has_the_login_gets_in_on_both_ports_and_in_both_versions(tmp_path: Path) -> None:
    def check(broker: EmbeddedBroker) -> None:
        for port in broker.ports:
            assert connack(port, 4, HOME) == b"\x20\x02\0\0"
            assert connack(port, 5, HOME)[3] == 0
        assert connack(broker.ports.v311, 4, None) == b"\x20\x02\0\5"
        assert connack(broker.ports.v5, 5, None) == b"\x20\x03\0\x87\0"
        assert connack(broker.ports.v311, 4, HOME) == b"\x20\x02\0\0", "who has it is not delayed, and clears the count"
        assert connack(broker.ports.v5, 5, ("home", "wrong")) == b"\x20\x03\0\x86\0"
        assert connack(broker.ports.v311, 4, ("gateway", PASSWORD)) == b"\x20\x02\0\4"

    async def scenario() -> None:
        async with guarded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


def test_wrong_logins_wait_longer_each_time_and_are_said_without_what_was_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def check(broker: EmbeddedBroker) -> None:
        took_s = []
        for _ in range(2):
            began = time.monotonic()
            connack(broker.ports.v5, 5, ("home", "planted-guess"))
            took_s.append(time.monotonic() - began)
        assert took_s[0] > 0.4
        assert took_s[1] > 0.9

    async def scenario() -> None:
        async with guarded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())
    (line,) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert line == "127.0.0.1: refused: it does not have the login of broker.username"
    assert "planted" not in caplog.text


def test_rumqttd_itself_lets_nobody_past_the_doors(tmp_path: Path) -> None:
    """Its port is open to every program on this machine."""

    def check(broker: EmbeddedBroker) -> None:
        config = (tmp_path / "broker.toml").read_text()
        port = int(config.partition('listen = "127.0.0.1:')[2].partition('"')[0])
        for login in (None, HOME, ("x", "y")):
            assert connack(port, 5, login) == b""

    async def scenario() -> None:
        async with guarded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


def test_no_password_is_in_the_process_list_or_in_a_file_that_others_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = os.umask(0)
        try:
            async with guarded(tmp_path) as broker:
                own = broker.for_the_gateway.password()
                assert own
                for name in ("cmdline", "environ"):
                    shown = Path(f"/proc/{broker.pid}/{name}").read_bytes()
                    assert PASSWORD.encode() not in shown
                    assert own.encode() not in shown
                assert stat.S_IMODE((tmp_path / "broker.toml").stat().st_mode) == 0o600
                assert PASSWORD not in (tmp_path / "broker.toml").read_text()
                assert own not in repr(broker.for_the_gateway)
        finally:
            os.umask(before)

    run(scenario())


def test_nobody_but_the_gateway_publishes_what_only_the_gateway_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """States, samples, availability, results: a client's own are acknowledged, and go nowhere."""

    async def scenario() -> None:
        async with guarded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            own = broker.for_the_gateway
            bridge = await world.bridge(own.url)
            assert bridge.stats()["state"] != "connected"
            await world.end(bridge)
            bridge = await world.bridge_with(own)
            await until(lambda: bridge.stats()["state"] == "connected")
            with (
                Client(broker.ports.v311, login=HOME) as reader,
                Client(broker.ports.v311, login=HOME) as old,
                Client(broker.ports.v5, v5=True, login=HOME) as new,
            ):
                reader.subscribe("#")
                for client in (old, new):
                    for qos in (0, 1, 2):
                        for topic in ("mpy-gateway/greenhouse/state", "mpy-gateway/bridge/state"):
                            client.publish(topic, b"forged", qos=qos, retain=True)
                    client.publish("mine/state", b"kept")
                await world.samples("greenhouse", 1)
                await until(lambda: reader.payloads("/samples"), what="samples, from the gateway")
                await until(lambda: len([m for m in reader.messages if m.topic == "mine/state"]) == 2)
                assert b"forged" not in {bytes(message.payload) for message in reader.messages}
                assert not [m.topic for m in reader.messages if "refused" in m.topic]
                await in_thread(new.publish, "mpy-gateway/greenhouse/command/dance", b"{}")
                await until(lambda: reader.payloads("/result"), what="an answer to a command")
            assert await in_thread(connack, broker.ports.v311, 4, HOME) == b"\x20\x02\0\0"
            for level, refused in ((4, b"\x20\x02\0\5"), (5, b"\x20\x03\0\x87\0")):
                said = await in_thread(lambda: connack(broker.ports.v5, level, HOME, will="mpy-gateway/bridge/state"))  # noqa: B023
                assert said == refused, "a last will is a message, too"

    run(scenario())
    lines = [record.getMessage() for record in caplog.records if "only the gateway" in record.getMessage()]
    assert lines == [
        "127.0.0.1: a message to mpy-gateway/greenhouse/state is dropped: only the gateway publishes there"
    ]


def test_a_topic_alias_is_no_way_around(tmp_path: Path) -> None:
    def check(broker: EmbeddedBroker) -> None:
        with (
            Client(broker.ports.v5, v5=True, login=HOME) as reader,
            Client(broker.ports.v5, v5=True, login=HOME) as writer,
        ):
            reader.subscribe("#")
            writer.publish("mpy-gateway/greenhouse/state", b"forged", TopicAlias=1)
            writer.publish("mine", b"end")
            deadline = time.monotonic() + 5
            while not reader.messages:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert [message.topic for message in reader.messages] == ["mine"]

    async def scenario() -> None:
        async with guarded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("keys"))


def tls_client(port: int, authority: Authority, v5: bool) -> Client:
    client = Client(port, v5=v5, login=HOME)
    client.paho.tls_set(str(authority.file))
    return client


def test_with_tls_both_ports_speak_nothing_else_and_the_gateway_has_its_own_way_in(
    tmp_path: Path, authority: Authority
) -> None:
    certificate = Files(authority.issue("broker", "127.0.0.1"))

    async def scenario() -> None:
        async with guarded(tmp_path, certificate=certificate, probe_every_s=0.1) as broker, World(tmp_path) as world:
            assert broker.url == f"mqtts://127.0.0.1:{broker.ports.v311}"
            await world.add("greenhouse")
            bridge = await world.bridge_with(broker.for_the_gateway)
            await until(lambda: bridge.stats()["state"] == "connected")
            for port in broker.ports:
                for v5 in (False, True):
                    client = await in_thread(tls_client(port, authority, v5).__enter__)
                    await in_thread(client.subscribe, "#")
                    await world.samples("greenhouse", 1)
                    await until(lambda: client.payloads("/samples"))  # noqa: B023  # awaited in this turn
                    client.__exit__()
                assert await in_thread(connack, port, 4, HOME) == b"", "plain text gets no answer"
            inside = broker.for_the_gateway.url
            assert inside.startswith("mqtt://127.0.0.1:")
            assert await in_thread(connack, int(inside.rpartition(":")[2]), 4, None) == b"\x20\x02\0\5"
            assert broker.restarts == 0

    run(scenario())


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    from gateway.mqtt.doors import Tls

    pair = authority.issue("renewed", "127.0.0.1")
    tls = Tls(pair.certificate, pair.key)
    first = pair.certificate.read_bytes()
    assert tls.renew() == ""
    time.sleep(0.01)
    authority.issue("renewed", "127.0.0.1")

    async def shown() -> bytes:
        async def quiet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(quiet, "127.0.0.1", 0, ssl=tls.context)
        port = server.sockets[0].getsockname()[1]
        der = await in_thread(lambda: ssl.get_server_certificate(("127.0.0.1", port), timeout=5))
        server.close()
        return der.encode()

    assert run(shown()) == first
    assert tls.renew() == ""
    assert run(shown()) == pair.certificate.read_bytes() != first
    pair.key.write_text("broken")
    pair.certificate.touch()
    assert "cannot be used" in tls.renew()


@pytest.mark.parametrize("hostile", [b"\x16\x03\x01" + b"x" * 50, b"\x10\xc0\x84\x3d" + b"\0" * 200_000])
def test_what_has_not_logged_in_can_hold_neither_memory_nor_the_door(tmp_path: Path, hostile: bytes) -> None:
    def check(broker: EmbeddedBroker) -> None:
        with socket.create_connection(("127.0.0.1", broker.ports.v5)) as stranger:
            stranger.settimeout(5)
            with contextlib.suppress(ConnectionError):
                stranger.sendall(hostile)
                assert stranger.recv(10) == b""
        assert connack(broker.ports.v5, 5, HOME)[3] == 0

    async def scenario() -> None:
        async with guarded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


def test_a_status_shows_no_password(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with guarded(tmp_path) as broker, World(tmp_path) as world:
            bridge = await world.bridge_with(broker.for_the_gateway)
            await until(lambda: bridge.stats()["state"] == "connected")
            shown = json.dumps(bridge.stats()) + repr(broker.for_the_gateway)
            assert PASSWORD not in shown
            assert broker.for_the_gateway.password() not in shown

    run(scenario())


def test_nobody_takes_the_connection_of_the_gateway_over(tmp_path: Path) -> None:
    """Who connects with another's client id ends their connection; the gateway's is no secret: gw-...-embedded."""

    async def scenario() -> None:
        async with guarded(tmp_path) as broker, World(tmp_path) as world:
            await world.add("greenhouse")
            bridge = await world.bridge_with(broker.for_the_gateway)
            await until(lambda: bridge.stats()["state"] == "connected")
            with Client(broker.ports.v311, login=HOME, client_id=bridge._link.client_id) as client:
                await in_thread(client.subscribe, "#")
                await world.samples("greenhouse", 1)
                await until(lambda: client.payloads("/samples"), what="samples")
                assert bridge.stats()["state"] == "connected"
            assert (bridge.stats()["connections"], client.connections) == (1, 1)

    run(scenario())
