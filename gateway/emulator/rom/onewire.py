# `onewire` as boards have it built in (its interface is micropython-lib's).

import _onewire as _ow
from machine import Pin as _Pin


class OneWireError(Exception):
    pass


class OneWire:
    SEARCH_ROM = 0xF0
    MATCH_ROM = 0x55
    SKIP_ROM = 0xCC

    def __init__(self, pin):
        self.pin = pin
        pin.init(_Pin.OPEN_DRAIN, _Pin.PULL_UP)

    def reset(self, required=False):
        answered = _ow.reset(self.pin)
        if required and not answered:
            raise OneWireError
        return answered

    def readbit(self):
        return _ow.readbit(self.pin)

    def readbyte(self):
        return _ow.readbyte(self.pin)

    def readinto(self, buf):
        for at in range(len(buf)):
            buf[at] = _ow.readbyte(self.pin)

    def writebit(self, value):
        return _ow.writebit(self.pin, value)

    def writebyte(self, value):
        return _ow.writebyte(self.pin, value)

    def write(self, buf):
        for byte in buf:
            _ow.writebyte(self.pin, byte)

    def select_rom(self, rom):
        self.reset()
        self.writebyte(self.MATCH_ROM)
        self.write(rom)

    def crc8(self, data):
        return _ow.crc8(data)

    def scan(self):
        """The ROM codes of all chips on the wire: at each bit where they differ, one side after the other."""
        found = []
        path = bytearray(64)  # which way to go where they differ
        turns = -1  # the last bit at which there is another way still
        while True:
            rom = bytearray(8)
            fork = -1
            if not self.reset():
                return found
            self.writebyte(self.SEARCH_ROM)
            for at in range(64):
                bit, other = self.readbit(), self.readbit()
                if bit and other:  # nobody is left: a chip was lost meanwhile
                    return found
                if not bit and not other:
                    bit = path[at] if at < turns else at == turns
                    if not bit:
                        fork = at
                path[at] = bit
                self.writebit(bit)
                if bit:
                    rom[at >> 3] |= 1 << (at & 7)
            found.append(rom)
            if fork < 0:
                return found
            turns = fork
