"""What a device's milliseconds since boot are in our own time. Pure. One `BootClock` per boot outlives its connections.

An exchange asks the device for its clock; the answer was made somewhere between question and arrival, so the middle of
the two is right to half the round trip. The best exchange wins, and its error is let grow with its age, so that a
newer one that is a little worse takes over in time: that follows the drift (RFC 5905, section 10, clock filter).
Until there is one, what arrives bounds the clock from one side: nothing is received before it was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DRIFT: Final = 50e-6
"""How fast a board's crystal and ours may drift apart: 50 ppm, 3 ms a minute."""
SLEEP_DRIFT: Final = 0.1
"""The same where a board slept: what counts for it then is the oscillator of its RTC. An ESP32's was found 5 % off."""
FIRST_EXCHANGES_MS: Final = (0, 1_000, 2_000, 4_000)
"""When to ask after `hello`. Several, because the first ones meet a board that is busy starting."""
EXCHANGE_EVERY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer. All times in milliseconds: ours monotonic, `device_t_ms` since the device's boot."""

    sent_ms: int
    received_ms: int
    device_t_ms: int

    @property
    def round_trip_ms(self) -> int:
        return self.received_ms - self.sent_ms

    @property
    def offset_ms(self) -> int:
        """Our monotonic time at the device's zero."""
        return (self.sent_ms + self.received_ms) // 2 - self.device_t_ms

    def error_ms(self, now_ms: int, drift: float = DRIFT) -> float:
        """By how much `offset_ms` may be wrong at most for what happens at `now_ms`."""
        return self.round_trip_ms / 2 + drift * abs(now_ms - self.received_ms)


def _contradict(one: Exchange, other: Exchange, now_ms: int) -> bool:
    """Whether they cannot both be right: one of the clocks stood still between them (a laptop or a board slept)."""
    roundings_ms = 2
    return abs(one.offset_ms - other.offset_ms) > one.error_ms(now_ms) + other.error_ms(now_ms) + roundings_ms


class BootClock:
    """The clock of one boot, in our monotonic milliseconds."""

    def __init__(self) -> None:
        self.best: Exchange | None = None
        self._slept = False  # since `best`
        self._arrival_offset_ms: int | None = None

    @property
    def synced(self) -> bool:
        """Whether there was an exchange."""
        return self.best is not None

    def slept(self) -> None:
        """It may have slept since the last exchange: the next one is better, whatever its round trip."""
        self._slept = True

    def exchange(self, exchange: Exchange) -> Exchange:
        """Take an answer into account and return the best: the newer, where the older's error is no smaller now or the
        older cannot be true any more."""
        now_ms = exchange.received_ms
        best = None if self._slept else self.best
        self._slept = False
        if best is None or exchange.error_ms(now_ms) <= best.error_ms(now_ms) or _contradict(exchange, best, now_ms):
            best = self.best = exchange
        return best

    def arrived(self, device_t_ms: int, now_ms: int) -> None:
        """Something measured at `device_t_ms` is here at `now_ms`: the device's zero was no later than this allows."""
        offset_ms = now_ms - device_t_ms
        if self._arrival_offset_ms is None or offset_ms < self._arrival_offset_ms:
            self._arrival_offset_ms = offset_ms

    def offset_ms(self) -> int | None:
        """Our monotonic time at the device's zero: by exchange, else by arrival. None when nothing is known."""
        return self._arrival_offset_ms if self.best is None else self.best.offset_ms
