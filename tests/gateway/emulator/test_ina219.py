"""The INA219 model against its data sheet, SBOS448G, and our driver against the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.gateway.emulator.bench import micropython, node_with, output, read_by_driver

POWER = """
[sensors.power]
chip = "ina219"
bus = "i2c0"
address = 0x40
period_ms = 1000
options = { shunt_mohm = 100, max_a = 3.2 }
[sensors.power.quantities]
voltage = { unit = "V", range = [0, 26], precision = 0.001 }
current = { unit = "A", range = [-3.2, 3.2], precision = 0.0001 }
power = { unit = "W", range = [-83.2, 83.2], precision = 0.001 }
"""
BUS = """
import json, machine, time
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
def get(register):
    return int.from_bytes(bus.readfrom_mem(0x40, register, 2), "big")
def put(register, word):
    global start
    start = time.ticks_us()
    bus.writeto_mem(0x40, register, bytes((word >> 8, word & 255)))
def wait():
    while not get(2) & 2:
        pass
    return time.ticks_diff(time.ticks_us(), start)
"""


def test_the_arithmetic_is_that_of_the_worked_example(interpreter: Interpreter) -> None:
    # Section 9.2.2.1: shunt 2000 (20 mV), bus 2995 (11.98 V), calibration 5000h.
    program = (
        "import json, ina219\nprint(json.dumps([ina219.multiply(2000, 2995, 0x5000),"
        " ina219.multiply(-2000, 2995, 0x5000), ina219.multiply(6600, 2995, 0x5000)]))"
    )
    forth, back, too_much = json.loads(micropython(interpreter, program))
    assert forth == [0x2710, 0x1766, False]
    assert back == [0x10000 - 0x2710, 0x1766, False]
    assert too_much[2]  # 33000 steps: more than 15 bits


def test_registers_modes_and_times(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", POWER.replace("shunt_mohm = 100", "shunt_mohm = 1000"))
    program = (
        BUS
        + """
found = [hex(get(register)) for register in (0, 3, 4, 5)]      # table 2: what they are after power-up
put(5, 4097)
found.append(get(5))                                           # bit 0 is void (8.6.4.1)
put(0, 0x399B)                                                 # shunt and bus, triggered, 12 bits
found.append(get(2) & 2)
found.append(1000 < wait() < 50000)                            # 2 * 532 us, 10 % more at most, and a busy machine
found.append(get(4) == get(1))                                 # calibration 4096: current is the shunt's steps
get(3)
found.append(get(2) & 2)                                       # 8.6.3.2: reading the power clears it
put(0, 0x3F9B)                                                 # 128 of the bus, one of the shunt
found.append(68000 < wait() < 400000)
put(0, 0x8000)
found += [hex(get(0)), get(5)]
put(5, 65534)
put(0, 0x219B)                                                 # 40 mV, of which the load makes more
wait()
found += [get(1), get(2) & 1]                                  # 64000 steps of current: more than 15 bits
print(json.dumps(found))
"""
    )
    profile = load_profile(node)
    (line,) = output(tmp_path, interpreter, program, profile=profile, node_dir=node.parent)
    assert json.loads(line) == [
        "0x399f", "0x0", "0x0", "0x0", 4096, 0, True, True, 0, True, "0x399f", 0, 4000, 1,
    ]  # fmt: skip


def test_our_driver_reads_what_the_truth_log_says(tmp_path: Path, interpreter: Interpreter) -> None:
    for (voltage, current, power), truth in read_by_driver(tmp_path, interpreter, POWER, 8):
        assert voltage / 1000 == pytest.approx(truth["voltage"], abs=1e-9)
        assert current / 10_000 == pytest.approx(truth["current"], abs=1e-4)
        assert power / 1000 == pytest.approx(truth["power"], abs=2.5e-3)  # steps of 2 mW
