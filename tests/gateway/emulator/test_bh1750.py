"""The BH1750 model against its data sheet (2014.03 Rev.D), and our driver against the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.gateway.emulator.bench import micropython, node_with, output, read_by_driver

LIGHT = """
[sensors.light]
chip = "bh1750"
bus = "i2c0"
address = 0x23
period_ms = 1000
[sensors.light.quantities]
illuminance = { unit = "lx", range = [0, 121557], precision = 0.01 }
"""


def test_counts_are_those_of_the_data_sheet(interpreter: Interpreter) -> None:
    # "Measurement sequence example": 1000 0011 1001 0000b at H-Resolution Mode is 28067 lx. Below it: exposures of 31
    # and 254 are 0.45 and 3.68 times the usual counts; mode 2 has twice the counts.
    program = (
        "import bh1750, json\nprint(json.dumps([bh1750.count(28067000, 69, False), bh1750.count(1000000, 31, False),"
        " bh1750.count(1000000, 254, False), bh1750.count(1000000, 69, True), bh1750.count(200000000, 69, False)]))"
    )
    assert json.loads(micropython(interpreter, program)) == [
        pytest.approx(0b1000001110010000, abs=1), 539, 4417, 2400, 65535,
    ]  # fmt: skip


def test_our_driver_reads_what_the_truth_log_says(tmp_path: Path, interpreter: Interpreter) -> None:
    for (found,), truth in read_by_driver(tmp_path, interpreter, LIGHT, 4):
        assert found / 100 == pytest.approx(truth["illuminance"], abs=1)


READ = """
import json, machine, time
from array import array
from device.sensors import bh1750
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
driver = bh1750.Sensor(bus, {})
values = array("i", [0])
def read(times):
    for _ in range(times):
        time.sleep_ms(200)
        driver.read_into(values)
        print(values[0])
"""


def test_bright_light_is_measured_with_a_short_exposure_after_one_sample(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    node = node_with(tmp_path / "node", LIGHT)
    program = (
        READ + "read(3)\ntry:\n    time.sleep_ms(2500)\n    read(1)\nexcept OSError as error:\n    print(error.why)\n"
    )
    signal = "step:100000,200000,at=2s"
    lines = output(
        tmp_path, interpreter, program, profile=load_profile(node), node_dir=node.parent, firmware=True,
        signals={"light.illuminance": signal},
    )  # fmt: skip
    assert lines[0] == str(-0x40000000)
    assert [int(line) / 100 for line in lines[1:3]] == [pytest.approx(100000, abs=2)] * 2
    assert lines[3] == "range"
