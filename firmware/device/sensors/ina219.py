"""TI INA219: bus voltage, current and power over I2C. Data sheet SBOS448G, sections named below.

Triggered mode (8.6.2.1): one measurement per sample, 8 conversions of each channel averaged, idle between. The profile
says what the shunt is: `options = { shunt_mohm = 100, max_a = 3.2 }`, which are the usual breakout's.

The chip itself multiplies (8.5.1): its calibration register makes a step of the current register a round number of
microamperes. It counts power without a sign; here it has the current's.
"""

import time
from micropython import const

from device.sensors import BUSY, EIO, ENODEV, ETIMEDOUT, RANGE, WRONG_CHIP, SensorError

QUANTITIES = (("voltage", 3), ("current", 4), ("power", 3))  # V, A, W

# Registers (8.6.1, table 2), 16 bits each, high byte first.
_CONFIGURATION = const(0x00)
_SHUNT = const(0x01)
_BUS = const(0x02)  # bits 15 to 3: 4 mV; 1: conversion ready; 0: math overflow (8.6.3.2)
_POWER = const(0x03)  # reading it clears conversion ready
_CURRENT = const(0x04)
_CALIBRATION = const(0x05)

_RESET = const(0x8000)
_AFTER_RESET = const(0x399F)
_TRIGGERED = const(0b001_00_1011_1011_011)  # 32 V; shunt's gain left out; 8 averages of 12 bits each; both, once
_READY = const(0b10)
_OVERFLOW = const(0b01)

_MEASURE_MS = const(9)  # twice 4.26 (table 5)
_POLLS = const(5)  # 1 ms apart; conversions take 10 % longer at most (7.5)
_STEPS = (1, 2, 5)
_MOST_STEPS = const(32768)  # of the current register


class Sensor:
    def __init__(self, bus, config):
        self._bus = bus
        self._address = config.get("address", 0x40)
        self._two = bytearray(2)
        options = config.get("options") or {}
        self._scale(options.get("shunt_mohm", 100), options.get("max_a", 3.2))
        self._write(_CONFIGURATION, _RESET)
        if self._read(_CONFIGURATION) != _AFTER_RESET:
            raise SensorError(WRONG_CHIP, ENODEV)  # it has no register that says who it is
        self._write(_CALIBRATION, self._calibration)

    def _scale(self, shunt_mohm, max_a):
        """The smallest step that reaches `max_a` (8.5.1), and the gain that lets it through (8.3.1.2)."""
        self._step_ua = _round_step(max_a * 1000000 / _MOST_STEPS)
        self._calibration = int(40960000 / (self._step_ua * shunt_mohm)) & ~1  # 0.04096 in uA and mOhm; bit 0 is void
        gain = 0
        while gain < 3 and max_a * shunt_mohm > 40 << gain:  # mV
            gain += 1
        if max_a * shunt_mohm > 320 or not 0 < self._calibration <= 0xFFFE:
            raise ValueError("shunt_mohm and max_a: the chip measures up to 320 mV at its shunt")
        self._trigger = _TRIGGERED | gain << 11
        self._full = 4000 << gain  # the shunt register's last step, 10 uV each

    def read_into(self, values):
        self._write(_CONFIGURATION, self._trigger)
        time.sleep_ms(_MEASURE_MS)
        bus = self._wait()
        shunt = _signed(self._read(_SHUNT))
        current = _signed(self._read(_CURRENT))
        power = self._read(_POWER)
        if self._read(_CALIBRATION) != self._calibration:
            raise SensorError(RANGE, EIO)  # it lost power in between, and all it has multiplied is wrong
        if bus & _OVERFLOW or not -self._full < shunt < self._full:
            raise SensorError(RANGE, EIO)  # more than max_a, or than the gain lets through
        step_ua = self._step_ua
        values[0] = (bus >> 3) * 4
        values[1] = (current * step_ua + 50) // 100
        power = (power * step_ua + 25) // 50  # its step is 20 of the current's
        values[2] = power if current >= 0 else -power

    def _wait(self):
        """The bus voltage register, when the measurement is complete."""
        for _ in range(_POLLS):
            bus = self._read(_BUS)
            if bus & _READY:
                return bus
            time.sleep_ms(1)
        raise SensorError(BUSY, ETIMEDOUT)

    def _read(self, register):
        self._bus.readfrom_mem_into(self._address, register, self._two)
        return self._two[0] << 8 | self._two[1]

    def _write(self, register, value):
        self._two[0] = value >> 8
        self._two[1] = value & 255
        self._bus.writeto_mem(self._address, register, self._two)


def _signed(word):
    return word - 0x10000 if word & 0x8000 else word


def _round_step(least):
    """1, 2, 5, 10, 20, 50 ...: the first of these that is not below `least`."""
    decade = 1
    while True:
        for step in _STEPS:
            if step * decade >= least:
                return step * decade
        decade *= 10
