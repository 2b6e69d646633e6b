import struct
from array import array

import check
from device.sensors import NULL, SensorError, bme280, why

# Bosch's worked example, BST-BMP280-DS001 section 3.12 (temperature and pressure have the same formulas): 25.08 °C and
# 100653 Pa. Humidity has no example in print; its calibration here is a real chip's.
T = (27504, 26435, -1000)
P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
H = (75, 362, 0, 313, 50, 30)
RAW_T, RAW_P, RAW_H = 519888, 415148, 0x6E00


class Bus:
    """A chip that is ready at once, with the raw values above."""

    def __init__(self, id=0x60):
        self.registers = bytearray(256)
        self.registers[0xD0] = id
        self.registers[0x88:0xA0] = struct.pack("<Hhh", *T) + struct.pack("<Hhhhhhhhh", *P)
        self.registers[0xA1] = H[0]
        self.registers[0xE1:0xE8] = struct.pack("<hB", H[1], H[2]) + bytes(
            (H[3] >> 4, H[3] & 15 | (H[4] & 15) << 4, H[4] >> 4, H[5])
        )
        self.raw(RAW_P, RAW_T, RAW_H)
        self.writes = []
        self.absent = False

    def raw(self, p, t, h):
        self.registers[0xF7:0xFF] = bytes(
            (p >> 12, p >> 4 & 255, (p & 15) << 4, t >> 12, t >> 4 & 255, (t & 15) << 4, h >> 8, h & 255)
        )

    def readfrom_mem_into(self, address, register, buf):
        if self.absent or address != 0x77:
            raise OSError(19)
        buf[:] = self.registers[register : register + len(buf)]

    def readfrom_mem(self, address, register, size):
        buf = bytearray(size)
        self.readfrom_mem_into(address, register, buf)
        return bytes(buf)

    def writeto_mem(self, address, register, data):
        self.writes.append((register, data[0]))


def read(bus):
    values = array("i", [0, 0, 0])
    bme280.Sensor(bus, {"address": 0x77}).read_into(values)
    return list(values)


def test_the_worked_example_of_the_data_sheet():
    temperature, humidity, pressure = read(Bus())
    check.equal(temperature, 2508)
    check.true(abs(pressure - 100653) <= 3, f"{pressure} Pa")  # 32 bits: 100656
    check.true(4000 < humidity < 6000, f"{humidity}")


def test_one_forced_measurement_with_humidity_first():
    bus = Bus()
    read(bus)
    check.equal(bus.writes, [(0xF2, 1), (0xF4, 0b001_001_01)])


def test_negative_calibration_of_humidity_is_read_with_its_sign():
    bus = Bus()
    bus.registers[0xE4:0xE7] = bytes((0xFF, 0x21, 0xFE))
    sensor = bme280.Sensor(bus, {"address": 0x77})
    check.equal((sensor._h4, sensor._h5), (-15, -30))


def test_below_freezing():
    bus = Bus()
    bus.raw(RAW_P, 380000, RAW_H)
    check.true(-2500 < read(bus)[0] < -1500)


def test_humidity_stays_between_0_and_100():
    bus = Bus()
    bus.raw(RAW_P, RAW_T, 0)
    check.equal(read(bus)[1], 0)
    bus.raw(RAW_P, RAW_T, 0xFFFF)
    check.equal(read(bus)[1], 10000)


def test_what_a_skipped_channel_would_read_as_is_a_value_since_none_is_skipped():
    bus = Bus()
    for raw in ((0x80000, RAW_T, RAW_H), (RAW_P, 0x80000, RAW_H), (RAW_P, RAW_T, 0x8000)):
        bus.raw(*(value - 1 for value in raw))
        below = read(bus)
        bus.raw(*raw)
        at = read(bus)
        check.true(NULL not in at, at)
        check.true(all(abs(a - b) <= 15 for a, b in zip(at, below)), (at, below))


def test_a_chip_that_lost_power_in_between_is_an_error():
    bus = Bus()
    bus.raw(0x80000, 0x80000, 0x8000)
    check.equal(check.raises(SensorError, read, bus).why, "range")


def test_another_chip_none_or_one_that_never_finishes_is_an_error():
    check.equal(check.raises(SensorError, read, Bus(id=0x58)).why, "wrong_chip")  # a BMP280
    bus = Bus()
    bus.absent = True
    check.equal(why(check.raises(OSError, read, bus)), "missing")
    bus = Bus()
    bus.registers[0x88:0xA0] = b"\xff" * 24
    check.equal(check.raises(SensorError, read, bus).why, "range")
    bus = Bus()
    bus.registers[0xF3] = 0x08
    busy = check.raises(SensorError, read, bus)
    check.equal((busy.why, busy.errno), ("busy", 116))


check.run(globals())
