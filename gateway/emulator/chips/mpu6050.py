# InvenSense MPU-6050, from its register map RM-MPU-6000A-00 revision 4.2 and its specification PS-MPU-6000A-00 revision
# 3.4. Written without looking at the driver: where both agree, both follow the data sheet.
#
# The chip measures by a clock of its own, some percent off by the seed. Nothing is kept of what it measured: sample
# number n is made when it is read, as a function of n. So the FIFO is two counts of bytes, written and read.

import signals
from chips import Chip as _Chip

_SMPLRT_DIV = 0x19
_CONFIG = 0x1A
_GYRO_CONFIG = 0x1B
_ACCEL_CONFIG = 0x1C
_FIFO_EN = 0x23
_INT_ENABLE = 0x38
_INT_STATUS = 0x3A
_ACCEL_XOUT_H = 0x3B
_GYRO_ZOUT_L = 0x48
_USER_CTRL = 0x6A
_PWR_MGMT_1 = 0x6B
_FIFO_COUNTH = 0x72
_FIFO_COUNTL = 0x73
_FIFO_R_W = 0x74
_WHO_AM_I = 0x75

_FIFO_BYTES = 1024
_DATA_READY = 0x01
_OVERFLOW = 0x10
_RESET_US = 50000  # nobody says how long a reset takes; software waits up to 100 ms for it (RM section 4.28)
_MOST_OFF_PPM = 30000  # PS section 6.6: +-1 % with the gyroscope's clock, +-5 % with the oscillator
# By the bits of FIFO_EN, from 7 down to 3: which words go in, counted from ACCEL_XOUT (RM section 4.8).
_ENABLED = ((0x08, 0), (0x08, 1), (0x08, 2), (0x80, 3), (0x40, 4), (0x20, 5), (0x10, 6))
_NAMES = ("accel_x", "accel_y", "accel_z", None, "gyro_x", "gyro_y", "gyro_z")


def accel_word(mm_s2, full_scale):
    """Steps of 1/16384 g at full scale 0 (2 g), half as many at each further one (RM section 4.17)."""
    return _word(mm_s2 * 1638400 // 980665 >> full_scale)


def gyro_word(mdeg_s, full_scale):
    """Steps of 1/131 °/s at full scale 0 (250 °/s); 65.5, 32.8, 16.4 at the others (RM section 4.19)."""
    per_10_deg = (1310, 655, 328, 164)[full_scale]
    return _word(mdeg_s * per_10_deg // 10000)


def _word(value):
    return max(-32768, min(32767, value))


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.off_ppm = self.random.below(2 * _MOST_OFF_PPM + 1) - _MOST_OFF_PPM
        self._registers = bytearray(128)
        self._words = [0] * 7
        self._register = 0
        self._reset()

    def _reset(self):
        registers = self._registers
        for at in range(len(registers)):
            registers[at] = 0
        registers[_PWR_MGMT_1] = 0x40  # asleep (RM section 3)
        self._start_us = None  # of the first sample's period; None: it sleeps
        self._number = -1  # of the newest sample that was told of
        self._ready_us = 0
        self._written = self._read = 0  # bytes of the FIFO, ever
        self._base = self._base_byte = 0  # this sample begins at this byte, and all behind it in a row
        self._status = 0
        self._count = 0
        self._last = 0

    # The bus.

    def write(self, data):
        self._register = data[0]
        for at in range(1, len(data)):
            self._write(self._register, data[at])
            if self._register != _FIFO_R_W:
                self._register = self._register + 1 & 127

    def read_into(self, buffer):
        self._go_on()
        if self._register == _FIFO_R_W:
            self._read_fifo(buffer)
            return
        for at in range(len(buffer)):
            buffer[at] = self._read_register(self._register)
            self._register = self._register + 1 & 127

    def _write(self, register, value):
        self._go_on()
        if register == _PWR_MGMT_1:
            if value & 0x80:
                self._reset()
                self._ready_us = self.now_us() + _RESET_US
                return
            if value & 0x40:
                self._start_us = None
            elif self._start_us is None:
                self._start()
        self._registers[register] = value
        if register in (_SMPLRT_DIV, _CONFIG) and self._start_us is not None:
            self._start()
        elif register == _USER_CTRL:
            if value & 0x04 and not value & 0x40:  # "when this bit is set to 1 while FIFO_EN equals 0"
                self._read = self._written
            self._registers[register] = value & ~0x07
            self._rebase()
        elif register == _FIFO_EN:
            self._rebase()

    def _read_register(self, register):
        if register == _INT_STATUS:
            status, self._status = self._status, 0
            return status
        if register == _FIFO_COUNTH:
            self._count = min(_FIFO_BYTES, self._written - self._read)
            return self._count >> 8
        if register == _FIFO_COUNTL:
            return self._count & 255
        if register == _WHO_AM_I:
            return 0x68
        if register == _PWR_MGMT_1 and self.now_us() < self._ready_us:
            return 0x80 | self._registers[register]
        if _ACCEL_XOUT_H <= register <= _GYRO_ZOUT_L:
            return self._newest(register - _ACCEL_XOUT_H)
        return self._registers[register]

    # Measuring.

    def _period_us(self):
        """Of the sample rate: 1 kHz divided, 8 kHz where the filter is off (RM section 4.2)."""
        divided = 1 + self._registers[_SMPLRT_DIV]
        return divided * 1000 if 1 <= self._registers[_CONFIG] & 7 <= 6 else divided * 125

    def _start(self):
        self._start_us = self.now_us()
        self._number = -1
        self._rebase()

    def _newest_number(self):
        """Of the newest sample; -1 before the first."""
        if self._start_us is None:
            return -1
        ticks = (self.now_us() - self._start_us) * 1000000
        return ticks // (self._period_us() * (1000000 + self.off_ppm)) - 1

    def _age_us(self, number):
        since_us = (number + 1) * self._period_us() * (1000000 + self.off_ppm) // 1000000
        return self.now_us() - self._start_us - since_us

    def _size(self):
        """Bytes of a sample in the FIFO."""
        size = 0
        for bit, _ in _ENABLED:
            if self._registers[_FIFO_EN] & bit:
                size += 2
        return size

    def _rebase(self):
        """What comes into the FIFO from now on has another size, or begins now."""
        self._base = self._newest_number() + 1
        self._base_byte = self._written

    def _go_on(self):
        """What the chip has done meanwhile."""
        number = self._newest_number()
        if self._start_us is None or number < 0:
            return
        if number > self._number:
            self._number = number
            self._status |= _DATA_READY
        if not self._registers[_USER_CTRL] & 0x40:
            self._rebase()
            return
        self._written = self._base_byte + (number + 1 - self._base) * self._size()
        if self._written - self._read > _FIFO_BYTES:
            self._read = self._written - _FIFO_BYTES  # the oldest are lost (RM section 4.31)
            if self._registers[_INT_ENABLE] & _OVERFLOW:
                self._status |= _OVERFLOW

    def _read_fifo(self, buffer):
        size = self._size()
        if not size:
            return
        first = self._read
        last = min(self._written, first + len(buffer))
        begun = (last - self._base_byte + size - 1) // size - (first - self._base_byte + size - 1) // size
        if begun and not self.keeps_truth():
            self.taken(times=begun)
        made = -1
        for at in range(len(buffer)):
            if self._read < last:
                number = (self._read - self._base_byte) // size
                byte = (self._read - self._base_byte) % size
                if number != made:
                    self._make(self._base + number)
                    made = number
                    if byte == 0 and self.keeps_truth():
                        self.taken(self._values())
                self._last = self._byte(byte)
                self._read += 1
            buffer[at] = self._last  # of an empty one: the byte that was read last

    def _byte(self, byte):
        """Of the sample that was made, as FIFO_EN has its words in a row."""
        for bit, word in _ENABLED:
            if self._registers[_FIFO_EN] & bit:
                if byte < 2:
                    return self._words[word] >> 8 & 255 if byte == 0 else self._words[word] & 255
                byte -= 2
        return 0

    def _newest(self, byte):
        if byte == 0 and self._newest_number() >= 0:
            self._make(self._newest_number())
            self.taken(self._values() if self.keeps_truth() else None)
        word = self._words[byte >> 1]
        return word & 255 if byte & 1 else word >> 8 & 255

    def _make(self, number):
        """The words of sample `number`."""
        age_ms = self._age_us(number) // 1000
        t_ms = self.wall_ms() - age_ms
        accel, gyro = self._registers[_ACCEL_CONFIG] >> 3 & 3, self._registers[_GYRO_CONFIG] >> 3 & 3
        for word in range(7):
            if word == 3:
                self._words[3] = -4000 + number * 7 % 5  # some 24.8 °C: (value / 340) + 36.53 (RM section 4.18)
            elif word < 3:
                value = self.signal(_NAMES[word], self.accel_mm_s2(word, t_ms), age_ms)
                self._words[word] = accel_word(value, accel)
            else:
                value = self.signal(_NAMES[word], self.gyro_mdeg_s(word - 4, t_ms), age_ms)
                self._words[word] = gyro_word(value, gyro)

    def _values(self):
        """What a perfect driver makes of them."""
        accel, gyro = self._registers[_ACCEL_CONFIG] >> 3 & 3, self._registers[_GYRO_CONFIG] >> 3 & 3
        found = {}
        for word in range(3):
            found[_NAMES[word]] = self._words[word] * 9.80665 / (16384 >> accel)
            found[_NAMES[word + 4]] = self._words[word + 4] * 10 / (1310, 655, 328, 164)[gyro]
        return found

    # What there is to measure: a board that lies on a machine which runs.

    def accel_mm_s2(self, axis, t_ms):
        shake = signals.sine(t_ms + 137 * axis, 1700, 900) + signals.sine(t_ms + self.seed, 230, 350)
        return shake + (9807 if axis == 2 else 0)

    def gyro_mdeg_s(self, axis, t_ms):
        return signals.sine(t_ms + 411 * axis + self.seed, 1700, 24000) + signals.sine(t_ms, 310, 3000)
