"""Which commands a device has been asked to carry out and has not answered yet. Pure. Each ends exactly once.

A ledger belongs to a device, not to a connection: a result that was lost with its connection is sent again on the next
one, and still ends its command.
"""

from __future__ import annotations

import secrets
from typing import Final

from gateway.model import Command, Result, Status

MOST_OPEN: Final = 32
"""Commands one device may have open; more are refused at once, so that nothing piles up before a sleeping device."""
ANSWER_GRACE_S: Final = 2
"""How long after its deadline the result of a command is still waited for: it may be begun at the last moment."""


def new_id() -> str:
    """An id for a command: 48 random bits, so that a result which comes days late ends nothing it should not."""
    return secrets.token_hex(6)


class Ledger:
    """The open commands of one device."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        """Until when each is waited for, in monotonic milliseconds."""

    def __len__(self) -> int:
        return len(self._open)

    def open(self, command: Command, *, until_ms: int) -> Result | None:
        """Write `command` down. Returns the result it has right away when it is not to be sent at all."""
        if command.id in self._open:
            return failed(command.id, "command.repeated", "a command with this id is open already")
        if len(self._open) >= MOST_OPEN:
            return failed(command.id, "command.busy", f"{MOST_OPEN} commands are waiting for this device already")
        self._open[command.id] = until_ms
        return None

    def end(self, result: Result) -> bool:
        """`result` has come. True when it ends a command; False for a repeated or a late one."""
        return self._open.pop(result.id, None) is not None

    def overdue(self, now_ms: int) -> list[Result]:
        """Ends what was waited for long enough. Whether the device acted is not known, so nothing is sent again."""
        late = [command_id for command_id, until_ms in self._open.items() if until_ms <= now_ms]
        for command_id in late:
            del self._open[command_id]
        return [no_answer(command_id) for command_id in late]


def failed(command_id: str, code: str, text: str) -> Result:
    """The result of a command that was not carried out."""
    return Result(id=command_id, status=Status.FAILED, error_code=code, error_text=text)


def no_answer(command_id: str) -> Result:
    """The result of a command that was sent and not answered in time."""
    return Result(id=command_id, status=Status.UNKNOWN, error_code="command.unanswered", error_text="no answer in time")
