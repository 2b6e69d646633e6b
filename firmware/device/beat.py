"""Pure: when a chip that measures by itself, on a clock of its own, took each of its samples.

Samples come in bursts: so many since the last. Their number is exact, the time at which it is read is not: the newest
of a burst is then as old as chance will have it, up to one period (or the time between two looks, where that is less),
and half of that on average. So the times are those of a line through number and time, which each burst moves by a part
of what it differs. The parts are those of a least-squares fit (the expanding-memory filter: of n bursts
2(2n-1)/n(n+1) for the time, 6/n(n+1) for the slope), until so many bursts are remembered that what is older counts no
more. A clock some percent off is met within seconds; from then on samples neither pile up nor are any invented.
"""

from micropython import const

_ONE = const(4096)  # parts of a millisecond: products stay below 2^30, a board's small ints (of periods of up to 0.4 s)
_ONE_BITS = const(12)
_FIRST = const(3)  # bursts that what the data sheet says of the clock is worth
_MEMORY = const(64)
_WIDEST = const(8)  # no chip's clock is off by more than an eighth


class Beat:
    """`next_ms` gives the time of one sample after the other, evenly spaced and strictly rising."""

    def __init__(self, period_ms, now_ms, look_ms):
        """`period_ms`: what the data sheet makes of our settings. The chip begins to measure `now_ms`, and bursts are
        fetched each `look_ms`."""
        self._look = look_ms * _ONE
        self._nominal = self._period = period_ms * _ONE
        self._step = self._period
        self._ms = now_ms  # when the newest sample was taken that has a time; and parts of a millisecond
        self._part = 0
        self._bursts = 0

    def burst(self, now_ms, count):
        """`count` samples (at least 1) are there `now_ms` that have no time yet. Returns how many the chip left out
        before them."""
        period = self._period
        since = self._since(now_ms)
        age = min(period, self._look) // 2  # of the newest
        if not self._bursts:
            self._bursts = _FIRST
            self._step = period
            self._move(since - age - count * period)
            return 0
        late = since - count * period - age
        missing = 0
        if late > 2 * period:
            missing = (late + period // 2) // period
            self._move(missing * period)
            since -= missing * period
            late -= missing * period
        late = max(late, -2 * period)
        n = self._bursts
        span = count * period + late * (4 * n - 2) // (n * (n + 1))
        self._step = max(min(span, since) // count, _ONE)  # none later than now
        period += late * 6 // (n * (n + 1) * count)
        off = self._nominal // _WIDEST
        self._period = max(self._nominal - off, min(self._nominal + off, period))
        if n < _MEMORY:
            self._bursts = n + 1
        return missing

    def next_ms(self):
        """When the next sample of the burst was taken."""
        self._move(self._step)
        return self._ms

    def skip(self, now_ms):
        """All samples without a time are lost. Returns how many that are."""
        gone = self._since(now_ms) // self._period
        self._move(gone * self._period)
        self._bursts = min(self._bursts, _FIRST)  # one more or less may have gone, so the next burst counts for much
        return gone

    def _since(self, now_ms):
        return ((now_ms - self._ms) << _ONE_BITS) - self._part

    def _move(self, parts):
        parts += self._part
        self._ms += parts >> _ONE_BITS
        self._part = parts & _ONE - 1
