"""What a profile becomes on the board."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ConfigError
from gateway.profile import find_node, firmware_dir, firmware_profile, firmware_sources, load_profile
from tests.gateway.profile.node import write_node


@pytest.fixture
def profile():
    return load_profile(find_node("climate-node"))


def test_the_boards_profile_holds_what_the_firmware_uses_and_nothing_else(profile):
    assert json.loads(json.dumps(firmware_profile(profile))) == {
        "hash": profile.hash,
        "node": "climate-node",
        "buses": {"i2c0": {"kind": "i2c", "id": 0, "scl": 22, "sda": 21, "frequency_hz": 400_000}},
        "sensors": [
            {
                "name": "climate",
                "chip": "bme280",
                "bus": "i2c0",
                "address": 0x76,
                "period_ms": 1000,
                "options": {},
                "quantities": [
                    {"name": "temperature", "decimals": 2},
                    {"name": "humidity", "decimals": 2},
                    {"name": "pressure", "decimals": 2},
                ],
            },
            {
                "name": "light",
                "chip": "bh1750",
                "bus": "i2c0",
                "address": 0x23,
                "period_ms": 5000,
                "options": {},
                "quantities": [{"name": "illuminance", "decimals": 1}],
            },
            {
                "name": "vitals",
                "chip": "vitals",
                "period_ms": 10_000,
                "options": {},
                "quantities": [
                    {"name": name, "decimals": 0} for name in ("rssi", "free_heap", "uptime", "reset_cause")
                ],
            },
        ],
        "outputs": [{"name": "led", "kind": "led", "pin": 2, "active": "high"}],
        "inputs": [],
        "power": {"deep_sleep": False, "send_every_ms": 0},
        "delivery": {"ram_samples": 512, "power_loss": "unsent", "flash_bytes": 1 << 20},
    }


def test_a_sensors_pin_and_options_reach_the_board(tmp_path):
    change = ('chip = "vitals"\n', 'chip = "vitals"\npin = "GPIO34"\noptions = { gain = 2, mode = "fast" }\n')
    (_, vitals) = firmware_profile(load_profile(write_node(tmp_path, change)))["sensors"]
    assert vitals["pin"] == 34
    assert vitals["options"] == {"gain": 2, "mode": "fast"}


def test_the_board_gets_the_firmware_and_the_drivers_of_its_chips_alone(profile, tmp_path):
    files = firmware_sources(profile, find_node("climate-node").parent)
    assert {"/boot.py", "/main.py", "/device/__init__.py", "/device/sensors/__init__.py"} <= set(files)
    drivers = {path for path in files if path.startswith("/device/sensors/")}
    assert drivers == {f"/device/sensors/{name}.py" for name in ("__init__", "bh1750", "bme280", "vitals")}
    for on_board, source in files.items():
        assert source == firmware_dir() / on_board[1:]
        assert source.is_file()
    sources = {path.relative_to(firmware_dir()).as_posix() for path in firmware_dir().rglob("device/*.py")}
    assert {f"/{source}" for source in sources} <= set(files)


def test_a_nodes_own_driver_comes_before_ours_and_an_unused_one_stays_at_home(tmp_path):
    path = write_node(tmp_path)
    (tmp_path / "sensors" / "spare.py").touch()
    files = firmware_sources(load_profile(path), tmp_path)
    assert files["/device/sensors/bme280.py"] == tmp_path / "sensors" / "bme280.py"
    assert "/device/sensors/spare.py" not in files


def test_a_driver_that_has_gone_meanwhile_is_an_error_with_both_places(tmp_path):
    path = write_node(tmp_path, ('chip = "bme280"', 'chip = "mine"'))
    (tmp_path / "sensors" / "mine.py").touch()
    profile = load_profile(path)
    (tmp_path / "sensors" / "mine.py").unlink()
    with pytest.raises(ConfigError, match=r"neither .*/sensors/mine.py nor .*firmware/device/sensors/mine.py"):
        firmware_sources(profile, tmp_path)
