"""`doctor` beside a gateway that runs, and one that does not."""

from __future__ import annotations

import json
from pathlib import Path

from tests.flow.commands import mpy_gateway, running_gateway


def test_a_gateway_and_a_device_that_never_came(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state)).returncode == 0
    with running_gateway(state):
        ended = mpy_gateway("doctor", "greenhouse", "--json", "--state", str(state))
    said = json.loads(ended.stdout)
    found = {(one["about"], one["level"]): one["text"] for one in said["findings"]}
    assert ended.returncode == 1
    assert said["worst"] == "fault"
    assert str(state) in found["gateway", "ok"]
    assert found["greenhouse", "fault"] == "has never connected"
    assert "boards on Wi-Fi do not" in found["network", "warning"]
    assert "embedded is connected" in found["broker", "ok"]
    assert "ms a write" in found["disk", "ok"]


def test_a_port_and_no_gateway(tmp_path: Path) -> None:
    ended = mpy_gateway("doctor", "/dev/ttyUSB77", "--state", str(tmp_path))
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert any(line.startswith("fault    gateway      no gateway runs on") for line in lines)
    assert any("/dev/ttyUSB77" in line and line.startswith("fault    port") for line in lines)
    assert "it is not there: is it plugged in?" in ended.stdout
