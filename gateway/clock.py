"""Monotonic and wall time, real or turned by hand. Everything that needs the time is given one of these."""

from __future__ import annotations

import ctypes
import platform
import time
from typing import Final

_TIME_ERROR: Final = 5
"""What adjtimex(2) returns while the clock is not synchronised."""
_TIMEX_BYTES: Final = 512
"""More than a `struct timex` has on any Linux (208 on 64-bit ones). Zeros ask for the state and set nothing."""
_HAS_BATTERY_CLOCK: Final = platform.machine() in ("x86_64", "AMD64", "i686")
"""A PC keeps its date through a power cut, unlike a Raspberry Pi."""
RELEASED_MS: Final = 1_767_225_600_000
"""2026-01-01, the year of this release, in Unix milliseconds: no date before it can be true. A PC whose battery is
empty starts with the date its firmware was built, or with 1970."""
_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
"""Goes on while the machine sleeps, unlike CLOCK_MONOTONIC; Linux has it (clock_gettime(2))."""


class Clock:
    """The time of this machine."""

    ASK_AGAIN_MS: Final = 10_000
    """How long an answer of the kernel about the wall clock is good for."""

    def __init__(self) -> None:
        self._asked_ms: int | None = None
        self._synchronised = False

    def monotonic_ms(self) -> int:
        """Milliseconds that only grow, from an arbitrary start. Spans are measured with these. They count the time a
        laptop sleeps, where the system can tell (Linux): the boards' clocks go on, too."""
        ns = time.monotonic_ns() if _BOOTTIME is None else time.clock_gettime_ns(_BOOTTIME)
        return ns // 1_000_000

    def wall_ms(self) -> int:
        """Unix milliseconds (UTC). May jump when the machine's clock is set."""
        return time.time_ns() // 1_000_000

    def both(self) -> tuple[int, int, bool]:
        """Monotonic and wall milliseconds of one instant, and whether that wall time can be believed. What is stamped
        `synced` rests on the three for good: so the date is believed only where it could be before it was read, and
        the two are read again where another thread, or a machine that slept, came between them."""
        trusted = self.wall_trusted()
        for _ in range(3):
            monotonic_ms, wall_ms = self.monotonic_ms(), self.wall_ms()
            if self.monotonic_ms() - monotonic_ms <= 1:
                break
        return monotonic_ms, wall_ms, trusted

    def wall_trusted(self) -> bool:
        """Whether the date can be believed: not before `RELEASED_MS`, and on a PC always from then on, elsewhere once
        the kernel says that it is synchronised.

        A Raspberry Pi has no battery clock: after a power cut it says any date until NTP has answered."""
        if self.wall_ms() < RELEASED_MS:
            return False
        now_ms = self.monotonic_ms()
        if self._asked_ms is None or now_ms - self._asked_ms >= self.ASK_AGAIN_MS:
            self._asked_ms = now_ms
            self._synchronised = _HAS_BATTERY_CLOCK or kernel_is_synchronised()
        return self._synchronised


class HandClock(Clock):
    """A clock for tests: it stands until it is turned."""

    def __init__(
        self, *, monotonic_ms: int = 1_000_000, wall_ms: int = 1_790_000_000_000, trusted: bool = True
    ) -> None:
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self.trusted = trusted

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    def wall_trusted(self) -> bool:
        return self.trusted

    def advance(self, ms: int) -> None:
        """Let `ms` pass."""
        self._monotonic_ms += ms
        self._wall_ms += ms

    def set_wall(self, wall_ms: int) -> None:
        """Set the date, as NTP does after a start without a network."""
        self._wall_ms = wall_ms


def kernel_is_synchronised() -> bool:
    """What adjtimex(2) says. True where it cannot be asked (not Linux)."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return True
    return int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))) != _TIME_ERROR
