"""Slow, addressed and analog chips together on one board, each with its fault, up to an independent subscriber: what
fails says why and comes back, no wrong value gets through, and the others do not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.rig import Subscriber, add_device, make_board, system

PROFILE = """
[node]
name = "many-node"
title = "Many sensors"
board = "esp32-devkitc"

[buses.i2c0]
kind = "i2c"
scl = "GPIO22"
sda = "GPIO21"

[buses.i2c1]
kind = "i2c"
scl = "GPIO26"
sda = "GPIO25"

[buses.onewire0]
kind = "onewire"
data = "GPIO4"

[sensors.light]
chip = "bh1750"
bus = "i2c0"
address = 0x23
period_ms = 300
[sensors.light.quantities]
illuminance = { unit = "lx", range = [0, 121557], precision = 0.01 }

[sensors.air]
chip = "scd41"
bus = "i2c1"
address = 0x62
period_ms = 5000
options = { altitude_m = 300 }
[sensors.air.quantities]
co2 = { unit = "ppm", range = [0, 40000], precision = 1 }
temperature = { unit = "°C", range = [-10, 60], precision = 0.01 }
humidity = { unit = "%", range = [0, 100], precision = 0.01 }

[sensors.ground]
chip = "ds18b20"
bus = "onewire0"
period_ms = 300
options = { rom = "28ff641e0c1604f7", bits = 9 }
[sensors.ground.quantities]
soil_temperature = { measures = "temperature", unit = "°C", range = [-55, 125], precision = 0.01 }

[sensors.roof]
chip = "ds18b20"
bus = "onewire0"
period_ms = 300
options = { rom = "28aa641e0c1699de", bits = 10 }
[sensors.roof.quantities]
roof_temperature = { measures = "temperature", unit = "°C", range = [-55, 125], precision = 0.01 }

[sensors.pot]
chip = "soil"
pin = "GPIO34"
period_ms = 300
[sensors.pot.quantities]
moisture = { unit = "%", range = [0, 100], precision = 0.1 }

[sensors.cell]
chip = "battery"
pin = "GPIO35"
period_ms = 300
[sensors.cell.quantities]
battery_voltage = { unit = "V", range = [2, 4.5], precision = 0.001 }
battery = { unit = "%", range = [0, 100], precision = 1 }
"""
SIGNALS = {
    "light.illuminance": "1000", "air.co2": "812", "air.temperature": "-3.5", "air.humidity": "55",
    "ground.soil_temperature": "-12.5", "roof.roof_temperature": "3.25", "pot.moisture": "40",
    "cell.battery_voltage": "3.8",
}  # fmt: skip
# What may arrive: within a step of the chip, and of an ADC what the middle of its readings may be off.
WANTED = {
    "illuminance": (1000, 0.9), "co2": (812, 0), "temperature": (-3.5, 0.01), "humidity": (55, 0.01),
    "soil_temperature": (-12.5, 0), "roof_temperature": (3.25, 0), "moisture": (40, 0.6),
    "battery_voltage": (3.8, 0.02), "battery": (40, 8),
}  # fmt: skip
FAULTS = (
    ("ground", "crc", "crc"),
    ("light", "stuck", "bus_stuck"),
    ("pot", "missing", "range"),
    ("cell", "missing", "range"),
    ("roof", "missing", "missing"),
)
QUICK = {"light": "illuminance", "ground": "soil_temperature", "roof": "roof_temperature", "pot": "moisture",
         "cell": "battery_voltage"}  # fmt: skip


class Listener(Subscriber):
    """Keeps events, too."""

    def __init__(self, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        super().__init__(port)

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        super()._on_message(client, data, message)
        if message.topic.endswith("/event"):
            self.events.append(json.loads(message.payload))

    def told(self, sensor: str) -> list[str]:
        """How it failed, and that it is back."""
        about = [event for event in self.events if event.get("sensor") == sensor]
        words = {"sensor.failed": lambda event: event["data"]["why"], "sensor.ok": lambda event: "back"}
        return [words[event["code"]](event) for event in about if event["code"] in words]

    def values(self, quantity: str) -> list[float]:
        boots = self.of().boots.values()
        return [values[quantity] for boot in boots for _, _, values in boot.samples.values() if quantity in values]


async def fails_alone(board: EmulatedBoard, heard: Listener, sensor: str, fault: str, why: str) -> None:
    board.fault(sensor, fault)
    await until(lambda: why in heard.told(sensor), what=f"{sensor} that fails: {why}")
    others = {quantity: len(heard.values(quantity)) for name, quantity in QUICK.items() if name != sensor}
    await until(
        lambda: all(len(heard.values(quantity)) > count + 1 for quantity, count in others.items()),
        what=f"the others, beside {sensor}",
    )
    board.fault(sensor, None)


@pytest.mark.campaign
def test_each_chip_fails_alone_says_why_and_comes_back_and_no_wrong_value_gets_through(tmp_path: Path) -> None:
    node = tmp_path / "many-node" / "profile.toml"
    node.parent.mkdir()
    node.write_text(PROFILE, "utf-8")

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            token = add_device("greenhouse", node, gateway.state)
            board = make_board(tmp_path / "board", node, token, port, signals=SIGNALS)
            heard = Listener(broker.port)
            try:
                await board.start()
                await until(
                    lambda: all(heard.values(name) for name in QUICK.values()), timeout_s=20, what="a sample of each"
                )
                for sensor, fault, why in FAULTS:
                    await fails_alone(board, heard, sensor, fault, why)
                await until(lambda: heard.values("co2"), timeout_s=20, what="CO2")
                board.fault("air", "crc")
                await until(lambda: "crc" in heard.told("air"), timeout_s=10, what="a wrong CRC")
                board.fault("air", None)
                count = len(heard.values("co2"))
                await until(lambda: len(heard.values("co2")) > count, timeout_s=20, what="CO2 again")
                await until(
                    lambda: all(heard.told(sensor)[-1:] == ["back"] for sensor in (*QUICK, "air")),
                    timeout_s=20, what="all of them to be back",
                )  # fmt: skip
                await board.stop()
            finally:
                heard.close()
                await board.power_cut()
            for sensor, _, why in (*FAULTS, ("air", "crc", "crc")):
                assert heard.told(sensor) == [why, "back"]
            for quantity, (wanted, off) in WANTED.items():
                assert heard.values(quantity) == pytest.approx([wanted] * len(heard.values(quantity)), abs=off), (
                    quantity
                )
            assert heard.of().contradictions == []

    run(flow(), timeout_s=58)
