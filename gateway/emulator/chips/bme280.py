# Bosch BME280, from its data sheet BST-BME280-DS002 revision 1.6: register map (section 5), modes (3.3), timing (9.1),
# compensation (4.2.3). Written without looking at the driver: where both agree, both follow the data sheet.
#
# The model runs the compensation backwards: it looks for the raw value that a driver's formula turns into what there is
# to measure.

import signals
from chips import I2CChip

_ID = 0xD0
_RESET = 0xE0
_CTRL_HUM = 0xF2
_STATUS = 0xF3
_CTRL_MEAS = 0xF4
_CONFIG = 0xF5
_PRESS_MSB = 0xF7

_CHIP_ID = 0x60
_RESET_WORD = 0xB6
_MEASURING = 0x08
_UPDATING = 0x01  # copying the calibration from its memory
_STARTUP_US = 2000  # section 1.1, table 1

_SLEEP = 0
_NORMAL = 3
_OFF = 0x80000  # what the registers say of a channel that is switched off, or never measured (sections 3.4.1, 5.4.7)

_SAMPLES = (0, 1, 2, 4, 8, 16, 16, 16)  # by osrs_x
_STANDBY_US = (500, 62500, 125000, 250000, 500000, 1000000, 10000, 20000)  # by t_sb, table 27
_NOISE_PER_10 = (10, 10, 14, 20, 28, 40, 40, 40)  # square root of the oversampling, by osrs_x
_FILTER = (1, 2, 4, 8, 16, 16, 16, 16)  # by filter

# Calibration. T and P: the chip of Bosch's worked example (BST-BMP280-DS001 section 3.12; the formulas are the
# BME280's). H: as real chips have it. Each emulated chip differs a little, as real ones do.
_T = (27504, 26435, -1000)
_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
_H = (75, 362, 0, 313, 50, 30)


def t_fine(adc, t):
    """Temperature in 1/5120 degrees (section 4.2.3, BME280_compensate_T_int32)."""
    d = (adc >> 3) - (t[0] << 1)
    e = (adc >> 4) - t[0]
    return (d * t[1] >> 11) + ((e * e >> 12) * t[2] >> 14)


def centidegrees(fine):
    return fine * 5 + 128 >> 8


def pressure_q8(adc, fine, p):
    """Pascals * 256 (BME280_compensate_P_int64)."""
    return _pressure(adc, fine, p, 0)


def _pressure(adc, fine, p, short):
    # The products take up to 64 bits. `short` drops that many of the lowest, a loss far below a step of the ADC: then
    # they fit the interpreter's small integers, and a search makes no garbage.
    a = fine - 128000
    b = a * a * p[5] + (a * p[4] << 17) + (p[3] << 35)
    a = (a * a * p[2] >> 8) + (a * p[1] << 12)
    a = (((1 << 47) + a) >> short) * p[0] >> 33 - short
    if a == 0:
        return 0
    value = ((1048576 - adc << 31) - b >> short) * 3125 // a << short
    c = p[8] * (value >> 13) * (value >> 13) >> 25
    d = p[7] * value >> 19
    return (value + c + d >> 8) + (p[6] << 4)


def humidity_q10(adc, fine, h):
    """Percent * 1024 (BME280_compensate_H_int32)."""
    v = fine - 76800
    scale = ((v * h[5] >> 10) * ((v * h[2] >> 11) + 32768) >> 10) + 2097152
    v = ((adc << 14) - (h[3] << 20) - h[4] * v + 16384 >> 15) * (scale * h[1] + 8192 >> 14)
    v -= ((v >> 15) * (v >> 15) >> 7) * h[0] >> 4
    return min(max(v, 0), 419430400) >> 12


class Chip(I2CChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.t = (_T[0] + self._spread(300), _T[1] + self._spread(200), _T[2])
        first = (_P[0] + self._spread(400), _P[1] + self._spread(80))
        self.p = first + _P[2:]
        self.h = (_H[0], _H[1] + self._spread(8), _H[2], _H[3] + self._spread(15), _H[4], _H[5])
        self._filtered_t = self._filtered_p = 0
        self._data = bytearray(8)
        self._power_on()

    def _spread(self, width):
        return self.random.below(2 * width + 1) - width

    def _power_on(self):
        self._ctrl_hum = self._ctrl_meas = self._config = 0
        self._osrs_h = 0  # ctrl_hum takes effect with the next write to ctrl_meas (section 5.4.3)
        self._fresh = True  # the filter starts with the first measurement
        self._busy_until_us = 0
        self._ready_us = self.now_us() + _STARTUP_US
        self._pending = False
        self._raw_t = self._raw_p = _OFF
        self._raw_h = 0x8000
        self._publish()

    # Registers.

    def write(self, data):
        # Several registers in one write come as pairs of address and value: nothing counts up (section 6.2.1).
        self._register = data[0]
        for at in range(1, len(data), 2):
            self.write_register(data[at - 1], data[at])

    def write_register(self, register, value):
        if register == _RESET:
            if value == _RESET_WORD:
                self._power_on()
        elif register == _CTRL_HUM:
            self._ctrl_hum = value & 7
        elif register == _CONFIG:
            self._config = value & 0xFD
        elif register == _CTRL_MEAS:
            self._settle()
            self._ctrl_meas = value
            self._osrs_h = self._ctrl_hum
            if value & 3 == _NORMAL:
                self._busy_until_us = self.now_us() + self._duration_us()
            elif value & 3 != _SLEEP:
                self._force()

    def read_into(self, buffer):
        self._settle()
        if self._ctrl_meas & 3 == _NORMAL and _PRESS_MSB <= self._register <= 0xFE:
            self._look()
        super().read_into(buffer)

    def read_register(self, register):
        if _PRESS_MSB <= register <= 0xFE:
            return self._data[register - _PRESS_MSB]
        if register == _STATUS:
            now = self.now_us()
            return (_MEASURING if now < self._busy_until_us else 0) | (_UPDATING if now < self._ready_us else 0)
        if register == _CTRL_MEAS:
            return self._ctrl_meas
        if register == _CTRL_HUM:
            return self._ctrl_hum
        if register == _CONFIG:
            return self._config
        if register == _ID:
            return _CHIP_ID
        return self._calibration(register)

    def _calibration(self, register):
        """Table 16."""
        if 0x88 <= register <= 0x8D:
            return _byte(self.t, register - 0x88)
        if 0x8E <= register <= 0x9F:
            return _byte(self.p, register - 0x8E)
        h = self.h
        if register == 0xA1:
            return h[0]
        if register == 0xE1:
            return h[1] & 255
        if register == 0xE2:
            return h[1] >> 8 & 255
        if register == 0xE3:
            return h[2]
        if register == 0xE4:
            return h[3] >> 4 & 255
        if register == 0xE5:
            return h[3] & 15 | (h[4] & 15) << 4
        if register == 0xE6:
            return h[4] >> 4 & 255
        if register == 0xE7:
            return h[5] & 255
        return 0

    # Measuring.

    def _force(self):
        """Start one conversion, after one that is still under way (section 3.3.1)."""
        self._busy_until_us = max(self.now_us(), self._busy_until_us) + self._duration_us()
        self._pending = True
        self._convert()

    def _look(self):
        """Normal mode measures for ever; a sample is what the driver reads of it."""
        now_us = self.now_us()
        if now_us >= self._busy_until_us:
            self._busy_until_us = now_us + _STANDBY_US[self._config >> 5] + self._duration_us()
            self._convert()
            self._publish()

    def _settle(self):
        """The registers change when a forced conversion is done, and the chip sleeps again."""
        if self._pending and self.now_us() >= self._busy_until_us:
            self._pending = False
            self._publish()
            self._ctrl_meas &= ~3

    def _duration_us(self):
        """Typical to maximum (section 9.1)."""
        p = _SAMPLES[self._ctrl_meas >> 2 & 7]
        h = _SAMPLES[self._osrs_h]
        steps = _SAMPLES[self._ctrl_meas >> 5] + p + h
        extra = (p > 0) + (h > 0)
        typical_us = 1000 + 2000 * steps + 500 * extra
        longest_us = 1250 + 2300 * steps + 575 * extra
        return typical_us + self.random.below(longest_us - typical_us)

    def _convert(self):
        """Raw values of this instant. Noise falls with oversampling (3.3 Pa, 0.005 degrees, 0.07 % RMS at one sample;
        section 3.5)."""
        wall_ms = self.wall_ms()
        osrs_t = self._ctrl_meas >> 5
        osrs_p = self._ctrl_meas >> 2 & 7
        mc = signals.room_mc(wall_ms, self.seed) + self.random.noise(17) * 10 // _NOISE_PER_10[osrs_t]
        cpa = signals.air_cpa(wall_ms, self.seed) + self.random.noise(1100) * 10 // _NOISE_PER_10[osrs_p]
        mrh = signals.room_mrh(wall_ms, self.seed) + self.random.noise(240) * 10 // _NOISE_PER_10[self._osrs_h]
        mc = self.signal("temperature", mc)
        cpa = self.signal("pressure", cpa // 10) * 10  # hPa: its thousandth is 10 centipascals
        mrh = self.signal("humidity", mrh)
        raw_t = self.raw_temperature(mc)
        fine = t_fine(raw_t, self.t)
        raw_p = self.raw_pressure(cpa, fine)
        self._raw_t = self._filter_and_cut(raw_t, self._filtered_t, osrs_t)
        self._raw_p = self._filter_and_cut(raw_p, self._filtered_p, osrs_p)
        self._filtered_t, self._filtered_p = self._raw_t, self._raw_p
        self._raw_h = self.raw_humidity(mrh, fine) if self._osrs_h else 0x8000
        self._fresh = False
        self.taken(self._values() if self.keeps_truth() else None)

    def _filter_and_cut(self, raw, last, osrs):
        """Section 3.4.4; without the filter the resolution is 16 bits and one more per doubling of the samples
        (3.4.1)."""
        if osrs == 0:
            return _OFF
        strength = _FILTER[self._config >> 2 & 7]
        if strength > 1:
            return raw if self._fresh else (last * (strength - 1) + raw) // strength
        return raw & ~((16 >> min(osrs - 1, 4)) - 1)

    def _values(self):
        """What a perfect driver makes of the raw values."""
        fine = t_fine(self._raw_t, self.t)
        return {
            "temperature": centidegrees(fine) / 100,
            "humidity": humidity_q10(self._raw_h, fine, self.h) / 1024,
            "pressure": pressure_q8(self._raw_p, fine, self.p) / 25600,
        }

    def _publish(self):
        data = self._data
        raw = self._raw_p
        data[0] = raw >> 12
        data[1] = raw >> 4 & 255
        data[2] = (raw & 15) << 4
        raw = self._raw_t
        data[3] = raw >> 12
        data[4] = raw >> 4 & 255
        data[5] = (raw & 15) << 4
        data[6] = self._raw_h >> 8
        data[7] = self._raw_h & 255

    # The compensation backwards, by halving: the raw value whose compensated value comes closest from below.

    def raw_temperature(self, millidegrees):
        wanted = millidegrees * 128 // 25
        low, high = 0, 0xFFFFF
        while low < high:
            middle = low + high + 1 >> 1
            if t_fine(middle, self.t) <= wanted:
                low = middle
            else:
                high = middle - 1
        return low

    def raw_pressure(self, centipascals, fine):
        wanted = centipascals * 64 // 25
        low, high = 0, 0xFFFFF
        while low < high:  # falls with the raw value
            middle = low + high >> 1
            if _pressure(middle, fine, self.p, 2) <= wanted:
                high = middle
            else:
                low = middle + 1
        return low

    def raw_humidity(self, thousandths, fine):
        wanted = thousandths * 128 // 125
        low, high = 0, 0xFFFF
        while low < high:
            middle = low + high + 1 >> 1
            if humidity_q10(middle, fine, self.h) <= wanted:
                low = middle
            else:
                high = middle - 1
        return low


def _byte(words, offset):
    return words[offset >> 1] >> 8 * (offset & 1) & 255
