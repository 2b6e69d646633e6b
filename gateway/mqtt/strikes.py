"""Finds a message that a broker answers by closing the connection: pure.

Without this, one such message (too large for that broker, a topic it forbids) would be sent again for ever and hold up
all that come after it. It is told apart from a broker that is merely ill: the session took other messages before, and
this one message, sent alone, ended it again and again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mqtt.outflow import Item

ALONE_AFTER = 2
"""Sessions without progress, after which messages are sent one by one."""
ASIDE_AFTER = 5
"""Sessions without progress, after which the message that was alone under way is set aside."""


class Strikes:
    """Count of sessions in a row that ended before the broker had acknowledged one message of the log."""

    def __init__(self) -> None:
        self.count = 0
        self.proven = False
        """Whether this session has taken something that is not of the log."""

    @property
    def one_by_one(self) -> bool:
        return self.count >= ALONE_AFTER

    def opened(self) -> None:
        self.proven = False

    def notice_acked(self) -> None:
        self.proven = True

    def log_acked(self) -> None:
        self.count = 0

    def lost(self, under_way: Sequence[Item]) -> Item | None:
        """The broker has closed the connection while these of the log were under way. The one to set aside, if any."""
        if not (self.proven and under_way):
            return None
        self.count += 1
        if self.count >= ASIDE_AFTER and len(under_way) == 1:
            self.count = 0
            return under_way[0]
        return None
