"""Pure: a record as bytes, the same wherever it outlives the memory: in segments, tails and the RTC's memory.

    sample   00 · sensor (1) · t_ms (8) · values (4 each)
    event    01 · 00 · t_ms (8) · JSON
    gap      02 · why (1) · samples lost (4) · sequence numbers it stands for (4)

All numbers are little-endian.
"""

from micropython import const
from struct import pack_into, unpack_from

from device.ring import EVENT, SAMPLE

MAX_RECORD = const(1000)  # bytes
_HEAD = const(6)  # free bytes before it, for whoever frames it


def encode(buf, source, seq, end):
    """The payload of record `seq` into buf[6:]. Returns (sequence numbers it takes, its length)."""
    kind = source.kind(seq) if seq >= source.first else -1
    if kind == SAMPLE:
        count = source.count(seq)
        if 10 + 4 * count <= MAX_RECORD:
            pack_into("<BBQ", buf, _HEAD, SAMPLE, source.sensor(seq), source.t_ms(seq))
            for i in range(count):
                pack_into("<i", buf, _HEAD + 10 + 4 * i, source.value(seq, i))
            return 1, 10 + 4 * count
    elif kind == EVENT:
        body = source.event(seq)
        if 10 + len(body) <= MAX_RECORD:
            pack_into("<BBQ", buf, _HEAD, EVENT, 0, source.t_ms(seq))
            buf[_HEAD + 10 : _HEAD + 10 + len(body)] = body
            return 1, 10 + len(body)
        pack_into("<BBII", buf, _HEAD, 2, 2, 0, 1)
        return 1, 10
    span = source.first - seq if kind < 0 else source.run(seq, end - seq)
    pack_into("<BBII", buf, _HEAD, 2, 0, source.samples_lost(seq, span), span)
    return span, 10


class Run:
    """Records with consecutive numbers, as the ring has them."""

    def __init__(self, found):
        self._found = found
        self.next = max(found) + 1
        self.first = self.next - 1
        while self.first - 1 in found:
            self.first -= 1

    def run(self, seq, limit):
        return 1

    def samples_lost(self, seq, count):
        return 0

    def kind(self, seq):
        return self._found[seq][0]

    def sensor(self, seq):
        return self._found[seq][1]

    def t_ms(self, seq):
        return unpack_from("<Q", self._found[seq], 2)[0]

    def count(self, seq):
        return (len(self._found[seq]) - 10) // 4

    def value(self, seq, i):
        return unpack_from("<i", self._found[seq], 10 + 4 * i)[0]

    def event(self, seq):
        return self._found[seq][10:]
