"""What a profile's tables must agree on: pins, buses, addresses, names, numbers. Pure.

Each rule is one function that adds to `Problems`. They look only at tables that are right in themselves, so that one
mistake is reported once, and together with all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.problems import Problems, did_you_mean
from gateway.profile.model import (
    COMMANDS,
    INTEGER_LIMIT,
    Board,
    Bus,
    ChipFacts,
    Delivery,
    Input,
    Level,
    Output,
    Pin,
    Power,
    Quantity,
    Sensor,
)
from gateway.profile.wear import BLOCK_BYTES, FIXED_BLOCKS, life_years
from gateway.toml_lines import KeyPath

_SAMPLE_BYTES = 10
"""What a sample takes in the firmware's ring (firmware/device/outbox.py) besides its values: kind, sensor and time."""
_VALUE_BYTES = 4
_TAKEN_NAMES = frozenset({"at", "boot", "boot_id", "seq", "provisional"})
"""Keys of a `state` message beside its quantities (mqtt/TOPICS.md)."""
_LEAST_YEARS = 5
"""So long the flash must last."""
LOGIC_V = 3.3
"""What all boards give and take."""
UNKNOWN_CHIP_MA = 10.0
"""What a chip of which nothing is known is taken to need."""
_LEAST_SLEEP_MS = 5000
"""A shorter sleep costs more than it saves: each wake is a start of the chip."""
_OF_KIND = {"frequency_hz": "dimmer", "count": "pixels", "order": "pixels"}
"""Keys of one kind of output alone."""
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
    inputs: dict[str, Input] = field(default_factory=dict)
    power: Power = field(default_factory=Power)
    chips: dict[str, ChipFacts] = field(default_factory=dict)
    """What is known of the chips in use, by chip."""
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
    for bus in parts.buses.values():
        _bus_wires(bus, problems)
        if parts.board is not None and bus.kind == "i2c" and bus.id not in parts.board.i2c_ids:
            has = ", ".join(f"i2c{number}" for number in parts.board.i2c_ids) or "none"
            problems.add(("buses", bus.name), f"{parts.board.title} has no such controller; it has: {has}")
    for sensor in parts.sensors.values():
        path = ("sensors", sensor.name)
        bus_or_none = parts.buses.get(sensor.bus or "")
        if sensor.bus is None:
            if sensor.address is not None:
                problems.add((*path, "address"), "is for a sensor on a bus, and no bus is named")
        elif sensor.bus not in parts.named_buses:
            hint = did_you_mean(sensor.bus, parts.named_buses)
            problems.add((*path, "bus"), f"there is no [buses.{sensor.bus}]{hint}")
        elif bus_or_none is not None:
            if bus_or_none.kind == "i2c" and sensor.address is None:
                problems.add((*path, "address"), "is missing: a sensor on an I2C bus has one")
            if bus_or_none.kind == "onewire" and sensor.address is not None:
                problems.add((*path, "address"), 'is for I2C; on 1-Wire, options.rom = "28..." names one of several')


def _bus_wires(bus: Bus, problems: Problems) -> None:
    path = ("buses", bus.name)
    if not bus.name.startswith(bus.kind):
        problems.add((*path, "kind"), f'is "{bus.kind}", so the bus is called {bus.kind}{bus.id}')
    for key in bus.wires:
        if key not in bus.pins:
            problems.add((*path, key), f'is missing: a bus of kind "{bus.kind}" has this wire')
    for key in bus.pins:
        if key not in bus.wires:
            problems.add((*path, key), f'is no wire of a bus of kind "{bus.kind}"; it has {" and ".join(bus.wires)}')


def _roms_differ(parts: Parts, problems: Problems) -> None:
    """On 1-Wire a chip is told from others by its code."""
    for bus in parts.buses.values():
        on_it = [sensor for sensor in parts.sensors.values() if sensor.bus == bus.name] if bus.kind == "onewire" else []
        owner: dict[str, str] = {}
        for sensor in on_it:
            path = ("sensors", sensor.name, "options", "rom")
            rom = sensor.options.get("rom")
            if rom is None:
                if len(on_it) > 1:
                    problems.add(
                        path, f"is missing: there are {len(on_it)} chips on {bus.name}, and each is named by it"
                    )
                continue
            if not isinstance(rom, str) or not re.fullmatch(r"[0-9a-f]{16}", rom):
                problems.add(path, 'must be 16 hex digits, such as "28ff641e0c160405"')
            elif rom in owner:
                problems.add(path, f"sensor {owner[rom]} has this code already")
            owner.setdefault(str(rom), sensor.name)


def _chips_fit(parts: Parts, problems: Problems) -> None:
    """What a profile says of a chip, against what is known of it."""
    for sensor in parts.sensors.values():
        facts = parts.chips.get(sensor.chip)
        if facts is None:
            continue
        path = ("sensors", sensor.name)
        bus = parts.buses.get(sensor.bus or "")
        if facts.bus and sensor.bus is None:
            problems.add((*path, "bus"), f"is missing: a {facts.title} is on a bus of kind {facts.bus}")
        elif bus is not None and bus.kind != facts.bus:
            on = f"is on a bus of kind {facts.bus}" if facts.bus else "is on no bus"
            problems.add((*path, "bus"), f"is of kind {bus.kind}, and a {facts.title} {on}")
        if facts.pin and sensor.pin is None:
            problems.add((*path, "pin"), f"is missing: a {facts.title} has a pin of its own")
        if sensor.address is not None and facts.addresses and sensor.address not in facts.addresses:
            can = " or ".join(f"0x{address:02x}" for address in facts.addresses)
            problems.add((*path, "address"), f"0x{sensor.address:02x}: a {facts.title} can only have {can}")
        if facts.period_ms and not facts.period_ms[0] <= sensor.period_ms <= facts.period_ms[1]:
            problems.add(
                (*path, "period_ms"),
                f"{facts.title} measures each {facts.period_ms[0]} to {facts.period_ms[1]} ms",
            )
        low, high = facts.supply_v
        if not low <= LOGIC_V <= high and "5V" not in facts.pins.values():
            problems.add(
                (*path, "chip"), f"a {facts.title} wants {low:g} to {high:g} V, and the board gives {LOGIC_V:g} V"
            )


def _current_suffices(parts: Parts, problems: Problems) -> None:
    """All at once, while the radio sends: then a weak supply breaks down."""
    if parts.board is None:
        return
    takes = {parts.board.title: float(parts.board.radio_ma)}
    takes |= {f"sensor {sensor.name}": sensor_ma(sensor, parts.chips) for sensor in parts.sensors.values()}
    takes |= {f"output {output.name}": output.current_ma for output in parts.outputs.values()}
    if (total := sum(takes.values())) > parts.board.gives_ma:
        most = ", ".join(f"{who} {ma:g}" for who, ma in sorted(takes.items(), key=lambda one: -one[1])[:4] if ma)
        problems.add(
            ("node", "board"),
            f"{parts.board.title} gives {parts.board.gives_ma} mA, and all of this takes up to {total:g} mA ({most}): "
            "give something a supply of its own, and say current_ma = 0 there",
        )


def sensor_ma(sensor: Sensor, chips: Mapping[str, ChipFacts]) -> float:
    """The most it takes: as the profile says, else what is known of the chip."""
    if sensor.current_ma is not None:
        return sensor.current_ma
    facts = chips.get(sensor.chip)
    return facts.current_ma if facts is not None else UNKNOWN_CHIP_MA


def _outputs_fit(parts: Parts, problems: Problems) -> None:
    for output in parts.outputs.values():
        path = ("outputs", output.name)
        for key, kind in _OF_KIND.items():
            if getattr(output, key) is not None and output.kind != kind:
                problems.add((*path, key), f"is for outputs of kind {kind}, and this is a {output.kind}")
        if output.kind == "pixels" and output.active == "low":
            problems.add((*path, "active"), "pixels know no other way round: leave this out")
        if output.name in {command.name for command in COMMANDS}:
            problems.add(path, "is the name of a command that every node has: call the output otherwise")
    for wanted in parts.inputs.values():
        path = ("inputs", wanted.name)
        if wanted.toggles is not None and wanted.toggles not in parts.outputs:
            hint = did_you_mean(wanted.toggles, parts.outputs)
            problems.add((*path, "toggles"), f"there is no [outputs.{wanted.toggles}]{hint}")
        elif wanted.toggles is not None and parts.outputs[wanted.toggles].kind == "led":
            problems.add((*path, "toggles"), "an LED is for what the board itself has to show: make it a relay")
    switched = {name: output.largest for name, output in parts.outputs.items() if output.kind != "led"}
    for sensor in parts.sensors.values():
        _tells_of("outputs", switched, sensor, problems)
        _tells_of("inputs", dict.fromkeys(parts.inputs, 0), sensor, problems)


def _tells_of(chip: str, of: Mapping[str, int], sensor: Sensor, problems: Problems) -> None:
    """The chips `outputs` and `inputs` measure what the node itself switches and is pressed. `of`: by name, the largest
    value it can have."""
    if sensor.chip != chip:
        return
    for quantity in sensor.quantities.values():
        path = ("sensors", sensor.name, "quantities", quantity.name)
        if quantity.of_chip not in of:
            hint = did_you_mean(quantity.of_chip, of)
            problems.add(path, f"nothing under [{chip}] that can be told is called {quantity.of_chip}{hint}")
        elif quantity.precision != 1:
            problems.add((*path, "precision"), "must be 1: it is counted in whole numbers")
        elif quantity.low > 0 or quantity.high < of[quantity.of_chip]:
            problems.add((*path, "range"), f"must reach from 0 to {of[quantity.of_chip]}: it can have all of these")


def _power_fits(parts: Parts, problems: Problems) -> None:
    power = parts.power
    if power.supply == "battery" and power.battery_mah is None:
        problems.add(("power", "battery_mah"), "is missing: how long the battery lasts depends on it")
    if power.supply == "usb" and power.battery_mah is not None:
        problems.add(("power", "battery_mah"), 'is for supply = "battery"')
    if not power.deep_sleep:
        if power.send_every_s:
            problems.add(("power", "send_every_s"), "is for nodes that sleep: say deep_sleep = true")
        return
    if parts.board is not None and parts.board.chip == "rp2040":
        problems.add(
            ("power", "deep_sleep"),
            f"{parts.board.title} forgets everything in deep sleep, the samples that wait too: take another board",
        )
    for sensor in parts.sensors.values():
        if sensor.period_ms < _LEAST_SLEEP_MS:
            problems.add(
                ("sensors", sensor.name, "period_ms"),
                f"a board that sleeps between samples starts anew for each: {_LEAST_SLEEP_MS} at least",
            )
            continue
        facts = parts.chips.get(sensor.chip)
        if facts is not None and sensor.period_ms <= facts.awake_ms:
            problems.add(
                ("sensors", sensor.name, "period_ms"),
                f"{facts.title} is asked for each of its measurements, so the board would never sleep: more than "
                f"{facts.awake_ms}",
            )
    for kind, tables in (("outputs", parts.outputs), ("inputs", parts.inputs)):
        for name, table in tables.items():
            if getattr(table, "kind", "") != "led":
                problems.add((kind, name), "a board in deep sleep drives no output and sees no button")


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
    wants_pull: bool = False
    """Whether the chip itself has to pull it to where it rests."""


def _uses(parts: Parts) -> Iterator[_Use]:
    for bus in parts.buses.values():
        for key, pin in bus.pins.items():  # pulled up by the bus's resistors, of either kind
            needs = {"in", "out"}
            if bus.kind == "i2c" and parts.board is not None and parts.board.wires_i2c:
                needs.add(f"{bus.name}_{key}")
            yield _Use(("buses", bus.name, key), pin, frozenset(needs), "high", bus.allow_strap)
    for sensor in parts.sensors.values():
        for key, pin in sensor.pins.items():
            facts = parts.chips.get(sensor.chip)
            need = facts.pin if facts is not None and facts.pin else "in"
            yield _Use(("sensors", sensor.name, key), pin, frozenset({need}), None, sensor.allow_strap)
    for output in parts.outputs.values():
        for key, pin in output.pins.items():
            yield _Use(("outputs", output.name, key), pin, frozenset({"out"}), output.rests, output.allow_strap)
    for button in parts.inputs.values():
        for key, pin in button.pins.items():
            yield _Use(("inputs", button.name, key), pin, frozenset({"in"}), button.rests, button.allow_strap, True)


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
        return f"{use.pin} {_cannot(missing, pin)}"
    if use.wants_pull and not pin.pulls:
        return f"{use.pin} has no pull resistor of its own, which a button needs: take another pin"
    if pin.strap and pin.strap != use.rests and not use.allow_strap:
        rests = f"the circuit here pulls it {use.rests}" if use.rests else "nobody knows what the circuit here does"
        return (
            f"{use.pin} must be {pin.strap} while the chip starts{f' ({pin.note})' if pin.note else ''}, and {rests}: "
            "take another pin, or say allow_strap = true if the circuit was made for it"
        )
    return None


def _cannot(missing: frozenset[str], pin: Pin) -> str:
    if "out" in missing:
        return "is input only"
    if "adc" in missing:
        shared = "adc2" in pin.can
        return "measures no voltage while Wi-Fi is on (it is on ADC2)" if shared else "measures no voltage (no ADC)"
    if wire := next((ability for ability in missing if ability.startswith("i2c")), None):
        bus, _, key = wire.partition("_")
        return f"cannot be {key} of {bus} on this board"
    return "cannot be read"


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
    years = life_years(parts.board.files_bytes, periods, widest, parts.delivery.power_loss)
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
    most = parts.board.files_bytes - FIXED_BLOCKS * BLOCK_BYTES
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
    _roms_differ,
    _chips_fit,
    _addresses_differ,
    _pins_fit,
    _outputs_fit,
    _power_fits,
    _current_suffices,
    _ring_fits,
    _flash_lasts,
    _flash_holds_it,
)
