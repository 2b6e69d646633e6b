# The flash chip: a block device on the image file, whose handle stays open when the host's file system is out of sight.
#
# littlefs calls this from C. An exception in here would leave littlefs's own state half done, and Ctrl-C is raised at
# jumps: so none of these methods has a jump. They allocate nothing either: a forgotten file is closed by the collector,
# while the heap is locked. Only `_torn` may do as it likes: nothing comes after it.

BLOCK_BYTES = 4096
_ERASED = b"\xff" * BLOCK_BYTES


class Flash:
    def __init__(self, path, hardware):
        file = open(path, "r+b")
        page = hardware.page
        self._seek = file.seek
        self._read = file.readinto
        self._write = file.write
        self._page = page
        self._die = hardware.die
        self._erases_at = page.at["flash_erases"]
        self._block_erases_at = page.at["block_erases"]
        self._programs_at = page.at["flash_programs"]
        self._bytes_at = page.at["flash_bytes"]
        self._cut_at = page.at["flash_cut_at"]
        self._torn_at = page.at["flash_cut_torn"]
        self._puts = (file.write, self._torn)  # whether the power goes in this operation
        self._blocks = file.seek(0, 2) // BLOCK_BYTES
        self._sleep_us = hardware.sleep_us
        self._erase_us = hardware.circuit["timing"]["erase_ms"] * 1000
        nothing = self._nothing
        # by operation: 1 init, 2 shut down, 3 sync, 4 count, 5 size, 6 erase (vfs.AbstractBlockDev.ioctl)
        self._operations = (nothing, nothing, nothing, nothing, self._count, self._size, self._erase)

    def readblocks(self, block, buffer, offset=0):
        self._seek(block * BLOCK_BYTES + offset)
        self._read(buffer)

    def writeblocks(self, block, buffer, offset=0):
        page = self._page
        put = self._puts[self._cut_now()]
        self._seek(block * BLOCK_BYTES + offset)
        put(buffer)
        page.put64(self._bytes_at, page.get64(self._bytes_at) + len(buffer))
        page.put64(self._programs_at, page.get64(self._programs_at) + 1)

    def ioctl(self, operation, argument):
        return self._operations[operation](argument)

    def _nothing(self, _):
        return 0

    def _count(self, _):
        return self._blocks

    def _size(self, _):
        return BLOCK_BYTES

    def _erase(self, block):
        page = self._page
        put = self._puts[self._cut_now()]
        self._sleep_us(self._erase_us)  # nothing else runs on a chip meanwhile, either
        self._seek(block * BLOCK_BYTES)
        put(_ERASED)
        page.put64(self._erases_at, page.get64(self._erases_at) + 1)
        worn_at = self._block_erases_at + 4 * block
        page.put32(worn_at, page.get32(worn_at) + 1)
        return 0

    def _cut_now(self):
        page = self._page
        cut_at = page.get64(self._cut_at)
        number = page.get64(self._erases_at) + page.get64(self._programs_at) + 1
        return (cut_at > 0) * (number >= cut_at)

    def _torn(self, buffer):
        """The power goes: the first part of `buffer` is on the flash, the rest of that place is as it was."""
        self._write(buffer, len(buffer) * self._page.get32(self._torn_at) >> 16)
        self._die(b"cut\n")
