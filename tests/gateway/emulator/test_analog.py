"""What stands at an ADC's pin, and our drivers against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run
from tests.gateway.emulator.bench import make_board, node_with, output, powered, printed

SENSORS = """
[sensors.pot]
chip = "soil"
pin = "GPIO34"
period_ms = 1000
options = { dry_mv = 2200, wet_mv = 1000 }
[sensors.pot.quantities]
moisture = { unit = "%", range = [0, 100], precision = 0.1 }
[sensors.cell]
chip = "battery"
pin = "GPIO35"
period_ms = 1000
[sensors.cell.quantities]
battery_voltage = { unit = "V", range = [2, 4.5], precision = 0.001 }
"""
PROGRAM = """
import json, machine
from array import array
from device.sensors import battery, soil
with open("/profile.json") as file:
    pot, cell = json.load(file)["sensors"]
for driver, config in ((soil, pot), (battery, cell)):
    sensor = driver.Sensor(None, config)
    for _ in range(6):
        values = array("i", [0, 0])
        sensor.read_into(values)
        print(json.dumps(list(values)))
floating = machine.ADC(machine.Pin(32), atten=machine.ADC.ATTN_11DB)
print(json.dumps([floating.read_uv(), floating.read_u16() >> 4 == floating.read()]))
"""


def test_each_sample_is_one_measurement_and_what_the_truth_log_says(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", SENSORS)
    lines = output(
        tmp_path, interpreter, PROGRAM, profile=load_profile(node), node_dir=node.parent, firmware=True, truth=True
    )
    found = [json.loads(line) for line in lines]
    truth = [json.loads(line) for line in (tmp_path / "board" / "truth.jsonl").read_text().splitlines()]
    assert [(entry["sensor"], entry["taken"]) for entry in truth] == [
        (name, taken) for name in ("pot", "cell") for taken in range(1, 7)
    ]
    for (tenths, mv), entry in zip(found[:6], truth[:6], strict=True):
        assert tenths / 10 == pytest.approx(entry["values"]["moisture"], abs=0.5)
        assert mv / 1000 == pytest.approx(entry["values"]["probe_voltage"], abs=0.005)
    for (mv, percent), entry in zip(found[6:12], truth[6:], strict=True):
        assert mv / 1000 == pytest.approx(entry["values"]["battery_voltage"], abs=0.01)
        assert 0 <= percent <= 100
    assert found[12] == [142000, True]


FAULTY = """
import json, time
from array import array
from device.sensors import SensorError, battery, soil
with open("/profile.json") as file:
    pot, cell = json.load(file)["sensors"]
sensors = soil.Sensor(None, pot), battery.Sensor(None, cell)
values = array("i", [0, 0])
while True:
    for name, sensor in zip(("pot", "cell"), sensors):
        try:
            sensor.read_into(values)
            print(name, values[0])
        except SensorError as error:
            print(name, error.why)
    time.sleep_ms(20)
"""


def test_what_is_unplugged_or_shorted_is_out_of_range_and_nothing_else(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    node = node_with(tmp_path / "node", SENSORS)

    async def flow() -> None:
        board = make_board(
            tmp_path, interpreter, FAULTY, profile=load_profile(node), node_dir=node.parent, firmware=True,
            signals={"pot.moisture": "0", "cell.battery_voltage": "4.2"},
        )  # fmt: skip
        async with powered(board):
            await printed(board, "pot 0")
            board.fault("pot", "missing")
            await printed(board, "pot range")
            board.console_tail.clear()
            await printed(board, "cell 4", times=3)
            assert not any("cell range" in line for line in board.console_tail)
            board.fault("pot", None)
            await printed(board, "pot 0")
            board.signal("cell.battery_voltage", "1.5")  # deep discharged, or a divider that came off
            await printed(board, "cell range")

    run(flow())
