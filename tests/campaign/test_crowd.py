"""A crowd at the devices' door while real boards work. Short: tests/gateway/device/test_crowd.py."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.flow.commands import FREE_PORTS, command, environment, set_options

pytestmark = pytest.mark.campaign

IDLE = 2_000
CROWD_S = 25


@pytest.mark.timeout(240)
def test_two_thousand_idle_connections_cost_twenty_boards_nothing(tmp_path: Path) -> None:
    """Counted at the chip and by independent clients, as `demo` does. Who is dropped comes back at once."""
    report, state = tmp_path / "report.json", tmp_path / "state"
    words = ("--devices", "20", "--for", str(CROWD_S + 20), "--report", str(report), "--state", str(state))
    demo = subprocess.Popen(
        command("demo", *words, *set_options(*FREE_PORTS)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "first" in line:
            break
    time.sleep(8)  # all are connected, and there is nothing to ask but what is attacked
    port = int(json.loads((state / "run.json").read_text())["devices_url"].rpartition(":")[2])
    came = crowd(port, IDLE, CROWD_S)
    said, _ = demo.communicate(timeout=120)
    print(f"{came} idle connections in {CROWD_S} s\n{said[-1500:]}")
    assert came > IDLE
    figures = json.loads(report.read_text())["devices"]
    assert len(figures) == 20
    assert all(device["taken"] > CROWD_S for device in figures.values())
    assert {name: device["lost"] for name, device in figures.items() if device["lost"]} == {}
    assert demo.returncode == 0


def crowd(port: int, count: int, seconds: float) -> int:
    """Keep `count` connections that say nothing; returns how many there were in all."""
    standing: list[socket.socket] = []
    came, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for one in list(standing):
            if has_ended(one):
                one.close()
                standing.remove(one)
        while len(standing) < count:
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            standing.append(one)
            came += 1
        time.sleep(0.5)
    for one in standing:
        one.close()
    return came


def has_ended(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
