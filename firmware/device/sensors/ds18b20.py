"""Maxim DS18B20: temperature over 1-Wire. Data sheet 19-7487 Rev 6, sections named below.

`options = { bits = 12, rom = "28ff641e0c160405" }`: resolution, 9 to 12, and which chip where several are on the wire
(16 hex digits, as `onewire.OneWire.scan()` gives them). A conversion takes 94, 188, 375 or 750 ms by resolution
(table 2). The next one is begun when one was fetched; where that is too long ago to be the temperature of now, a new
one is waited for, and other sensors wait with it.
"""

import time
from micropython import const

from device.clock import ticks_diff
from device.sensors import BUS_STUCK, CRC, ENODEV, ETIMEDOUT, MISSING, RANGE, WRONG_CHIP, SensorError

QUANTITIES = (("temperature", 4),)  # degrees Celsius, in steps of 0.0625

_FAMILY = const(0x28)
_READ_ROM = const(0x33)
_MATCH_ROM = const(0x55)
_SKIP_ROM = const(0xCC)
_CONVERT = const(0x44)
_WRITE = const(0x4E)
_READ = const(0xBE)

_LONGEST_MS = (94, 188, 375, 750)
_FRESH_MS = const(2000)
_POWER_ON = const(0x0550)  # 85 degrees: nothing was measured since it has power (section "Memory")
_NOBODY = b"\xff" * 9
_ALWAYS = const(0x1F)  # of the configuration register: these bits read as ones (figure 10)


class Sensor:
    def __init__(self, bus, config):
        options = config.get("options") or {}
        bits = options.get("bits", 12)
        if not 9 <= bits <= 12:
            raise ValueError("ds18b20: bits is 9 to 12")
        self._bus = bus
        self._resolution = bits - 9
        self.lead_ms = _LONGEST_MS[bits - 9]
        self._pad = bytearray(9)
        self._started = None  # when a conversion was
        rom = options.get("rom")
        self._rom = None if rom is None else bytes(int(rom[at : at + 2], 16) for at in range(0, 16, 2))
        if self._rom is None:
            self._check_alone()
        self._fetch()
        if (self._pad[4] >> 5 & 3) != self._resolution:
            self._command(_WRITE)
            for byte in (self._pad[2], self._pad[3], self._resolution << 5 | _ALWAYS):
                bus.writebyte(byte)

    def _check_alone(self):
        """Two at once give a code that is none."""
        code = bytearray(8)
        self._reset()
        self._bus.writebyte(_READ_ROM)
        self._bus.readinto(code)
        if not any(code):
            raise SensorError(BUS_STUCK, ETIMEDOUT)
        if self._bus.crc8(code):
            raise SensorError(CRC)  # or several on the wire: then each is named by its rom
        if code[0] != _FAMILY:
            raise SensorError(WRONG_CHIP, ENODEV)

    def begin(self):
        self._command(_CONVERT)
        self._started = time.ticks_ms()

    def read_into(self, values):
        if self._started is None or ticks_diff(time.ticks_ms(), self._started) > _FRESH_MS:
            self.begin()
        left_ms = self.lead_ms - ticks_diff(time.ticks_ms(), self._started)
        if left_ms > 0:
            time.sleep_ms(left_ms)  # not by asking the chip: others on the wire may have been addressed meanwhile
        self._started = None
        raw = self._fetch()
        # The byte that the data sheet calls reserved is 0Ch from power-up to the first conversion; 10h at 85 degrees.
        if raw == _POWER_ON and self._pad[6] == 0x0C:
            raise SensorError(RANGE)  # it lost power in between
        values[0] = raw * 625

    def _fetch(self):
        """The temperature register, in sixteenths of a degree."""
        self._command(_READ)
        pad = self._pad
        self._bus.readinto(pad)
        if not any(pad):  # a wire held low, of which even the CRC is right
            raise SensorError(BUS_STUCK, ETIMEDOUT)
        if self._bus.crc8(pad) or pad[4] & 0x9F != _ALWAYS:
            if pad == _NOBODY:  # of that code; others on the wire have answered the reset
                raise SensorError(MISSING, ENODEV)
            raise SensorError(CRC)
        raw = pad[0] | pad[1] << 8
        if raw & 0x8000:
            raw -= 0x10000
        if not -880 <= raw <= 2000:  # -55 to 125 degrees ("Benefits and features")
            raise SensorError(RANGE)
        return raw

    def _command(self, command):
        bus = self._bus
        self._reset()
        if self._rom is None:
            bus.writebyte(_SKIP_ROM)
        else:
            bus.writebyte(_MATCH_ROM)
            bus.write(self._rom)
        bus.writebyte(command)

    def _reset(self):
        if not self._bus.reset():
            raise SensorError(MISSING, ENODEV)
