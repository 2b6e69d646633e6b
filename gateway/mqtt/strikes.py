"""Finds a message that a broker answers by closing the connection: pure.

Without this, one such message (too large for that broker, a topic it forbids) would be sent again for ever and hold up
all that come after it. It is told apart from a broker or a network that is merely ill: the session had taken other
messages before, and this one message, sent alone after a while of quiet, ended it again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gateway.mqtt.outflow import Item

ALONE_AFTER = 2
"""Sessions in a row that ended with it under way, after which a message is sent alone."""
ASIDE_AFTER = 5
"""Sessions in a row that ended with it under way, the last three with it alone: then the message is to blame."""
QUIET_MS = 2_000
"""A session must have lasted so long before a suspect is sent: a line that breaks again and again is no message's
fault."""
SHUT_AFTER = 3
"""Messages of the log to blame, without one taken between them, after which their topic is shut."""
SHUT_MS = 600_000
"""Then one more is tried."""
_MOST_TOPICS = 10_000

_Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class Strikes:
    """Which messages were under way whenever sessions ended, and which topics are to blame for that."""

    def __init__(self) -> None:
        self.proven = False
        """Whether this session has taken anything."""
        self._suspects: dict[_Key, int] = {}
        self._blamed: dict[str, int] = {}
        self._shut_until_ms: dict[str, int] = {}

    def opened(self) -> None:
        self.proven = False

    def acked(self, item: Item) -> None:
        """The broker has answered it, so it is not to blame."""
        self.proven = True
        if self._suspects:
            self._suspects.pop(_key(item), None)
        if self._blamed:
            self._blamed.pop(item.message.topic, None)
            self._shut_until_ms.pop(item.message.topic, None)

    def forget(self, prefix: str) -> None:
        """Nothing below that topic is suspected any more."""
        self._suspects = {key: count for key, count in self._suspects.items() if not key[0].startswith(prefix)}
        self._blamed = {topic: count for topic, count in self._blamed.items() if not topic.startswith(prefix)}
        for topic in [topic for topic in self._shut_until_ms if topic.startswith(prefix)]:
            del self._shut_until_ms[topic]

    @property
    def has_suspects(self) -> bool:
        return any(count >= ALONE_AFTER for count in self._suspects.values())

    def must_go_alone(self, item: Item) -> bool:
        return bool(self._suspects) and self._suspects.get(_key(item), 0) >= ALONE_AFTER

    def lost(self, under_way: Sequence[Item]) -> Item | None:
        """The broker has closed the connection while these were under way. The one to blame, if it is certain."""
        if not (self.proven and under_way):
            return None
        self._suspects = {_key(item): self._suspects.get(_key(item), 0) + 1 for item in under_way}
        (key, count), *others = self._suspects.items()
        if others or count < ASIDE_AFTER:
            return None
        del self._suspects[key]
        return under_way[0]

    def split(self, parts: Sequence[Item]) -> None:
        """The one to blame was replaced by `parts`. What was found of it is half proven of them."""
        self._suspects.update((_key(part), ASIDE_AFTER - 2) for part in parts)

    def blame(self, item: Item, now_ms: int) -> None:
        """It was set aside because it ends connections. Notices come again and again: one is enough to shut a topic."""
        topic = item.message.topic
        if len(self._blamed) >= _MOST_TOPICS:
            self._blamed.clear()
            self._shut_until_ms.clear()
        self._blamed[topic] = self._blamed.get(topic, 0) + 1
        if item.page is None or self._blamed[topic] >= SHUT_AFTER:
            self._shut_until_ms[topic] = now_ms + SHUT_MS

    def is_shut(self, item: Item, now_ms: int) -> bool:
        """Whether the broker is known to close the connection whatever is sent on that topic."""
        if not self._shut_until_ms:
            return False
        until_ms = self._shut_until_ms.get(item.message.topic)
        if until_ms is None or now_ms < until_ms:
            return until_ms is not None
        del self._shut_until_ms[item.message.topic]  # this one is tried
        self._suspects[_key(item)] = ASIDE_AFTER - 1
        return False


def _key(item: Item) -> _Key:
    """Equal for the same part of the log in every session, and for all notices of a topic."""
    return item.message.topic, item.message.properties if item.page else ()
