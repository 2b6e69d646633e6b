"""Pure: the newest records in RAM. A ring made at start and reused for ever.

A record is a sample or an event; each takes one sequence number. `first` is the oldest in the ring, `next` what the
next record will get. Records below `kept` need no place here: they are on flash or acknowledged. When the ring is full
the oldest makes way; what was not kept is lost then, and `samples_lost` counts it.
"""

from array import array
from micropython import const

SAMPLE = const(0)
EVENT = const(1)
GAP = const(2)  # an event that was given up because there were too many

_HALF_BITS = const(28)
_HALF_MASK = const(0xFFFFFFF)
MAX_EVENTS = const(64)  # events held at once, about 100 bytes each; of more, the oldest make way


class Ring:
    def __init__(self, slots, width):
        """`slots` records at most; a sample has up to `width` values."""
        self.size = slots
        self.width = width
        self.first = self.next = self.kept = 0
        self._kind = bytearray(slots)
        self._sensor = bytearray(slots)
        self._t_low = array("i", bytes(4 * slots))  # in two halves: an array("q") would give a big integer each time
        self._t_high = array("i", bytes(4 * slots))
        self._values = array("i", bytes(4 * slots * width))
        self._counts = bytearray(slots)  # values of each sample
        self._events = {}  # slot: the event's JSON without its frame
        self._lost_events = []  # seqs of events that were lost, `kept` and up: a gap counts samples only

    def go_on(self, first, run):
        """After deep sleep: it counts on from `first`, with the records of `run` (a `records.Run` or None)."""
        self.first = self.next = self.kept = first
        while run is not None and self.next < run.next:
            seq = self.next
            if run.kind(seq) == EVENT:
                self.put_event(run.t_ms(seq), run.event(seq))
            else:
                count = run.count(seq)
                self.put_sample(run.sensor(seq), run.t_ms(seq), [run.value(seq, i) for i in range(count)], count)

    # -- in ------------------------------------------------------------------------------------------------------------

    def put_sample(self, sensor, t_ms, values, count):
        """Keeps `count` values that sensor number `sensor` measured at `t_ms`. Allocates nothing."""
        slot = self._free_slot()
        self._kind[slot] = SAMPLE
        self._sensor[slot] = sensor
        self._counts[slot] = count
        self._stamp(slot, t_ms)
        at = slot * self.width
        for i in range(count):
            self._values[at + i] = values[i]
        self.next += 1  # last: an interrupt before this leaves no half a record

    def put_event(self, t_ms, body):
        """Keeps an event; `body` is its JSON from `columns.event_body`."""
        if len(self._events) >= MAX_EVENTS:
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
        if self.full():
            self.give_up()
        return self.next % self.size

    def give_up(self):
        """The oldest makes way."""
        slot = self.first % self.size
        if self._kind[slot] and self.first >= self.kept and len(self._lost_events) < MAX_EVENTS:
            self._lost_events.append(self.first)  # of more, a gap counts too much rather than too little
        self._events.pop(slot, None)
        self.first += 1

    def _give_up_oldest_event(self):
        seq = self.first
        while self._kind[seq % self.size] != EVENT:
            seq += 1
        if seq < self.kept:  # it is on flash: that is where it is read from now on
            self.free_through(seq)
        else:
            self._events.pop(seq % self.size)
            self._kind[seq % self.size] = GAP

    def full(self):
        return self.next - self.first == self.size

    def many_events(self):
        """Whether events will soon be given up for want of room."""
        return len(self._events) >= MAX_EVENTS * 3 // 4

    # -- out -----------------------------------------------------------------------------------------------------------

    def run(self, seq, limit):
        """How many records from `seq` on make a frame: samples (`limit` at most), one event, or one gap."""
        kind = self._kind[seq % self.size]
        if kind == EVENT:
            return 1
        last = self.next if kind else min(self.next, seq + limit)
        end = seq
        while end < last and self._kind[end % self.size] == kind:
            end += 1
        return end - seq

    def kind(self, seq):
        """SAMPLE, EVENT or GAP."""
        return self._kind[seq % self.size]

    def why(self, seq):
        """Why `seq` became a gap."""
        return b"full"

    def at_most(self, seq):
        return None

    def samples_lost(self, seq, count):
        """How many of the `count` lost records from `seq` on were samples (the rest were events)."""
        if seq >= self.first:
            return 0  # only events are given up one by one
        events = 0
        for lost in self._lost_events:
            events += seq <= lost < seq + count
        return count - events

    def sensor(self, seq):
        return self._sensor[seq % self.size]

    def t_ms(self, seq):
        slot = seq % self.size
        return (self._t_high[slot] << _HALF_BITS) + self._t_low[slot]

    def count(self, seq):
        """How many values the sample has."""
        return self._counts[seq % self.size]

    def value(self, seq, i):
        return self._values[seq % self.size * self.width + i]

    def event(self, seq):
        return self._events[seq % self.size]

    # -- what makes way ------------------------------------------------------------------------------------------------

    def keep_through(self, seq):
        """Everything through `seq` is on flash: it may make way."""
        self.kept = max(self.kept, seq + 1)
        while self._lost_events and self._lost_events[0] < self.kept:
            self._lost_events.pop(0)

    def free_through(self, seq):
        """Everything through `seq` is needed no more."""
        while self.first <= seq and self.first < self.next:
            self._events.pop(self.first % self.size, None)
            self.first += 1
        self.keep_through(seq)

    def renumber(self, shift):
        """Every record's number becomes smaller by `shift`, which is at most `first`."""
        turn = shift % self.size
        for array_, width in (
            (self._kind, 1),
            (self._sensor, 1),
            (self._counts, 1),
            (self._t_low, 1),
            (self._t_high, 1),
            (self._values, self.width),
        ):
            _rotate(array_, turn * width)
        self._events = {(slot - turn) % self.size: body for slot, body in self._events.items()}
        self._lost_events = [seq - shift for seq in self._lost_events]
        self.first -= shift
        self.next -= shift
        self.kept = 0


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
