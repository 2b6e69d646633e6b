"""Figures: ROHM BH1750FVI technical note 2009.04 Rev.B, pages named."""

from array import array

import check
from device.sensors import NULL, SensorError, bh1750

CONFIG = {"address": 0x23}
slept = []


class Clock:
    """A time that passes while somebody sleeps."""

    now = 0

    def ticks_ms(self):
        return self.now

    def sleep_ms(self, ms):
        slept.append(ms)
        self.now += ms


clock = Clock()
bh1750.time = clock


class Bus:
    """A chip that gives these counts, one after the other, and remembers what it was told."""

    def __init__(self, *counts):
        self.counts = list(counts)
        self.told = []

    def writeto(self, address, data):
        if address != 0x23:
            raise OSError(19)
        self.told.append(data[0])

    def readfrom_into(self, address, buffer):
        count = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        buffer[0], buffer[1] = count >> 8, count & 255


def read(sensor):
    values = array("i", [0])
    sensor.read_into(values)
    return values[0]


def test_the_worked_example_of_page_10():
    check.equal(read(bh1750.Sensor(Bus(0b1000_0011_1001_0000), CONFIG)), 2806667)  # "(2^15 + ...) / 1.2 = 28067 lx"
    check.equal(read(bh1750.Sensor(Bus(0), CONFIG)), 0)
    check.equal(read(bh1750.Sensor(Bus(1), CONFIG)), 83)


def test_mtreg_is_the_sensitivity_and_the_time():
    # Page 11: 69 is the usual one, 254 the most: 1 / 1.2 * 69 / 254 = 0.226 lx a count; the time grows alike.
    del slept[:]
    bus = Bus(1000)
    sensor = bh1750.Sensor(bus, dict(CONFIG, options={"mtreg": 254}))
    check.equal(read(sensor), 22638)
    check.equal(bus.told[:5], [0x01, 0x01, 0b01000_111, 0b011_11110, 0x20])  # 254: 111 11110
    check.equal(slept, [180 * 254 // 69 + 1])
    check.equal(read(bh1750.Sensor(Bus(1000), dict(CONFIG, options={"mtreg": 31}))), 185484)
    for mtreg in (30, 255, 0):
        check.raises(ValueError, bh1750.Sensor, Bus(0), dict(CONFIG, options={"mtreg": mtreg}))


def test_what_was_begun_in_time_is_only_fetched():
    del slept[:]
    bus = Bus(120)
    sensor = bh1750.Sensor(bus, CONFIG)
    check.equal(sensor.lead_ms, 181)
    check.equal(read(sensor), 10000)  # not begun: that is waited for
    check.equal((slept, bus.told.count(0x20)), ([181], 1))
    sensor.begin()
    clock.now += 181
    read(sensor)
    check.equal((slept, bus.told.count(0x20)), ([181], 2))
    sensor.begin()
    clock.now += 100  # fetched sooner than it is ready: the rest of it
    read(sensor)
    check.equal((slept, bus.told.count(0x20)), ([181, 81], 3))
    sensor.begin()
    clock.now += 2001  # too long ago to be the light of now
    read(sensor)
    check.equal((slept, bus.told.count(0x20)), ([181, 81, 181], 5))


def test_bright_light_turns_the_sensitivity_down_and_shade_up_again():
    bus = Bus(0xFFFF, 40000, 20000, 19999, 45000, 40000)
    sensor = bh1750.Sensor(bus, CONFIG)
    check.equal(read(sensor), NULL)
    check.equal(read(sensor), 7419355)  # 40000 / 1.2 * 69 / 31
    check.equal(bus.told[-4:], [0x01, 0b01000_000, 0b011_11111, 0x20])
    check.equal([read(sensor), read(sensor)], [3709677, 3709492])
    check.equal(read(sensor), 3750000)
    check.equal(bus.told[-4:], [0x01, 0b01000_010, 0b011_00101, 0x20])  # 69: 010 00101


def test_brighter_than_it_can_measure_is_out_of_range():
    sensor = bh1750.Sensor(Bus(0xFFFF), CONFIG)
    check.equal(read(sensor), NULL)
    check.equal(check.raises(SensorError, read, sensor).why, "range")
    sensor = bh1750.Sensor(Bus(0xFFFF), dict(CONFIG, options={"mtreg": 69}))
    check.equal(check.raises(SensorError, read, sensor).why, "range")


def test_no_chip_is_an_error_from_the_start():
    check.equal(check.raises(OSError, bh1750.Sensor, Bus(0), dict(CONFIG, address=0x5C)).errno, 19)


def test_measuring_allocates_nothing():
    import gc

    class Still(Bus):
        def writeto(self, address, data):
            pass

        def readfrom_into(self, address, buffer):
            buffer[0] = 0x83

    values = array("i", [0])
    sensor = bh1750.Sensor(Still(0), CONFIG)
    sensor.read_into(values)
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(10):
        sensor.begin()
        clock.now += 181
        sensor.read_into(values)
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
