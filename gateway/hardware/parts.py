"""What to buy for a node. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.profile import ChipFacts, Output, Profile

_OUTPUTS = {
    "led": ("LED, and a resistor of 330 Ω to 1 kΩ", 0.2, "only for `identify` and for what the board has to tell"),
    "relay": ("Relay module with an optocoupler", 3.0, "that switches at 3.3 V on its input"),
    "dimmer": ("MOSFET module for PWM", 2.0, "with a logic-level MOSFET, that is fully on at 3.3 V"),
    "pixels": ("WS2812B pixels, a resistor of 330 Ω and a capacitor of 1000 μF", 4.0, "of 5 V; short wires"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the list."""

    count: int
    part: str
    price_eur: float
    """Of one."""
    look_for: str
    of: str
    """What of the profile it is for."""


def parts(profile: Profile, chips: Mapping[str, ChipFacts]) -> list[Part]:
    """The board first, then chips, outputs and buttons in the order of the profile, then what every node needs."""
    board = profile.board
    found = [Part(1, board.title, board.price_eur or 0, "", "node.board")]
    for chip in dict.fromkeys(sensor.chip for sensor in profile.sensors.values()):
        facts = chips.get(chip)
        users = [sensor.name for sensor in profile.sensors.values() if sensor.chip == chip]
        if facts is not None and facts.part:
            of = " ".join(f"sensors.{name}" for name in users)
            found.append(Part(len(users), facts.part, facts.price_eur, facts.look_for or "", of))
    found += [_of_output(output) for output in profile.outputs.values()]
    found += [Part(1, "Push button", 0.3, "", f"inputs.{name}") for name in profile.inputs]
    if profile.power.supply == "battery":
        capacity = f"{profile.power.battery_mah} mAh"
        found.append(Part(1, f"Li-ion cell, {capacity}, with a protection circuit", 8.0, "", "power"))
        found.append(
            Part(1, "Charger and 3.3 V regulator for it", 5.0, "a regulator that takes little at rest", "power")
        )
    found.append(Part(1, "USB cable for data, breadboard, wires", 8.0, "a cable for charging alone has no data", ""))
    return found


def _of_output(output: Output) -> Part:
    part, price, look_for = _OUTPUTS[output.kind]
    count = output.count or 1
    title = f"{count} {part}" if output.kind == "pixels" and count > 1 else part
    return Part(1, title, price, look_for, f"outputs.{output.name}")


def total_eur(found: list[Part]) -> float:
    return sum(part.count * part.price_eur for part in found)


def bom_csv(found: list[Part]) -> str:
    """The list for a spreadsheet. Prices are about what one paid in Europe in 2026."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["count", "part", "price_eur", "of", "look_for"])
    for part in found:
        writer.writerow([part.count, part.part, f"{part.price_eur:.2f}", part.of, part.look_for])
    return text.getvalue()
