"""What a profile's tables must agree on: pins, buses, addresses, names, numbers. Pure.

Each rule is one function that adds to `Problems`. They look only at tables that are right in themselves, so that one
mistake is reported once, and together with all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.problems import Problems, did_you_mean
from gateway.profile.model import INTEGER_LIMIT, Board, Bus, Delivery, Level, Output, Pin, Quantity, Sensor
from gateway.profile.wear import BLOCK_BYTES, FIXED_BLOCKS, SYSTEM_BYTES, life_years
from gateway.toml_lines import KeyPath

_SAMPLE_BYTES = 10
"""What a sample takes in the firmware's ring (firmware/device/outbox.py) besides its values: kind, sensor and time."""
_VALUE_BYTES = 4
_TAKEN_NAMES = frozenset({"at", "boot", "boot_id", "seq", "provisional"})
"""Keys of a `state` message beside its quantities (mqtt/TOPICS.md)."""
_LEAST_YEARS = 5
"""So long the flash must last."""
_RING_SHARE = 4
"""The ring may take one part in four of the heap: the rest is code, buffers and what is not yet collected."""


@dataclass(slots=True)
class Parts:
    """The tables of a profile that are right in themselves. `named_buses` also has those that are not."""

    board: Board | None = None
    buses: dict[str, Bus] = field(default_factory=dict)
    named_buses: frozenset[str] = frozenset()
    sensors: dict[str, Sensor] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    delivery: Delivery = field(default_factory=Delivery)

    def quantities(self) -> Iterator[tuple[KeyPath, Quantity]]:
        for sensor in self.sensors.values():
            for quantity in sensor.quantities.values():
                yield ("sensors", sensor.name, "quantities", quantity.name), quantity


def check(parts: Parts, problems: Problems) -> None:
    """Add what is wrong between the tables."""
    for rule in _RULES:
        rule(parts, problems)


def _quantities_differ(parts: Parts, problems: Problems) -> None:
    """A samples frame names quantities without their sensor."""
    owner: dict[str, str] = {}
    for path, quantity in parts.quantities():
        sensor = str(path[1])
        if quantity.name in _TAKEN_NAMES:
            problems.add(path, "stands for something else on MQTT: call the quantity otherwise")
        if quantity.name in owner:
            problems.add(
                path,
                f"sensor {owner[quantity.name]} measures a {quantity.name} already: call one of them otherwise",
            )
        owner.setdefault(quantity.name, sensor)


def _values_fit(parts: Parts, problems: Problems) -> None:
    for path, quantity in parts.quantities():
        largest = max(abs(quantity.low), abs(quantity.high))
        if largest * 10**quantity.decimals >= INTEGER_LIMIT:
            most = INTEGER_LIMIT / 10**quantity.decimals
            problems.add(
                (*path, "range"),
                f"{largest:.10g} in steps of {quantity.precision:.10g} does not fit the 30 bits a board counts with: "
                f"stay below {most:.10g}, or take a coarser precision",
            )


def _labels_fit(parts: Parts, problems: Problems) -> None:
    for path, quantity in parts.quantities():
        if quantity.labels and quantity.decimals:
            problems.add((*path, "labels"), f"are for whole numbers, and the precision is {quantity.precision:.10g}")
        for value in quantity.labels:
            if not quantity.low <= value <= quantity.high:
                problems.add(
                    (*path, "labels"), f"{value} is outside the range {quantity.low:.10g} to {quantity.high:.10g}"
                )


def _buses_fit(parts: Parts, problems: Problems) -> None:
    for sensor in parts.sensors.values():
        path = ("sensors", sensor.name)
        if sensor.bus is None:
            if sensor.address is not None:
                problems.add((*path, "address"), "is for a sensor on a bus, and no bus is named")
        elif sensor.bus not in parts.named_buses:
            hint = did_you_mean(sensor.bus, parts.named_buses)
            problems.add((*path, "bus"), f"there is no [buses.{sensor.bus}]{hint}")
        elif sensor.address is None:
            problems.add((*path, "address"), "is missing: a sensor on an I2C bus has one")
    if parts.board is None:
        return
    for bus in parts.buses.values():
        if bus.id not in parts.board.i2c_ids:
            has = ", ".join(f"i2c{number}" for number in parts.board.i2c_ids) or "none"
            problems.add(("buses", bus.name), f"{parts.board.title} has no such controller; it has: {has}")


def _addresses_differ(parts: Parts, problems: Problems) -> None:
    owner: dict[tuple[str, int], str] = {}
    for sensor in parts.sensors.values():
        if sensor.bus is None or sensor.address is None:
            continue
        place = (sensor.bus, sensor.address)
        if place in owner:
            problems.add(
                ("sensors", sensor.name, "address"),
                f"sensor {owner[place]} answers to 0x{sensor.address:02x} on {sensor.bus} already",
            )
        owner.setdefault(place, sensor.name)


@dataclass(frozen=True, slots=True)
class _Use:
    """What a pin is used for: the abilities that takes, and the level the circuit on it rests at (None: unknown)."""

    path: KeyPath
    pin: str
    needs: frozenset[str]
    rests: Level | None
    allow_strap: bool


def _uses(parts: Parts) -> Iterator[_Use]:
    for bus in parts.buses.values():
        for key, pin in bus.pins.items():  # pulled up by the bus's resistors
            yield _Use(("buses", bus.name, key), pin, frozenset({"in", "out"}), "high", bus.allow_strap)
    for sensor in parts.sensors.values():
        for key, pin in sensor.pins.items():
            yield _Use(("sensors", sensor.name, key), pin, frozenset({"in"}), None, sensor.allow_strap)
    for output in parts.outputs.values():
        for key, pin in output.pins.items():
            yield _Use(("outputs", output.name, key), pin, frozenset({"out"}), output.rests, output.allow_strap)


def _pins_fit(parts: Parts, problems: Problems) -> None:
    owner: dict[str, KeyPath] = {}
    for use in _uses(parts):
        if use.pin in owner:
            problems.add(use.path, f"{use.pin} is used by {'.'.join(map(str, owner[use.pin]))} already")
        owner.setdefault(use.pin, use.path)
        if parts.board is None:
            continue
        pin = parts.board.pins.get(use.pin)
        if pin is None:
            hint = did_you_mean(use.pin, parts.board.pins)
            problems.add(use.path, f"{parts.board.title} has no {use.pin}{hint}")
        elif sentence := _pin_problem(use, pin):
            problems.add(use.path, sentence)


def _pin_problem(use: _Use, pin: Pin) -> str | None:
    if pin.reserved:
        return f"{use.pin} is reserved: {pin.reserved}"
    if missing := use.needs - set(pin.can):
        what = "is input only" if "out" in missing else "cannot be read"
        return f"{use.pin} {what}"
    if pin.strap and pin.strap != use.rests and not use.allow_strap:
        rests = f"the circuit here pulls it {use.rests}" if use.rests else "nobody knows what the circuit here does"
        return (
            f"{use.pin} must be {pin.strap} while the chip starts{f' ({pin.note})' if pin.note else ''}, and {rests}: "
            "take another pin, or say allow_strap = true if the circuit was made for it"
        )
    return None


def _ring_fits(parts: Parts, problems: Problems) -> None:
    if parts.board is None or not parts.sensors:
        return
    widest = max(len(sensor.quantities) for sensor in parts.sensors.values())
    sample_bytes = _SAMPLE_BYTES + _VALUE_BYTES * widest
    most_bytes = parts.board.heap_bytes // _RING_SHARE
    if parts.delivery.ram_samples * sample_bytes > most_bytes:
        problems.add(
            ("delivery", "ram_samples"),
            f"{parts.delivery.ram_samples} samples of {sample_bytes} bytes take more than a quarter of the "
            f"{parts.board.heap_bytes} bytes of memory this board has: {most_bytes // sample_bytes} at most",
        )


def _flash_lasts(parts: Parts, problems: Problems) -> None:
    if parts.board is None or not parts.sensors:
        return
    sensors = parts.sensors.values()
    widest = max(len(sensor.quantities) for sensor in sensors)
    periods = [sensor.period_ms for sensor in sensors]
    years = life_years(parts.board.flash_bytes, periods, widest, parts.delivery.power_loss)
    if years < _LEAST_YEARS:
        fastest = min(sensors, key=lambda sensor: sensor.period_ms)
        advice = (
            'say power_loss = "unsent", or take a longer period'
            if parts.delivery.power_loss == "none"
            else "take a longer period"
        )
        problems.add(
            ("sensors", fastest.name, "period_ms"),
            f'with power_loss = "{parts.delivery.power_loss}" these periods wear the flash out in {years:.1f} years, '
            f"less than {_LEAST_YEARS}: {advice}",
        )


def _flash_holds_it(parts: Parts, problems: Problems) -> None:
    if parts.board is None:
        return
    most = parts.board.flash_bytes - SYSTEM_BYTES - FIXED_BLOCKS * BLOCK_BYTES
    if parts.delivery.flash_bytes > most:
        problems.add(
            ("delivery", "flash_bytes"),
            f"{parts.delivery.flash_bytes} bytes for samples do not fit beside the firmware on the flash of "
            f"{parts.board.title}: {max(0, most)} at most",
        )


_RULES = (
    _quantities_differ,
    _values_fit,
    _labels_fit,
    _buses_fit,
    _addresses_differ,
    _pins_fit,
    _ring_fits,
    _flash_lasts,
    _flash_holds_it,
)
