# TI INA219, from its data sheet SBOS448G: registers (section 8.6), arithmetic (8.5.1), gains (8.3.1.2). Written without
# looking at the driver: where both agree, both follow the data sheet.
#
# What there is to measure is a load on some 12 V, behind a shunt of the profile's `options.shunt_mohm`.

import signals
from chips import Chip as _Chip

_CONFIGURATION = 0
_SHUNT = 1
_BUS = 2
_POWER = 3
_CURRENT = 4
_CALIBRATION = 5

_AT_POWER_UP = 0x399F
_RESET = 0x8000
_32_V = 0x2000
_READY = 0b10
_OVERFLOW = 0b01

# By the four bits of SADC and BADC: microseconds of a conversion, and how many are averaged in it.
_CONVERSION_US = (84, 148, 276, 532, 84, 148, 276, 532, 532, 1060, 2130, 4260, 8510, 17020, 34050, 68100)
_AVERAGED = (1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 128)
_SLOWEST_PER_MILLE = 1102  # 586 us for a typical 532 (section 7.5)
_SHUNT_FULL = (4000, 8000, 16000, 32000)  # by gain, in steps of 10 uV
_BUS_FULL = (4000, 8000)  # by range, in steps of 4 mV


def multiply(shunt, bus, calibration):
    """(current register, power register, whether one of them overflows): equations 4 and 5 of section 8.5.1."""
    current = shunt * calibration // 4096 if shunt >= 0 else -(-shunt * calibration // 4096)
    power = abs(current) * bus // 5000
    overflow = not -32768 <= current <= 32767 or power > 65535
    return current & 0xFFFF, power & 0xFFFF, overflow


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.shunt_mohm = (config.get("options") or {}).get("shunt_mohm", 100)
        self._pointer = 0
        self._power_on()

    def _power_on(self):
        self.configuration = _AT_POWER_UP
        self.calibration = 0
        self.shunt = self.bus = self.current = self.power = 0
        self._next = (0, 0)
        self._ready = self._overflow = False
        self._busy_until_us = None
        self._convert()

    # The bus: a pointer, then words, high byte first (section 8.5.6).

    def write(self, data):
        self._pointer = data[0]
        if len(data) >= 3:
            self._write(data[1] << 8 | data[2])

    def read_into(self, buffer):
        word = self._read()
        for at in range(len(buffer)):
            buffer[at] = word >> 8 if at & 1 == 0 else word & 255

    def _write(self, word):
        if self._pointer == _CALIBRATION:
            self.calibration = word & 0xFFFE  # bit 0 is always 0 (section 8.6.4.1)
        elif self._pointer == _CONFIGURATION:
            if word & _RESET:
                self._power_on()
            else:
                self.configuration = word & 0x3FFF
                self._ready = False
                self._convert()

    def _read(self):
        self._settle()
        pointer = self._pointer
        if pointer == _CONFIGURATION:
            return self.configuration
        if pointer == _SHUNT:
            return self.shunt & 0xFFFF
        if pointer == _BUS:
            return self.bus << 3 | (_READY if self._ready else 0) | (_OVERFLOW if self._overflow else 0)
        if pointer == _POWER:
            self._ready = False
            return self.power
        if pointer == _CURRENT:
            return self.current
        return self.calibration if pointer == _CALIBRATION else 0

    # Measuring.

    def _convert(self):
        """A mode was written: the conversions it asks for begin."""
        mode = self.configuration & 7
        if mode in (0, 4):  # power-down, ADC off
            self._busy_until_us = None
            return
        us = _CONVERSION_US[self.configuration >> 3 & 15] if mode & 1 else 0
        us += _CONVERSION_US[self.configuration >> 7 & 15] if mode & 2 else 0
        us = us * (1000 + self.random.below(_SLOWEST_PER_MILLE - 1000)) // 1000
        self._busy_until_us = self.now_us() + us
        if mode < 4:  # triggered: the continuous modes are counted when they are read
            self._measure(mode)

    def _settle(self):
        """What was measured shows when it is complete."""
        if self._busy_until_us is None or self.now_us() < self._busy_until_us:
            return
        mode = self.configuration & 7
        if mode > 4:
            self._measure(mode)
            self._convert()
        else:
            self._busy_until_us = None
        self.shunt, self.bus = self._next
        self.current, self.power, self._overflow = multiply(self.shunt, self.bus, self.calibration)
        self._ready = True

    def _measure(self, mode):
        wall_ms = self.wall_ms()
        mv = self.signal("voltage", self.bus_mv(wall_ms))
        ua = self.load_ua(wall_ms)
        ua += 1000 * (self.signal("current", ua // 1000) - ua // 1000)
        shunt, bus = self.shunt, self.bus
        if mode & 1:
            full = _SHUNT_FULL[self.configuration >> 11 & 3]
            noise = self.random.noise(4) // _AVERAGED[self.configuration >> 3 & 15]
            shunt = max(-full, min(full, int(ua * self.shunt_mohm // 10000) + noise))
        if mode & 2:
            bus = min(_BUS_FULL[1 if self.configuration & _32_V else 0], mv // 4)
        self._next = (shunt, bus)
        self.taken(self._values(shunt, bus) if self.keeps_truth() else None)

    def _values(self, shunt, bus):
        """What a perfect driver makes of it, without the rounding of the chip's own arithmetic."""
        amperes = shunt / 100 / self.shunt_mohm
        return {"voltage": bus * 0.004, "current": amperes, "power": amperes * bus * 0.004}

    # What there is to measure.

    def bus_mv(self, t_ms):
        """A battery that is charged by day, and gives in a little to the load."""
        return 12400 + signals.sine(t_ms - 9 * 3600000, 86400000, 700) - self.load_ua(t_ms) // 20000

    def load_ua(self, t_ms):
        """A heating that goes on and off, something that breathes, and noise. Some 0.1 to 1.9 A."""
        level = 250000 + signals.sine(t_ms + self.seed * 3001, 47000, 120000)
        if (t_ms + self.seed * 7919) % 180000 < 60000:
            level += 1500000
        return level
