"""Which wire goes where. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.profile import Board, ChipFacts, Input, Output, Profile, Sensor

SUPPLIES: Final = ("3V3", "5V", "GND")


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire, from a part to the board."""

    part: str
    """Title of the part."""
    end: str
    """Its pin, as printed on it."""
    pin: str
    """The board's: `GPIO22`, `3V3`, `GND`."""
    header: str
    """Where that is: `J3-3`."""
    role: str
    """What goes through it: `scl`, `sda`, `data`, `pin`, or a supply."""


def wires(profile: Profile, chips: Mapping[str, ChipFacts]) -> list[Wire]:
    """All wires of a node, part by part in the order of the profile. `chips`: what is known of its chips."""
    found: list[Wire] = []
    for sensor in profile.sensors.values():
        found += _of_sensor(sensor, profile, chips.get(sensor.chip))
    for output in profile.outputs.values():
        found += _of_output(output, profile.board)
    for button in profile.inputs.values():
        found += _of_input(button, profile.board)
    return found


def _of_sensor(sensor: Sensor, profile: Profile, facts: ChipFacts | None) -> Iterator[Wire]:
    part = facts.title if facts is not None else sensor.chip.upper()
    if sum(other.chip == sensor.chip for other in profile.sensors.values()) > 1:
        part = f"{part} ({sensor.name})"
    bus = profile.buses.get(sensor.bus or "")
    pins = {**(bus.pins if bus is not None else {}), **sensor.pins}
    ends = facts.pins.items() if facts is not None and facts.pins else ((key.upper(), key) for key in pins)
    for end, role in ends:
        if role in SUPPLIES:
            yield _supply(part, end, role, profile.board)
        elif role in pins:
            yield _signal(part, end, pins[role], role, profile.board)


def _of_output(output: Output, board: Board) -> Iterator[Wire]:
    part, pin = output.title, output.pin
    other = "GND" if output.active == "high" else "3V3"
    if output.kind == "led":
        near, far = ("long leg", "short leg") if output.active == "high" else ("short leg", "long leg")
        yield _signal(part, f"{near}, through the resistor", pin, "pin", board)
        yield _supply(part, far, other, board)
        return
    end = {"relay": "IN", "dimmer": "PWM", "pixels": "DIN, through 330 Ω"}[output.kind]
    yield _signal(part, end, pin, "pin", board)
    if output.kind != "dimmer":
        yield _supply(part, "VCC", "5V", board)
    yield _supply(part, "GND", "GND", board)


def _of_input(button: Input, board: Board) -> Iterator[Wire]:
    yield _signal(button.title, "one side", button.pin, "pin", board)
    yield _supply(button.title, "the other side", "GND" if button.active == "low" else "3V3", board)


def _signal(part: str, end: str, pin: str, role: str, board: Board) -> Wire:
    return Wire(part, end, pin, board.pins[pin].header, role)


def _supply(part: str, end: str, supply: str, board: Board) -> Wire:
    places = board.power_pins.get(supply, ())
    return Wire(part, end, supply, " or ".join(places[:2]), supply)
