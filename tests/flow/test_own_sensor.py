"""A sensor of a user's own: one Python file, a model for it, and its name in a profile. No change to ours."""

from __future__ import annotations

import json
from pathlib import Path

from tests.flow.commands import FREE_PORTS, mpy_gateway, set_options

PROFILE = """
[node]
name = "pond-node"
title = "Pond"
board = "esp32-devkitc"

[buses.i2c0]
kind = "i2c"
scl = "GPIO22"
sda = "GPIO21"
frequency_hz = 100000

[sensors.pond]
chip = "counter77"
bus = "i2c0"
address = 0x77
period_ms = 200

[sensors.pond.quantities]
level = { unit = "mm", range = [0, 5000], precision = 1, title = "Water level" }

[delivery]
ram_samples = 128
power_loss = "unsent"
"""

DRIVER = """
QUANTITIES = (("level", 0),)


class Sensor:
    def __init__(self, bus, config):
        self._bus = bus
        self._address = config["address"]
        self._raw = bytearray(2)

    def read_into(self, values):
        self._bus.writeto_mem(self._address, 0x01, b"\\x01")
        self._bus.readfrom_mem_into(self._address, 0x02, self._raw)
        values[0] = self._raw[0] << 8 | self._raw[1]
"""

MODEL = """
from chips import I2CChip


class Chip(I2CChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.level = 1000

    def write_register(self, register, value):
        if register == 0x01:
            self.level += 1
            self.taken()

    def read_register(self, register):
        return (self.level >> 8) & 0xFF if register == 0x02 else self.level & 0xFF
"""


def test_a_dropped_in_sensor_reaches_broker_and_page(tmp_path: Path) -> None:
    node = tmp_path / "pond-node"
    for folder, text in (("sensors", DRIVER), ("models", MODEL)):
        (node / folder).mkdir(parents=True)
        (node / folder / "counter77.py").write_text(text)
    (node / "profile.toml").write_text(PROFILE)
    report = tmp_path / "report.json"
    ended = mpy_gateway("demo", "--node", str(node), "--for", "4", "--report", str(report), *set_options(*FREE_PORTS))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = json.loads(report.read_text())["devices"].values()
    assert row["taken"] > 10
    assert row["taken"] == row["committed"] == row["published"] == row["seen"]
