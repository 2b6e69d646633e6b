"""Shell: what a boot leaves behind for the next one: one small file each, rewritten rarely.

`running` is of the boot that runs, `<number>` of each that has ended and is not wholly acknowledged. 97 bytes: so
small a file lies inside its directory (littlefs, up to 128 bytes), and rewriting it is one commit that shows either
the old or the new, and erases 0.05 blocks. The rest of what must survive is in the segments.

`<profile hash>.json` has the columns of a profile, [[name, decimals], ...] per sensor: samples that were taken under
another profile than the one flashed now are sent with their own.
"""

import json
import os
from binascii import crc32, hexlify, unhexlify
from micropython import const
from struct import pack, unpack

_MAGIC = b"MGB1"
_RECORD = "<4sBI8s8sQQQQQQQIQ"
SIZE = const(97)
_CLEAN = const(1)
STRICT = const(2)
_HIGHEST = const(0x7FFFFFFF)


class Boot:
    """One start of this device: `number` orders, `id` (16 hex digits) identifies. And what of it is still held:

    base <= sent <= next    base: everything below is acknowledged. sent: what goes out next on this connection
    kept                    below it, what is not acknowledged is on flash
    below                   no record of an ended boot reached it: what lies between `next` and `below` may have been
                            taken and lost, and is the open gap that ends it. 0: nothing was lost
    freed_from, freed_to    were freed because the flash was full, with `freed_samples`
    forgotten               [boots, records] of older ones that made way for it, which its second record tells
    """

    def __init__(self, number, id, profile):
        self.number = number
        self.id = id
        self.profile = profile
        self.base = self.sent = self.next = self.kept = 0
        self.below = 0
        self.freed_from = self.freed_to = self.freed_samples = 0
        self.refused_to = self.refused_samples = 0  # from base on: what the gateway cannot read
        self.forgotten = [0, 0]
        self.t_ms = None  # when the newest record was taken
        self.columns = None  # of another profile than the running one, once they are read

    def end(self):
        """Behind the last that is to be sent."""
        return self.next + 1 if self.below > self.next else self.next


def to_bytes(boot, below, flags):
    """`SIZE` bytes."""
    data = pack(
        _RECORD,
        _MAGIC,
        flags,
        boot.number,
        unhexlify(boot.id),
        unhexlify(boot.profile),
        boot.base,
        boot.next,
        below,
        boot.freed_from,
        boot.freed_to,
        boot.freed_samples,
        0 if boot.t_ms is None else boot.t_ms + 1,
        *boot.forgotten,
    )
    return data + pack("<I", crc32(data))


def from_bytes(data):
    """(Boot, flags), None for anything that `to_bytes` has not made. `below` is the boot's."""
    if len(data) != SIZE or unpack("<I", data[-4:])[0] != crc32(data[:-4]) or data[:4] != _MAGIC:
        return None
    fields = unpack(_RECORD, data[:-4])
    boot = Boot(fields[2], hexlify(fields[3]).decode(), hexlify(fields[4]).decode())
    boot.base, boot.next, boot.below = fields[5:8]
    boot.freed_from, boot.freed_to, boot.freed_samples = fields[8:11]
    boot.sent, boot.kept = boot.base, boot.next
    boot.t_ms = fields[11] - 1 if fields[11] else None
    boot.forgotten = list(fields[12:14])
    return boot, fields[1]


class BootFiles:
    def __init__(self, folder):
        self._folder = folder

    def running(self):
        """(Boot, clean, strict) of the boot before this one, or None. `clean`: it ended in order, and `next` is true;
        else `below` is what it had promised not to reach. `strict`: everything but one record was on flash."""
        return self._read("running")

    def ended(self):
        """The ended boots, oldest first."""
        found = []
        for name in _names(self._folder):
            if name.isdigit():
                record = self._read(name)
                if record is None or record[0].number != int(name):
                    self.remove(name)
                else:
                    found.append(record[0])
        found.sort(key=lambda boot: boot.number)
        return found

    def write_running(self, boot, below, clean=False, strict=False):
        self._write("running", boot, below, _CLEAN * clean | STRICT * strict)

    def write_ended(self, boot):
        self._write(str(boot.number), boot, boot.below, _CLEAN)

    def remove(self, name):
        try:
            os.remove("%s/%s" % (self._folder, name))
        except OSError:
            pass  # it is not there, or the flash fails: then the gateway says once more that it has all of it

    def _write(self, name, boot, below, flags):
        with open("%s/%s" % (self._folder, name), "wb") as file:
            file.write(to_bytes(boot, below, flags))

    def _read(self, name):
        try:
            with open("%s/%s" % (self._folder, name), "rb") as file:
                found = from_bytes(file.read(SIZE + 1))
        except OSError:
            return None
        return found and (found[0], bool(found[1] & _CLEAN), bool(found[1] & STRICT))

    # -- columns -------------------------------------------------------------------------------------------------------

    def write_columns(self, profile, columns):
        """`columns`: [[name, decimals], ...] per sensor. Written once per profile."""
        text = json.dumps(columns)
        path = "%s/%s.json" % (self._folder, profile)
        try:
            with open(path) as file:
                if file.read() == text:
                    return
        except (OSError, ValueError):  # ValueError: not UTF-8
            pass
        with open(path, "w") as file:
            file.write(text)

    def columns(self, profile):
        """What `write_columns` wrote, or None."""
        try:
            with open("%s/%s.json" % (self._folder, profile)) as file:
                columns = json.load(file)
            for sensor in columns:
                for name, decimals in sensor:
                    if type(name) is not str or type(decimals) is not int or not sensor:
                        return None
        except (OSError, ValueError, TypeError):
            return None
        return columns or None

    def keep_columns(self, profiles):
        """Forgets the columns of all other profiles."""
        for name in _names(self._folder):
            if name.endswith(".json") and name[:-5] not in profiles:
                self.remove(name)


def free_number(wanted, held):
    """The number of a new boot: `wanted`, or the next that none of the `held` boots has."""
    numbers = [boot.number for boot in held]
    while wanted in numbers or not 0 < wanted <= _HIGHEST:
        wanted = wanted + 1 if 0 < wanted < _HIGHEST else 1
    return wanted


def new_boot_id(urandom):
    return hexlify(urandom(8)).decode()


def _names(folder):
    try:
        return [entry[0] for entry in os.ilistdir(folder)]
    except OSError:
        return []
