"""A flash chip in RAM whose power can go in any operation, and a littlefs on it."""

import os

import vfs

BLOCK = 4096
ROOT = "/flash"


class PowerCut(BaseException):
    """The power went in the last operation; see `Flash.alive`."""


class Flash:
    def __init__(self, blocks, data=None):
        self.data = data or bytearray(blocks * BLOCK)
        self.blocks = blocks
        self.operations = self.erases = self.programs = self.bytes = 0
        self.cut_at = -1  # the operation in which the power goes
        self.tear = 0.0  # the part of it that is still done
        self.fails = 0  # negative errno that every write gives
        self.dead = False

    def readblocks(self, block, buf, offset=0):
        at = block * BLOCK + offset  # of a dead one, too: littlefs turns in circles on what it cannot read
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        if self.dead:
            return -5  # no exception: a forgotten file is closed by the collector, while the heap is locked
        if self.fails:
            return self.fails
        at = block * BLOCK + offset
        size = len(buf)
        if self.operations == self.cut_at:
            size = int(size * self.tear)
        self.data[at : at + size] = memoryview(buf)[:size]
        self.programs += 1
        self.bytes += size
        self._done()
        return -5 if self.dead else None

    def ioctl(self, operation, block):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            if self.dead:
                return -5
            if self.fails:
                return self.fails
            size = BLOCK
            if self.operations == self.cut_at:
                size = int(size * self.tear)
            at = block * BLOCK
            self.data[at : at + size] = b"\xff" * size
            self.erases += 1
            self._done()
            return -5 if self.dead else 0
        return 0

    def _done(self):
        self.operations += 1
        self.dead = self.operations == self.cut_at + 1

    def alive(self):
        """Raises PowerCut behind a call in which the power went. The call itself has seen a flash that fails: an
        exception from in here would jump through littlefs, and what `with` does with a file would hide it."""
        if self.dead:
            raise PowerCut


def mount(flash, fresh=False):
    if fresh:
        vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), ROOT)


def unmount():
    try:
        vfs.umount(ROOT)
    except OSError:
        pass


def power_up(flash):
    """The same chip, powered again: a new object, as the old one's files may still be about."""
    unmount()
    again = Flash(flash.blocks, flash.data)
    flash.dead = True
    mount(again)
    return again


def files(folder=ROOT):
    found = []
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        found += files(path) if kind == 0x4000 else [path]
    return found
