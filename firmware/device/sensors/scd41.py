"""Sensirion SCD41 (and SCD40): CO2, temperature and humidity over I2C. Data sheet "SCD4x", version 1.4, sections named
below.

It measures by itself every 5 s (3.5); a sample is what it measured last. Words are 16 bits, each with a CRC (3.12).

`options = { altitude_m = 400 }`, above sea level, where it stands (3.6.5): without, CO2 is off by 1 % for each 80 m.
"""

import time
from micropython import const

from device.clock import ticks_diff
from device.sensors import BUSY, CRC, ETIMEDOUT, RANGE, SensorError

QUANTITIES = (("co2", 0), ("temperature", 2), ("humidity", 2))  # ppm, degrees Celsius, %

_START = const(0x21B1)
_STOP = const(0x3F86)
_READ = const(0xEC05)
_READY = const(0xE4B8)
_SERIAL = const(0x3682)
_ALTITUDE = const(0x2427)

_STOP_MS = const(500)  # table 9: how long until the next command
_ANSWER_MS = const(1)
_SILENT_MS = const(16000)  # three measurements late: it measures no more
_MOST_PPM = const(40000)


class Sensor:
    def __init__(self, bus, config):
        options = config.get("options") or {}
        altitude_m = options.get("altitude_m", 0)
        if not 0 <= altitude_m <= 3000:
            raise ValueError("scd41: altitude_m is 0 to 3000")
        self._bus = bus
        self._address = config.get("address", 0x62)
        self._command = bytearray(2)
        self._words = bytearray(9)
        self._first = memoryview(self._words)[:3]
        self._send(_STOP)  # it may have been measuring since before our own start, and takes no other command then
        time.sleep_ms(_STOP_MS)
        self._ask(_SERIAL, self._words)
        if altitude_m:
            self._set(_ALTITUDE, altitude_m)
        self._send(_START)
        self._newest = time.ticks_ms()  # when it had something new

    def read_into(self, values):
        now = time.ticks_ms()
        self._ask(_READY, self._first)
        if not (self._word(0) & 0x7FF):  # 3.8.2
            if ticks_diff(now, self._newest) > _SILENT_MS:
                raise SensorError(BUSY, ETIMEDOUT)
            return  # nothing was measured since the last time: NULL
        self._ask(_READ, self._words)
        self._newest = now
        co2 = self._word(0)
        if not 0 < co2 <= _MOST_PPM:
            raise SensorError(RANGE)
        values[0] = co2
        values[1] = (self._word(3) * 3500 + 6553) // 13107 - 4500  # -45 + 175 * word / 65535 (3.5.2)
        values[2] = (self._word(6) * 2000 + 6553) // 13107  # 100 * word / 65535

    def _word(self, at):
        return self._words[at] << 8 | self._words[at + 1]

    def _send(self, command):
        self._command[0] = command >> 8
        self._command[1] = command & 255
        self._bus.writeto(self._address, self._command)

    def _set(self, command, word):
        data = bytearray((command >> 8, command & 255, word >> 8, word & 255, 0))
        data[4] = crc8(data, 2)
        self._bus.writeto(self._address, data)
        time.sleep_ms(_ANSWER_MS)

    def _ask(self, command, words):
        """The answer to `command`, in `words`. CRCs are checked."""
        self._send(command)
        time.sleep_ms(_ANSWER_MS)
        self._bus.readfrom_into(self._address, words)
        for at in range(0, len(words), 3):
            if crc8(words, at) != words[at + 2]:
                raise SensorError(CRC)


def crc8(data, at):
    """Of the two bytes from `at`: X^8 + X^5 + X^4 + 1, from 0xFF (3.12)."""
    crc = 0xFF
    for i in range(at, at + 2):
        crc ^= data[i]
        for _ in range(8):
            crc = (crc << 1 ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc
