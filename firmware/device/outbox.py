"""Pure: what the gateway does not have on its disk yet. A ring of records in RAM, made at start and reused for ever.

A record is a sample or an event; each takes one sequence number, counting from 0 in each boot. Four marks divide them:

    base <= sent <= next      base: everything below is on the gateway's disk (acknowledged)
    base <= first <= next     first: the oldest still in the ring; base to first - 1 were freed because it was full
                              sent: what goes out next on this connection; next: what the next record will get

What was freed, or refused for good, is not forgotten: it goes out as a gap that takes the place of its numbers.

The flash journal will sit behind this ring: it takes the oldest records (`first` on) when the link is down and gives
them back as boots of their own in `boots()`, so link and wire need not know where a record lies.
"""

from array import array
from micropython import const

# What lies in a slot: bit 0 tells events from samples, the bits above why it became a gap (0: it did not).
SAMPLE = const(0)
EVENT = const(1)
_WHY = (b"", b"full", b"refused")
_FULL = const(2)
_REFUSED = const(4)

_HALF_BITS = const(28)
_HALF_MASK = const(0xFFFFFFF)
_MAX_EVENTS = const(64)  # events kept at once, about 100 bytes each; of more, the oldest become gaps


class Boot:
    """One start of this device: `number` orders, `id` (16 hex digits) identifies."""

    def __init__(self, number, id, profile):
        self.number = number
        self.id = id
        self.profile = profile


class Outbox:
    def __init__(self, boot, slots, width):
        """`slots` records at most; a sample has up to `width` values."""
        self.boot = boot
        self.width = width
        self.size = slots
        self.base = self.first = self.sent = self.next = 0
        self._kind = bytearray(slots)
        self._sensor = bytearray(slots)
        self._t_low = array("i", bytes(4 * slots))  # in two halves: an array("q") would give a big integer each time
        self._t_high = array("i", bytes(4 * slots))
        self._values = array("i", bytes(4 * slots * width))
        self._events = {}  # slot: the event's JSON without its frame
        self._freed_events = []  # seqs of freed events, base and up: a gap counts samples only

    # -- in ------------------------------------------------------------------------------------------------------------

    def put_sample(self, sensor, t_ms, values, count):
        """Keeps `count` values that sensor number `sensor` measured at `t_ms`. Allocates nothing."""
        slot = self._free_slot()
        self._kind[slot] = SAMPLE
        self._sensor[slot] = sensor
        self._stamp(slot, t_ms)
        at = slot * self.width
        for i in range(count):
            self._values[at + i] = values[i]
        self.next += 1  # last: an interrupt before this leaves no half a record

    def put_event(self, t_ms, body):
        """Keeps an event; `body` is its JSON from `wire.event_body`."""
        if len(self._events) >= _MAX_EVENTS:
            self._give_up_oldest_event()
        slot = self._free_slot()
        self._kind[slot] = EVENT
        self._stamp(slot, t_ms)
        self._events[slot] = body
        self.next += 1

    def _stamp(self, slot, t_ms):
        self._t_high[slot] = t_ms >> _HALF_BITS
        self._t_low[slot] = t_ms & _HALF_MASK

    def _free_slot(self):
        if self.next - self.first == self.size:
            slot = self.first % self.size
            if self._kind[slot] & EVENT:
                self._events.pop(slot, None)
                if len(self._freed_events) < _MAX_EVENTS:  # of more, a gap counts too much rather than too little
                    self._freed_events.append(self.first)
            self.first += 1
        return self.next % self.size

    def _give_up_oldest_event(self):
        seq = self.first
        while self._kind[seq % self.size] != EVENT:
            seq += 1
        self._events.pop(seq % self.size)
        self._kind[seq % self.size] = EVENT | _FULL

    # -- out -----------------------------------------------------------------------------------------------------------

    def boots(self):
        """Every boot that holds something, the running one last: (boot, first held, next)."""
        return ((self.boot, self.base, self.next),)

    def backlog(self):
        """Sequence numbers that are not acknowledged."""
        return self.next - self.base

    def run(self, limit):
        """How many records from `sent` on make the next frame: samples (`limit` at most), one event, or one gap."""
        seq = self.sent
        if seq >= self.next:
            return 0
        if seq < self.first:
            return self.first - seq
        kind = self._kind[seq % self.size]
        if kind == EVENT:
            return 1
        last = self.next if kind else min(self.next, seq + limit)
        while seq < last and self.same(kind, self._kind[seq % self.size]):
            seq += 1
        return seq - self.sent

    def same(self, kind, other):
        """Whether two neighbours share a frame: samples among themselves, gaps of one reason among themselves."""
        return kind == other if kind == SAMPLE else kind >> 1 == other >> 1 and other > EVENT

    def kind(self, seq):
        """SAMPLE, EVENT, or -1 for what became a gap."""
        if seq < self.first:
            return -1
        kind = self._kind[seq % self.size]
        return kind if kind <= EVENT else -1

    def why(self, seq):
        """Why `seq` became a gap."""
        return b"full" if seq < self.first else _WHY[self._kind[seq % self.size] >> 1]

    def samples_lost(self, seq, count):
        """How many of `count` records from `seq` on, all of one gap, were samples (the rest were events)."""
        events = 0
        if seq < self.first:
            for freed in self._freed_events:
                events += seq <= freed < seq + count
        else:
            for i in range(seq, seq + count):
                events += self._kind[i % self.size] & EVENT
        return count - events

    def sensor(self, seq):
        return self._sensor[seq % self.size]

    def t_ms(self, seq):
        slot = seq % self.size
        return (self._t_high[slot] << _HALF_BITS) + self._t_low[slot]

    def value(self, seq, i):
        return self._values[seq % self.size * self.width + i]

    def event(self, seq):
        return self._events[seq % self.size]

    # -- what the gateway says -----------------------------------------------------------------------------------------

    def ack(self, seq):
        """Everything through `seq` is on the gateway's disk. False for what was never sent: that is not believed."""
        if seq >= self.sent:
            return False
        self._free_through(seq)
        return True

    def resume(self, committed):
        """A new connection: the gateway has everything through `committed` (-1: nothing). False where that is more
        than there is. Less than was acknowledged is believed: it was restored from a backup, and counts the hole."""
        if committed >= self.next:
            return False
        self._free_through(committed)
        self.rewind()
        return True

    def rewind(self):
        """Sends again from the first that is not acknowledged."""
        self.sent = self.base

    def refuse(self, seq, count):
        """The gateway cannot read these: they become a gap."""
        for i in range(max(seq, self.first), min(seq + count, self.next)):
            slot = i % self.size
            if self._kind[slot] <= EVENT:
                self._kind[slot] |= _REFUSED
                self._events.pop(slot, None)

    def rename(self, boot):
        """Goes on under a new identity, counting from 0 again: the gateway says it knows more than there is."""
        shift = self.base
        turn = shift % self.size
        _rotate(self._kind, turn)
        _rotate(self._sensor, turn)
        _rotate(self._t_low, turn)
        _rotate(self._t_high, turn)
        _rotate(self._values, turn * self.width)
        self._events = {(slot - turn) % self.size: body for slot, body in self._events.items()}
        self._freed_events = [seq - shift for seq in self._freed_events]
        self.first -= shift
        self.next -= shift
        self.base = self.sent = 0
        self.boot = boot

    def _free_through(self, seq):
        while self.first <= seq:
            slot = self.first % self.size
            if self._kind[slot] == EVENT:
                self._events.pop(slot, None)
            self.first += 1
        self.base = max(self.base, seq + 1)
        self.sent = max(self.sent, self.base)
        while self._freed_events and self._freed_events[0] < self.base:
            self._freed_events.pop(0)


def _rotate(array, count):
    """Moves the first `count` items to the end, in place."""
    _reverse(array, 0, count)
    _reverse(array, count, len(array))
    _reverse(array, 0, len(array))


def _reverse(array, start, end):
    end -= 1
    while start < end:
        array[start], array[end] = array[end], array[start]
        start += 1
        end -= 1
