"""The SCD41 model against its data sheet (SCD4x version 1.3), and our driver against the model, with a clock turned by
hand: it measures each 5 s."""

from __future__ import annotations

import json

from gateway.emulator import Interpreter
from tests.gateway.emulator.bench import ROM, micropython

FIRMWARE = ROM.parents[2] / "firmware"
CHIP = """
import json
from scd41 import Chip as _Chip, crc8

class Chip(_Chip):
    us = 0
    scripted = {}
    def now_us(self): return self.us
    def wall_ms(self): return 1700000000000 + self.us // 1000
    def signal(self, quantity, default, age_ms=0): return self.scripted.get(quantity, default)
    def keeps_truth(self): return True
    def taken(self, values=None): self.measured.append(values)

chip = Chip({"name": "air"}, 7)
chip.off_ppm = 0
chip.measured = []
"""


def printed(interpreter: Interpreter, program: str) -> list[object]:
    return [json.loads(line) for line in micropython(interpreter, CHIP + program).splitlines()]


TABLE_9 = """
def ask(command, size, wait_us=1000):
    try:
        chip.write(command)
    except OSError:
        return "not acknowledged"
    chip.us += wait_us
    answer = bytearray(size)
    try:
        chip.read_into(answer)
    except OSError:
        return "no answer"
    return answer.hex()
def show(*found): print(json.dumps(found))

chip.serial = (0xF896, 0x9F07, 0x3BBE)
show(hex(crc8(0xBE, 0xEF)))
show(ask(b"\\x36\\x82", 9), ask(b"\\x36\\x82", 9, wait_us=900))
chip.us += 1000
show(ask(b"\\x23\\x22", 3), ask(b"\\x24\\x27\\x07\\x9e\\x09", 0), ask(b"\\x24\\x27\\x07\\x9e\\x08", 0))
chip.us += 1000
show(ask(b"\\x23\\x22", 3))
show(ask(b"\\xe4\\xb8", 3), ask(b"\\xec\\x05", 9))
chip.us += 1000
chip.scripted = {"co2": 500000, "temperature": 25003, "humidity": 37002}
ask(b"\\x21\\xb1", 0)
show(ask(b"\\x36\\x82", 9), ask(b"\\x23\\x22", 3), ask(b"\\x21\\xb1", 0))
chip.us += 4990000
show(ask(b"\\xe4\\xb8", 3))
chip.us += 10000
show(ask(b"\\xe4\\xb8", 3), ask(b"\\xec\\x05", 9), ask(b"\\xe4\\xb8", 3), ask(b"\\xec\\x05", 9))
ask(b"\\xe0\\x00\\x03\\xdb\\x42", 0)
show(chip.pressure_hpa, chip.measured[0]["co2"], round(chip.measured[0]["temperature"], 2))
chip.us += 1000
ask(b"\\x3f\\x86", 0, wait_us=499000)
show(ask(b"\\x36\\x82", 9))
chip.us += 1000
show(ask(b"\\x36\\x82", 9)[:4])
"""


def test_commands_answers_and_what_is_allowed_when(interpreter: Interpreter) -> None:
    number = "f896319f07c23bbe89"  # 3.9.2, example
    assert printed(interpreter, TABLE_9) == [
        ["0x92"],  # 3.11
        [number, "no answer"],
        ["000081", "no answer", "not acknowledged"],  # 3.6.3, example: 1,950 m, which has no answer; a wrong CRC
        ["079e09"],
        ["8000a2", "no answer"],  # 3.8.2, example: not ready
        ["not acknowledged"] * 3,  # table 9: not while it measures
        ["8000a2"],
        ["800604", "01f4336667a25eb93c", "8000a2", "no answer"],  # 3.5.2, example: 500 ppm, 25 °C, 37 %; read once
        [987, 500, 25],  # 3.6.5, example
        ["not acknowledged"],  # 500 ms
        ["f896"],
    ]


DRIVEN = """
import sys
sys.path.append(FIRMWARE)
class Time:
    def ticks_ms(self): return chip.us // 1000 & 0x3FFFFFFF
    def sleep_ms(self, ms): chip.us += ms * 1000
class Bus:
    def writeto(self, address, data): chip.write(data)
    def readfrom_into(self, address, buffer):
        chip.read_into(buffer)
        if chip.spoilt:
            buffer[1] ^= 4
chip.spoilt = False
sys.modules.pop("scd41")
from array import array
from device.sensors import scd41 as driver
driver.time = Time()
values = array("i", [0, 0, 0])
found = []
sensor = None
def follow(seconds):
    global sensor
    for _ in range(seconds):
        try:
            if sensor is None:
                sensor = driver.Sensor(Bus(), {"period_ms": 5000})
            sensor.fetch()
            while sensor.left:
                sensor.read_into(values)
                found.append(list(values))
        except OSError as error:
            sensor = None
            print(json.dumps(error.why if isinstance(error, driver.SensorError) else error.errno))
        chip.us += 1000000
def show():
    truth = [[v["co2"], v["temperature"] * 100, v["humidity"] * 100] for v in chip.measured]
    right = len(found) == len(truth) and all(
        abs(one - other) <= 0.51 for got, true in zip(found, truth) for one, other in zip(got, true))
    print(json.dumps([len(found), right, found[-1]]))
    del found[:]
    del chip.measured[:]
chip.off_ppm = 4000
follow(302)
show()
sensor = None     # the board starts again
started_us = chip._start_us
follow(20)
print(json.dumps(chip._start_us == started_us))
show()
chip.power_on()   # the chip lost power
follow(25)
show()
chip.spoilt = True
follow(2)
chip.spoilt = False
follow(10)
chip.scripted = {"temperature": -9990, "co2": 5000000, "humidity": 100000}
follow(5)
show()
"""


def test_our_driver_reads_each_measurement_once_and_what_the_chip_says(interpreter: Interpreter) -> None:
    told = printed(interpreter, DRIVEN.replace("FIRMWARE", repr(str(FIRMWARE))))
    steady, left_alone, restarted, busy, after_power, crc, crc_again, cold = told
    assert steady[:2] == [60, True]  # in 302 s, each 5.02 s
    assert left_alone is True
    assert restarted[:2] == [4, True]
    assert busy == "busy"
    assert after_power[:2] == [2, True]  # 12 s of silence, a second for the stop, 5 s each
    assert (crc, crc_again) == ("crc", "crc")
    assert cold[1:] == [True, [5000, -999, 10000]]
