"""Shell: append-only files with records of one boot each, and how they are read back.

A segment is `<boot number>-<first seq>`; both stand in its header, too, with all that identifies its boot:

    "MGJ1" · boot number (4) · boot_id (8) · profile hash (8) · first seq (8) · CRC-32 of these 32 bytes (4)

and then its records, seq by seq without a hole:

    length of the payload (2) · CRC-32 of the payload (4), begun with the header's CRC plus seq · payload (records.py)

All numbers are little-endian. So a record is good only in its own place of its own boot: what a cut or a worn cell left
behind is never taken for another. Reading ends at the first record that is not good.

An append is one open, write, close. littlefs is copy-on-write: it shows either all of it or nothing, and it copies the
last, partly filled block, so it erases 1.01 blocks for a record and 1.4 for sixty-four (tests/bench/flash.py): hence
batches.
"""

import os
from binascii import crc32, hexlify, unhexlify
from micropython import const
from struct import pack, pack_into, unpack_from

from device.page import Page
from device.records import MAX_RECORD, encode

BLOCK = const(4096)
_MAGIC = b"MGJ1"
_HEADER = "<4sI8s8sQ"
_HEADER_BYTES = const(32)
_DATA_AT = const(36)
_HEAD = const(6)
WHYS = (b"full", b"refused", b"other")


class Segments:
    def __init__(self, folder, segment_bytes):
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._firsts = {}  # boot number: [first seq of each segment], ascending
        self._sizes = {}  # the same, in bytes
        self._page = Page()
        self._record = bytearray(_HEAD + MAX_RECORD)
        self._end = {}  # boot number: the seq behind its last record, where nothing was torn since
        self.blocks = 0
        for name, _, _, size in _list(folder):
            try:
                number, first = (int(part) for part in name.split("-"))
            except ValueError:
                continue
            firsts = self._firsts.setdefault(number, [])
            at = 0
            while at < len(firsts) and firsts[at] < first:
                at += 1
            firsts.insert(at, first)
            self._sizes.setdefault(number, []).insert(at, size)
            self.blocks += _blocks(size)

    def numbers(self):
        """The boots that have segments, ascending."""
        return sorted(self._firsts)

    def count(self):
        return sum(len(firsts) for firsts in self._firsts.values())

    def first(self, number):
        """The lowest seq on flash, or None."""
        firsts = self._firsts.get(number)
        return firsts[0] if firsts else None

    def owner(self, number):
        """(boot_id, profile hash) as hex, from the first header that is good; None without one."""
        for first in self._firsts.get(number, ()):
            found = self._header(number, first)
            if found:
                return found[0], found[1]
        return None

    # -- write ---------------------------------------------------------------------------------------------------------

    def append(self, boot, source, seq, end):
        """Writes the records of `source` from `seq` to `end` - 1 behind what the boot has. OSError: nothing was
        written, or a part that the next append finds. Returns the seq behind the last that is on flash."""
        number = boot.number
        end_here = self._end.pop(number, None)
        if end_here is None:
            end_here = self.end(boot)
            seq = max(seq, end_here)
        firsts = self._firsts.setdefault(number, [])
        sizes = self._sizes.setdefault(number, [])
        fresh = not firsts or end_here != seq or sizes[-1] >= self._segment_bytes
        first = seq if fresh else firsts[-1]
        header = pack(_HEADER, _MAGIC, number, unhexlify(boot.id), unhexlify(boot.profile), first)
        seed = crc32(header)
        with open(self._path(number, first), "wb" if fresh else "ab") as file:
            if fresh:
                file.write(header)
                file.write(pack("<I", seed))
                size = _DATA_AT
            else:
                size = sizes[-1]
            view = memoryview(self._record)
            while seq < end and size < self._segment_bytes:
                span, length = encode(self._record, source, seq, end)
                pack_into("<HI", self._record, 0, length, crc32(view[_HEAD : _HEAD + length], seed + seq & 0xFFFFFFFF))
                file.write(view[: _HEAD + length])
                size += _HEAD + length
                seq += span
        if fresh:
            firsts.append(first)
            sizes.append(0)
        self.blocks += _blocks(size) - _blocks(sizes[-1])
        sizes[-1] = size
        self._end[number] = seq
        return seq

    def remove_first(self, number):
        """Removes the oldest segment of a boot."""
        firsts, sizes = self._firsts[number], self._sizes[number]
        try:
            os.remove(self._path(number, firsts[0]))
        except OSError as error:
            if error.errno != 2:  # ENOENT: somebody else did
                raise
        firsts.pop(0)
        self.blocks -= _blocks(sizes.pop(0))
        if not firsts:
            self._firsts.pop(number)
            self._sizes.pop(number)
            self._end.pop(number, None)
        self._page.forget()

    def free_through(self, boot, seq, end):
        """Removes the segments of `boot` that hold nothing above `seq`; `end` is the seq behind its last record."""
        firsts = self._firsts.get(boot.number)
        while firsts and (firsts[1] if len(firsts) > 1 else end) <= seq + 1:
            self.remove_first(boot.number)

    # -- read ----------------------------------------------------------------------------------------------------------

    def load(self, boot, seq, end):
        """The page that has record `seq` of `boot`, of which `end` - 1 is the last on flash. What cannot be read any
        more is a page with one gap (`why` other) up to where the next segment begins. None where `seq` lies before all
        that is on flash."""
        page = self._page
        firsts = self._firsts.get(boot.number, ())
        if not firsts or seq < firsts[0]:
            return None
        at = len(firsts) - 1
        while firsts[at] > seq:
            at -= 1
        end = firsts[at + 1] if at + 1 < len(firsts) else end
        if page.holds(boot.number, seq):
            return page
        try:
            self._find(page, boot, firsts[at], seq)
        except OSError:
            page.forget()
        if not page.holds(boot.number, seq):
            page.be_gap(boot.number, seq, end - seq, b"other", end - seq)
        return page

    def end(self, boot):
        """The seq behind the last good record of a boot, read from its newest segment. What lies behind it in the file
        is never appended to: a new segment begins."""
        firsts = self._firsts.get(boot.number)
        if not firsts:
            return 0
        page = self._page
        end = firsts[-1]
        boot.t_ms = None
        size = 0
        try:
            self._find(page, boot, end, None)
            while page.count:
                end = page.first + page.count
                size = page.end_offset
                boot.t_ms = page.newest_ms(boot.t_ms)
                self._more(page, boot)
        except OSError:
            pass
        page.forget()
        sizes = self._sizes[boot.number]
        real = sizes[-1]
        try:
            real = os.stat(self._path(boot.number, firsts[-1]))[6]
        except OSError:
            pass
        self.blocks += _blocks(real) - _blocks(sizes[-1])
        sizes[-1] = real if real == size else max(real, self._segment_bytes)
        if end == firsts[-1]:  # not one good record, perhaps not even a header: it is made anew under the same name
            self.blocks -= _blocks(real)
            firsts.pop()
            sizes.pop()
            if not firsts:
                self._firsts.pop(boot.number)
                self._sizes.pop(boot.number)
        return end

    def samples(self, boot, seq, end):
        """How many samples are on flash from `seq` to `end` - 1, all in the oldest segment."""
        found = 0
        while seq < end:
            page = self.load(boot, seq, end)
            if page is None:
                break
            count = min(page.first + page.count, end) - seq
            found += page.samples(seq, count)
            seq += count
        return found

    def first_end(self, number, end):
        """The seq behind the oldest segment of a boot."""
        firsts = self._firsts[number]
        return firsts[1] if len(firsts) > 1 else end

    def _find(self, page, boot, first, seq):
        """Reads page after page of one segment until `seq` is in it (None: only the first page)."""
        if not (seq is not None and page.follows(boot.number, first, seq)):
            header = self._header(boot.number, first)
            if header is None or header[0] != boot.id:
                page.forget()
                return
            page.begin(boot.number, first, _DATA_AT, header[2])
        while True:
            self._more(page, boot)
            if not page.count or seq is None or page.holds(boot.number, seq):
                return

    def _more(self, page, boot):
        with open(self._path(boot.number, page.segment), "rb") as file:
            file.seek(page.end_offset)
            page.read(file)

    def _header(self, number, first):
        """(boot_id, profile, CRC) of a segment, None where its header is not good."""
        try:
            with open(self._path(number, first), "rb") as file:
                data = file.read(_DATA_AT)
        except OSError:
            return None
        if len(data) < _DATA_AT:
            return None
        magic, said, id, profile, said_first = unpack_from(_HEADER, data, 0)
        crc = crc32(data[:_HEADER_BYTES])
        if magic != _MAGIC or said != number or said_first != first or crc != unpack_from("<I", data, _HEADER_BYTES)[0]:
            return None
        return hexlify(id).decode(), hexlify(profile).decode(), crc

    def _path(self, number, first):
        return "%s/%d-%d" % (self._folder, number, first)


def _blocks(size):
    return (size + BLOCK - 1) // BLOCK


def _list(folder):
    try:
        return list(os.ilistdir(folder))
    except OSError:
        return ()
