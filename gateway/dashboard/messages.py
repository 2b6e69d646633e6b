"""The messages of the live feed, as FEED.md describes them and in its order. Pure."""

from __future__ import annotations

import msgspec

from gateway.dashboard.shapes import (
    Broker,
    CommandRow,
    Connection,
    Counts,
    Device,
    DoorPanel,
    EventRow,
    Notice,
    QuarantineRow,
    StorePanel,
)
from gateway.model import Quality


class SnapshotMessage(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    gateway: str
    version: str
    at_ms: int
    devices: list[Device]


class SamplesMessage(msgspec.Struct, frozen=True, tag_field="type", tag="samples"):
    device: str
    boot: int
    boot_id: str
    seq: list[int]
    at_ms: list[int]
    quality: Quality
    values: dict[str, list[float | None]]


class LatestMessage(msgspec.Struct, frozen=True, tag_field="type", tag="latest"):
    device: str
    at_ms: int
    values: dict[str, float]
    provisional: bool = True


class QuarantineMessage(msgspec.Struct, frozen=True, tag_field="type", tag="quarantine"):
    device: str
    rows: list[QuarantineRow]


class EventMessage(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    device: str
    rows: list[EventRow]


class LogMessage(msgspec.Struct, frozen=True, tag_field="type", tag="log"):
    device: str
    at_ms: int
    uptime_ms: int | None
    level: str
    text: str


class GapMessage(msgspec.Struct, frozen=True, tag_field="type", tag="gap", rename={"first": "from"}):
    device: str
    boot: int
    boot_id: str
    first: int
    to: int | None
    count: int | None
    at_most: int | None
    why: str
    before_ms: int | None
    after_ms: int | None
    received_ms: int


class CorrectedMessage(msgspec.Struct, frozen=True, tag_field="type", tag="corrected", rename={"first": "from"}):
    device: str
    boot: int
    boot_id: str
    first: int
    to: int
    moved_ms: int


class CommandMessage(msgspec.Struct, frozen=True, tag_field="type", tag="command"):
    device: str
    row: CommandRow


class PresenceMessage(msgspec.Struct, frozen=True, tag_field="type", tag="presence"):
    device: str
    online: bool
    since_ms: int | None
    last_seen_ms: int | None
    connection: Connection | None
    asleep_until_ms: int | None = None


class CountsMessage(msgspec.Struct, frozen=True, tag_field="type", tag="counts"):
    device: str
    counts: Counts


class DeviceMessage(msgspec.Struct, frozen=True, tag_field="type", tag="device"):
    device: str
    info: Device


class RemovedMessage(msgspec.Struct, frozen=True, tag_field="type", tag="removed"):
    device: str


class StatusMessage(msgspec.Struct, frozen=True, tag_field="type", tag="status"):
    notices: list[Notice]
    store: StorePanel
    brokers: list[Broker]
    door: DoorPanel


class HeartbeatMessage(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    at_ms: int


Message = (
    SnapshotMessage
    | SamplesMessage
    | LatestMessage
    | QuarantineMessage
    | EventMessage
    | LogMessage
    | GapMessage
    | CorrectedMessage
    | CommandMessage
    | PresenceMessage
    | CountsMessage
    | DeviceMessage
    | RemovedMessage
    | StatusMessage
    | HeartbeatMessage
)
