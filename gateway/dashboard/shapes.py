"""What the people's door says, in types: the REST resources of FEED.md. OpenAPI is made from these. Pure.

They are dataclasses because both sides can read those: pydantic for OpenAPI, msgspec for the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from typing_extensions import TypedDict  # of pydantic, which cannot read Python 3.11's own

from gateway.model import CommandRecord, CommandState, Quality, Status

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
    """What the store has of a device. `lost`: how many samples its gaps stand for, at most; `uncertain`: how many of
    these are only a bound."""

    samples: int
    events: int
    gaps: int
    lost: int
    quarantined: int
    uncertain: int


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
    waits_ms: int = 0
    """How long its samples may wait on the board, as its profile has it."""
    asleep_until_ms: int | None = None
    """It is not connected, as it announced, and is expected again then."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time: the same place in both lists is one reading."""

    at_ms: list[int]
    value: list[float]


@dataclass(frozen=True, slots=True)
class Unsure:
    """Samples from `from_ms` to `to_ms` have times of this quality, which is not `synced`."""

    from_ms: int
    to_ms: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class Samples:
    device: str
    from_ms: int
    to_ms: int
    series: dict[str, Series]
    unsure: list[Unsure]


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


GapRow = TypedDict(
    "GapRow",
    {
        "boot": int,
        "boot_id": str,
        "from": int,  # no attribute of Python can be called so, hence not a dataclass
        "to": int | None,
        "count": int | None,
        "at_most": int | None,
        "why": str,
        "before_ms": int | None,
        "after_ms": int | None,
        "received_ms": int,
    },
)
"""Samples that no longer exist. How many: `count`; where that is null nobody knows more than `at_most`.

`before_ms`, `after_ms`: the times next to the loss, as far as they are known. `received_ms`: when the gateway learned
of it."""


@dataclass(frozen=True, slots=True)
class Gaps:
    device: str
    rows: list[GapRow]


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
class CommandRow:
    """One command of a device, from asking to end. It may be begun until `deadline_ms`. `error` says why it was not
    done."""

    id: str
    name: str
    args: dict[str, Scalar]
    asked_by: str
    asked_ms: int
    deadline_ms: int
    state: CommandState
    ended_ms: int | None
    data: dict[str, Scalar]
    error: Problem | None


@dataclass(frozen=True, slots=True)
class Commands:
    device: str
    rows: list[CommandRow]


def command_row(record: CommandRecord) -> CommandRow:
    """A line of the ledger as people see it."""
    error = Problem(record.error_code, record.error_text) if record.error_code else None
    return CommandRow(
        id=record.id,
        name=record.name,
        args=record.args,
        asked_by=record.asked_by,
        asked_ms=record.asked_ms,
        deadline_ms=record.deadline_ms,
        state=record.state,
        ended_ms=record.ended_ms,
        data=record.data,
        error=error,
    )


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
class Notice:
    """What a person should know now. An error means that something does not work until somebody acts. `id`: what has
    happened and can be dismissed; empty: it goes when it is over."""

    level: Literal["warning", "error"]
    text: str
    since_ms: int | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class StorePanel:
    """How the gateway's disk does. `trouble`: why nothing can be committed now, empty otherwise. `untaken`: samples per
    outlet that were pruned before it took them. Null: not known."""

    trouble: str
    samples: int
    bytes: int
    queue: int
    commit_ms: float
    last_commit_ms: float
    disk_free_bytes: int | None
    pruned_samples: int
    untaken: dict[str, int]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message that the broker refused, with its reason; what came after it went on."""

    topic: str
    why: str


@dataclass(frozen=True, slots=True)
class Broker:
    """One way out to MQTT. `backlog`: samples committed that it has not taken; null: not known."""

    name: str
    url: str
    state: str
    why: str
    since_ms: int | None
    published: int
    backlog: int | None
    aside: int
    last_aside: list[SetAside]


@dataclass(frozen=True, slots=True)
class DoorPanel:
    """The devices' door. Counts of who was refused are since the start."""

    trouble: str
    connections: int
    strangers: int
    bad_tokens: int
    failed_tls: int
    crowded_out: int


@dataclass(frozen=True, slots=True)
class Panel:
    """The gateway itself, for people: what they should know, its disk, its brokers, its devices' door."""

    notices: list[Notice]
    store: StorePanel
    brokers: list[Broker]
    door: DoorPanel


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
    asleep: dict[str, int]
    """Devices that are not connected, as they announced: when each is expected again (Unix ms)."""
    notices: list[Notice]


@dataclass(frozen=True, slots=True)
class Administered:
    """What was done with a device, in a sentence."""

    device: str
    text: str


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"]
