"""The SCD41 model against its data sheet (SCD4x, version 1.4), and our driver against the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run
from tests.gateway.emulator.bench import make_board, micropython, node_with, output, powered, printed

AIR = """
[sensors.air]
chip = "scd41"
bus = "i2c0"
address = 0x62
period_ms = 10000
[sensors.air.quantities]
co2 = { unit = "ppm", range = [0, 40000], precision = 1 }
temperature = { unit = "°C", range = [-45, 130], precision = 0.01 }
humidity = { unit = "%", range = [0, 100], precision = 0.01 }
"""


def test_the_crc_is_that_of_the_data_sheet(interpreter: Interpreter) -> None:
    # 3.12: CRC(BEEF) is 92. 3.5.2: 500 ppm, 25 degrees, 37 % are 01F4 33 6667 A2 5EB9 3C.
    words = "[scd41.crc8(first, second) for first, second in ((0xBE, 0xEF), (1, 0xF4), (0x66, 0x67), (0x5E, 0xB9))]"
    found = json.loads(micropython(interpreter, f"import json, scd41\nprint(json.dumps({words}))"))
    assert found == [0x92, 0x33, 0xA2, 0x3C]


FAST = """
import utime
import json, machine, time
from array import array
from device.sensors import scd41
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
"""
READ = (
    FAST
    + """
driver = scd41.Sensor(bus, {"options": {"altitude_m": 400}})
def ask(command, size):
    bus.writeto(0x62, bytes((command >> 8, command & 255)))
    return bus.readfrom(0x62, size)
try:
    ask(0x2322, 3)                      # altitude: not while it measures (table 9)
except OSError as error:
    print(error.errno)
values = array("i", [0, 0, 0])
for _ in range(60):
    values[0] = -1
    driver.read_into(values)
    if values[0] >= 0:
        break
    time.sleep_ms(100)
print(json.dumps(list(values)))
values[0] = -1
driver.read_into(values)                # read a moment ago: nothing is new
print(values[0])
driver = scd41.Sensor(bus, {})          # while it measures: as after a restart of the board alone
print(ask(0xE4B8, 3).hex())             # 3.8.2: the lower 11 bits are 0: no data
"""
)


def test_our_driver_reads_what_there_is_after_five_seconds(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", AIR)
    lines = output(
        tmp_path, interpreter, READ, profile=load_profile(node), node_dir=node.parent, firmware=True, truth=True,
        signals={"air.co2": "500", "air.temperature": "25", "air.humidity": "37"},
    )  # fmt: skip
    (truth,) = [json.loads(line) for line in (tmp_path / "board" / "truth.jsonl").read_text().splitlines()]
    assert lines[0] == "19"
    assert json.loads(lines[1]) == [500, 2500, 3700]
    assert truth["values"] == {
        "co2": 500,
        "temperature": pytest.approx(25, abs=0.003),
        "humidity": pytest.approx(37, abs=0.002),
    }
    assert lines[2:] == ["-1", "8000a2"]


FAULTY = (
    FAST
    + """
print("ready")
while True:
    try:
        scd41.Sensor(bus, {})
        print("found")
    except OSError as error:
        print(getattr(error, "why", error.errno))
"""
)


def test_a_broken_crc_and_a_missing_chip_are_told(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", AIR)

    async def flow() -> None:
        board = make_board(
            tmp_path, interpreter, FAULTY, profile=load_profile(node), node_dir=node.parent, firmware=True
        )
        async with powered(board):
            await printed(board, "found")
            board.fault("air", "crc")
            await printed(board, "crc")
            board.fault("air", "missing")
            await printed(board, "19")

    run(flow())
