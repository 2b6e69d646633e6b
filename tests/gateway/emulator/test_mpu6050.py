"""The MPU-6050 model against its register map, RM-MPU-6000A-00 revision 4.2, and our driver against the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, micropython, node_with, output, powered

MOTION = """
[sensors.motion]
chip = "mpu6050"
bus = "i2c0"
address = 0x68
period_ms = 20
options = { accel_g = 4, gyro_dps = 500 }
[sensors.motion.quantities]
accel_x = { unit = "m/s²", range = [-40, 40], precision = 0.001 }
accel_y = { unit = "m/s²", range = [-40, 40], precision = 0.001 }
accel_z = { unit = "m/s²", range = [-40, 40], precision = 0.001 }
gyro_x = { unit = "°/s", range = [-501, 501], precision = 0.01 }
gyro_y = { unit = "°/s", range = [-501, 501], precision = 0.01 }
gyro_z = { unit = "°/s", range = [-501, 501], precision = 0.01 }
"""
BUS = """
import json, machine, time
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
def get(register, size=1):
    return bus.readfrom_mem(0x68, register, size)
def word(register):
    return int.from_bytes(get(register, 2), "big")
def put(register, *values):
    bus.writeto_mem(0x68, register, bytes(values))
def start(divider, enabled):
    put(0x6B, 1); put(0x19, divider); put(0x1A, 1); put(0x38, 0x10); put(0x23, enabled); put(0x6A, 4); put(0x6A, 0x40)
"""


def test_steps_are_those_of_the_register_map(interpreter: Interpreter) -> None:
    program = """
import json, mpu6050
print(json.dumps([
    [mpu6050.accel_word(9807, scale) for scale in range(4)],     # 4.17: 16384, 8192, 4096, 2048 a g
    [mpu6050.gyro_word(10000, scale) for scale in range(4)],     # 4.19: 131, 65.5, 32.8, 16.4 for 1 °/s
    mpu6050.accel_word(99999, 0), mpu6050.gyro_word(-999999, 0),
]))
"""
    assert json.loads(micropython(interpreter, program)) == [
        [16384, 8192, 4096, 2048], [1310, 655, 328, 164], 32767, -32768,
    ]  # fmt: skip


def test_the_fifo_fills_by_the_chips_own_clock_and_overflows(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", MOTION)
    program = (
        BUS
        + """
found = [hex(get(0x75)[0]), hex(get(0x6B)[0]), word(0x72)]        # section 3: 0x68, asleep
put(0x6B, 0x80)
found.append(get(0x6B)[0] >> 7)                                  # a reset takes its time
while get(0x6B)[0] & 0x80:
    time.sleep_ms(1)
start(0, 0x78)                                                   # 1 kHz, six words
time.sleep_ms(40)
size = word(0x72)
found += [size % 12, 36 <= size // 12 < 60, get(0x3A)[0] & 0x10]
first = get(0x74, size)
found.append(word(0x72) < size)                                  # what was read is gone
time.sleep_ms(120)
found += [word(0x72), get(0x3A)[0] & 0x10, get(0x3A)[0] & 0x10]  # 1024, overflow, cleared when read (4.15)
put(0x6A, 0x44)
found.append(word(0x72))                                         # no reset while the FIFO is on (4.27)
put(0x6A, 0x04)
found.append(word(0x72))
empty = get(0x74, 3)
found.append(empty[0] == empty[1] == empty[2])                   # the last byte again (4.31)
start(99, 0x80)                                                  # 10 Hz, temperature alone
start_us = time.ticks_us()
while word(0x72) < 10:
    time.sleep_ms(1)
us = time.ticks_diff(time.ticks_us(), start_us)
raw = int.from_bytes(get(0x74, 2), "big") - 65536
found += [abs(us - 500000) < 25000, 20 < raw / 340 + 36.53 < 30] # 4.18
print(json.dumps(found))
"""
    )
    profile = load_profile(node)
    (line,) = output(tmp_path, interpreter, program, profile=profile, node_dir=node.parent)
    assert json.loads(line) == [
        "0x68", "0x40", 0, 1, 0, True, 0, True, 1024, 16, 0, 1024, 0, True, True, True,
    ]  # fmt: skip


DRIVE = """
import gc, json, machine, time
from array import array
from device.sensors import mpu6050 as driver
with open("/profile.json") as file:
    config = json.load(file)["sensors"][0]
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
sensor = driver.Sensor(bus, config)
values = array("i", [0] * 6)
def fetch(show):
    lost = sensor.fetch()
    count = sensor.left
    while sensor.left:
        sensor.read_into(values)
        if show:
            print(json.dumps(list(values)))
    return lost, count
"""


def test_our_driver_reads_what_the_truth_log_says_each_sample_once(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", MOTION)
    program = DRIVE + "for _ in range(5):\n    time.sleep_ms(70)\n    fetch(True)\n"

    async def scenario() -> None:
        options = {"profile": load_profile(node), "node_dir": node.parent, "firmware": True, "truth": True}
        board = make_board(tmp_path, interpreter, program, **options)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        truth = [json.loads(line) for line in board.truth_log.read_text().splitlines()]
        assert 15 <= len(truth) <= 25
        assert [entry["taken"] for entry in truth] == list(range(1, len(truth) + 1))
        for line, entry in zip(board.console_tail, truth, strict=True):
            x, y, z, *turns = json.loads(line)
            wanted = [entry["values"][name] for name in load_profile(node).sensors["motion"].quantities]
            assert [x / 1000, y / 1000, z / 1000] == pytest.approx(wanted[:3], abs=2e-3)
            assert [turn / 100 for turn in turns] == pytest.approx(wanted[3:], abs=6e-3)

    run(scenario())


def test_what_is_counted_is_what_was_read_and_nothing_is_allocated(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", MOTION)
    program = (
        DRIVE
        + """
fetch(False)
gc.collect(); gc.disable()
before = gc.mem_alloc()
counts = 0
for _ in range(4):
    time.sleep_ms(50)
    lost, count = fetch(False)
    counts += count
print(gc.mem_alloc() - before, counts)
time.sleep_ms(1850)
print(*fetch(False))
"""
    )

    async def scenario() -> None:
        board = make_board(
            tmp_path, interpreter, program, profile=load_profile(node), node_dir=node.parent, firmware=True
        )
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        steady, overflowed = board.console_tail
        allocated, counts = (int(number) for number in steady.split())
        assert 8 <= counts <= 13
        assert board.taken()["motion"] - counts in (0, 1)  # of the first fetch
        assert allocated <= 16 * (counts + 4)  # tuples and small things of this very test
        assert overflowed == "True 0"

    run(scenario())
