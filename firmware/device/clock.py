"""Pure: milliseconds since boot that never wrap, made from a counter that does (2^30 on an ESP32: 12.4 days).

The arithmetic of that counter (`ticks_add`, `ticks_diff`) is the port's own; all other files take it from here.
"""

from micropython import const
from time import ticks_add, ticks_diff  # noqa: F401  # ticks_add: for those who import it from here

_CARRY = const(0x10000000)  # 3.1 days: below half the counter's period, and a small int on every port


class Clock:
    """Two clocks from one counter. `ticks()` is for scheduling: only `ticks_add` and `ticks_diff` may touch it, and
    spans must stay below 6 days. `uptime_ms()` is for stamps: an integer that only grows, 0 when the boot began: the
    clock was made then, or `go_on` says how long ago it was.

    One of the two must be called at least once in 6 days; the main loop does so every second.
    """

    def __init__(self, ticks_ms):
        self._ticks_ms = ticks_ms
        self._last = ticks_ms()
        self._low = 0  # two halves, so that `ticks()` allocates nothing: a board's small ints end at 2^30
        self._high = 0

    def ticks(self):
        now = self._ticks_ms()
        self._low += ticks_diff(now, self._last)
        self._last = now
        if self._low >= _CARRY:
            self._low -= _CARRY
            self._high += 1
        return now

    def go_on(self, uptime_ms):
        """It is that now: the boot slept, and the counter began anew."""
        self.ticks()
        self._low = uptime_ms % _CARRY
        self._high = uptime_ms // _CARRY

    def uptime_ms(self):
        self.ticks()
        return self._high * _CARRY + self._low


def sooner(wait_ms, due, now):
    """The smaller of `wait_ms` and the time from `now` until `due` (both ticks), never below 0."""
    left = ticks_diff(due, now)
    return max(0, min(wait_ms, left))
