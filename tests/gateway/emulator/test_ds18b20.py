"""The DS18B20 model against its data sheet (19-7487 Rev 6), and our driver against the model, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run
from tests.gateway.emulator.bench import make_board, micropython, node_with, output, powered, printed

SOIL_ROM, AIR_ROM = "28ff641e0c1604f7", "28aa641e0c1699de"
WIRE = """
[buses.onewire0]
kind = "onewire"
data = "GPIO4"
"""
SOIL = """
[sensors.soil]
chip = "ds18b20"
bus = "onewire0"
period_ms = 1000
[sensors.soil.quantities]
temperature = { unit = "°C", range = [-55, 125], precision = 0.01 }
"""
TWO = f"""
[sensors.soil]
chip = "ds18b20"
bus = "onewire0"
options = {{ rom = "{SOIL_ROM}", bits = 9 }}
period_ms = 1000
[sensors.soil.quantities]
temperature = {{ unit = "°C", range = [-55, 125], precision = 0.01 }}
[sensors.air]
chip = "ds18b20"
bus = "onewire0"
options = {{ rom = "{AIR_ROM}", bits = 10 }}
period_ms = 1000
[sensors.air.quantities]
air_temperature = {{ measures = "temperature", unit = "°C", range = [-55, 125], precision = 0.01 }}
"""
CRC = "import _onewire, json\nprint(json.dumps([_onewire.crc8(bytes.fromhex(text)) for text in TEXTS]))"


def test_the_crc_is_that_of_application_note_27(interpreter: Interpreter) -> None:
    # Its example: ROM 02 1C B8 01 00 00 00 has CRC A2. A scratchpad with its own CRC behind it gives 0.
    texts = ["021cb801000000", "021cb801000000a2", "", "00" * 9]
    assert json.loads(micropython(interpreter, CRC.replace("TEXTS", repr(texts)))) == [0xA2, 0, 0, 0]


PROGRAM = """
import json, machine, onewire, time
wire = onewire.OneWire(machine.Pin(4))
(rom,) = wire.scan()
def pad():
    wire.select_rom(rom)
    wire.writebyte(0xBE)
    data = bytearray(9)
    wire.readinto(data)
    return data.hex(), wire.crc8(data)
found = [rom[0], wire.crc8(rom)] + list(pad())                    # figure 9: what it holds after power-up: 85 degrees
wire.select_rom(rom)
wire.writebyte(0x4E)
for byte in (1, 2, 0x1F):                                   # TH, TL, 9 bits
    wire.writebyte(byte)
found.append(pad()[0][4:10])
wire.select_rom(rom)
start = time.ticks_ms()
wire.writebyte(0x44)
found.append(wire.readbit())
while not wire.readbit():
    pass
found.append(70 <= time.ticks_diff(time.ticks_ms(), start) <= 600)      # table 2: 93.75 ms at most, and a busy machine
low, high = bytes.fromhex(pad()[0])[:2]
found.append(low & 7)                                       # 9 bits: steps of half a degree
found.append(wire.select_rom(b"\\x28" + bytes(7)) or wire.writebyte(0xBE) or wire.readbyte())   # nobody answers
print(json.dumps(found))
"""


def test_memory_commands_and_times(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", WIRE + SOIL)
    (line,) = output(tmp_path, interpreter, PROGRAM, profile=load_profile(node), node_dir=node.parent)
    pad = "50054b467fff0c10"
    assert json.loads(line) == [0x28, 0, pad + crc(pad), 0, "01021f", 0, True, 0, 255]


def crc(text: str) -> str:
    value = 0
    for byte in bytes.fromhex(text):
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8C if value & 1 else 0)
    return f"{value:02x}"


READ = """
import json, machine, onewire, time
from array import array
from device.sensors import ds18b20
with open("/profile.json") as file:
    sensors = json.load(file)["sensors"]
wire = onewire.OneWire(machine.Pin(4))
drivers = [ds18b20.Sensor(wire, config) for config in sensors]
values = array("i", [0])
for _ in range(2):
    for driver in drivers:
        driver.read_into(values)
        print(values[0])
"""


@pytest.mark.parametrize(
    ("celsius", "expected"),
    # Of table 1, "temperature/data relationship"; all of it: tests/firmware/mpy/test_ds18b20.py.
    [("125", 1250000), ("25.0625", 250625), ("-10.125", -101250), ("-55", -550000)],
)
def test_the_table_of_the_data_sheet(tmp_path: Path, interpreter: Interpreter, celsius: str, expected: int) -> None:
    node = node_with(tmp_path / "node", WIRE + SOIL.replace("period_ms", "options = { bits = 12 }\nperiod_ms"))
    once = READ.replace("range(2)", "range(1)")
    (line,) = output(
        tmp_path, interpreter, once, profile=load_profile(node), node_dir=node.parent, firmware=True,
        signals={"soil.temperature": celsius},
    )  # fmt: skip
    assert int(line) == expected


def test_two_on_one_wire_are_told_apart_by_their_codes(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", WIRE + TWO)
    found = "print(json.dumps(sorted(bytes(rom).hex() for rom in wire.scan())))\n"
    lines = output(
        tmp_path, interpreter, READ.replace("drivers =", found + "drivers ="), profile=load_profile(node),
        node_dir=node.parent, firmware=True, signals={"soil.temperature": "12.5", "air.air_temperature": "-3.25"},
    )  # fmt: skip
    assert json.loads(lines[0]) == sorted([SOIL_ROM, AIR_ROM])
    assert lines[1:] == ["125000", "-32500", "125000", "-32500"]


FAULTY = """
import json, machine, onewire, time
from array import array
from device.sensors import SensorError, ds18b20
wire = onewire.OneWire(machine.Pin(4))
values = array("i", [0])
print("ready")
driver = None
while True:
    try:
        if driver is None:
            driver = ds18b20.Sensor(wire, {"options": {"bits": 9}})
        driver.read_into(values)
        print("read")
    except SensorError as error:
        driver = None
        print(error.why)
"""


def test_each_fault_says_what_it_is_and_passes(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", WIRE + SOIL)

    async def flow() -> None:
        board = make_board(
            tmp_path, interpreter, FAULTY, profile=load_profile(node), node_dir=node.parent, firmware=True
        )
        async with powered(board):
            for fault, said in (("missing", "missing"), ("stuck", "bus_stuck"), ("crc", "crc"), ("nack", "missing")):
                board.fault("soil", None)
                board.console_tail.clear()
                await printed(board, "read")
                board.fault("soil", fault)
                await printed(board, said)

    run(flow())


SEARCH = """
import sys
class Pin:
    OPEN_DRAIN = PULL_UP = 1
    _id = 4
    def init(self, *_): pass
class machine: pass
machine.Pin = Pin
sys.modules["machine"] = machine
import chips, hardware, json, onewire
class Chip(chips.OneWireChip):
    def fault(self): return 0
wire = onewire.OneWire(Pin())
agree = []
for count in (0, 1, 2, 3, 17):
    hardware.onewire_chips[4] = [Chip({"name": "one"}, 7 + seed) for seed in range(count)]
    here = sorted(chip.rom for chip in hardware.onewire_chips[4])
    found = wire.scan()
    agree.append(sorted(bytes(rom) for rom in found) == here and not any(wire.crc8(rom) for rom in found))
print(json.dumps(agree))
"""


def test_a_search_finds_every_chip_once(interpreter: Interpreter) -> None:
    assert json.loads(micropython(interpreter, SEARCH)) == [True] * 5
