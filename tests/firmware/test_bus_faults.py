"""What becomes of sensors when the wires fail: the firmware on an emulated board with two buses and three chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.emulator import EmulatedBoard
from gateway.profile import load_profile
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import Gateway, running

WIFI = {"ssid": "home", "password": "secret12"}
NODE = """
[node]
name = "wires-node"
title = "Wires"
board = "esp32-devkitc"

[buses.i2c0]
kind = "i2c"
scl = "GPIO22"
sda = "GPIO21"

[buses.i2c1]
kind = "i2c"
scl = "GPIO26"
sda = "GPIO25"

[sensors.climate]
chip = "bme280"
bus = "i2c0"
address = 0x76
period_ms = 100
[sensors.climate.quantities]
temperature = { unit = "°C", range = [-40, 85], precision = 0.01 }

[sensors.power]
chip = "ina219"
bus = "i2c0"
address = 0x40
period_ms = 100
[sensors.power.quantities]
voltage = { unit = "V", range = [0, 26], precision = 0.001 }

[sensors.motion]
chip = "mpu6050"
bus = "i2c1"
address = 0x68
period_ms = 20
[sensors.motion.quantities]
accel_z = { unit = "m/s²", range = [-40, 40], precision = 0.001 }
"""


def told(gateway: Gateway) -> list[tuple[str, str, Any]]:
    """(sensor, code, why) of how sensors failed and came back so far."""
    return [
        (event["sensor"], event["code"], event.get("data", {}).get("why"))
        for event in gateway.frames
        if event["type"] == "event" and event["code"].startswith("sensor.")
    ]


def standing(gateway: Gateway, sensor: str) -> str | None:
    """The newest that was told about this sensor."""
    return next((code for name, code, _ in reversed(told(gateway)) if name == sensor), None)


def last_of(gateway: Gateway, quantity: str) -> float | None:
    for _, values in sorted(gateway.samples, key=lambda sample: sample[0], reverse=True):
        if quantity in values:
            return values[quantity]  # type: ignore[no-any-return]
    return None


def test_a_chip_that_is_stuck_or_missing_comes_back_and_disturbs_nobody_else(tmp_path: Path) -> None:
    interpreter.command()
    (tmp_path / "profile.toml").write_text(NODE)
    profile = load_profile(tmp_path / "profile.toml")

    async def scenario() -> None:
        async with running() as gateway:
            settings = {
                "device": "wires",
                "token": "T" * 43,
                "gateway": {"host": "127.0.0.1", "port": gateway.port, "tls": False},
                "wifi": [WIFI],
            }
            board = EmulatedBoard(profile, tmp_path, settings, directory=tmp_path / "board", seed=5)
            board.fault("power", "missing")  # from the very start
            await board.start()
            try:
                await until(lambda: last_of(gateway, "temperature"), what="a temperature")
                assert told(gateway) == [("power", "sensor.failed", "missing")]
                board.fault("power", None)
                await until(lambda: last_of(gateway, "voltage"), what="a voltage")
                assert told(gateway)[1:] == [("power", "sensor.ok", None)]

                board.fault("climate", "stuck")
                await until(lambda: len(told(gateway)) == 6, what="both of the bus to fail and to be well again")
                assert sorted(told(gateway)[2:4]) == [
                    ("climate", "sensor.failed", "bus_stuck"), ("power", "sensor.failed", "bus_stuck"),
                ]  # fmt: skip
                assert sorted(told(gateway)[4:]) == [("climate", "sensor.ok", None), ("power", "sensor.ok", None)]
                assert board.faults() == {}

                board.fault("power", "garbage")
                board.fault("climate", "nack")
                await until(
                    lambda: [standing(gateway, name) for name in ("climate", "power")] == ["sensor.failed"] * 2,
                    what="noise and a loose wire to be noticed",
                )
                board.fault("power", None)
                board.fault("climate", None)
                await until(
                    lambda: [standing(gateway, name) for name in ("climate", "power")] == ["sensor.ok"] * 2,
                    what="both to be well again",
                )
                assert standing(gateway, "motion") is None
            finally:
                await board.stop()
            motion = [(t_ms, values["accel_z"]) for t_ms, values in gateway.samples if "accel_z" in values]
            assert None not in [value for _, value in motion]
            assert len(motion) == board.taken()["motion"]

    run(scenario())
