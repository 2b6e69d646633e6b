"""`mpy-gateway demo`: real MicroPython, real gateway, real broker; counted at the chip and by independent clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gateway.emulator import NoInterpreter, find_interpreter
from tests.flow.commands import FREE_PORTS, command, environment, mpy_gateway, set_options


@pytest.fixture(scope="module", autouse=True)
def _interpreter() -> None:
    try:
        find_interpreter()
    except NoInterpreter as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def children_of(pid: int) -> set[int]:
    """Processes below `pid`, whatever group they are in."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            found |= {int(entry.name)} | children_of(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_of(pids: list[int]) -> list[int]:
    """Which of these processes are there 5 s later. A child ends by itself when its pipe closes: soon, not at once."""
    deadline = time.monotonic() + 5
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def running_demo(directory: Path) -> subprocess.Popen[str]:
    """A demo that has its first sample; its files are below `directory`."""
    env = environment() | {"TMPDIR": str(directory)}
    process = subprocess.Popen(
        command("demo", *set_options(*FREE_PORTS)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "first" in line:
            break
    return process


def test_every_sample_taken_is_committed_published_and_seen(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    ended = mpy_gateway("demo", "--for", "6", "--devices", "2", "--report", str(report), *set_options(*FREE_PORTS))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    devices = json.loads(report.read_text())["devices"]
    assert list(devices) == ["climate-1", "climate-2"]
    for name, row in devices.items():
        assert set(row) == {"taken", "committed", "published", "seen", "quarantined", "lost"}
        assert row["taken"] >= 4, (name, row)
        assert row["taken"] == row["committed"] == row["published"] == row["seen"], (name, row)
        assert row["lost"] == 0, (name, row)
    assert "/login?link=" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_ends_on_a_signal_and_leaves_no_process_and_no_file(tmp_path: Path, number: int) -> None:
    process = running_demo(tmp_path)
    below = children_of(process.pid)
    assert below, "an emulated board and a broker"
    began = time.monotonic()
    process.send_signal(number)
    output = process.communicate()[0]
    assert process.wait(10) == 0, output
    assert time.monotonic() - began < 8
    assert "Traceback" not in output
    assert left_of(below) == []
    assert list(tmp_path.iterdir()) == []


def test_an_impatient_ctrl_c_leaves_nothing_either(tmp_path: Path) -> None:
    process = running_demo(tmp_path)
    below = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)  # two signals at the same moment are one
    process.send_signal(signal.SIGINT)
    output = process.communicate()[0]
    assert process.wait(10) in {0, 130}, output
    assert "Traceback" not in output
    assert left_of(below) == []
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_said_before_the_start(tmp_path: Path) -> None:
    ended = mpy_gateway("demo", "--for", "30", "--report", str(tmp_path / "nowhere" / "report.json"), timeout_s=10)
    assert ended.returncode == 1
    assert "cannot be written" in ended.stderr
    assert ended.stdout == ""


def test_killed_demo_leaves_no_board_and_no_broker(tmp_path: Path) -> None:
    process = running_demo(tmp_path)
    below = children_of(process.pid)
    process.kill()
    process.wait()
    assert left_of(below) == []


def test_without_an_interpreter_demo_says_how_to_get_one(tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text("import sys\nsys.modules['micropython'] = None\nsys.modules['micropython_module'] = None\n")
    env = environment() | {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command("demo"), capture_output=True, text=True, env=env, check=False, timeout=30)
    assert ended.returncode == 1
    assert "apt install micropython" in ended.stderr
    assert ended.stderr.count("\n") == 1
