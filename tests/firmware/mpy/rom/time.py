"""`time` with the ticks of a board, which wrap at 2^30 (the unix port's do not), and a clock turned by hand."""

import utime as _unix

_PERIOD = 1 << 30
_MASK = _PERIOD - 1
_HALF = _PERIOD >> 1


def ticks_ms():
    return _unix.ticks_ms() & _MASK


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return ticks + delta & _MASK


def ticks_diff(end, start):
    return (end - start + _HALF & _MASK) - _HALF


sleep_ms = _unix.sleep_ms
sleep_us = _unix.sleep_us
ticks_us = _unix.ticks_us
time = _unix.time
gmtime = _unix.gmtime


class Hand:
    """Ticks that move only when told to; they start just before the wrap."""

    def __init__(self, before_wrap_ms=5000):
        self.now = _PERIOD - before_wrap_ms

    def __call__(self):
        return self.now

    def turn(self, ms):
        self.now = ticks_add(self.now, ms)
        return self.now
