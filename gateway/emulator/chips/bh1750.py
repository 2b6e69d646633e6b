# ROHM BH1750FVI, from its data sheet 2014.03 Rev.D: instruction set, measurement times, measurement time register.
# Written without looking at the driver.

import signals
from chips import Chip as _Chip

_POWER_DOWN = 0x00
_POWER_ON = 0x01
_RESET = 0x07
_DEFAULT = 69
_TYPICAL_US = 120000
_MOST_US = 180000
_LOW_TYPICAL_US = 16000
_LOW_MOST_US = 24000


def count(milli_lux, exposure, half):
    """What the register holds: 1.2 counts a lux at the usual exposure, twice that in mode 2."""
    counts = milli_lux * 12 * exposure // (10000 * _DEFAULT)
    return min(0xFFFF, max(0, counts * 2 if half else counts))


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.exposure = _DEFAULT
        self._data = self._next = 0
        self._milli_lux = 0
        self._fresh = False  # it has measured since it was read: what is read counts
        self._busy_until_us = None
        self._again = None  # the mode, where it measures for ever
        self._on = False

    def write(self, data):
        code = data[0]
        self._settle()
        if code == _POWER_DOWN:
            self._on, self._again, self._busy_until_us = False, None, None
        elif code == _POWER_ON:
            self._on = True
        elif code == _RESET:
            if self._on:  # not taken in power-down
                self._data = 0
        elif code & 0xF8 == 0x40:
            self.exposure = self.exposure & 31 | (code & 7) << 5
        elif code & 0xE0 == 0x60:
            self.exposure = self.exposure & 0xE0 | code & 31
        elif code in (0x10, 0x11, 0x13, 0x20, 0x21, 0x23):
            self._on = True
            self._again = code if code & 0x10 else None
            self._begin(code)

    def read_into(self, buffer):
        self._settle()
        if self._fresh:
            self._fresh = False
            self.taken({"illuminance": self._milli_lux / 1000} if self.keeps_truth() else None)
        for at in range(len(buffer)):
            buffer[at] = self._data >> 8 if at & 1 == 0 else self._data & 255

    def _begin(self, code):
        low = code & 3 == 3
        typical, most = (_LOW_TYPICAL_US, _LOW_MOST_US) if low else (_TYPICAL_US, _MOST_US)
        us = (typical + self.random.below(most - typical)) * self.exposure // _DEFAULT
        self._busy_until_us = self.now_us() + us
        self._milli_lux = milli_lux = max(0, self.signal("illuminance", self.window_mlx(self.wall_ms())))
        raw = count(milli_lux, self.exposure, code & 3 == 1)
        self._next = raw & ~3 if low else raw  # 4 lx resolution

    def _settle(self):
        if self._busy_until_us is None or self.now_us() < self._busy_until_us:
            return
        self._data = self._next
        self._fresh = True
        self._busy_until_us = None
        if self._again is not None:
            self._begin(self._again)
        else:
            self._on = False

    def window_mlx(self, t_ms):
        """A room with a window: dark at night, clouds by day. Milli-lux."""
        day = signals.sine(t_ms - 6 * 3600000, 86400000, 9000000)
        if day <= 0:
            return 200 + self.random.below(100)
        cloud = signals.sine(t_ms + self.seed * 60013, 700000, 300) + signals.sine(t_ms + self.seed * 7919, 90000, 120)
        return day * (560 + cloud) // 1000 + self.random.noise(2000) + 2000
