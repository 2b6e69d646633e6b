"""What a node is made of, typed: the tables of a profile and of its board. Pure.

These classes check one table each; what concerns several tables is in check.py. Everything is frozen and belongs in one
`Profile`, which is complete: its board is inside, so that a profile kept by the gateway never depends on a file again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.profile.units import unit_problem

FINEST_DECIMALS = 6
INTEGER_LIMIT = 1 << 30
"""The firmware counts in scaled integers; a small integer of an ESP32 has 31 bits with its sign."""


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", text):
        raise ValueError(f'"{text}" is not a name: a small letter, then small letters, digits and _, 32 at most')
    return text


def _node_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise ValueError(f'"{text}" is not a name: small letters, digits, - and _, 32 at most, a letter or digit first')
    return text


def _bus_name(text: str) -> str:
    if not re.fullmatch(r"(i2c|onewire)[0-9]", text):
        raise ValueError(
            f'"{text}" is not a bus: it is called after its kind and number; of I2C that is the controller it uses, '
            "i2c0 or i2c1; of 1-Wire any, onewire0"
        )
    return text


def _pin_name(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{1,8}[0-9]{1,3}", text):
        raise ValueError(f'"{text}" is not a pin: write it as the board file does, such as "GPIO22"')
    return text


def _title(text: str) -> str:
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise ValueError("must be 1 to 64 characters that can be printed")
    return text


def _text(text: str) -> str:
    if not 1 <= len(text) <= 300 or not text.isprintable():
        raise ValueError("must be 1 to 300 characters that can be printed")
    return text


def _unit(text: str) -> str:
    if problem := unit_problem(text):
        raise ValueError(problem)
    return text


def _range(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError(f"the low end, {ends[0]:.10g}, must be below the high end, {ends[1]:.10g}")
    return ends


def _precision(step: float) -> float:
    if not (step in _DECIMALS or (step >= 1 and step.is_integer())):
        raise ValueError(f"must be 0.1, 0.01 ... 0.000001 or a whole number, not {step:g}")
    return step


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number, true or false")
    return value


_DECIMALS = {float(f"1e-{decimals}"): decimals for decimals in range(FINEST_DECIMALS + 1)}

Name = Annotated[str, AfterValidator(_name)]
NodeName = Annotated[str, AfterValidator(_node_name)]
BusName = Annotated[str, AfterValidator(_bus_name)]
PinName = Annotated[str, AfterValidator(_pin_name)]
Title = Annotated[str, AfterValidator(_title)]
Text = Annotated[str, AfterValidator(_text)]
Unit = Annotated[str, AfterValidator(_unit)]
Range = Annotated[tuple[float, float], AfterValidator(_range)]
Precision = Annotated[float, AfterValidator(_precision)]
Scalar = Annotated[Any, AfterValidator(_scalar)]
Level = Literal["low", "high"]
Ability = Literal["in", "out", "adc", "adc2", "dac", "touch", "i2c0_scl", "i2c0_sda", "i2c1_scl", "i2c1_sda"]


class Table(BaseModel):
    """A table of a profile. Unknown keys are errors, and nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Node(Table):
    """What is built: `[node]`."""

    name: NodeName
    title: Title
    board: NodeName
    """Name of the board's file, without `.toml`."""


class Pin(Table):
    """What a pin of a board can do, and what it must not."""

    can: tuple[Ability, ...] = Field(min_length=1)
    """`adc2`: an ADC that cannot be read while Wi-Fi is on. `i2c0_scl` and the like: for boards on which a controller
    reaches only some pins."""
    header: Title
    """Where it is on the board, as printed in its manual: `J2-7`."""
    strap: Level | None = None
    """The level this pin needs while the chip starts."""
    reserved: Title | None = None
    """What the board itself uses it for; nothing else may."""
    note: Title | None = None
    pulls: bool = True
    """Whether the chip can pull it up or down by itself."""


class BoardFacts(Table):
    """`[board]`: a circuit with a microcontroller, as it is bought."""

    name: NodeName
    title: Title
    chip: Literal["esp32", "esp32c3", "esp32s3", "rp2040"]
    flash_bytes: int = Field(ge=1 << 20)
    heap_bytes: int = Field(ge=1 << 15)
    """What MicroPython's collector has to give."""
    supply_ma: int = Field(ge=1)
    """What it can be fed with, the module's own current included."""
    i2c_ids: tuple[int, ...]
    """The I2C controllers it has."""
    # What follows concerns check and documents alone, and so is no part of what a board or the gateway keeps.
    system_bytes: int = Field(default=2 << 20, ge=1 << 19, exclude=True)
    """What MicroPython itself takes of the flash."""
    regulator_ma: int | None = Field(default=None, ge=1, exclude=True)
    """What its 3.3 V regulator gives, the module's own current included. None: as much as `supply_ma`."""
    radio_ma: int = Field(default=240, ge=1, exclude=True)
    """What the module takes for moments while it sends."""
    idle_ma: float = Field(default=80, gt=0, exclude=True)
    """What it takes on average while it runs, Wi-Fi on."""
    sleep_ma: float = Field(default=10, gt=0, exclude=True)
    """What the whole board takes in deep sleep, its regulator and lights included."""
    power_pins: dict[Title, tuple[Title, ...]] = Field(default={}, exclude=True)
    """Where its supply is on the headers: `3V3`, `5V`, `GND`."""
    price_eur: float | None = Field(default=None, ge=0, exclude=True)
    link: Text | None = Field(default=None, exclude=True)
    """The maker's document that the pins are from."""

    @property
    def files_bytes(self) -> int:
        """Of its flash, for files."""
        return max(0, self.flash_bytes - self.system_bytes)

    @property
    def gives_ma(self) -> int:
        """What 3.3 V is good for, the module's own current included."""
        return min(self.supply_ma, self.regulator_ma or self.supply_ma)


class Board(BoardFacts):
    """A board with its pins."""

    pins: dict[PinName, Pin]

    @property
    def wires_i2c(self) -> bool:
        """Whether its I2C controllers reach only some pins. (An ESP32's reach all.)"""
        return any(ability.startswith("i2c") for pin in self.pins.values() for ability in pin.can)


class Bus(Table):
    """Wires that several sensors share: `[buses.i2c0]`. The digit of its name is the number of the controller."""

    name: BusName
    kind: Literal["i2c", "onewire"]
    scl: PinName | None = None
    sda: PinName | None = None
    """I2C's two wires."""
    data: PinName | None = None
    """1-Wire's one."""
    frequency_hz: int = Field(default=400_000, ge=1_000, le=1_000_000)
    """Of I2C."""
    allow_strap: bool = False
    """True: the circuit on a strapping pin was looked at, and leaves it alone while the chip starts."""

    @property
    def id(self) -> int:
        """Number of the controller."""
        return int(self.name[-1])

    @property
    def wires(self) -> tuple[str, ...]:
        """The keys that name its pins."""
        return ("scl", "sda") if self.kind == "i2c" else ("data",)

    @property
    def pins(self) -> dict[str, str]:
        """Pin by the key that names it; only those there are."""
        given = {"scl": self.scl, "sda": self.sda, "data": self.data}
        return {key: pin for key, pin in given.items() if pin}


class Quantity(Table):
    """One measured thing."""

    name: Name
    unit: Unit
    range: Range
    """The lowest and highest value its sensor can give; others are quarantined."""
    precision: Precision
    """The step of its values: 0.1, 0.01 ... or a whole number."""
    max_change_per_s: float | None = Field(default=None, gt=0)
    """The fastest change that can be true. None: any."""
    title: Title
    labels: dict[int, Title] = {}
    """What single values mean, for codes."""
    measures: Name | None = None
    """What its chip calls it. None: as it is called here. Two chips of a kind need it: names differ in a profile."""

    @property
    def of_chip(self) -> str:
        """What its chip calls it."""
        return self.measures or self.name

    @property
    def low(self) -> float:
        return self.range[0]

    @property
    def high(self) -> float:
        return self.range[1]

    @property
    def decimals(self) -> int:
        """Digits after the point that its precision asks for."""
        return _DECIMALS.get(self.precision, 0)


class Sensor(Table):
    """A chip that measures, and what of it is sent: `[sensors.<name>]`."""

    name: Name
    chip: Name
    """Its driver is `sensors/<chip>.py`."""
    bus: BusName | None = None
    address: int | None = Field(default=None, ge=0x08, le=0x77)
    """On an I2C bus; 7 bits, without those the standard keeps for itself (UM10204, section 3.1.12)."""
    pin: PinName | None = None
    allow_strap: bool = False
    period_ms: int = Field(ge=10, le=86_400_000)
    options: dict[Name, Scalar] = {}
    """Whatever else this chip's driver wants to know."""
    quantities: dict[Name, Quantity]
    current_ma: float | None = Field(default=None, ge=0, exclude=True)
    """The most it takes from 3.3 V. None: what hardware/chips/<chip>.toml says."""

    @property
    def pins(self) -> dict[str, str]:
        return {"pin": self.pin} if self.pin else {}


class Output(Table):
    """Something the node switches: `[outputs.<name>]`."""

    name: Name
    kind: Literal["led", "relay", "dimmer", "pixels"]
    pin: PinName
    active: Level = "high"
    """The level that switches it on; it rests at the other one."""
    allow_strap: bool = False
    title: Title
    frequency_hz: int | None = Field(default=None, ge=10, le=40_000)
    """Of a dimmer's pulses; None: 1000."""
    count: int | None = Field(default=None, ge=1, le=256)
    """Of pixels: how many are in the row; None: 1."""
    order: Literal["GRB", "RGB"] | None = None
    """Of pixels: in which order they take their colours; None: GRB."""
    current_ma: float = Field(default=0, ge=0, exclude=True)
    """The most it takes from 3.3 V. 0: what it switches has a supply of its own, or takes next to nothing."""

    @property
    def largest(self) -> int:
        """Of what it can have: 1, percent, 0xRRGGBB."""
        return {"dimmer": 100, "pixels": 0xFFFFFF}.get(self.kind, 1)

    @property
    def rests(self) -> Level:
        """The level its circuit pulls the pin to while nobody drives it."""
        return "low" if self.active == "high" else "high"

    @property
    def pins(self) -> dict[str, str]:
        return {"pin": self.pin}


class Input(Table):
    """Something a person presses: `[inputs.<name>]`."""

    name: Name
    kind: Literal["button"]
    pin: PinName
    active: Level = "low"
    """The level it has while it is pressed; the board pulls it to the other one."""
    toggles: Name | None = None
    """The output that each press switches, whether or not there is a gateway."""
    allow_strap: bool = False
    title: Title

    @property
    def rests(self) -> Level:
        return "low" if self.active == "high" else "high"

    @property
    def pins(self) -> dict[str, str]:
        return {"pin": self.pin}


class Power(Table):
    """What the node lives on: `[power]`."""

    supply: Literal["usb", "battery"] = "usb"
    battery_mah: int | None = Field(default=None, ge=10, le=1_000_000)
    """What its battery holds."""
    deep_sleep: bool = False
    """Whether the board sleeps between samples; it then runs from its start at each of them."""
    send_every_s: int = Field(default=0, ge=0, le=86_400)
    """How long samples may wait on the board before Wi-Fi is switched on for them; 0: each time it wakes."""


class ChipFacts(Table):
    """`hardware/chips/<chip>.toml`: what is not of a profile, since it is the same for each chip of this kind."""

    name: Name
    title: Title
    datasheet: Text
    bus: Literal["i2c", "onewire"] | None = None
    """The kind of bus it is on."""
    addresses: tuple[int, ...] = ()
    """On I2C: those it can be set to."""
    pin: Literal["adc"] | None = None
    """What a pin of its own must be able to do."""
    supply_v: tuple[float, float] = (3.0, 3.6)
    period_ms: tuple[int, int] | None = None
    """The shortest and the longest period at which it can measure. None: any."""
    awake_ms: int = Field(default=0, ge=0)
    """With a period of up to this the board fetches each of its measurements, and must not sleep meanwhile."""
    current_ma: float = Field(default=0, ge=0)
    """The most it takes while it measures."""
    sleep_ma: float = Field(default=0, ge=0)
    """What it takes between measurements."""
    price_eur: float = Field(default=0, ge=0)
    part: Text | None = None
    """What to buy. None: nothing."""
    look_for: Text | None = None
    """... and what to look for."""
    pins: dict[Title, Literal["3V3", "5V", "GND", "scl", "sda", "data", "pin"]] = {}
    """Of the usual breakout: where each goes."""
    notes: tuple[Text, ...] = ()
    """For whoever wires it."""


class Delivery(Table):
    """What happens to samples while the gateway cannot be reached: `[delivery]`."""

    ram_samples: int = Field(default=512, ge=16, le=4096)
    """Samples kept in memory; the oldest go first."""
    power_loss: Literal["none", "unsent"] = "unsent"
    """What a power cut may cost. `none`: each sample is on flash before it is sent. `unsent`: what is not acknowledged
    and not yet on flash, where it goes when the link has been down for 2 s."""
    flash_bytes: int = Field(default=1 << 20, ge=1 << 15, le=1 << 23)
    """Flash for samples that wait for the gateway; the oldest go first."""


@dataclass(frozen=True, slots=True)
class ArgSpec:
    """A number that a command takes."""

    name: str
    title: str
    low: int
    high: int
    default: int


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Something a node can be asked to do (WIRE.md, section 5)."""

    name: str
    title: str
    args: tuple[ArgSpec, ...] = ()

    def problem(self, args: Mapping[str, Any]) -> str:
        """Why `args` cannot be sent with it, a sentence; empty where they can."""
        known = {arg.name: arg for arg in self.args}
        for name, value in args.items():
            arg = known.get(name)
            if arg is None:
                return f"{self.name} takes no {name[:64]!r}."
            if isinstance(value, bool) or not isinstance(value, int) or not arg.low <= value <= arg.high:
                return f"{name} must be a whole number from {arg.low} to {arg.high}."
        return ""


_ARGUMENTS = {"relay": ("on", "On", 1), "dimmer": ("percent", "Percent", 100)}


def output_command(output: Output) -> CommandSpec:
    """The command that switches `output`, which is not an LED; it is called after it."""
    if output.kind == "pixels":
        colours = ("red", "green", "blue")
        args = tuple(ArgSpec(colour, colour.capitalize(), low=0, high=255, default=0) for colour in colours)
    else:
        name, title, high = _ARGUMENTS[output.kind]
        args = (ArgSpec(name, title, low=0, high=high, default=high),)
    return CommandSpec(output.name, output.title, args)


COMMANDS = (
    CommandSpec("ping", "Ping"),
    CommandSpec("identify", "Identify", (ArgSpec("seconds", "Seconds", low=1, high=60, default=5),)),
    CommandSpec("restart", "Restart"),
)
"""Every node of our firmware has these; no output may be called so."""


class Profile(Table):
    """All of a node: the single source for firmware settings, validation, discovery, page and emulated board."""

    node: Node
    board: Board
    buses: dict[BusName, Bus] = {}
    sensors: dict[Name, Sensor]
    outputs: dict[Name, Output] = {}
    inputs: dict[Name, Input] = {}
    power: Power = Power()
    delivery: Delivery = Delivery()

    @cached_property
    def hash(self) -> str:
        """16 hex digits that stand for the content. Comments, order and what is at its default do not count."""
        data = json.loads(self.to_json())
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """All quantities of all sensors, in the order of the file."""
        return {name: quantity for sensor in self.sensors.values() for name, quantity in sensor.quantities.items()}

    @property
    def sleeps(self) -> bool:
        """Whether the board sleeps between samples."""
        return self.power.deep_sleep

    @property
    def commands(self) -> tuple[CommandSpec, ...]:
        """What it can be asked to do. An LED is for `identify` and for what the board itself has to show."""
        switched = [output for output in self.outputs.values() if output.kind != "led"]
        return (*COMMANDS, *map(output_command, switched))

    def command(self, name: str) -> CommandSpec | None:
        return next((spec for spec in self.commands if spec.name == name), None)

    def sensor_of(self, quantity: str) -> str:
        """Name of the sensor that measures `quantity`. Raises KeyError."""
        for name, sensor in self.sensors.items():
            if quantity in sensor.quantities:
                return name
        raise KeyError(quantity)

    def to_json(self) -> bytes:
        """All of it, in the order of the file. What has its default is left out, so that an optional key of a later
        version changes no hash; for the same reason a default never changes."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Profile:
        """The profile that `to_json` wrote. Raises pydantic's ValidationError for anything else."""
        return cls.model_validate_json(data)
