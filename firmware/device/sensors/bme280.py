"""Bosch BME280: temperature, humidity, air pressure over I2C. Data sheet BST-BME280-DS002, sections named below.

Forced mode (3.3.3, and 3.5.1 "weather monitoring"): one measurement per sample, oversampling x1 each, asleep between.
Pressure uses the 32-bit formula of the appendix (8.2): its step of 1 Pa is just our second decimal of hPa, and the
64-bit one of 4.2.3 would make a dozen big integers per sample. On a board with 31-bit small ints a few products of
these formulas are big ones still, each 16 or 32 bytes of garbage.
"""

import struct
import time
from micropython import const

from device.sensors import BUSY, ENODEV, ETIMEDOUT, NULL, RANGE, WRONG_CHIP, SensorError

QUANTITIES = (("temperature", 2), ("humidity", 2), ("pressure", 2))  # °C, %, hPa

# Registers: table 18 (5.3), 8 bits each.
_CALIB00 = const(0x88)  # 26 bytes: T1..P9, one unused, H1 (4.2.2, table 16)
_CHIP_ID = const(0xD0)
_CALIB26 = const(0xE1)  # 7 bytes: H2..H6
_CTRL_HUM = const(0xF2)  # takes effect with the next write to ctrl_meas (5.4.3)
_STATUS = const(0xF3)
_CTRL_MEAS = const(0xF4)
_DATA = const(0xF7)  # 8 bytes: pressure 20 bits, temperature 20, humidity 16

_BME280 = const(0x60)
_OVERSAMPLING_1 = const(1)
_FORCED = const(0b001_001_01)  # osrs_t x1, osrs_p x1, forced mode
_MEASURING = const(0x08)
_IM_UPDATE = const(0x01)  # calibration is being copied from its memory after power-up
_NONE_20 = const(0x80000)  # what results read as while nothing was measured since power-up (5.4.7)
_NONE_16 = const(0x8000)

_MEASURE_MS = const(8)  # typical; at most 9.3 with x1 each (9.1)
_POLLS = const(20)  # 1 ms apart


class Sensor:
    def __init__(self, bus, config):
        self._bus = bus
        self._address = config.get("address", 0x76)
        self._one = bytearray(1)
        self._data = bytearray(8)
        if self._read_byte(_CHIP_ID) != _BME280:
            raise SensorError(WRONG_CHIP, ENODEV)
        self._wait(_IM_UPDATE)
        self._calibrate(bus.readfrom_mem(self._address, _CALIB00, 26), bus.readfrom_mem(self._address, _CALIB26, 7))

    def _calibrate(self, a, b):
        if a[:24] == b"\x00" * 24 or a[:24] == b"\xff" * 24:
            raise SensorError(RANGE)  # nothing there: formulas would divide by zero or tell nonsense
        self._t1, self._t2, self._t3 = struct.unpack_from("<Hhh", a, 0)
        self._p = struct.unpack_from("<Hhhhhhhhh", a, 6)
        self._h1 = a[25]
        self._h2, self._h3 = struct.unpack_from("<hB", b, 0)
        self._h4 = (b[3] - 256 if b[3] > 127 else b[3]) << 4 | b[4] & 15  # signed 12 bits, spread over two bytes
        self._h5 = (b[5] - 256 if b[5] > 127 else b[5]) << 4 | b[4] >> 4
        self._h6 = b[6] - 256 if b[6] > 127 else b[6]

    def read_into(self, values):
        self._write_byte(_CTRL_HUM, _OVERSAMPLING_1)
        self._write_byte(_CTRL_MEAS, _FORCED)
        time.sleep_ms(_MEASURE_MS)
        self._wait(_MEASURING)
        data = self._data
        self._bus.readfrom_mem_into(self._address, _DATA, data)
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        humidity = data[6] << 8 | data[7]
        # No channel is skipped, so each of them alone is a value like any other: one chip's 25.06 °C.
        if temperature == _NONE_20 and pressure == _NONE_20 and humidity == _NONE_16:
            raise SensorError(RANGE)  # it lost power in between
        t_fine = self._t_fine(temperature)
        values[0] = (t_fine * 5 + 128) >> 8
        values[1] = (self._humidity(humidity, t_fine) * 100 + 512) >> 10
        values[2] = self._pressure(pressure, t_fine)

    # -- compensation (4.2.3 and 8.2), as in the data sheet; >> of a negative number rounds down there as here ---------

    def _t_fine(self, adc):
        var1 = (((adc >> 3) - (self._t1 << 1)) * self._t2) >> 11
        delta = (adc >> 4) - self._t1
        return var1 + ((((delta * delta) >> 12) * self._t3) >> 14)

    def _humidity(self, adc, t_fine):
        """In 1/1024 %."""
        v = t_fine - 76800
        slope = ((v * self._h6) >> 10) * (((v * self._h3) >> 11) + 32768)
        slope = (((slope >> 10) + 2097152) * self._h2 + 8192) >> 14
        v = (((adc << 14) - (self._h4 << 20) - self._h5 * v + 16384) >> 15) * slope
        v -= ((((v >> 15) * (v >> 15)) >> 7) * self._h1) >> 4
        return max(0, min(419430400, v)) >> 12

    def _pressure(self, adc, t_fine):
        """In Pa; NULL where the calibration would divide by zero."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self._p
        var1 = (t_fine >> 1) - 64000
        var2 = (((var1 >> 2) * (var1 >> 2)) >> 11) * p6
        var2 += (var1 * p5) << 1
        var2 = (var2 >> 2) + (p4 << 16)
        var1 = (((p3 * (((var1 >> 2) * (var1 >> 2)) >> 13)) >> 3) + ((p2 * var1) >> 1)) >> 18
        var1 = ((32768 + var1) * p1) >> 15
        if var1 <= 0:
            return NULL
        p = (1048576 - adc - (var2 >> 12)) * 3125
        p = (p << 1) // var1 if p < 0x80000000 else p // var1 * 2
        var1 = (p9 * (((p >> 3) * (p >> 3)) >> 13)) >> 12
        var2 = ((p >> 2) * p8) >> 13
        return p + ((var1 + var2 + p7) >> 4)

    # -- bus -----------------------------------------------------------------------------------------------------------

    def _wait(self, flag):
        """Until `flag` of the status register is clear; OSError where it stays."""
        for _ in range(_POLLS):
            if not self._read_byte(_STATUS) & flag:
                return
            time.sleep_ms(1)
        raise SensorError(BUSY, ETIMEDOUT)

    def _read_byte(self, register):
        self._bus.readfrom_mem_into(self._address, register, self._one)
        return self._one[0]

    def _write_byte(self, register, value):
        self._one[0] = value
        self._bus.writeto_mem(self._address, register, self._one)
