"""InvenSense MPU-6050: acceleration and angular velocity over I2C, through its FIFO. Register map RM-MPU-6000A-00
revision 4.2 and product specification PS-MPU-6000A-00 revision 3.4, sections named below.

The chip measures each `period_ms` (1 to 256) by its own clock and keeps up to 85 samples until they are fetched: 1.7 s
at 50 Hz. Its low-pass filter is the widest that half the rate allows. `options = { accel_g = 4, gyro_dps = 500 }` are
the full scales: 2, 4, 8 or 16 g; 250, 500, 1000 or 2000 °/s.
"""

import time
from micropython import const

from device.sensors import BUSY, ENODEV, ETIMEDOUT, WRONG_CHIP, SensorError

QUANTITIES = (
    ("accel_x", 3), ("accel_y", 3), ("accel_z", 3),  # m/s²
    ("gyro_x", 2), ("gyro_y", 2), ("gyro_z", 2),  # °/s
)  # fmt: skip

# Registers (RM section 3), 8 bits each.
_SMPLRT_DIV = const(0x19)  # 1 kHz / (1 + this), where the filter is on (4.2)
_CONFIG = const(0x1A)
_GYRO_CONFIG = const(0x1B)
_ACCEL_CONFIG = const(0x1C)
_FIFO_EN = const(0x23)
_INT_ENABLE = const(0x38)
_INT_STATUS = const(0x3A)  # cleared when read (4.15)
_USER_CTRL = const(0x6A)
_PWR_MGMT_1 = const(0x6B)
_FIFO_COUNTH = const(0x72)  # 16 bits, latched by reading the high byte (4.30)
_FIFO_R_W = const(0x74)  # does not count up: a long read takes from the FIFO, byte by byte (4.31)
_WHO_AM_I = const(0x75)

_MPU6050 = const(0x68)
_DEVICE_RESET = const(0x80)
_CLOCK_OF_GYRO = const(0x01)  # steadier than the chip's own oscillator (4.28)
_ALL_AXES = const(0x78)  # in the FIFO, in the order of their registers: acceleration x y z, gyroscope x y z
_OVERFLOW = const(0x10)
_FIFO_RESET = const(0x04)  # only while FIFO_ENABLE is 0 (4.27)
_FIFO_ENABLE = const(0x40)

_SAMPLE = const(12)
_FIFO_BYTES = const(1024)  # PS section 7.17
_USUAL = const(16)  # fewer samples than these come in a tenth of a second, where nothing has stalled
_START_MS = const(30)  # of the gyroscope (PS section 6.1)
_RESET_MS = const(100)
_MOST_EMPTY = const(3)  # times in a row, each a period at least after the last: it does not measure any more
_BANDWIDTH_HZ = (184, 94, 44, 21, 10, 5)  # of the acceleration, by DLPF_CFG from 1 (4.3); the gyroscope's are alike
_ACCEL_G = (2, 4, 8, 16)  # 16384 steps a g at 2 g, half of that at 4 ... (4.17)
_GYRO_DPS = (250, 500, 1000, 2000)
_GYRO_STEPS = (1310, 655, 328, 164)  # for 10 °/s (4.19)


class Sensor:
    def __init__(self, bus, config):
        self._bus = bus
        self._address = config.get("address", 0x68)
        self._one = bytearray(1)
        self._two = bytearray(2)
        self._data = memoryview(bytearray(_FIFO_BYTES))
        self._usual = [self._data[: count * _SAMPLE] for count in range(_USUAL)]  # a slice is an object
        self._at = 0
        self._empty = 0
        self.left = 0
        period_ms = config["period_ms"]
        options = config.get("options") or {}
        if not 1 <= period_ms <= 256:
            raise ValueError("an MPU-6050 measures each 1 to 256 ms, and not each %d" % period_ms)
        accel = _full_scale(options, "accel_g", _ACCEL_G)
        gyro = _full_scale(options, "gyro_dps", _GYRO_DPS)
        self._accel_shift = 15 - accel
        self._gyro_steps = _GYRO_STEPS[gyro]
        if self._read_byte(_WHO_AM_I) != _MPU6050:
            raise SensorError(WRONG_CHIP, ENODEV)
        self._wake()
        self._write_byte(_SMPLRT_DIV, period_ms - 1)
        self._write_byte(_CONFIG, _filter(period_ms))
        self._write_byte(_GYRO_CONFIG, gyro << 3)
        self._write_byte(_ACCEL_CONFIG, accel << 3)
        self._write_byte(_INT_ENABLE, _OVERFLOW)
        self._write_byte(_FIFO_EN, _ALL_AXES)
        self._empty_fifo()

    def _wake(self):
        self._write_byte(_PWR_MGMT_1, _DEVICE_RESET)
        for _ in range(_RESET_MS):
            time.sleep_ms(1)
            if not self._read_byte(_PWR_MGMT_1) & _DEVICE_RESET:
                break
        else:
            raise SensorError(BUSY, ETIMEDOUT)
        self._write_byte(_PWR_MGMT_1, _CLOCK_OF_GYRO)
        time.sleep_ms(_START_MS)

    def _empty_fifo(self):
        self._write_byte(_USER_CTRL, _FIFO_RESET)
        self._write_byte(_USER_CTRL, _FIFO_ENABLE)
        self._read_byte(_INT_STATUS)

    def fetch(self):
        """All that the FIFO holds. True where that is nothing, because it had overflowed: of what is left in it then
        nobody knows where a sample begins."""
        self.left = self._at = 0
        self._bus.readfrom_mem_into(self._address, _FIFO_COUNTH, self._two)
        size = self._two[0] << 8 | self._two[1]
        count = size // _SAMPLE
        if size < _FIFO_BYTES and count:
            self.left = count
            data = self._usual[count] if count < _USUAL else self._data[: count * _SAMPLE]
            self._bus.readfrom_mem_into(self._address, _FIFO_R_W, data)
        if self._read_byte(_INT_STATUS) & _OVERFLOW or size >= _FIFO_BYTES:  # perhaps while it was read
            self.left = 0
            self._empty_fifo()
            return True
        self._empty = 0 if count else self._empty + 1
        if self._empty == _MOST_EMPTY:
            raise SensorError(BUSY, ETIMEDOUT)
        return False

    def read_into(self, values):
        self.left -= 1
        data = self._data
        at = self._at
        self._at = at + _SAMPLE
        shift = self._accel_shift
        half = 1 << shift - 1
        steps = self._gyro_steps
        for i in range(3):
            raw = data[at] << 8 | data[at + 1]
            if raw & 0x8000:
                raw -= 0x10000
            values[i] = raw * 19613 + half >> shift  # 2 * 9.80665 m/s²: 30 bits
            raw = data[at + 6] << 8 | data[at + 7]
            if raw & 0x8000:
                raw -= 0x10000
            values[i + 3] = (raw * 2000 + steps) // (2 * steps)
            at += 2

    # -- bus -----------------------------------------------------------------------------------------------------------

    def _read_byte(self, register):
        self._bus.readfrom_mem_into(self._address, register, self._one)
        return self._one[0]

    def _write_byte(self, register, value):
        self._one[0] = value
        self._bus.writeto_mem(self._address, register, self._one)


def _full_scale(options, name, scales):
    """The place of the one that is wanted; without a word the second."""
    wanted = options.get(name, scales[1])
    if wanted not in scales:
        raise ValueError("%s of an MPU-6050 is one of %s, and not %s" % (name, scales, wanted))
    return scales.index(wanted)


def _filter(period_ms):
    """DLPF_CFG: the widest filter below half the rate, or the narrowest there is."""
    for i in range(len(_BANDWIDTH_HZ)):
        if _BANDWIDTH_HZ[i] * 2 * period_ms <= 1000:
            return i + 1
    return len(_BANDWIDTH_HZ)
