"""The BH1750 model against its technical note (2009.04 Rev.B), and our driver against the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run
from tests.gateway.emulator.bench import make_board, node_with, output, powered, printed, read_by_driver

LIGHT = """
[sensors.light]
chip = "bh1750"
bus = "i2c0"
address = 0x23
period_ms = 1000
[sensors.light.quantities]
illuminance = { unit = "lx", range = [0, 121557], precision = 0.01 }
"""
PROGRAM = """
import json, machine, time
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
def told(*commands):
    global start
    for command in commands:
        start = time.ticks_ms()
        bus.writeto(0x23, bytes((command,)))
def result():
    return int.from_bytes(bus.readfrom(0x23, 2), "big")
def wait(least_ms, most_ms):
    while not result():
        time.sleep_ms(1)
    return least_ms <= time.ticks_diff(time.ticks_ms(), start) <= most_ms + 500   # and what else the machine has to do
found = [result()]                          # after power-up: asleep, and nothing measured
told(0x20)
found.append(wait(115, 180))                # page 2: 120 ms, 180 at most
found.append(result())                      # page 10: 1.2 counts a lux
told(0x07)
found.append(result())                      # page 5: asleep again, it does not accept a reset
told(0x01, 0x07)
found.append(result())
told(0x01, 0b01000_001, 0b011_00010, 0x20)  # page 11: MTreg 34, half of 69 nearly
found.append(wait(55, 89))
found.append(result())
told(0x01, 0x07, 0b01000_010, 0b011_00101, 0x21)
wait(0, 180)
found.append(result())                      # H-resolution mode 2: half a lux
told(0x01, 0x07, 0x23)
found.append(wait(12, 24))
found.append(result())                      # L-resolution mode
told(0x10)
time.sleep_ms(200)
told(0x07)
found.append(wait(0, 180))                  # continuously: again without being asked
try:
    bus.writeto(0x23, b"\\x01\\x20")
except OSError as error:
    found.append(error.errno)               # page 10: one command in each write
print(json.dumps(found))
"""


def test_commands_times_and_results(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", LIGHT)
    (line,) = output(
        tmp_path, interpreter, PROGRAM, profile=load_profile(node), node_dir=node.parent,
        signals={"light.illuminance": "20000.9"},
    )  # fmt: skip
    # 20000.9 * 1.2 = 24001.08; * 34 / 69 = 11826.6; * 2 = 48002.16; by fours
    assert json.loads(line) == [0, True, 24001, 24001, 0, True, 11826, 48002, True, 24000, True, 19]


def test_our_driver_reads_what_the_truth_log_says(tmp_path: Path, interpreter: Interpreter) -> None:
    for (hundredths,), truth in read_by_driver(tmp_path, interpreter, LIGHT, 4):
        assert hundredths / 100 == pytest.approx(truth["illuminance"], abs=0.006)


DRIVE = """
import json, machine, time
from array import array
from device.sensors import SensorError, bh1750
with open("/profile.json") as file:
    config = json.load(file)["sensors"][0]
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
values = array("i", [0])
driver = None
while True:
    try:
        if driver is None:
            driver = bh1750.Sensor(bus, config)
        driver.read_into(values)
        print("read", values[0])
    except OSError as error:
        driver = None
        print(error.why if isinstance(error, SensorError) else error.errno)
"""


def test_sun_shade_and_faults(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", LIGHT)

    async def flow() -> None:
        board = make_board(
            tmp_path, interpreter, DRIVE, profile=load_profile(node), node_dir=node.parent, firmware=True,
            signals={"light.illuminance": "100000"},
        )  # fmt: skip
        async with powered(board):
            await printed(board, "read 9999992")  # 100,000 lx are more than it can tell at the usual sensitivity
            board.signal("light.illuminance", "12")
            await printed(board, "read 1167")  # 14 counts
            board.signal("light.illuminance", "130000")
            await printed(board, "range")
            board.signal("light.illuminance", "12")
            for fault, said in (("missing", "19"), ("stuck", "116")):
                board.fault("light", fault)
                await printed(board, said)
                board.fault("light", None)
                board.console_tail.clear()
                await printed(board, "read 1167")

    run(flow())
