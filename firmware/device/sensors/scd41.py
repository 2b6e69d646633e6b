"""Sensirion SCD41: carbon dioxide, temperature, humidity over I2C. Data sheet SCD4x, version 1.3, sections named below.

The chip measures each 5 s by its own clock (3.5.1) and keeps the newest measurement until it is read. With `period_ms =
5000` that is a FIFO of one, and each measurement becomes a sample; with a longer period the newest one does. It goes on
while the board restarts, and is started only where it is idle: its first minutes are its worst.

CO2 is counted by pressure: `options = { altitude_m = 300 }` or `{ pressure_hpa = 987 }`; sea level otherwise.
"""

import time
from micropython import const

from device.clock import ticks_diff
from device.sensors import BUSY, CRC, EIO, ENODEV, ETIMEDOUT, NULL, RANGE, SensorError

QUANTITIES = (("co2", 0), ("temperature", 2), ("humidity", 2))  # ppm, °C, %

# Commands (table 9), 16 bits, high byte first; words follow, each with its CRC (3.11).
_START = const(0x21B1)
_STOP = const(0x3F86)
_READ = const(0xEC05)  # 3 words
_SET_PRESSURE = const(0xE000)  # 1 word, hPa; also while it measures, and in place of an altitude (3.6.5)
_DATA_READY = const(0xE4B8)  # 1 word: its 11 lower bits are 0 while there is nothing new (3.8.2)
_SERIAL_NUMBER = const(0x3682)  # 3 words; not while it measures

_PERIOD_MS = const(5000)
_LOOK_MS = const(1000)
_SILENT_MS = const(12000)  # two measurements left out: it has lost power, or its way
_EXECUTION_MS = const(1)
_MOST_PPM = const(40000)  # section 2, tables 1 and 3: what it can give, hundredths of °C
_COLDEST = const(-1000)
_WARMEST = const(6000)
_SEA_LEVEL_HPA = 1013.25


class Sensor:
    fetch_ms = _LOOK_MS  # the sooner it is found, the better is its time known

    def __init__(self, bus, config):
        if config["period_ms"] < _PERIOD_MS:
            raise ValueError("an SCD41 measures each 5000 ms, and not each %d" % config["period_ms"])
        if config["period_ms"] == _PERIOD_MS:
            self.fetch = self._fetch
        pressure = _pressure_hpa(config.get("options") or {})
        self._bus = bus
        self._address = config.get("address", 0x62)
        self._sent = bytearray(2)
        self._three = memoryview(bytearray(9))  # words and their CRCs
        self._one = self._three[:3]
        self.left = 0
        self._ask(_DATA_READY, self._one)  # ENODEV where there is no chip
        if not self._measures():
            self._send(_START)
        self._set_pressure(pressure)
        self._heard = time.ticks_ms()

    def _measures(self):
        """While it does, it acknowledges only few commands."""
        try:
            self._ask(_SERIAL_NUMBER, self._three)
        except SensorError:
            raise
        except OSError as error:
            if error.errno in (ENODEV, EIO):
                return True
            raise
        return False

    def _fetch(self):
        """The newest measurement, where it has not been read yet. The chip does not tell of those that it has lost."""
        self.left = 0
        self._ask(_DATA_READY, self._one)
        now = time.ticks_ms()
        if self._word(0) & 0x07FF:
            self._heard = now
            self._ask(_READ, self._three)
            if self._word(0) > _MOST_PPM or not _COLDEST <= self._temperature() <= _WARMEST:
                raise SensorError(RANGE)
            self.left = 1
        elif ticks_diff(now, self._heard) > _SILENT_MS:
            self._send(_STOP)  # whatever it does: it is idle when it is tried again
            raise SensorError(BUSY, ETIMEDOUT)
        return False

    def read_into(self, values):
        if not self.left:
            self._fetch()
            if not self.left:
                return  # NULL: nothing is new since the last time
        self.left = 0
        values[0] = self._word(0) or NULL  # 0: that it has no CO2 to tell yet
        values[1] = self._temperature()
        values[2] = (self._word(6) * 2000 + 6553) // 13107  # 100 % * word / 65535 (3.5.2), and 65535 is 5 * 13107

    def _temperature(self):
        """Hundredths of -45 + 175 * word / 65535 (3.5.2)."""
        return (self._word(3) * 3500 + 6553) // 13107 - 4500

    # -- bus -----------------------------------------------------------------------------------------------------------

    def _send(self, command):
        self._sent[0] = command >> 8
        self._sent[1] = command & 255
        self._bus.writeto(self._address, self._sent)
        time.sleep_ms(_EXECUTION_MS)  # it acknowledges nothing meanwhile

    def _ask(self, command, answer):
        self._send(command)
        self._bus.readfrom_into(self._address, answer)
        for at in range(0, len(answer), 3):
            if crc8(answer[at], answer[at + 1]) != answer[at + 2]:
                raise SensorError(CRC)

    def _set_pressure(self, hpa):
        high, low = hpa >> 8, hpa & 255
        self._bus.writeto(self._address, bytes((_SET_PRESSURE >> 8, _SET_PRESSURE & 255, high, low, crc8(high, low))))
        time.sleep_ms(_EXECUTION_MS)

    def _word(self, at):
        return self._three[at] << 8 | self._three[at + 1]


def crc8(high, low):
    """Of a word: polynomial 31h, beginning with FFh (3.11)."""
    crc = 0xFF ^ high
    for turn in range(16):
        if turn == 8:
            crc ^= low
        crc = (crc << 1 ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _pressure_hpa(options):
    """By the barometric formula of the standard atmosphere (ICAO Doc 7488), where an altitude is given."""
    hpa = options.get("pressure_hpa")
    if hpa is None:
        hpa = _SEA_LEVEL_HPA * (1 - 2.25577e-5 * options.get("altitude_m", 0)) ** 5.25588
    if not 700 <= hpa <= 1200:
        raise ValueError("scd41: pressure_hpa is 700 to 1200, altitude_m -1450 to 3000")
    return int(hpa + 0.5)
