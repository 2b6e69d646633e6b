"""Pure: what a board remembers through deep sleep, as the 2048 bytes that the RTC keeps then.

    "MGR1" · flags (1) · CRC-32 of the device's id (4) · uptime_ms (8) · the RTC's ms (8) · ms of sleep asked for (4)
    · failed tries (1) · when the gateway is due, in uptime (8) · kept (8) · seq of the first record here (8)
    boot: as in its file (bootfile.py)
    number of sensors (1), of each: ms until due (4) · until tried again (4) · the wait then (4) · whether failed (1)
    records, as long as there are any: length (2) · as in records.py
    CRC-32 of all of it (4)

All numbers are little-endian. Power cuts clear the RTC's memory; a reset does not.

A memory may be gone on with once only: two starts that count on from the same number would give one number to two
samples, and the gateway would take the second for a repeat. So the first thing a start does is to write that it is
awake (`taken_up`). What it finds awake is of a boot whose end nobody saw; the records are good all the same.
"""

from binascii import crc32
from micropython import const
from struct import pack, pack_into, unpack_from

from device import bootfile
from device.records import MAX_RECORD, encode
from device.ring import GAP

SIZE = const(2048)
_MAGIC = b"MGR1"
_HEADER = "<4sBIQQIBQQQ"
_HEADER_BYTES = const(54)
_FLAGS_AT = const(4)
_SENSOR = "<iiIB"
_SENSOR_BYTES = const(13)
_HEAD = const(6)
_ASLEEP = const(1)
_WRITTEN = const(2)


class Memory:
    """`boot` is the one that sleeps, `below` what it has promised on flash not to reach."""

    def __init__(self, boot, below):
        self.asleep = True
        self.boot = boot
        self.below = below
        self.strict = False  # as the journal has it
        self.written = False
        self.uptime_ms = self.rtc_ms = self.sleep_ms = 0
        self.tries = 0
        self.due_ms = 0  # when the gateway is
        self.first = 0  # below it, records are on flash, acknowledged or lost
        self.plans = []  # of the sensors
        self.records = {}  # the payload of each by seq, as Tails.read

    def as_boot(self):
        """The boot as its file on flash would have it."""
        self.boot.below = self.below
        return self.boot

    def pack(self, device, ring):
        """All of it as bytes, with what only `ring` has of the boot; None where that does not fit."""
        boot = self.boot
        first = max(boot.base, boot.kept, ring.first)
        out = bytearray(SIZE)
        flags = _ASLEEP | _WRITTEN * self.written
        words = (crc32(device.encode()), self.uptime_ms, self.rtc_ms, self.sleep_ms, self.tries, self.due_ms)
        pack_into(_HEADER, out, 0, _MAGIC, flags, *words, boot.kept, first)
        at = _HEADER_BYTES + bootfile.SIZE
        out[_HEADER_BYTES:at] = bootfile.to_bytes(boot, self.below, bootfile.STRICT * self.strict)
        if at + 5 + _SENSOR_BYTES * len(self.plans) > SIZE:
            return None
        out[at] = len(self.plans)
        at += 1
        for plan in self.plans:
            pack_into(_SENSOR, out, at, *plan)
            at += _SENSOR_BYTES
        record = bytearray(_HEAD + MAX_RECORD)
        for seq in range(first, ring.next):
            span, length = encode(record, ring, seq, ring.next)
            if record[_HEAD] == GAP or at + 2 + length + 4 > SIZE:
                return None
            pack_into("<H", out, at, length)
            at += 2
            out[at : at + length] = memoryview(record)[_HEAD : _HEAD + length]
            at += length
        return bytes(out[:at]) + pack("<I", crc32(memoryview(out)[:at]))


def unpack(data, device):
    """The Memory in `data`, None where it is damaged, of another firmware, or of another device."""
    if len(data) < _HEADER_BYTES + bootfile.SIZE + 5 or data[:4] != _MAGIC:
        return None
    end = len(data) - 4
    if crc32(memoryview(data)[:end]) != unpack_from("<I", data, end)[0]:
        return None
    _, flags, whose, uptime_ms, rtc_ms, sleep_ms, tries, due_ms, kept, first = unpack_from(_HEADER, data, 0)
    at = _HEADER_BYTES + bootfile.SIZE
    found = bootfile.from_bytes(data[_HEADER_BYTES:at])
    if found is None or whose != crc32(device.encode()):
        return None
    boot, boot_flags = found
    memory = Memory(boot, boot.below)
    boot.below = 0
    boot.kept = kept
    memory.asleep = bool(flags & _ASLEEP)
    memory.written = bool(flags & _WRITTEN)
    memory.strict = bool(boot_flags & bootfile.STRICT)
    memory.uptime_ms, memory.rtc_ms, memory.sleep_ms = uptime_ms, rtc_ms, sleep_ms
    memory.tries, memory.due_ms, memory.first = tries, due_ms, first
    sensors = data[at]
    at += 1
    if at + sensors * _SENSOR_BYTES > end:
        return None
    for _ in range(sensors):
        memory.plans.append(unpack_from(_SENSOR, data, at))
        at += _SENSOR_BYTES
    while at + 2 <= end:
        length = unpack_from("<H", data, at)[0]
        at += 2
        if length < 10 or at + length > end:
            return None
        memory.records[first] = data[at : at + length]
        first += 1
        at += length
    if first != boot.next or at != end:
        return None
    return memory


def taken_up(data):
    """The same memory, which nobody can go on with any more."""
    out = bytearray(data)
    out[_FLAGS_AT] &= ~_ASLEEP
    pack_into("<I", out, len(out) - 4, crc32(memoryview(out)[: len(out) - 4]))
    return out


def remember(outbox, device, describe):
    """The memory of the running boot as bytes. `describe(memory)` fills in what the outbox does not know. What does not
    fit goes to flash; where that fails, too, the oldest records go, and are counted in a gap."""
    data = _packed(outbox, device, describe)
    if data is None:
        outbox.spill()
        data = _packed(outbox, device, describe)
    while data is None:
        outbox.ring.give_up()
        data = _packed(outbox, device, describe)
    return data


def _packed(outbox, device, describe):
    memory = Memory(outbox.running, 0)
    outbox.remember(memory)
    describe(memory)
    return memory.pack(device, outbox.ring)


class Shut:
    """In place of the journal, until the outbox asks for more of it than this: most wakes write nothing to flash."""

    each = False

    def __init__(self, open, memory, ahead):
        self.below = memory.below
        self.ahead = ahead
        self._memory = memory
        self._open = open
        self._journal = None

    def open(self):
        if self._journal is None:
            self._journal = self._open()
        return self._journal

    def remember(self, memory):
        memory.below = self._memory.below
        memory.strict = self._memory.strict
        memory.written = self._memory.written

    def __getattr__(self, name):
        return getattr(self.open(), name)
