"""What a broker does not take: set aside with the reason, so that the rest goes on. Pure.

The samples themselves stay in the store; what is kept here is enough to find them there.
"""

from __future__ import annotations

from collections import deque

import msgspec

from gateway.mqtt.topics import Message

NEWEST = 100
"""Messages that are kept with their reasons. All are counted."""
_MOST_REASON = 300


class Entry(msgspec.Struct, frozen=True):
    """One message that was not published: what has the numbers `seq` to `through` of one boot."""

    device: str
    boot_id: str
    seq: int
    through: int
    topic: str
    why: str
    at_ms: int
    """When it was set aside, Unix milliseconds."""

    @property
    def place(self) -> tuple[str, str, int, int]:
        return self.topic, self.boot_id, self.seq, self.through


class _Kept(msgspec.Struct):
    count: int
    newest: list[Entry]


class Aside:
    """`count` is of all messages ever set aside, `newest` the last of them, oldest first."""

    def __init__(self) -> None:
        self.count = 0
        self.newest: deque[Entry] = deque(maxlen=NEWEST)
        self.is_saved = True

    def add(self, message: Message, why: str, now_ms: int) -> Entry:
        """Of the log. The same again (after a crash) is not counted again."""
        told = dict(message.properties)
        device = message.topic.split("/")[-2]
        entry = Entry(
            device,
            told["boot_id"],
            int(told["seq"]),
            int(told["through"]),
            message.topic,
            why[:_MOST_REASON],
            now_ms,
        )
        if all(entry.place != known.place for known in self.newest):
            self.count += 1
            self.newest.append(entry)
            self.is_saved = False
        return entry

    def forget(self, device: str) -> None:
        """Keep nothing of `device` but that it was counted."""
        kept = [entry for entry in self.newest if entry.device != device]
        if len(kept) != len(self.newest):
            self.newest = deque(kept, maxlen=NEWEST)
            self.is_saved = False

    def save(self) -> bytes:
        return msgspec.json.encode(_Kept(self.count, list(self.newest)))

    def load(self, kept: bytes) -> None:
        """Raises msgspec.DecodeError."""
        found = msgspec.json.decode(kept, type=_Kept)
        self.count, self.newest = found.count, deque(found.newest, maxlen=NEWEST)
