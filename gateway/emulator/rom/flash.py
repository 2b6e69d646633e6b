# The flash chip: a block device on the image file, whose handle stays open when the host's file system is out of sight.
#
# littlefs calls this from C. An exception in here would leave littlefs's own state half done, and Ctrl-C is raised at
# jumps: so none of these methods has a jump. They allocate nothing either: a forgotten file is closed by the collector,
# while the heap is locked.

BLOCK_BYTES = 4096
_ERASED = b"\xff" * BLOCK_BYTES


class Flash:
    def __init__(self, path, page):
        file = open(path, "r+b")
        self._seek = file.seek
        self._read = file.readinto
        self._write = file.write
        self._page = page
        self._erases_at = page.at["flash_erases"]
        self._blocks = file.seek(0, 2) // BLOCK_BYTES
        nothing = self._nothing
        # by operation: 1 init, 2 shut down, 3 sync, 4 count, 5 size, 6 erase (vfs.AbstractBlockDev.ioctl)
        self._operations = (nothing, nothing, nothing, nothing, self._count, self._size, self._erase)

    def readblocks(self, block, buffer, offset=0):
        self._seek(block * BLOCK_BYTES + offset)
        self._read(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self._seek(block * BLOCK_BYTES + offset)
        self._write(buffer)

    def ioctl(self, operation, argument):
        return self._operations[operation](argument)

    def _nothing(self, _):
        return 0

    def _count(self, _):
        return self._blocks

    def _size(self, _):
        return BLOCK_BYTES

    def _erase(self, block):
        self._seek(block * BLOCK_BYTES)
        self._write(_ERASED)
        self._page.put64(self._erases_at, self._page.get64(self._erases_at) + 1)
        return 0
