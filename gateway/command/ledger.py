"""Which commands a device was asked to carry out, and how each ended. Pure. Each ends exactly once.

A ledger belongs to a device, not to a connection: a command whose connection died is sent again on the next one, with
the same id, and a result may come on any. The states and what moves them are one table, `TRANSITIONS`.

Time: a command may be begun until a moment on the monotonic clock, so that a wall clock that jumps moves no deadline.
On disk stand the wall time of the writing and what was left then (`Kept`); a gateway that starts again takes off what
the wall clock says has passed, never less than nothing. Where the wall clock could not be believed, when it was written
or now, nothing is left: a command may end as expired although it had time, but none is begun late.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.device.stamps import Now
from gateway.model import Command, CommandRecord, CommandState, Result, Status

MOST_OPEN: Final = 32
"""Commands one device may have open; more are refused at once, so that nothing piles up before a sleeping device.
Firmware remembers as many ids over a restart (firmware/device/executed.py)."""
MOST_ENDED: Final = 50
"""Ended commands that are kept to be looked at, per device."""
PLACES: Final = MOST_OPEN + MOST_ENDED
"""Places on disk per device. A new command takes the place of the oldest that has ended: nothing is ever deleted."""
ANSWER_GRACE_S: Final = 2
"""How long after its deadline the result of a command is still waited for: it may be begun at the last moment."""
RETURN_GRACE_S: Final = 60
"""The same after a restart of the gateway: a board that waits between two attempts needs 30 s to come back."""


class Turn(enum.Enum):
    """What happens to a command."""

    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The device says that it was restarted in the middle."""
    OVERDUE = "overdue"
    """Its time is up: its deadline, and once it was sent the grace, too."""
    REMOVED = "removed"
    """Its device was."""
    STOPPED = "stopped"
    """The gateway stops, and who asked is still waiting."""
    REFUSED = "refused"
    """It could not be written down, so it was not sent."""


_S = CommandState
TRANSITIONS: Final[Mapping[CommandState, Mapping[Turn, CommandState]]] = {
    _S.QUEUED: {
        Turn.SENT: _S.SENT,
        Turn.DONE: _S.DONE,  # a registry that was restored from a backup does not know that it was sent
        Turn.FAILED: _S.FAILED,
        Turn.UNKNOWN: _S.UNKNOWN,
        Turn.OVERDUE: _S.EXPIRED,
        Turn.REMOVED: _S.FAILED,
        Turn.STOPPED: _S.FAILED,
        Turn.REFUSED: _S.FAILED,
    },
    _S.SENT: {
        Turn.SENT: _S.SENT,  # again, on the next connection
        Turn.DONE: _S.DONE,
        Turn.FAILED: _S.FAILED,
        Turn.UNKNOWN: _S.UNKNOWN,
        Turn.OVERDUE: _S.UNKNOWN,
        Turn.REMOVED: _S.UNKNOWN,
        Turn.STOPPED: _S.UNKNOWN,
    },
    _S.DONE: {},
    _S.FAILED: {},
    _S.EXPIRED: {},
    _S.UNKNOWN: {},
}
"""Where a turn is missing it changes nothing: an ended command has none, so each ends once."""

_ANSWERS: Final = {Status.DONE: Turn.DONE, Status.FAILED: Turn.FAILED, Status.UNKNOWN: Turn.UNKNOWN}
_REASONS: Final[Mapping[tuple[Turn, CommandState], tuple[str, str]]] = {
    (Turn.OVERDUE, _S.EXPIRED): ("command.expired", "the device was not connected in time"),
    (Turn.OVERDUE, _S.UNKNOWN): ("command.unanswered", "no answer in time"),
    (Turn.REMOVED, _S.FAILED): ("device.removed", "the device was removed before it got the command"),
    (Turn.REMOVED, _S.UNKNOWN): ("device.removed", "the device was removed before it answered"),
    (Turn.STOPPED, _S.FAILED): ("gateway.stopped", "the gateway stops; the device has not got the command"),
    (Turn.STOPPED, _S.UNKNOWN): ("gateway.stopped", "the gateway stops before the device has answered"),
    (Turn.REFUSED, _S.FAILED): ("store.unavailable", "the command could not be written to disk, so it was not sent"),
}
"""Error code and text of the ends that are not the device's answer."""


class Kept(msgspec.Struct, frozen=True):
    """A command as it stands on disk, in the registry under `command/<device>/<place>`."""

    number: int
    """Orders the commands of a device: the wall clock may go back."""
    record: CommandRecord
    written_ms: int
    """Unix milliseconds at which this was written ..."""
    left_ms: int
    """... and how long it might still be begun then."""


class Line:
    """One command of a ledger."""

    def __init__(self, number: int, place: int, record: CommandRecord, until_ms: int, grace_ms: int) -> None:
        self.number = number
        self.place = place
        self.record = record
        self.until_ms = until_ms
        """It may be begun until then, on the monotonic clock."""
        self.grace_ms = grace_ms
        self.delivered = False
        """It has gone to the connection that there is now."""
        self.on_disk: CommandState | None = None
        """The state that is written; None before the first."""

    @property
    def open(self) -> bool:
        return bool(TRANSITIONS[self.record.state])

    @property
    def saved(self) -> bool:
        """Nothing of it is to be written now."""
        return self.on_disk is self.record.state or (self.open and self.on_disk is CommandState.SENT)

    def left_ms(self, now: Now) -> int:
        return max(0, self.until_ms - now.monotonic_ms)

    def due_ms(self) -> int:
        """When time ends it, by the monotonic clock."""
        return self.until_ms + (self.grace_ms if self.record.state is CommandState.SENT else 0)

    def kept(self, state: CommandState, now: Now) -> Kept:
        record = msgspec.structs.replace(self.record, state=state)
        return Kept(self.number, record, now.wall_ms, self.left_ms(now) if now.trusted else 0)

    def result(self) -> Result:
        """Of one that has ended."""
        record = self.record
        return Result(record.id, Status(record.state), record.data, record.error_code, record.error_text)


class Ledger:
    """The commands of one device: those that are open, and the newest that have ended."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._lines: dict[str, Line] = {}
        """By id, in the order they were asked for."""
        self._number = 0

    def load(self, kept: Iterable[tuple[int, Kept]], now: Now) -> None:
        """(place, what stands there) of every place that is taken. What time has ended meanwhile is still open here:
        the next `overdue` ends it."""
        for place, found in sorted(kept, key=lambda pair: pair[1].number):
            gone_ms = now.wall_ms - found.written_ms
            left_ms = found.left_ms - max(0, gone_ms) if now.trusted else 0
            line = Line(
                found.number, place, found.record, now.monotonic_ms + max(0, left_ms), grace_ms=RETURN_GRACE_S * 1000
            )
            line.on_disk = found.record.state
            self._lines[found.record.id] = line
            self._number = max(self._number, found.number)

    def open(
        self, command_id: str, name: str, args: dict[str, Any], *, timeout_ms: int, asked_by: str, now: Now
    ) -> Line | None:
        """Write a command down as queued. None: there are `MOST_OPEN` already."""
        if sum(line.open for line in self._lines.values()) >= MOST_OPEN:
            return None
        self._number += 1
        record = CommandRecord(
            id=command_id,
            device=self.device,
            name=name,
            args=args,
            asked_by=asked_by,
            asked_ms=now.wall_ms,
            deadline_ms=now.wall_ms + timeout_ms,
            state=CommandState.QUEUED,
        )
        line = Line(
            self._number, self._take_place(), record, now.monotonic_ms + timeout_ms, grace_ms=ANSWER_GRACE_S * 1000
        )
        self._lines[command_id] = line
        return line

    def _take_place(self) -> int:
        taken = {line.place for line in self._lines.values()}
        for place in range(PLACES):
            if place not in taken:
                return place
        ended = [line for line in self._lines.values() if not line.open]  # not empty: not so many are open
        oldest = next((line for line in ended if line.saved), ended[0])
        del self._lines[oldest.record.id]
        return oldest.place

    def turn(self, line: Line, turn: Turn, now: Now, result: Result | None = None) -> bool:
        """`turn` happens to `line`, with the device's `result` where it is its answer. False: the table has nothing."""
        state = TRANSITIONS[line.record.state].get(turn)
        if state is None:
            return False
        changes: dict[str, Any] = {"state": state}
        if not TRANSITIONS[state]:
            code, text = _REASONS.get((turn, state), ("", ""))
            changes |= {"ended_ms": max(now.wall_ms, line.record.asked_ms), "error_code": code, "error_text": text}
        if result is not None:
            changes |= {"data": result.data, "error_code": result.error_code, "error_text": result.error_text}
        line.record = msgspec.structs.replace(line.record, **changes)
        return True

    def answered(self, result: Result, now: Now) -> Line | None:
        """The device has answered. The command that this ends; None for a late or repeated answer, or a stranger's."""
        line = self._lines.get(result.id)
        return line if line and self.turn(line, _ANSWERS[result.status], now, result) else None

    def overdue(self, now: Now) -> list[Line]:
        """Ends what time has run out for, and returns it."""
        late = [line for line in self.opened() if now.monotonic_ms >= line.due_ms()]
        for line in late:
            self.turn(line, Turn.OVERDUE, now)
        return late

    def connected(self) -> None:
        """A new connection: what is open goes there, what was sent before too."""
        for line in self._lines.values():
            line.delivered = False

    def to_deliver(self, now: Now) -> list[Line]:
        """What the connection that there is now has not got and may still begin, in the order it was asked for."""
        return [line for line in self.opened() if not line.delivered and line.left_ms(now) > 0]

    def opened(self) -> list[Line]:
        return [line for line in self._lines.values() if line.open]

    def get(self, command_id: str) -> Line | None:
        return self._lines.get(command_id)

    def unsaved(self) -> list[Line]:
        return [line for line in self._lines.values() if not line.saved]

    def next_due_ms(self) -> int | None:
        """When the next command ends by itself, in monotonic milliseconds. None: none is open."""
        return min((line.due_ms() for line in self.opened()), default=None)

    def recent(self) -> list[CommandRecord]:
        """What is open and the newest of what has ended, newest first."""
        newest_first = list(reversed(self._lines.values()))
        ended = [line.record for line in newest_first if not line.open][:MOST_ENDED]
        kept = {record.id for record in ended}
        return [line.record for line in newest_first if line.open or line.record.id in kept]


def command_of(line: Line, now: Now) -> Command:
    """What goes to the device: the deadline is what is left of it."""
    return Command(line.record.id, line.record.name, line.record.args, line.left_ms(now))


def new_id() -> str:
    """An id for a command: 48 random bits, so that a result which comes days late ends nothing it should not."""
    return secrets.token_hex(6)


def failed(command_id: str, code: str, text: str) -> Result:
    """The result of a command that was not carried out."""
    return Result(id=command_id, status=Status.FAILED, error_code=code, error_text=text)
