# Maxim (Analog Devices) DS18B20, from its data sheet 19-7487 Rev 6: memory (figure 9), function commands (table 3),
# conversion times (table 2), temperature register (figure 4). Written without looking at the driver.

import signals
from chips import OneWireChip

_CONVERT = 0x44
_WRITE = 0x4E
_READ = 0xBE
_COPY = 0x48
_RECALL = 0xB8
_SUPPLY = 0xB4

_POWER_ON = 0x0550  # 85 degrees
_TYPICAL_US = (80000, 160000, 320000, 640000)  # by resolution; table 2 gives 93.75 to 750 ms at most
_MOST_US = (93750, 187500, 375000, 750000)
_CRC = 3  # of page.py's FAULTS


class Chip(OneWireChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.eeprom = bytearray((0x4B, 0x46, 0x7F))  # TH, TL, configuration: 12 bits
        self.pad = bytearray(9)
        self._sealed = memoryview(self.pad)[:8]
        self.pad[2:5] = self.eeprom
        self.pad[5], self.pad[6], self.pad[7] = 0xFF, 0x0C, 0x10
        self._put(_POWER_ON)
        self._command = 0
        self._sent = self._taken = 0
        self._next = None
        self._fresh = False  # it has measured since it was read: what is read counts
        self._busy_until_us = 0

    def _put(self, raw):
        self.pad[0] = raw & 255
        self.pad[1] = raw >> 8 & 255
        self._seal()

    def _seal(self):
        self.pad[8] = self._crc8(self._sealed)

    def chosen(self):
        self._settle()
        self._command = 0

    def write_byte(self, byte):
        if self._command == _WRITE:
            if self._taken < 3:
                self.pad[2 + self._taken] = byte & 0x60 | 0x1F if self._taken == 2 else byte
                self._taken += 1
                self._seal()
            return
        self._command = byte
        self._sent = self._taken = 0
        if byte == _CONVERT:
            self._convert()
        elif byte == _READ and self._fresh:
            self._fresh = False
            self.taken({"temperature": self._raw() / 16} if self.keeps_truth() else None)
        elif byte == _COPY:
            self.eeprom[:] = self.pad[2:5]
        elif byte == _RECALL:
            self.pad[2:5] = self.eeprom
            self._seal()

    def give_bit(self):
        if self._command == _CONVERT:
            self._settle()
            return 1 if self._next is None else 0
        if self._command == _READ:
            byte, bit = self._sent >> 3, self._sent & 7
            self._sent += 1
            if byte > 8:
                return 1
            value = self.pad[byte] >> bit & 1
            return value ^ 1 if self.fault() == _CRC and self._sent == 13 else value
        return 1  # read power supply: an external one; copy and recall: done

    def _convert(self):
        bits = self.pad[4] >> 5 & 3
        milli = self.signal("temperature", self.soil_mc(self.wall_ms()))
        raw = (milli * 16 + 500) // 1000
        raw = max(-55 * 16, min(125 * 16, raw)) & ~((1 << 3 - bits) - 1)  # figure 4: lower bits are undefined
        self._next = raw
        self._busy_until_us = self.now_us() + _TYPICAL_US[bits] + self.random.below(_MOST_US[bits] - _TYPICAL_US[bits])

    def _settle(self):
        if self._next is not None and self.now_us() >= self._busy_until_us:
            self.pad[6] = 0x10 - (self._next & 15)  # not in the data sheet: what real chips were seen to have there
            self._put(self._next)
            self._next = None
            self._fresh = True

    def _raw(self):
        raw = self.pad[0] | self.pad[1] << 8
        return raw - 0x10000 if raw & 0x8000 else raw

    def soil_mc(self, t_ms):
        """Milli-degrees of some soil: slower and smaller than the air, and a tenth of a degree of noise."""
        level = 14000 + self.seed * 7919 % 3000
        return level + signals.sine(t_ms - 12 * 3600000, 86400000, 1800) + self.random.noise(100)
