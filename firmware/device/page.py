"""Pure: some records of one segment, as they lie in its file, read field by field when they are asked for.

Has what the ring has: `kind`, `t_ms`, `sensor`, `value`, `event`, `why`, `samples_lost`, each by seq. A page is
samples and events with consecutive numbers, or one gap.
"""

from array import array
from binascii import crc32
from micropython import const
from struct import unpack_from

from device.records import MAX_RECORD
from device.ring import EVENT, GAP, SAMPLE
from device.sensors import NULL

_BYTES = const(2048)
_RECORDS = const(64)
_WHYS = (b"full", b"refused", b"other")


class Page:
    def __init__(self):
        self.number = -1  # of the boot, -1: nothing is here
        self.segment = 0  # its first seq
        self.first = self.count = 0
        self.end_offset = 0  # in the file, behind the last record
        self._seed = 0
        self._buf = bytearray(_BYTES)
        self._at = array("H", bytes(2 * _RECORDS))  # of each payload
        self._size = array("H", bytes(2 * _RECORDS))
        self._why = None  # of a gap
        self._lost = 0

    def forget(self):
        self.number = -1
        self.count = 0

    def holds(self, number, seq):
        return number == self.number and self.first <= seq < self.first + self.count

    def follows(self, number, segment, seq):
        """Whether reading on from here leads to `seq`."""
        return number == self.number and segment == self.segment and seq >= self.first + self.count

    def begin(self, number, segment, offset, seed):
        """Before the first record of a segment."""
        self.number = number
        self.segment = self.first = segment
        self.count = 0
        self.end_offset = offset
        self._seed = seed
        self._why = None

    def be_gap(self, number, seq, count, why, lost):
        self.number = number
        self.segment = -1
        self.first = seq
        self.count = count
        self._why = why
        self._lost = lost

    def read(self, file):
        """The records that follow, from a file that stands at `end_offset`. `count` is 0 where none is good."""
        self.first += self.count
        self.count = 0
        self._why = None
        buf = self._buf
        size = file.readinto(buf)
        view = memoryview(buf)
        at = 0
        while self.count < _RECORDS and at + 6 <= size:
            length, crc = unpack_from("<HI", buf, at)
            end = at + 6 + length
            if not 10 <= length <= MAX_RECORD or end > size:
                break
            if crc32(view[at + 6 : end], self._seed + self.first + self.count & 0xFFFFFFFF) != crc:
                break
            if buf[at + 6] == GAP:
                if not self.count:
                    self._lost, self.count = unpack_from("<II", buf, at + 8)
                    self._why = _WHYS[min(buf[at + 7], 2)]
                    at = end
                break
            self._at[self.count] = at + 6
            self._size[self.count] = length
            self.count += 1
            at = end
        self.end_offset += at

    def newest_ms(self, before):
        """When the newest record was taken, `before` where none here has a time."""
        return before if self._why or not self.count else self.t_ms(self.first + self.count - 1)

    # -- as the ring ---------------------------------------------------------------------------------------------------

    def run(self, seq, limit):
        if self._why:
            return self.first + self.count - seq
        kind = self.kind(seq)
        if kind == EVENT:
            return 1
        end = seq
        last = min(self.first + self.count, seq + limit)
        while end < last and self.kind(end) == kind:
            end += 1
        return end - seq

    def kind(self, seq):
        return GAP if self._why else self._buf[self._at[seq - self.first]]

    def why(self, seq):
        return self._why

    def at_most(self, seq):
        return None

    def samples_lost(self, seq, count):
        return min(self._lost, count)

    def samples(self, seq, count):
        """How many of `count` records are samples, or were."""
        if self._why:
            return self.samples_lost(seq, count)
        found = 0
        for i in range(seq, seq + count):
            found += self.kind(i) == SAMPLE
        return found

    def sensor(self, seq):
        return self._buf[self._at[seq - self.first] + 1]

    def t_ms(self, seq):
        return unpack_from("<Q", self._buf, self._at[seq - self.first] + 2)[0]

    def value(self, seq, i):
        at = seq - self.first
        if 14 + 4 * i > self._size[at]:
            return NULL  # a column that this sensor did not have
        return unpack_from("<i", self._buf, self._at[at] + 10 + 4 * i)[0]

    def event(self, seq):
        at = seq - self.first
        return bytes(self._buf[self._at[at] + 10 : self._at[at] + self._size[at]])
