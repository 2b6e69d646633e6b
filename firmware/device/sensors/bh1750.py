"""ROHM BH1750FVI: light over I2C. Data sheet 2014.03 Rev.D, sections named below.

One measurement per sample, of 1 lx (H-Resolution Mode, one time), 120 ms typically and 180 at most; in bright light
with a shorter exposure (measurement time register), which reaches 121,000 lx. (Where it dazzles, that one sample is
NULL.) The next one is begun when one was fetched; where that is too long ago, one is waited for. It has no register
that says who it is, and no CRC.
"""

import time
from micropython import const

from device.clock import ticks_diff
from device.sensors import NULL, RANGE, SensorError

QUANTITIES = (("illuminance", 2),)  # lx

_POWER_ON = const(0x01)
_ONCE = const(0x20)
_TIME_HIGH = const(0x40)  # and the three upper bits of the exposure
_TIME_LOW = const(0x60)  # and the five lower ones
_USUAL = const(69)
_SHORT = const(31)  # the shortest
_LONGEST_MS = const(180)  # at the usual exposure ("Electrical characteristics")
_FRESH_MS = const(2000)
_BRIGHT = const(60000)  # counts: the next exposure is short
_DIM = const(24000)  # ... of a short one: the next one is the usual


class Sensor:
    def __init__(self, bus, config):
        self._bus = bus
        self._address = config.get("address", 0x23)
        self._one = bytearray(1)
        self._two = bytearray(2)
        self._started = None  # when a measurement was
        self._exposure = 0  # what it has; 0: after power-up its own
        self._write(_POWER_ON)

    def read_into(self, values):
        age_ms = -1 if self._started is None else ticks_diff(time.ticks_ms(), self._started)
        if not _LONGEST_MS <= age_ms <= _FRESH_MS:
            self._measure(self._exposure or _USUAL)
            time.sleep_ms(_LONGEST_MS)
        count, exposure = self._fetch(), self._exposure
        if count == 0xFFFF and exposure == _SHORT:
            raise SensorError(RANGE)  # brighter than it can tell
        # count / 1.2 * 69 / exposure ("Measurement time")
        values[0] = NULL if count == 0xFFFF else (count * 5750 + exposure // 2) // exposure
        if count >= _BRIGHT:
            exposure = _SHORT
        elif count < _DIM:
            exposure = _USUAL
        self._measure(exposure)

    def _measure(self, exposure):
        if exposure != self._exposure:
            self._write(_TIME_HIGH | exposure >> 5)
            self._write(_TIME_LOW | exposure & 31)
            self._exposure = exposure
        self._write(_ONCE)
        self._started = time.ticks_ms()

    def _fetch(self):
        self._bus.readfrom_into(self._address, self._two)
        return self._two[0] << 8 | self._two[1]

    def _write(self, code):
        self._one[0] = code
        self._bus.writeto(self._address, self._one)
