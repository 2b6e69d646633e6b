# ROHM BH1750FVI, from its technical note 2009.04 Rev.B: commands (page 5), times (page 2), format of the result (page
# 10), MTreg (page 11). Written without looking at the driver: where both agree, both follow the technical note.

import signals
from chips import Chip as _Chip

_POWER_DOWN = 0x00
_POWER_ON = 0x01
_RESET = 0x07
_USUAL_MTREG = 69
_H_US = (120000, 180000)  # typical and longest, at the usual MTreg
_L_US = (16000, 24000)


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.mtreg = _USUAL_MTREG
        self.result = 0
        self._on = False
        self._mode = 0  # the command that it carries out; 0: none
        self._next = 0
        self._told = True  # nothing is in `result` that nobody has read
        self._ready_us = 0

    def write(self, data):
        if len(data) > 1:
            raise OSError(19)  # page 10: not able to accept plural commands without a stop condition
        self._settle()
        command = data[0]
        if command >> 5 == 0b011:
            self.mtreg = self.mtreg & 0xE0 | command & 31
        elif command >> 3 == 0b01000:
            self.mtreg = self.mtreg & 31 | (command & 7) << 5
        elif command == _POWER_DOWN or command == _POWER_ON:
            self._on = command == _POWER_ON
            self._mode = 0
        elif command == _RESET:
            if self._on:  # "Reset command is not acceptable in Power Down mode"
                self.result = 0
        elif command in (0x10, 0x11, 0x13, 0x20, 0x21, 0x23):
            self._on = True
            self._mode = command
            self._measure()

    def read_into(self, buffer):
        self._settle()
        if not self._told:
            self._told = True
            self.taken({"illuminance": self.result / 1.2 * _USUAL_MTREG / self.mtreg} if self.keeps_truth() else None)
        for at in range(len(buffer)):
            buffer[at] = self.result >> 8 if at & 1 == 0 else self.result & 255

    def _measure(self):
        typical_us, longest_us = _L_US if self._mode & 3 == 3 else _H_US
        us = typical_us + self.random.below(longest_us - typical_us)
        self._ready_us = self.now_us() + us * self.mtreg // _USUAL_MTREG
        self._next = self.counts(self.signal("illuminance", self.room_mlx(self.wall_ms())))

    def _settle(self):
        """What was measured shows when it is complete; one-time modes sleep then."""
        if self._mode and self.now_us() >= self._ready_us:
            self.result = self._next
            self._told = False
            if self._mode & 0x20:
                self._mode = 0
                self._on = False
            else:
                self._measure()

    def counts(self, mlx):
        """1.2 for each lux at the usual MTreg; in H-resolution mode 2 for half a lux; in L-resolution by fours."""
        found = mlx * 12 * self.mtreg // (10000 * _USUAL_MTREG)
        if self._mode & 3 == 1:
            found *= 2
        elif self._mode & 3 == 3:
            found &= ~3
        return max(0, min(0xFFFF, found))

    def room_mlx(self, t_ms):
        """Thousandths of a lux by a window: day, clouds, and a lamp in the evening."""
        day = max(0, signals.sine(t_ms - 6 * 3600000, 86400000, 2400000))
        clouds = 700 + signals.sine(t_ms + self.seed * 7001, 1140000, 250)
        lamp = 180000 if 17 <= t_ms // 3600000 % 24 < 22 else 400
        return day * clouds // 1000 + lamp + self.random.noise(800) + 800
