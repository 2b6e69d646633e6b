"""How much of the log may be under way to a broker, and how large one message may be, by how it keeps up: pure.

A state must not wait behind a backlog: it is sent at once, and the broker takes it when it has taken what was sent
before. So less is under way as soon as acknowledgements take longer than the way alone does.
"""

from __future__ import annotations

from gateway.mqtt.outflow import WINDOW, WINDOW_BYTES
from gateway.mqtt.topics import MAX_PAYLOAD_BYTES

SLOW_MS, QUICK_MS = 500, 250
"""Longer than the quickest acknowledgement of the session: less may be under way, or more again."""
FIRST_MESSAGES = 4
"""With which a session begins: each that is acknowledged quickly makes room for one more."""
LEAST_BYTES = 16 * 1024
LEAST_PAYLOAD_BYTES = 1_000
STALLED_PAYLOAD_BYTES = 4_000
LARGE_WITHIN_MS = 2_000
"""A message of about the limit's size that was acknowledged so soon doubles the limit."""


class Pace:
    """Ask for `messages`, `window_bytes` and `payload_bytes` before sending."""

    def __init__(self) -> None:
        self._share = FIRST_MESSAGES / WINDOW
        self._quickest_ms: int | None = None
        self._slowed_ms = 0
        self._payload_bytes = self._most_payload_bytes = MAX_PAYLOAD_BYTES

    @property
    def messages(self) -> int:
        """Of the log that may be under way."""
        return max(1, int(WINDOW * self._share))

    @property
    def window_bytes(self) -> int:
        """Of the log that may be under way."""
        return max(LEAST_BYTES, int(WINDOW_BYTES * self._share))

    @property
    def payload_bytes(self) -> int:
        """Size of one message that is to be made."""
        return self._payload_bytes

    def opened(self) -> None:
        """A new session: the way may be another."""
        self._quickest_ms = None
        self._share = min(self._share, FIRST_MESSAGES / WINDOW)

    def acked(self, size_bytes: int, sent_ms: int, now_ms: int) -> None:
        """Something that was sent at `sent_ms` is acknowledged."""
        took_ms = now_ms - sent_ms
        if self._quickest_ms is None or took_ms < self._quickest_ms or self.messages == 1:  # alone: the way is so long
            self._quickest_ms = took_ms
        late_ms = took_ms - self._quickest_ms
        if late_ms > SLOW_MS:
            if sent_ms >= self._slowed_ms:  # once for all that was under way
                self._share = max(1 / WINDOW, self._share / 2)
                self._slowed_ms = now_ms
        elif late_ms < QUICK_MS:
            self._share = min(1.0, self._share + 1 / WINDOW)
        if 2 * size_bytes >= self._payload_bytes and took_ms < LARGE_WITHIN_MS:
            self._payload_bytes = min(self._most_payload_bytes, 2 * self._payload_bytes)

    def stalled(self) -> None:
        """Nothing under way was acknowledged in time: smaller messages may pass a line that is very slow."""
        self._payload_bytes = min(self._payload_bytes, max(STALLED_PAYLOAD_BYTES, self._payload_bytes // 2))
        self._share = 1 / WINDOW

    def too_large(self, size_bytes: int) -> None:
        """The broker does not take messages of this size, now or later."""
        self._most_payload_bytes = min(self._most_payload_bytes, max(LEAST_PAYLOAD_BYTES, size_bytes // 2))
        self._payload_bytes = min(self._payload_bytes, self._most_payload_bytes)
