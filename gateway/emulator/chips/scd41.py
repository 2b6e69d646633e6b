# Sensirion SCD4x, from its data sheet version 1.3 (September 2022): commands and what is allowed when (table 9), words
# and their CRC (3.11), measurements (3.5), data ready (3.8.2). Written without looking at the driver: where both agree,
# both follow the data sheet.
#
# It measures by a clock of its own. Nothing is kept of what it measured: that is made when it is read.

import signals
from chips import Chip as _Chip

_START = 0x21B1
_START_LOW_POWER = 0x21AC
_STOP = 0x3F86
_READ = 0xEC05
_DATA_READY = 0xE4B8
_SERIAL_NUMBER = 0x3682
_REINIT = 0x3646
_SET_PRESSURE = 0xE000
_SET_OFFSET = 0x241D
_GETS = {0x2318: _SET_OFFSET, 0x2322: 0x2427, 0x2313: 0x2416}  # temperature offset, altitude, self calibration
_AT_POWER_UP = {_SET_OFFSET: 1498, 0x2427: 0, 0x2416: 1}  # 4 °C in 175/65536; sea level; on
_WHILE_MEASURING = (_READ, _STOP, _SET_PRESSURE, _DATA_READY)

_NACK = 19
_MOST_OFF_PPM = 5000  # its clock: the data sheet says nothing
_NOTHING_NEW = 0x8000
_NEW = 0x8006


def crc8(high, low):
    crc = 0xFF ^ high
    for turn in range(16):
        if turn == 8:
            crc ^= low
        crc <<= 1
        if crc & 0x100:
            crc ^= 0x131
    return crc


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.off_ppm = self.random.below(2 * _MOST_OFF_PPM + 1) - _MOST_OFF_PPM
        self.serial = tuple(self.random.below(65536) for _ in range(3))
        self.power_on()

    def power_on(self):
        self.settings = dict(_AT_POWER_UP)
        self.pressure_hpa = 1013
        self._period_us = 0  # 0: idle
        self._start_us = 0
        self._read = 0  # the number of the newest measurement that was read, from 1
        self._answer = bytearray(9)
        self._size = 0
        self._ready_us = 0

    def write(self, data):
        now_us = self.now_us()
        command = data[0] << 8 | data[1]
        if now_us < self._ready_us or self._period_us and command not in _WHILE_MEASURING:
            raise OSError(_NACK)
        self._size = 0
        self._ready_us = now_us + 1000
        if command == _START or command == _START_LOW_POWER:
            self._period_us = (5000000 if command == _START else 30000000) * (1000000 + self.off_ppm) // 1000000
            self._start_us = now_us
            self._read = 0
        elif command == _STOP:
            self._period_us = 0
            self._ready_us = now_us + 500000
        elif command == _READ:
            self._measure()
        elif command == _DATA_READY:
            self._give(0, _NEW if self._newest() > self._read else _NOTHING_NEW)
        elif command == _SERIAL_NUMBER:
            for number in range(3):
                self._give(number, self.serial[number])
        elif command == _REINIT:
            self.power_on()
            self._ready_us = now_us + 20000
        elif command in _GETS:
            self._give(0, self.settings[_GETS[command]])
        elif command == _SET_PRESSURE or command in self.settings:
            self._set(command, data)
        else:
            raise OSError(_NACK)

    def read_into(self, buffer):
        if self.now_us() < self._ready_us or not self._size:
            raise OSError(_NACK)
        for at in range(len(buffer)):
            buffer[at] = self._answer[at] if at < self._size else 0xFF
        self._size = 0

    def _set(self, command, data):
        if len(data) != 5 or crc8(data[2], data[3]) != data[4]:
            raise OSError(_NACK)
        word = data[2] << 8 | data[3]
        if command == _SET_PRESSURE:
            self.pressure_hpa = word
        else:
            self.settings[command] = word

    def _give(self, number, word):
        """The next word of the answer, from 0."""
        at = 3 * number
        self._answer[at] = word >> 8
        self._answer[at + 1] = word & 255
        self._answer[at + 2] = crc8(word >> 8, word & 255)
        self._size = at + 3

    # Measuring.

    def _newest(self):
        return (self.now_us() - self._start_us) // self._period_us if self._period_us else 0

    def _measure(self):
        """The buffer is emptied when it is read; without anything in it, the chip does not acknowledge (3.5.2)."""
        newest = self._newest()
        if newest <= self._read:
            return
        self._read = newest
        age_ms = (self.now_us() - self._start_us - newest * self._period_us) // 1000
        t_ms = self.wall_ms() - age_ms
        ppm = self.signal("co2", self.room_mppm(t_ms), age_ms) // 1000
        warmer = 4000 - self.settings[_SET_OFFSET] * 175000 // 65536  # it warms itself, and counts that off (3.6.1)
        milli = self.signal("temperature", signals.room_mc(t_ms, self.seed) + self.random.noise(30), age_ms) + warmer
        mrh = self.signal("humidity", signals.room_mrh(t_ms, self.seed) + self.random.noise(150), age_ms)
        temperature = _word(((milli + 45000) * 65535 + 87500) // 175000)
        humidity = _word((mrh * 65535 + 50000) // 100000)
        self._give(0, _word(ppm))
        self._give(1, temperature)
        self._give(2, humidity)
        self.taken(self._values(_word(ppm), temperature, humidity) if self.keeps_truth() else None)

    def _values(self, ppm, temperature, humidity):
        """What a perfect driver makes of them (3.5.2)."""
        return {"co2": ppm, "temperature": temperature * 175 / 65535 - 45, "humidity": humidity * 100 / 65535}

    def room_mppm(self, t_ms):
        """Thousandths of a ppm: people by day, a window that is opened every other hour, fresh air by night."""
        people = max(0, signals.sine(t_ms - 7 * 3600000, 86400000, 700000))
        since_ms = (t_ms + self.seed * 104729) % 7200000
        return 430000 + people * since_ms // 7200000 + self.random.noise(12000)


def _word(value):
    return max(0, min(65535, value))
