"""The embedded broker, for real: both ports, sizes, ports that are taken, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gateway.config import BrokerConfig
from gateway.errors import ConfigError
from gateway.mqtt.embedded import MAX_PAYLOAD_BYTES, EmbeddedBroker
from tests.aio import run, until
from tests.gateway.mqtt.world import Client, embedded, in_thread, subscriber
from tests.programs import free_port


def alive(pid: int) -> bool:
    """Whether there is such a process, zombies included."""
    return Path(f"/proc/{pid}").exists()


def test_both_versions_hear_each_other_on_every_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(everybody_hears_everybody, broker)

    run(scenario())


def everybody_hears_everybody(broker: EmbeddedBroker) -> None:
    doors = [(port, v5) for port in broker.ports for v5 in (False, True)]
    clients = [Client(port, v5=v5).__enter__().subscribe("t/#") for port, v5 in doors]
    for number, client in enumerate(clients):
        for qos in (0, 1, 2):
            properties = {"UserProperty": [("a", "b")], "ContentType": "x"} if client.v5 else {}
            client.publish(f"t/{number}/{qos}", b"hello", qos=qos, **properties)
    wanted = {f"t/{number}/{qos}" for number in range(4) for qos in (0, 1, 2)}
    for client in clients:
        wait_for(lambda client=client: {message.topic for message in client.messages} == wanted)  # type: ignore[misc]
        if client.v5:
            from_v5 = next(message for message in client.messages if message.topic == "t/1/1")
            assert from_v5.properties.UserProperty == [("a", "b")]
        client.__exit__()


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]  # any callable
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("size", [25_000, 500_000, MAX_PAYLOAD_BYTES])
@pytest.mark.parametrize("v5", [False, True])
def test_payloads_of_up_to_a_megabyte_pass(tmp_path: Path, size: int, v5: bool) -> None:
    def large(broker: EmbeddedBroker) -> None:
        payload = os.urandom(size)
        with subscriber(broker.ports.v311, "t/#", v5=v5) as reader, Client(broker.ports.v311, v5=v5) as writer:
            writer.publish("t/large", payload)
            wait_for(lambda: reader.messages)
            assert reader.messages[0].payload == payload

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(large, broker)

    run(scenario())


def test_retained_messages_wills_and_sessions_work_in_both_versions(tmp_path: Path) -> None:
    def check(broker: EmbeddedBroker) -> None:
        port = broker.ports.v311
        with Client(port, v5=True) as writer:
            writer.publish("t/kept", b"1", retain=True, UserProperty=[("a", "b")])
            for v5 in (False, True):
                with subscriber(port, "t/#", v5=v5) as reader:
                    wait_for(lambda: reader.retained("t/kept") == b"1")
                    assert all(message.retain for message in reader.messages)
                    mortal = Client(port, v5=v5, client_id=f"mortal{v5}", will=(f"t/will{v5}", b"gone")).__enter__()
                    mortal.cut()
                    wait_for(lambda: reader.retained(f"t/will{v5}") == b"gone")  # noqa: B023  # awaited in this turn
            with Client(port, client_id="session", clean=False) as first:
                first.subscribe("s/#")
                assert first.session_present is False
            writer.publish("s/1", b"while away")
            with Client(port, client_id="session", clean=False) as again:
                wait_for(lambda: again.messages)
                assert again.session_present is True
                assert again.messages[0].payload == b"while away"

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x30\x05\0\1txx",
        b"\x10\x0c\0\4MQTT\4\2\0\0\0\xff",
        b"\0" * 100,
        b"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a\x20\2\0\0",
        b"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a\xf0\0",
    ],
)
def test_bytes_that_are_not_mqtt_close_only_their_own_connection(tmp_path: Path, hostile: bytes) -> None:
    def check(broker: EmbeddedBroker) -> None:
        with subscriber(broker.ports.v311, "t") as reader, Client(broker.ports.v311) as writer:
            for port in broker.ports:
                with socket.create_connection(("127.0.0.1", port)) as stranger:
                    stranger.sendall(hostile)
                    stranger.settimeout(5)
                    while stranger.recv(100):
                        pass  # it may have been greeted before it misbehaved
            writer.publish("t", b"still here")
            wait_for(lambda: reader.messages)
        assert broker.restarts == 0

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


@pytest.mark.parametrize("level", [b"\4", b"\5\0"])
def test_clients_that_turn_the_keepalive_off_are_taken(tmp_path: Path, level: bytes) -> None:
    def check(broker: EmbeddedBroker) -> None:
        with socket.create_connection(("127.0.0.1", broker.ports.v311)) as client:
            body = b"\0\4MQTT" + level[:1] + b"\2\0\0" + level[1:] + b"\0\1a"
            client.sendall(bytes((0x10, len(body))) + body)
            client.settimeout(5)
            assert client.recv(100)[:1] == b"\x20"

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


@pytest.mark.parametrize("v5", [False, True])
def test_client_ids_of_any_kind_may_come_again(tmp_path: Path, v5: bool) -> None:
    def check(broker: EmbeddedBroker) -> None:
        for client_id in ("mosqsub/17-host", "$SYS", "a+b#c", "%2F", "ä", "x" * 500):
            for _ in range(3):
                Client(broker.ports.v5, v5=v5, client_id=client_id).__enter__().cut()
        assert broker.restarts == 0

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


def test_mqtt_3_1_is_told_that_it_is_too_old(tmp_path: Path) -> None:
    def check(broker: EmbeddedBroker) -> None:
        with socket.create_connection(("127.0.0.1", broker.ports.v311)) as old:
            old.sendall(b"\x10\x0f\0\6MQIsdp\3\2\0\x3c\0\1a")
            old.settimeout(5)
            assert old.recv(100) == b"\x20\x02\0\1"

    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            await in_thread(check, broker)

    run(scenario())


@pytest.mark.parametrize("key", ["port", "port_v5"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, key: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        broker = EmbeddedBroker(BrokerConfig(**{"port": 0, "port_v5": 0, key: port}), tmp_path)

        async def scenario() -> None:
            with pytest.raises(ConfigError) as caught:
                await broker.start()
            assert str(caught.value).startswith(f"broker.{key}: 127.0.0.1:{port} is in use by another program")
            assert "\n" not in str(caught.value)
            assert broker.pid is None

        run(scenario())


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError, match=r"^broker.port: 192\.0\.2\.1 is no address of this machine$"):
            await EmbeddedBroker(BrokerConfig(host="192.0.2.1", port=0, port_v5=0), tmp_path).start()

    run(scenario())


def test_it_listens_where_it_is_told_to_and_nowhere_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            assert listening(broker.ports.v311) == listening(broker.ports.v5) == ["0100007F"]  # 127.0.0.1, backwards

    run(scenario())


def listening(port: int) -> list[str]:
    """Addresses on which something listens on `port`, as the kernel writes them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


def test_after_stop_nothing_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            pid = broker.pid
            assert pid is not None
            assert broker.rss_bytes() > 1_000_000
            ports = broker.ports
        assert not alive(pid)
        assert (broker.pid, broker.rss_bytes()) == (None, 0)
        assert listening(ports.v311) == listening(ports.v5) == []
        await broker.stop()

    run(scenario())


def test_it_can_be_started_on_the_same_ports_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = BrokerConfig(port=free_port(), port_v5=free_port())
        for _ in range(3):
            broker = EmbeddedBroker(config, tmp_path)
            await broker.start()
            with_client = Client(broker.ports.v311)
            await in_thread(with_client.__enter__)
            await broker.stop()
            with_client.cut()

    run(scenario())


def test_a_child_that_dies_is_started_again_on_the_same_ports(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            pid, ports = broker.pid, broker.ports
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda: broker.pid not in (None, pid), what="a new child")
            assert (broker.ports, broker.restarts) == (ports, 1)
            assert not alive(pid)
            await in_thread(lambda: Client(ports.v311).__enter__().__exit__())

    run(scenario())


def test_a_child_that_hangs_is_started_again(tmp_path: Path) -> None:
    """Stopped, it keeps its ports open: a program that connects waits, for ever if nobody looks."""

    async def scenario() -> None:
        async with embedded(tmp_path, probe_every_s=0.2, silent_s=1.5) as broker:
            pid, ports = broker.pid, broker.ports
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            await until(lambda: broker.pid not in (None, pid), timeout_s=20, what="a new child")
            assert time.monotonic() - began > 1.5
            assert (broker.ports, broker.restarts) == (ports, 1)
            assert not alive(pid)
            await in_thread(lambda: Client(ports.v311).__enter__().__exit__())

    run(scenario(), timeout_s=40)


def test_a_child_that_serves_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path, probe_every_s=0.01, silent_s=10) as broker:
            pid = broker.pid
            with subscriber(broker.ports.v311, "t") as client:
                for number in range(20):
                    await in_thread(client.publish, "t", str(number).encode())
                await until(lambda: len(client.messages) == 20)
                assert client.connections == 1
            assert (broker.pid, broker.restarts) == (pid, 0)

    run(scenario())


def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    """A full or vanished disk, say: it may be back later."""

    async def flow() -> None:
        async with embedded(tmp_path / "state") as broker:
            (tmp_path / "state").rename(tmp_path / "away")
            assert broker.pid
            os.kill(broker.pid, signal.SIGKILL)
            await until(lambda: broker.restarts >= 2, what="a restart that failed")
            (tmp_path / "away").rename(tmp_path / "state")
            await until(lambda: broker.pid, what="a child that runs again")

    (tmp_path / "state").mkdir()
    run(flow())


def test_the_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from gateway.config import BrokerConfig
        from gateway.mqtt.embedded import EmbeddedBroker
        async def main():
            broker = EmbeddedBroker(BrokerConfig(port=0, port_v5=0), Path(sys.argv[1]))
            await broker.start()
            print(broker.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    wait_for(lambda: not alive(child))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_does_not_end_the_child_before_its_parent(tmp_path: Path, number: int) -> None:
    async def scenario() -> None:
        async with embedded(tmp_path) as broker:
            pid = broker.pid
            assert pid is not None
            os.kill(pid, number)
            await asyncio.sleep(0.2)
            assert broker.pid == pid
            await in_thread(lambda: Client(broker.ports.v311).__enter__().__exit__())

    run(scenario())
