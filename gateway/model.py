"""The words all stages share. A **record** is what has a sequence number: sample, event, gap or refused frame.

Times: `t_ms` is device milliseconds since boot; `at_ms` is Unix milliseconds (UTC).
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

Value: TypeAlias = float | int | None


class Quality(enum.StrEnum):
    """How a batch got its time (WIRE.md, section 7)."""

    SYNCED = "synced"
    CORRECTED = "corrected"
    ESTIMATED = "estimated"


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """One value that validation refused. `value` is its JSON text, at most 200 characters."""

    quantity: str
    value: str
    code: str
    reason: str


class Sample(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """What was measured at one instant. `values` holds only what was accepted; `refused` what was not."""

    seq: int
    t_ms: int
    values: dict[str, float]
    refused: tuple[Refusal, ...] = ()

    @property
    def last(self) -> int:
        """The last sequence number this record covers."""
        return self.seq


class Event(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Something that happened on the device, kept like a sample. Codes: WIRE.md, section 4."""

    seq: int
    t_ms: int
    code: str
    sensor: str | None = None
    data: dict[str, str | float | int | bool | None] = {}

    @property
    def last(self) -> int:
        return self.seq


class Gap(msgspec.Struct, frozen=True, array_like=True, tag="g"):
    """Samples `seq` to `to` that no longer exist. `to` None: the boot's end is unknown; `at_most` bounds the loss."""

    seq: int
    to: int | None
    count: int | None
    at_most: int | None
    why: str

    @property
    def last(self) -> int:
        """The last sequence number covered; an open gap covers its first alone, and nothing of its boot follows it."""
        return self.seq if self.to is None else self.to


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A samples frame refused as a whole, covering `seq` to `to`. `raw` is its text, cut to 4,096 characters."""

    seq: int
    to: int
    raw: str
    code: str
    reason: str

    @property
    def last(self) -> int:
        return self.to


class Correction(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Records `seq` to `to` had estimated times, now corrected: each is `moved_ms` later (negative: earlier)
    than it was read as `estimated`; what was read as `corrected` has its final time already. It takes no sequence
    number, and comes in a batch of its own kind: nothing but these, with the boot's new `offset_ms` and the quality
    `corrected`."""

    seq: int
    to: int
    moved_ms: int

    @property
    def last(self) -> int:
        return self.to


Record: TypeAlias = Sample | Event | Gap | Refused | Correction


class Batch(msgspec.Struct, frozen=True):
    """Records of one boot, without a hole between them, with what is needed to stamp them.

    `at_ms` of a record is `offset_ms + t_ms`. A batch read from the store has `cursor`: the opaque place behind it.
    """

    device: str
    boot: int
    boot_id: str
    records: tuple[Record, ...]
    offset_ms: int
    quality: Quality
    received_ms: int
    """Unix milliseconds at which the gateway received it."""
    cursor: str = ""
    profile: str = ""
    """Hash of the profile the records were taken under."""

    @property
    def first(self) -> int:
        return self.records[0].seq

    @property
    def last(self) -> int:
        return self.records[-1].last

    def at_ms(self, t_ms: int) -> int:
        """Unix milliseconds (UTC) of device time `t_ms` of this boot."""
        return self.offset_ms + t_ms


class Status(enum.StrEnum):
    """How a command ended."""

    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Command(msgspec.Struct, frozen=True):
    """A request to a device. Ends in exactly one `Result`."""

    id: str
    name: str
    args: dict[str, str | float | int | bool | None]
    deadline_ms: int
    """Milliseconds from sending within which it may be begun."""


class CommandState(enum.StrEnum):
    """Where a command is. The last four are ends; each command has exactly one."""

    QUEUED = "queued"
    """The device is not connected; it is sent when it comes, until the deadline."""
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    """It never reached the device in time."""
    UNKNOWN = "unknown"
    """Nobody can tell whether it was carried out. Never tried again by us."""


class CommandRecord(msgspec.Struct, frozen=True):
    """One line of a device's command ledger."""

    id: str
    device: str
    name: str
    args: dict[str, str | float | int | bool | None]
    asked_by: str
    """`page`, `api`, `cli` or `mqtt.<name>`."""
    asked_ms: int
    deadline_ms: int
    """Unix milliseconds until which it may be begun."""
    state: CommandState
    ended_ms: int | None = None
    data: dict[str, str | float | int | bool | None] = {}
    error_code: str = ""
    error_text: str = ""


class Result(msgspec.Struct, frozen=True):
    """The one answer to a command. `error` is (code, text) where it failed."""

    id: str
    status: Status
    data: dict[str, str | float | int | bool | None] = {}
    error_code: str = ""
    error_text: str = ""
