"""As much of `machine` as the node touches. I2C is empty; chips belong to the emulated board (gateway/emulator)."""

import sys

RESTARTED = 77  # exit code


class Pin:
    IN = 1
    OUT = 3
    PULL_UP = 2

    def __init__(self, number, mode=None, pull=None, *, value=None):
        self.number = number

    def value(self, level=None):
        if level is not None:
            print(f"pin {self.number} is {int(level)}")
        return 1


class I2C:
    def __init__(self, id, scl=None, sda=None, freq=400000):
        pass

    def readfrom_mem_into(self, address, register, buf):
        raise OSError(19)


class WDT:
    def __init__(self, id=0, timeout=5000):
        self.timeout = timeout

    def feed(self):
        pass


class RTC:
    now = (2000, 1, 1, 5, 0, 0, 0, 0)

    def datetime(self, when=None):
        if when is None:
            return RTC.now
        RTC.now = when
        return None


def unique_id():
    return b"\xa4\xcf\x12\xb0\xc3\xd4"


def reset_cause():
    return 1


def reset():
    sys.exit(RESTARTED)
