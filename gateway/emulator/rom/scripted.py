# Signals that the host gave: a sum of terms per quantity, in a file that the host rewrites while the board runs
# (gateway/emulator/signalpage.py). Integers of up to 62 bits, read one by one: asking allocates nothing.

from array import array

import hardware as _hw
import signals
import utime as _unix  # CLOCK_MONOTONIC, as the host's

_PLACE = (1 << 32) - 1
_RECORDED = 7
# By kind (gateway/emulator/signals.py): default, constant, curve, step, drift, noise.


class Scripts:
    def __init__(self, path, quantities):
        page = _hw.Page(path, {})
        self._get = page.get64
        self._last = array("l", [0] * quantities)
        self._known = bytearray(quantities)  # whether `_last` holds anything

    def value(self, header_at, default, random, age_ms=0):
        """What the quantity with this header was `age_ms` ago, in thousandths of its unit."""
        header = self._get(header_at)
        while header & _PLACE:
            value = self._script((header & _PLACE) * 8, header_at >> 3, default, random, age_ms)
            again = self._get(header_at)
            if again == header:  # it did not change meanwhile
                return value
            header = again
        return default

    def _script(self, at, number, default, random, age_ms):
        get = self._get
        t_ms = (_unix.ticks_us() - get(at)) // 1000 - age_ms
        from_ms = get(at + 8)
        stuck = from_ms <= t_ms < get(at + 16)
        if stuck:
            if self._known[number]:
                return self._last[number]
            t_ms = from_ms
        self._last[number] = value = self._sum(at + 32, get(at + 24), t_ms, default, random)
        self._known[number] = 1
        return value

    def _sum(self, at, terms, t_ms, default, random):
        get = self._get
        total = 0
        while terms:
            terms -= 1
            kind = get(at)
            a = get(at + 8) if kind > 1 else 0
            if kind == _RECORDED:
                total += self._recorded(at, t_ms)
                at += 24 + 16 * a
            elif kind == 1:
                total += default
                at += 8
            elif kind == 2:
                total += a
                at += 16
            elif kind == 3:
                total += a + signals.sine(t_ms - get(at + 32), get(at + 24), get(at + 16))
                at += 40
            elif kind == 4:
                total += a if t_ms < get(at + 24) else get(at + 16)
                at += 32
            elif kind == 5:
                total += t_ms * a // get(at + 16)
                at += 24
            else:
                total += random.noise(a)
                at += 16
        return total

    def _recorded(self, at, t_ms):
        """By halving: the last point that is not later, and a straight line to the next."""
        get = self._get
        points = get(at + 8)
        repeat_ms = get(at + 16)
        if repeat_ms:
            t_ms %= repeat_ms
        at += 24
        low, high = 0, points - 1
        while low < high:
            middle = low + high + 1 >> 1
            if get(at + 16 * middle) <= t_ms:
                low = middle
            else:
                high = middle - 1
        at += 16 * low
        t, value = get(at), get(at + 8)
        if t_ms <= t or low == points - 1:
            return value
        return value + (get(at + 24) - value) * (t_ms - t) // (get(at + 16) - t)
