"""Figures: Maxim data sheet 19-7487 Rev 6, tables named."""

from array import array

import check
from device.sensors import SensorError, ds18b20

ROM = bytes((0x28, 0xFF, 0x64, 0x1E, 0x0C, 0x16, 0x04, 0xF7))


class Clock:
    now = 0
    slept = 0

    def ticks_ms(self):
        return self.now

    def sleep_ms(self, ms):
        self.slept += ms
        self.now += ms


clock = Clock()
ds18b20.time = clock


def crc8(data):
    crc = 0
    for byte in data:
        for bit in range(8):
            crc = crc >> 1 ^ (0x8C if (crc ^ byte >> bit) & 1 else 0)
    return crc


def pad(raw, configuration=0x7F, reserved=0x10):
    data = bytes((raw & 255, raw >> 8 & 255, 0x4B, 0x46, configuration, 0xFF, reserved, 0x10))
    return data + bytes((crc8(data),))


class Wire:
    """One chip on a wire, with this scratchpad."""

    def __init__(self, scratchpad):
        self.pad = scratchpad
        self.rom = ROM
        self.there = True
        self.told = b""

    def reset(self):
        self.told = b""
        return self.there

    def writebyte(self, byte):
        self.told += bytes((byte,))

    def write(self, data):
        self.told += data

    def readinto(self, buffer):
        answer = self.rom if self.told == b"\x33" else self.pad
        for at in range(len(buffer)):
            buffer[at] = answer[at]

    def crc8(self, data):
        return crc8(data)


def read(wire, **options):
    values = array("i", [0])
    ds18b20.Sensor(wire, {"options": options}).read_into(values)
    return values[0]


def failure(wire, **options):
    return check.raises(SensorError, lambda: read(wire, **options)).why


def test_table_1_hex_for_hex():
    for raw, value in (
        (0x07D0, 1250000),
        (0x0550, 850000),
        (0x0191, 250625),
        (0x00A2, 101250),
        (0x0008, 5000),
        (0x0000, 0),
        (0xFFF8, -5000),
        (0xFF5E, -101250),
        (0xFE6F, -250625),
        (0xFC90, -550000),
    ):
        check.equal(read(Wire(pad(raw))), value)


def test_beyond_its_ends_is_out_of_range():
    for raw in (0x07D1, 0xFC8F, 0x7FFF, 0x8000):
        check.equal(failure(Wire(pad(raw))), "range")


def test_85_degrees_are_measured_or_what_it_has_at_power_up():
    check.equal(failure(Wire(pad(0x0550, reserved=0x0C))), "range")
    check.equal(read(Wire(pad(0x0550, reserved=0x10))), 850000)


def test_each_bit_that_arrives_wrong_is_noticed():
    for bit in range(72):
        wrong = bytearray(pad(0x0191))
        wrong[bit >> 3] ^= 1 << (bit & 7)
        check.equal(failure(Wire(wrong)), "crc")
    wire = Wire(pad(0x0191))
    wire.rom = bytes((0x28, 0xAA)) + ROM[2:]  # as two chips at once
    check.equal(failure(wire), "crc")


def test_no_chip_another_chip_and_a_wire_that_is_held_low():
    wire = Wire(pad(0))
    wire.there = False
    check.equal(failure(wire), "missing")
    wire = Wire(pad(0))
    wire.rom = bytes((0x10,)) + ROM[1:7]  # a DS18S20
    wire.rom += bytes((crc8(wire.rom),))
    check.equal(failure(wire), "wrong_chip")
    wire = Wire(bytes(9))  # of zeros even the CRC is right
    wire.rom = bytes(8)
    check.equal(failure(wire), "bus_stuck")
    check.equal(failure(Wire(bytes(9)), rom=ROM.hex()), "bus_stuck")
    check.equal(failure(Wire(b"\xff" * 9), rom=ROM.hex()), "missing")  # another one answered the reset


def test_it_is_addressed_by_its_code_and_told_its_resolution():
    wire = Wire(pad(0x0190, configuration=0x7F))
    told = []
    wire.reset = lambda: told.append(wire.told) or setattr(wire, "told", b"") or True
    read(wire, rom=ROM.hex(), bits=10)
    wire.reset()
    told = [data.hex() for data in told if data]
    chosen = "55" + ROM.hex()
    check.equal(told, [chosen + "be", chosen + "4e4b463f", chosen + "44", chosen + "be"])  # figure 10: 0 01 11111
    check.raises(ValueError, ds18b20.Sensor, Wire(pad(0)), {"options": {"bits": 8}})


def test_a_conversion_that_was_begun_in_time_is_not_waited_for():
    values = array("i", [0])
    for bits, longest_ms in ((9, 94), (10, 188), (11, 375), (12, 750)):  # table 2
        sensor = ds18b20.Sensor(Wire(pad(0)), {"options": {"bits": bits}})
        check.equal(sensor.lead_ms, longest_ms)
        clock.slept = 0
        sensor.begin()
        clock.now += longest_ms
        sensor.read_into(values)
        check.equal(clock.slept, 0)
        sensor.begin()
        clock.now += 50
        sensor.read_into(values)
        check.equal(clock.slept, longest_ms - 50)
        sensor.read_into(values)  # not begun
        check.equal(clock.slept, 2 * longest_ms - 50)


def test_measuring_allocates_nothing():
    import gc

    class Still(Wire):
        def reset(self):
            return True

        def writebyte(self, byte):
            pass

        write = writebyte

    for options in ({}, {"rom": ROM.hex()}):
        sensor = ds18b20.Sensor(Wire(pad(-880)), {"options": options})
        sensor._bus = Still(pad(-880))
        values = array("i", [0])
        sensor.read_into(values)
        gc.collect()
        before = gc.mem_alloc()
        for _ in range(10):
            sensor.begin()
            clock.now += 750
            sensor.read_into(values)
        check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
