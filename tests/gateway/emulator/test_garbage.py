"""Measuring allocates nothing, neither in our drivers nor in the models: what a program allocates can be measured."""

from __future__ import annotations

from pathlib import Path

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.gateway.emulator.bench import node_with, output

SENSORS = """
[buses.onewire0]
kind = "onewire"
data = "GPIO4"
[sensors.light]
chip = "bh1750"
bus = "i2c0"
address = 0x23
period_ms = 1000
quantities.illuminance = { unit = "lx", range = [0, 121557], precision = 0.01 }
[sensors.air]
chip = "scd41"
bus = "i2c0"
address = 0x62
period_ms = 5000
quantities.co2 = { unit = "ppm", range = [0, 40000], precision = 1 }
[sensors.ground]
chip = "ds18b20"
bus = "onewire0"
options = { bits = 9 }
period_ms = 1000
quantities.temperature = { unit = "°C", range = [-55, 125], precision = 0.01 }
[sensors.pot]
chip = "soil"
pin = "GPIO34"
period_ms = 1000
quantities.moisture = { unit = "%", range = [0, 100], precision = 0.1 }
[sensors.cell]
chip = "battery"
pin = "GPIO35"
period_ms = 1000
quantities.battery = { unit = "%", range = [0, 100], precision = 1 }
"""
PROGRAM = """
import gc, json, machine, onewire, time
from array import array
with open("/profile.json") as file:
    sensors = json.load(file)["sensors"]
buses = {"i2c0": machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21)), "onewire0": onewire.OneWire(machine.Pin(4))}
values = array("i", [0, 0, 0])
before = after = 0                      # or these very names would cost memory, the first time
def measure(sensor):
    if hasattr(sensor, "begin"):
        sensor.begin()
        time.sleep_ms(sensor.lead_ms)
    if hasattr(sensor, "fetch"):
        sensor.fetch()                  # it has nothing yet
    else:
        sensor.read_into(values)
for config in sensors:
    driver = getattr(__import__("device.sensors." + config["chip"]).sensors, config["chip"])
    sensor = driver.Sensor(buses.get(config.get("bus")), config)
    measure(sensor)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(3):
        measure(sensor)
    after = gc.mem_alloc()
    gc.enable()
    print(config["name"], after - before)
"""


def test_measuring_allocates_nothing(tmp_path: Path, interpreter: Interpreter) -> None:
    node = node_with(tmp_path / "node", SENSORS)
    lines = output(
        tmp_path, interpreter, PROGRAM, profile=load_profile(node), node_dir=node.parent, firmware=True
    )  # fmt: skip
    assert lines == ["light 0", "air 0", "ground 0", "pot 0", "cell 0"]
