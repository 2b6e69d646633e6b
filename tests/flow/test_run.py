"""`mpy-gateway run` with real emulated boards: status, send, tail, order at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.flow.commands import Running, command, environment, mpy_gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory):
    """A gateway with one emulated board, shared by the tests that only look."""
    state = tmp_path_factory.mktemp("run") / "state"
    with running_gateway(state) as running:
        board = subprocess.Popen(
            command("emulate", "--state", str(state)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
        )  # fmt: skip
        try:
            wait_for_samples(state)
            yield running
        finally:
            board.send_signal(signal.SIGINT)
            board.communicate(timeout=10)


def wait_for_samples(state: Path) -> dict[str, object]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        status = json.loads(mpy_gateway("status", "--json", "--state", str(state)).stdout)
        if any(connection["samples"] for connection in status["connections"]):
            return status
    raise AssertionError("no samples arrived")


def test_status_shows_the_live_connection(gateway: Running) -> None:
    status = wait_for_samples(gateway.state)
    (connection,) = status["connections"]
    assert connection["device"] == "climate-1"
    assert connection["address"].startswith("127.0.0.1")
    assert connection["frames"] > 0
    table = mpy_gateway("status", "--state", str(gateway.state)).stdout
    for word in ("device", "address", "since", "frames", "samples/s", "last seen", "climate-1"):
        assert word in table


def test_send_prints_the_result_of_each_command(gateway: Running) -> None:
    ended = mpy_gateway("send", "climate-1", "ping", "--state", str(gateway.state))
    assert ended.returncode == 0, ended.stderr
    assert "climate-1 ping: done uptime_ms=" in ended.stdout
    ended = mpy_gateway("send", "climate-1", "identify", "seconds=1", "--state", str(gateway.state))
    assert ended.returncode == 0, ended.stderr


def test_send_to_nobody_and_of_nothing_exits_1_with_a_sentence(gateway: Running) -> None:
    for device, name in (("nobody", "ping"), ("climate-1", "dance")):
        ended = mpy_gateway("send", device, name, "--state", str(gateway.state))
        assert ended.returncode == 1
        assert ended.stderr.strip()
        assert "Traceback" not in ended.stderr


def test_tail_prints_samples_as_they_are_committed(gateway: Running) -> None:
    tail = subprocess.Popen(
        command("tail", "climate-1", "--state", str(gateway.state)),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    timer = threading.Timer(20, tail.kill)
    timer.start()
    try:
        assert tail.stdout is not None
        lines = [tail.stdout.readline() for _ in range(2)]
    finally:
        timer.cancel()
        tail.send_signal(signal.SIGINT)
        tail.wait(10)
    assert all("climate-1 #" in line for line in lines), lines
    assert "temperature=" in lines[0] + lines[1]


def test_tail_ends_without_a_word_when_nobody_reads_it_any_more(gateway: Running) -> None:
    line = command("tail", "--state", str(gateway.state))
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        timer = threading.Timer(20, tail.kill)
        timer.start()
        assert tail.stdout.readline()
        tail.stdout.close()
        assert tail.stderr.read() == b""
        timer.cancel()


def test_link_prints_a_new_one_time_link(gateway: Running) -> None:
    first, second = (mpy_gateway("link", "--state", str(gateway.state)).stdout.strip() for _ in range(2))
    assert "/login?link=" in first
    assert first != second


def test_sigterm_ends_it_in_order_with_nothing_lost(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_gateway(state) as running:
        board = subprocess.Popen(
            command("emulate", "--state", str(state)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        try:
            wait_for_samples(state)
            code, seconds = running.stop()
            assert code == 0
            assert seconds < 5
            assert not (state / "run.json").exists()
        finally:
            board.send_signal(signal.SIGINT)
            board.wait(10)
    assert "Traceback" not in (tmp_path / "state.log").read_text()


@pytest.mark.campaign
def test_a_restart_keeps_the_board_and_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_gateway(state) as running:
        port = int(str(running.run["devices_url"]).rpartition(":")[2])
        board = subprocess.Popen(
            command("emulate", "--state", str(state)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        try:
            wait_for_samples(state)
            running.stop(signal.SIGKILL)
            (state / "run.json").unlink(missing_ok=True)
            with running_gateway(state, f"devices.port={port}"):
                wait_for_samples(state)
        finally:
            board.send_signal(signal.SIGINT)
            board.wait(10)
