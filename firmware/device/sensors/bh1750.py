"""ROHM BH1750FVI: illuminance over I2C. Technical note 2009.04 Rev.B, pages named below.

One-time H-resolution mode (page 5): the chip measures once, for up to 180 ms, and goes to sleep. It has no number to be
known by, no checksum, and no bit that says it is ready.

It reaches 54,612 lx, the sun twice that: then its sensitivity is turned down until it is darker, and one sample is
"not measured". `options = { mtreg = 254 }` fixes the sensitivity, 31 to 254, 69 is the usual one: behind glass that
swallows light, or for steps of 0.23 lx in the dark.
"""

import time
from micropython import const

from device.clock import ticks_diff
from device.sensors import NULL, RANGE, SensorError

QUANTITIES = (("illuminance", 2),)  # lx

# Commands (page 5, "Instruction set architecture"), one in each write (page 10, "Write format").
_POWER_ON = const(0x01)
_ONE_TIME_H = const(0x20)
_MTREG_HIGH = const(0x40)  # and bits 7 to 5 of it
_MTREG_LOW = const(0x60)  # and bits 4 to 0

_LEAST = const(31)  # page 11, "Measurement result adjusting"
_USUAL = const(69)
_MOST = const(254)
_PER_COUNT = const(5750)  # hundredths of a lux for each count, times MTreg: 100 / 1.2 * 69 (pages 10 and 11)
_FULL = const(0xFFFF)
_DIM = const(20000)  # counts at the least MTreg that leave room at the usual one: 37,000 lx

_LONGEST_MS = const(180)  # at the usual MTreg (page 2); it goes with MTreg
_FRESH_MS = const(2000)


class Sensor:
    def __init__(self, bus, config):
        mtreg = (config.get("options") or {}).get("mtreg")
        if mtreg is not None and not _LEAST <= mtreg <= _MOST:
            raise ValueError("bh1750: mtreg is 31 to 254")
        self._bus = bus
        self._address = config.get("address", 0x23)
        self._fixed = mtreg is not None
        self._mtreg = mtreg or _USUAL
        self.lead_ms = _LONGEST_MS * self._mtreg // _USUAL + 1
        self._started = None  # when a measurement was
        self._one = bytearray(1)
        self._two = bytearray(2)
        self._send(_POWER_ON)

    def read_into(self, values):
        raw = self._fetch()
        mtreg = self._mtreg
        if raw < _FULL:
            values[0] = (raw * _PER_COUNT + mtreg // 2) // mtreg
        elif self._fixed or mtreg == _LEAST:
            raise SensorError(RANGE)
        else:
            values[0] = NULL
        if not self._fixed:
            self._mtreg = _LEAST if raw == _FULL or mtreg == _LEAST and raw >= _DIM else _USUAL

    def begin(self):
        self._send(_POWER_ON)
        self._send(_MTREG_HIGH | self._mtreg >> 5)  # each time: it may have lost power, and this with it
        self._send(_MTREG_LOW | self._mtreg & 31)
        self._send(_ONE_TIME_H)
        self._started = time.ticks_ms()

    def _fetch(self):
        """Counts."""
        if self._started is None or ticks_diff(time.ticks_ms(), self._started) > _FRESH_MS:
            self.begin()
        left_ms = self.lead_ms - ticks_diff(time.ticks_ms(), self._started)
        if left_ms > 0:
            time.sleep_ms(left_ms)
        self._started = None  # it is fetched once
        self._bus.readfrom_into(self._address, self._two)
        return self._two[0] << 8 | self._two[1]

    def _send(self, command):
        self._one[0] = command
        self._bus.writeto(self._address, self._one)
