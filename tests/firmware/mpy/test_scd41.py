"""Figures: Sensirion data sheet "SCD4x" version 1.3 (September 2022), sections named."""

from array import array

import check
from device.sensors import NULL, SensorError, scd41

CONFIG = {"address": 0x62, "period_ms": 5000}
READY, NOTHING = b"\x80\x06\x04", b"\x80\x00\xa2"  # 3.8.2: its example has A2 for the second
SERIAL = b"\xf8\x96\x31\x9f\x07\xc2\x3b\xbe\x89"  # 3.9.2, example
MEASURED = b"\x01\xf4\x33\x66\x67\xa2\x5e\xb9\x3c"  # 3.5.2, example: 500 ppm, 25 °C, 37 %


class Clock:
    now = 0

    def ticks_ms(self):
        return self.now

    def sleep_ms(self, ms):
        self.now += ms


clock = Clock()
scd41.time = clock


class Bus:
    """A chip that gives these answers. While it measures it does not acknowledge the question for its number."""

    def __init__(self, measures=False, errno=19):
        self.measures = measures
        self.errno = errno
        self.answers = {0xE4B8: READY, 0x3682: SERIAL, 0xEC05: MEASURED}
        self.told = []

    def writeto(self, address, data):
        command = data[0] << 8 | data[1]
        if address != 0x62 or command == 0x3682 and self.measures:
            raise OSError(self.errno)
        self.told.append(bytes(data))

    def readfrom_into(self, address, buffer):
        answer = self.answers[self.told[-1][0] << 8 | self.told[-1][1]]
        for at in range(len(buffer)):
            buffer[at] = answer[at]


def told(bus):
    return [data.hex() for data in bus.told]


def read(sensor):
    check.equal((sensor.fetch(), sensor.left), (False, 1))
    values = array("i", [0, 0, 0])
    sensor.read_into(values)
    check.equal(sensor.left, 0)
    return list(values)


def words(*values):
    data = b""
    for value in values:
        data += bytes((value >> 8, value & 255, scd41.crc8(value >> 8, value & 255)))
    return data


def test_the_crc_of_section_3_11_and_of_all_examples():
    check.equal(scd41.crc8(0xBE, 0xEF), 0x92)
    for example in (SERIAL, MEASURED, NOTHING, b"\x07\x9e\x09", b"\x03\xdb\x42", b"\x04\x4c\x42"):
        for at in range(0, len(example), 3):
            check.equal(scd41.crc8(example[at], example[at + 1]), example[at + 2])


def test_the_worked_example_of_section_3_5_2():
    check.equal(read(scd41.Sensor(Bus(), CONFIG)), [500, 2500, 3700])


def test_frost_and_the_ends_of_the_scales():
    bus = Bus()
    sensor = scd41.Sensor(bus, CONFIG)
    bus.answers[0xEC05] = words(0, 13107, 0)  # -45 + 175 * 13107 / 65535 is -10
    check.equal(read(sensor), [NULL, -1000, 0])  # 0 ppm: none measured yet
    bus.answers[0xEC05] = words(40000, 39321, 65535)
    check.equal(read(sensor), [40000, 6000, 10000])


def test_what_no_air_is_like_is_out_of_range():
    for wrong in ((40001, 26215, 24249), (500, 13102, 24249), (500, 39326, 24249), (500, 65535, 24249)):
        bus = Bus()
        sensor = scd41.Sensor(bus, CONFIG)
        bus.answers[0xEC05] = words(*wrong)
        check.equal(check.raises(SensorError, sensor.fetch).why, "range")
        check.equal(sensor.left, 0)


def test_an_idle_chip_is_started_one_that_measures_is_left_alone():
    bus = Bus()
    scd41.Sensor(bus, CONFIG)
    check.equal(told(bus), ["e4b8", "3682", "21b1", "e00003f5db"])  # 1013 hPa
    for errno in (19, 5):  # an ESP32's, an rp2's
        bus = Bus(measures=True, errno=errno)
        check.equal(read(scd41.Sensor(bus, CONFIG)), [500, 2500, 3700])
        check.equal(told(bus)[:2], ["e4b8", "e00003f5db"])


def test_pressure_is_given_or_by_altitude():
    for options, sent in (
        ({"pressure_hpa": 987}, "e00003db42"),  # 3.6.5, example: 98,700 Pa
        ({"altitude_m": 1950}, "e0000320"),  # 800 hPa (standard atmosphere: 799.9)
        ({"altitude_m": 0}, "e00003f5"),
        ({"altitude_m": -400}, "e0000426"),  # 1062 hPa: the Dead Sea
    ):
        bus = Bus()
        scd41.Sensor(bus, dict(CONFIG, options=options))
        check.equal(told(bus)[-1][: len(sent)], sent)
    for options in ({"pressure_hpa": 699}, {"altitude_m": 3100}):
        check.raises(ValueError, scd41.Sensor, Bus(), dict(CONFIG, options=options))


def test_each_measurement_of_the_chip_or_the_newest_now_and_then():
    bus = Bus()
    sensor = scd41.Sensor(bus, dict(CONFIG, period_ms=60000))
    check.true(not hasattr(sensor, "fetch"))
    values = array("i", [NULL, NULL, NULL])
    sensor.read_into(values)
    check.equal(list(values), [500, 2500, 3700])
    bus.answers[0xE4B8] = NOTHING
    clock.now += 11000
    values = array("i", [NULL, NULL, NULL])
    sensor.read_into(values)
    check.equal(list(values), [NULL, NULL, NULL])
    clock.now += 2000
    check.equal(check.raises(SensorError, sensor.read_into, values).why, "busy")
    check.raises(ValueError, scd41.Sensor, Bus(), dict(CONFIG, period_ms=4999))


def test_nothing_new_is_nothing_and_silence_is_an_end():
    bus = Bus(measures=True)
    sensor = scd41.Sensor(bus, CONFIG)
    bus.answers[0xE4B8] = NOTHING
    for _ in range(12):
        check.equal((sensor.fetch(), sensor.left), (False, 0))
        clock.now += 999
    clock.now += 20
    check.equal(check.raises(SensorError, sensor.fetch).why, "busy")
    check.equal(told(bus)[-1], "3f86")  # stopped, so that it is started when it is tried again


def test_each_bit_that_arrives_wrong_is_noticed():
    for command, answer in ((0xE4B8, READY), (0x3682, SERIAL), (0xEC05, MEASURED)):
        for bit in range(8 * len(answer)):
            bus = Bus()
            wrong = bytearray(answer)
            wrong[bit >> 3] ^= 1 << (bit & 7)
            bus.answers[command] = wrong

            def use():
                scd41.Sensor(bus, CONFIG).fetch()

            check.equal(check.raises(SensorError, use).why, "crc")


def test_no_chip_and_a_stuck_bus_are_the_errors_of_the_bus():
    for errno in (19, 116):
        bus = Bus()
        bus.errno = errno
        check.equal(check.raises(OSError, scd41.Sensor, bus, dict(CONFIG, address=0x63)).errno, errno)
    bus = Bus(measures=True, errno=116)  # stuck in the middle of the start
    check.equal(check.raises(OSError, scd41.Sensor, bus, CONFIG).errno, 116)


def test_measuring_allocates_nothing():
    import gc

    class Still(Bus):
        def writeto(self, address, data):
            self.now = MEASURED if data[0] == 0xEC else READY

        def readfrom_into(self, address, buffer):
            for at in range(len(buffer)):
                buffer[at] = self.now[at]

    sensor = scd41.Sensor(Bus(), CONFIG)
    sensor._bus = Still()
    values = array("i", [0, 0, 0])
    sensor.fetch()
    sensor.read_into(values)
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(10):
        sensor.fetch()
        sensor.read_into(values)
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
