"""What survives what: counted by the emulated chip, and by a subscriber that shares nothing with the gateway."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.emulator import EmulatedBoard
from tests import rig
from tests.aio import run, until
from tests.flow.commands import Running, running_gateway
from tests.programs import free_port, need_program
from tests.rig import add_device, quick_node


class Subscriber:
    """Counts what a broker brings: each (boot_id, seq) of each sample, and how often."""

    def __init__(self, port: int) -> None:
        self.times: dict[tuple[str, int], int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="witness", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("mpy-gateway/+/samples", qos=1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        for seq in body["seq"]:
            identity = (body["boot_id"], seq)
            self.times[identity] = self.times.get(identity, 0) + 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def mosquitto(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real broker that keeps its sessions over a restart."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)  # it drops to a user of its own when it is started by root
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {directory}/\n"
        "user root\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n"
    )
    process = subprocess.Popen([need_program("mosquitto"), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "mosquitto did not start"
                time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def make_board(directory: Path, state: Path, port: int) -> EmulatedBoard:
    """A quick climate node that `state` knows as greenhouse."""
    profile_file = quick_node(directory)
    return rig.make_board(directory / "board", profile_file, add_device("greenhouse", profile_file, state), port)


def committed(running: Running) -> int:
    """Samples the gateway has on disk, as its people's door says."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom gateway.cli.common import RunningGateway\n"
        "print(RunningGateway(Path(sys.argv[1])).call('GET', '/api/devices/greenhouse')['counts']['samples'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(running.state)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.campaign
def test_gateway_killed_loses_nothing_and_repeats_are_recognisable(tmp_path: Path) -> None:
    broker, door = free_port(), free_port()
    state = tmp_path / "state"
    settings = (f"devices.port={door}", f"mqtt.home.url=mqtt://127.0.0.1:{broker}")

    async def flow() -> None:
        with mosquitto(tmp_path / "broker", broker):
            subscriber = Subscriber(broker)
            board = make_board(tmp_path, state, door)
            try:
                with running_gateway(state, *settings) as gateway:
                    await board.start()
                    await until(lambda: len(subscriber.times) > 20, timeout_s=20, what="the first samples")
                    gateway.stop(signal.SIGKILL)
                (state / "run.json").unlink()
                before = sum(board.taken().values())
                await until(lambda: sum(board.taken().values()) > before + 10, what="samples during the outage")
                with running_gateway(state, *settings) as gateway:
                    seen = len(subscriber.times)
                    await until(lambda: len(subscriber.times) > seen + 20, timeout_s=20, what="samples afterwards")
                    await board.stop()
                    taken = sum(board.taken().values())
                    await until(lambda: len(subscriber.times) >= taken, what="everything taken is published")
                    assert committed(gateway) == taken
                assert len(subscriber.times) == taken
                assert len({boot_id for boot_id, _ in subscriber.times}) == 1
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
def test_broker_outage_is_only_a_late_cursor(tmp_path: Path) -> None:
    broker, door = free_port(), free_port()
    state = tmp_path / "state"

    async def flow() -> None:
        settings = (f"devices.port={door}", f"mqtt.home.url=mqtt://127.0.0.1:{broker}")
        board = make_board(tmp_path, state, door)
        with running_gateway(state, *settings):
            try:
                await board.start()
                with mosquitto(tmp_path / "broker", broker) as process:
                    subscriber = Subscriber(broker)
                    await until(lambda: len(subscriber.times) > 10, timeout_s=20, what="the first samples")
                    process.terminate()  # in order: it writes down the session of our witness
                    process.wait()
                before = sum(board.taken().values())
                await until(lambda: sum(board.taken().values()) > before + 10, what="samples during the outage")
                with mosquitto(tmp_path / "broker", broker):
                    seen = len(subscriber.times)
                    await until(lambda: len(subscriber.times) > seen + 20, timeout_s=20, what="samples afterwards")
                    await board.stop()
                    taken = sum(board.taken().values())
                    await until(lambda: len(subscriber.times) >= taken, what="everything taken is published")
                assert len(subscriber.times) == taken
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
def test_link_cut_loses_nothing_that_fits_the_memory(tmp_path: Path) -> None:
    door = free_port()
    state = tmp_path / "state"

    async def flow() -> None:
        board = make_board(tmp_path, state, door)
        try:
            await board.start()  # nobody listens yet
            await until(lambda: sum(board.taken().values()) > 30, timeout_s=20, what="samples without a gateway")
            with running_gateway(state, f"devices.port={door}") as gateway:
                await until(lambda: committed(gateway) > 30, timeout_s=40, what="the backlog")
                await board.stop()
                taken = sum(board.taken().values())
                assert committed(gateway) == taken
        finally:
            await board.power_cut()

    run(flow(), timeout_s=55)
