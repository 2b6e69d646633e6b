"""Shell: the newest records of a boot that keeps each on flash before it is sent (`power_loss = "none"`).

A fixed set of small files, each rewritten in its turn with one record: a file of up to 128 bytes lies inside its
directory, so this is one commit, old or new, and costs 0.03 to 0.06 erased blocks instead of the 1.01 of an append
(tests/bench/flash.py). A file is stale once its record is acknowledged or in a segment. A board that is online writes
nothing else.

    boot_id (8) · seq (8) · CRC-32 of the payload (4), begun with seq · payload as in a segment
"""

from binascii import crc32, hexlify, unhexlify
from micropython import const
from struct import pack_into, unpack_from

from device.records import MAX_RECORD, encode

SLOTS = const(16)
_HEAD = const(20)
_AT = const(14)  # so that the payload comes to lie behind the head: `encode` leaves 6 bytes free
_INLINE = const(128)
_HIGHEST = const(0x3FFFFFFF)  # no boot comes so far: the CRC covers only the lower half of a seq


class Tails:
    def __init__(self, folder):
        self._folder = folder
        self._record = bytearray(_AT + 6 + MAX_RECORD)
        self._view = memoryview(self._record)[_AT:]

    def write(self, boot, source, seq):
        """Keeps record `seq`, if it is small enough. The file of seq - 16 is lost. OSError: the old one stands."""
        span, length = encode(self._view, source, seq, seq + 1)
        if span != 1 or _HEAD + length > _INLINE:
            return False
        record = self._record
        record[:8] = unhexlify(boot.id)
        pack_into("<Q", record, 8, seq)
        view = memoryview(record)
        pack_into("<I", record, 16, crc32(view[_HEAD : _HEAD + length], seq & 0xFFFFFFFF))
        with open("%s/%d" % (self._folder, seq % SLOTS), "wb") as file:
            file.write(view[: _HEAD + length])
        return True

    def read(self, boot):
        """The records of `boot` that are here: the payload by seq."""
        found = {}
        for slot in range(SLOTS):
            try:
                with open("%s/%d" % (self._folder, slot), "rb") as file:
                    data = file.read(_INLINE + 1)
            except OSError:
                continue
            if len(data) < _HEAD + 10 or hexlify(data[:8]).decode() != boot.id:
                continue
            seq, crc = unpack_from("<QI", data, 8)
            if seq <= _HIGHEST and crc == crc32(data[_HEAD:], seq & 0xFFFFFFFF) and seq % SLOTS == slot:
                found[seq] = data[_HEAD:]
        return found
