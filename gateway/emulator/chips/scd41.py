# Sensirion SCD41, from its data sheet "SCD4x", version 1.4: commands (table 9), words and CRC (3.12), formulas (3.5.2).
# Written without looking at the driver. It measures by itself: what is read of it counts.

import signals
from chips import Chip as _Chip

_START = 0x21B1
_STOP = 0x3F86
_READ = 0xEC05
_READY = 0xE4B8
_SERIAL = 0x3682
_GET_ALTITUDE = 0x2322
_SET_ALTITUDE = 0x2427
_WHILE_MEASURING = (_STOP, _READ, _READY, 0xE000)  # table 9, "during measurement"

_EVERY_US = 5000000
_NACK = 19
_CRC = 3  # of page.py's FAULTS


def crc8(first, second):
    crc = 0xFF
    for byte in (first, second):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.serial = (0xF896, self.random.below(65536), self.random.below(65536))
        self.altitude_m = 0
        self._answer = ()
        self._measuring = False
        self._ready = None  # the words of the newest measurement that was not read
        self._due_us = 0
        self._deaf_until_us = 0

    def write(self, data):
        if self.now_us() < self._deaf_until_us:
            raise OSError(_NACK)
        command = data[0] << 8 | data[1]
        if self._measuring and command not in _WHILE_MEASURING:
            raise OSError(_NACK)
        self._settle()
        self._answer = ()
        if command == _START:
            self._measuring = True
            self._due_us = self.now_us() + self._every_us()
        elif command == _STOP:
            self._measuring = False
            self._ready = None
            self._deaf_until_us = self.now_us() + 500000
        elif command == _READY:
            self._answer = (0x8006 if self._ready else 0x8000,)
        elif command == _READ:
            if self._ready is None:
                raise OSError(_NACK)
            self._answer, self._ready = self._ready, None
            self.taken(self._values(*self._answer) if self.keeps_truth() else None)
        elif command == _SERIAL:
            self._answer = self.serial
        elif command == _GET_ALTITUDE:
            self._answer = (self.altitude_m,)
        elif command == _SET_ALTITUDE and len(data) == 5 and crc8(data[2], data[3]) == data[4]:
            self.altitude_m = data[2] << 8 | data[3]

    def read_into(self, buffer):
        if not self._answer:
            raise OSError(_NACK)
        for at in range(len(buffer)):
            word = self._answer[at // 3] if at // 3 < len(self._answer) else 0xFFFF
            buffer[at] = (word >> 8, word & 255, crc8(word >> 8, word & 255))[at % 3]

    def _every_us(self):
        return _EVERY_US + self.random.noise(60000)

    def _settle(self):
        """What it has measured meanwhile: of several, the newest."""
        now_us = self.now_us()
        while self._measuring and now_us >= self._due_us:
            self._due_us += self._every_us()
            if now_us < self._due_us:
                self._measure()

    def _measure(self):
        t_ms = self.wall_ms()
        ppm = self.signal("co2", self.room_mppm(t_ms)) // 1000
        milli = self.signal("temperature", signals.room_mc(t_ms, self.seed) + 400)
        mrh = self.signal("humidity", signals.room_mrh(t_ms, self.seed))
        ppm = max(0, min(40000, ppm))
        t_word = max(0, min(65535, (milli + 45000) * 65535 // 175000))
        rh_word = max(0, min(65535, mrh * 65535 // 100000))
        self._ready = (ppm, t_word, rh_word)

    def _values(self, ppm, t_word, rh_word):
        """What a perfect driver makes of it."""
        return {"co2": ppm, "temperature": -45 + 175 * t_word / 65535, "humidity": 100 * rh_word / 65535}

    def room_mppm(self, t_ms):
        """Thousandths of a ppm: a room with people in it, and a window that is opened now and then."""
        every_ms = 5400000 + self.seed * 7919 % 1800000
        since_ms = t_ms % every_ms
        return 480000 + since_ms * 1100000 // every_ms + self.random.noise(12000)
