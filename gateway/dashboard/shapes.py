"""What the people's door says, in types: the REST resources of FEED.md. OpenAPI is made from these. Pure.

They are dataclasses because both sides can read those: pydantic for OpenAPI, msgspec for the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.model import Quality, Status

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measured thing, as its profile describes it."""

    name: str
    title: str
    unit: str
    decimals: int
    low: float
    high: float
    labels: dict[str, str]
    sensor: str
    chip: str


@dataclass(frozen=True, slots=True)
class Sensor:
    """What samples together. The one called `vitals` is the board's own health."""

    name: str
    chip: str
    period_ms: int
    quantities: list[Quantity]


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest value of a quantity. Provisional: sent ahead of a backlog and not stored yet."""

    value: float | int
    at_ms: int
    quality: Quality
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What the store has of a device. `lost`: how many samples its gaps stand for, at most."""

    samples: int
    events: int
    gaps: int
    lost: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Connection:
    """A live connection's numbers. `rate`: samples per second over the last 10 s."""

    address: str
    firmware: str
    frames: int
    bytes_in: int
    samples: int
    errors: dict[str, int]
    rate: float
    rtt_ms: float | None
    clock: Quality | None


@dataclass(frozen=True, slots=True)
class Argument:
    """A number that a command takes."""

    name: str
    title: str
    type: Literal["integer"]
    low: int
    high: int
    default: int


@dataclass(frozen=True, slots=True)
class Command:
    """Something this device can be asked to do."""

    name: str
    title: str
    args: list[Argument]


@dataclass(frozen=True, slots=True)
class Device:
    """A device with everything its page shows but the history."""

    id: str
    node: str
    title: str
    hardware: str | None
    added_ms: int
    online: bool
    since_ms: int | None
    last_seen_ms: int | None
    newest_at_ms: int | None
    sensors: list[Sensor]
    latest: dict[str, Latest]
    counts: Counts
    connection: Connection | None
    commands: list[Command]


@dataclass(frozen=True, slots=True)
class DeviceList:
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time: the same place in both lists is one reading."""

    at_ms: list[int]
    value: list[float]


@dataclass(frozen=True, slots=True)
class Samples:
    device: str
    from_ms: int
    to_ms: int
    series: dict[str, Series]


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """What validation refused. Without a quantity it was a whole frame, and `at_ms` is when that arrived."""

    at_ms: int
    boot_id: str
    seq: int
    quantity: str | None
    value: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    device: str
    rows: list[QuarantineRow]


@dataclass(frozen=True, slots=True)
class EventRow:
    at_ms: int
    boot_id: str
    seq: int
    code: str
    sensor: str | None
    data: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Events:
    device: str
    rows: list[EventRow]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why it was not done: `code` is stable, `text` is one sentence for a person."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The body of every answer with a 4xx or 5xx status."""

    error: Problem


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `error` is set when the device says why it failed."""

    id: str
    name: str
    status: Status
    data: dict[str, Scalar] = field(default_factory=dict)
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One line of `mpy-gateway status`."""

    device: str
    node: str
    address: str
    since_ms: int
    last_seen_ms: int
    frames: int
    bytes_in: int
    samples: int
    errors: dict[str, int]
    rate: float
    rtt_ms: float | None
    clock: Quality | None
    firmware: str


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What every gateway says about itself; its parts add their own figures beside these."""

    gateway: str
    version: str
    started_ms: int
    uptime_s: float
    time_ms: int
    browsers: int
    store: dict[str, Any]
    connections: list[ConnectionRow]


@dataclass(frozen=True, slots=True)
class Session:
    who: Literal["browser", "cli"]
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Link:
    link: str


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"]
