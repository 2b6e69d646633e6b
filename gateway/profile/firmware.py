"""What a profile means for the board: its `/profile.json` and the files that go onto its flash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gateway.errors import ConfigError
from gateway.profile.locate import driver, driver_places, firmware_dir
from gateway.profile.model import Bus, Input, Output, Profile, Quantity, Sensor


def firmware_profile(profile: Profile) -> dict[str, Any]:
    """The board's `/profile.json`: only what the firmware uses, pins as numbers. What does not apply is left out."""
    return {
        "hash": profile.hash,
        "node": profile.node.name,
        "buses": {name: _bus(bus) for name, bus in profile.buses.items()},
        "sensors": [_sensor(sensor) for sensor in profile.sensors.values()],
        "outputs": [_output(output) for output in profile.outputs.values()],
        "inputs": [_input(button) for button in profile.inputs.values()],
        "power": {"deep_sleep": profile.power.deep_sleep, "send_every_ms": profile.power.send_every_s * 1000},
        "delivery": profile.delivery.model_dump(),
    }


def _bus(bus: Bus) -> dict[str, Any]:
    pins = {key: pin_number(pin) for key, pin in bus.pins.items()}
    if bus.kind == "onewire":
        return {"kind": bus.kind, **pins}
    return {"kind": bus.kind, "id": bus.id, **pins, "frequency_hz": bus.frequency_hz}


def _output(output: Output) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if output.kind == "dimmer":
        more = {"frequency_hz": output.frequency_hz or 1000}
    elif output.kind == "pixels":
        more = {"count": output.count or 1, "order": output.order or "GRB"}
    pin = pin_number(output.pin)
    return {"name": output.name, "kind": output.kind, "pin": pin, "active": output.active, **more}


def _input(button: Input) -> dict[str, Any]:
    toggles = {"toggles": button.toggles} if button.toggles else {}
    return {
        "name": button.name,
        "kind": button.kind,
        "pin": pin_number(button.pin),
        "active": button.active,
        **toggles,
    }


def _sensor(sensor: Sensor) -> dict[str, Any]:
    wiring = {
        "bus": sensor.bus,
        "address": sensor.address,
        "pin": pin_number(sensor.pin) if sensor.pin else None,
    }
    return {
        "name": sensor.name,
        "chip": sensor.chip,
        **{key: value for key, value in wiring.items() if value is not None},
        "period_ms": sensor.period_ms,
        "options": sensor.options,
        "quantities": [_quantity(quantity) for quantity in sensor.quantities.values()],
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    measures = {"measures": quantity.measures} if quantity.measures else {}
    return {"name": quantity.name, "decimals": quantity.decimals, **measures}


def pin_number(pin: str) -> int:
    """22 of `GPIO22`: the number `machine.Pin` takes."""
    return int(re.sub(r"\D", "", pin))


def firmware_sources(profile: Profile, node_dir: Path) -> dict[str, Path]:
    """Path on the board -> source file: the firmware, and the driver of each chip in the profile, never an unused one.

    Raises ConfigError where a driver is missing."""
    root = firmware_dir()
    files = {f"/{name}": root / name for name in ("boot.py", "main.py")}
    for source in sorted((root / "device").rglob("*.py")):
        on_board = source.relative_to(root)
        if on_board.parent.name != "sensors" or source.name == "__init__.py":
            files[f"/{on_board.as_posix()}"] = source
    for chip in sorted({sensor.chip for sensor in profile.sensors.values()}):
        source_or_none = driver(chip, node_dir)
        if source_or_none is None:
            looked_in = " nor ".join(str(place) for place in driver_places(chip, node_dir))
            raise ConfigError(f'no driver for the chip "{chip}": there is neither {looked_in}')
        files[f"/device/sensors/{chip}.py"] = source_or_none
    return files
