from array import array

import check
from device.sensors import SensorError, mpu6050

# Full scales and their steps: RM-MPU-6000A-00 4.17 and 4.19.
CONFIG = {"address": 0x69, "period_ms": 20, "options": {"accel_g": 2, "gyro_dps": 250}}


class Bus:
    """A chip with the samples in its FIFO that the test gives: six words each."""

    def __init__(self):
        self.registers = bytearray(128)
        self.registers[0x75] = 0x68
        self.fifo = bytearray()
        self.status = 0
        self.writes = []
        self.while_read = 0

    def readfrom_mem_into(self, address, register, buf):
        if address != 0x69:
            raise OSError(19)
        if register == 0x72:
            buf[0] = len(self.fifo) >> 8
            buf[1] = len(self.fifo) & 255
        elif register == 0x74:
            buf[:] = self.fifo[: len(buf)]
            self.fifo = self.fifo[len(buf) :]
            self.status |= self.while_read
        elif register == 0x3A:
            buf[0] = self.status
            self.status = 0
        else:
            buf[:] = self.registers[register : register + len(buf)]

    def writeto_mem(self, address, register, data):
        self.writes.append((register, data[0]))
        self.registers[register] = data[0] & 0x7F if register == 0x6B else data[0]
        if register == 0x6A and data[0] & 0x04:
            check.true(not data[0] & 0x40, "a reset of the FIFO while it is off (4.27)")
            self.fifo = bytearray()

    def sample(self, *words):
        for word in words:
            self.fifo.extend(bytes((word >> 8 & 255, word & 255)))


def fetched(bus, config=CONFIG, samples=()):
    sensor = mpu6050.Sensor(bus, config)
    for words in samples:
        bus.sample(*words)
    lost = sensor.fetch()
    return lost, read(sensor)


def read(sensor):
    found = []
    while sensor.left:
        values = array("i", [0] * 6)
        sensor.read_into(values)
        found.append(list(values))
    return found


def test_a_g_and_a_turn_at_each_full_scale():
    scales = ((2, 250, 16384, 1310), (4, 500, 8192, 655), (8, 1000, 4096, 328), (16, 2000, 2048, 164))
    for g, dps, one_g, ten_dps in scales:
        config = {"address": 0x69, "period_ms": 20, "options": {"accel_g": g, "gyro_dps": dps}}
        bus = Bus()
        _, found = fetched(bus, config, [(one_g, -one_g, 0, ten_dps, -ten_dps, 0)])
        x, y, z, *turns = found[0]
        check.true(abs(x - 9807) <= 1 and abs(y + 9807) <= 1 and z == 0, found)
        check.equal(turns, [1000, -1000, 0])
    _, found = fetched(Bus(), config, [(32767, -32768, -1, 32767, -32768, -1)])
    check.true(abs(found[0][0] - 156902) <= 10 and abs(found[0][1] + 156906) <= 10, found)  # 16 g, 2000 °/s
    check.equal(found[0][3:], [199799, -199805, -6])


def test_what_the_chip_is_told():
    bus = Bus()
    fetched(bus)
    check.equal(bus.writes[0], (0x6B, 0x80))
    check.equal(
        bus.writes[1:],
        [(0x6B, 1), (0x19, 19), (0x1A, 4), (0x1B, 0), (0x1C, 0), (0x38, 0x10), (0x23, 0x78), (0x6A, 4), (0x6A, 0x40)],
    )


def test_the_filter_is_the_widest_that_half_the_rate_allows():
    found = [mpu6050._filter(period_ms) for period_ms in (1, 2, 5, 10, 20, 50, 100, 256)]
    check.equal(found, [1, 1, 2, 3, 4, 5, 6, 6])  # 4.3: 184, 94, 44, 21, 10, 5 Hz


def test_all_that_is_there_comes_oldest_first_and_a_part_of_a_sample_stays():
    bus = Bus()
    lost, found = fetched(bus, samples=[(i, 0, 0, 0, 0, 0) for i in range(0, 16384 * 2, 401)][:82] + [(1, 2)])
    check.equal((lost, len(found), len(bus.fifo)), (False, 82, 4))
    check.equal([values[0] for values in found], sorted(values[0] for values in found))


def test_an_overflow_empties_the_fifo_and_is_told():
    bus = Bus()
    sensor = mpu6050.Sensor(bus, CONFIG)
    bus.fifo = bytearray(1024)
    check.equal((sensor.fetch(), sensor.left, len(bus.fifo)), (True, 0, 0))
    bus.sample(1, 2, 3, 4, 5, 6)
    check.equal((sensor.fetch(), sensor.left), (False, 1))
    read(sensor)
    bus.fifo = bytearray(1020)
    bus.while_read = 0x10
    check.equal((sensor.fetch(), sensor.left), (True, 0))


def test_a_chip_that_does_not_measure_any_more_another_one_and_a_period_it_cannot_do():
    bus = Bus()
    sensor = mpu6050.Sensor(bus, CONFIG)
    check.equal((sensor.fetch(), sensor.fetch()), (False, False))
    check.equal(check.raises(SensorError, sensor.fetch).why, "busy")
    bus = Bus()
    bus.registers[0x75] = 0x70  # an MPU-6500
    check.equal(check.raises(SensorError, mpu6050.Sensor, bus, CONFIG).why, "wrong_chip")
    for wrong in ({"period_ms": 257}, {"period_ms": 20, "options": {"accel_g": 3}}):
        said = str(check.raises(ValueError, mpu6050.Sensor, Bus(), dict(CONFIG, **wrong)))
        check.true(said.endswith(("and not each 257", "accel_g of an MPU-6050 is one of (2, 4, 8, 16), and not 3")), said)


def test_fetching_allocates_nothing():
    import gc

    class Still(Bus):
        """Always five samples."""

        def readfrom_mem_into(self, address, register, buf):
            buf[0] = 0
            if register == 0x72:
                buf[1] = 60

    sensor = mpu6050.Sensor(Bus(), CONFIG)
    sensor._bus = Still()
    values = array("i", [0] * 6)

    def fetch():
        sensor.fetch()
        while sensor.left:
            sensor.read_into(values)

    fetch()
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(10):
        fetch()
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
