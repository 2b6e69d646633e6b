from array import array

import check
from device.sensors import SensorError, ina219

# The data sheet's example (SBOS448G, 9.2.2.1): 12 V, 10 A through 2 mOhm; a step of 1 mA makes calibration 5000h.
EXAMPLE = {"address": 0x41, "options": {"shunt_mohm": 2, "max_a": 20}}
SHUNT, BUS, POWER, CURRENT = 0x07D0, 0x5D98, 0x1766, 0x2710


class Bus:
    """A chip that is ready after `slow` looks, with the registers above."""

    def __init__(self):
        self.registers = {0: 0x399F, 1: SHUNT, 2: BUS, 3: POWER, 4: CURRENT, 5: 0}
        self.writes = []
        self.slow = 0
        self.forgets = False

    def readfrom_mem_into(self, address, register, buf):
        if address != 0x41:
            raise OSError(19)
        word = self.registers[register]
        if register == 2:
            self.slow -= 1
            if self.slow < 0:
                word |= 2
        buf[0] = word >> 8
        buf[1] = word & 255

    def writeto_mem(self, address, register, data):
        word = data[0] << 8 | data[1]
        self.writes.append((register, word))
        if register == 5 and not self.forgets:
            self.registers[5] = word


def read(bus, config=EXAMPLE):
    values = array("i", [0, 0, 0])
    ina219.Sensor(bus, config).read_into(values)
    return list(values)


def test_the_worked_example_of_the_data_sheet():
    bus = Bus()
    check.equal(read(bus), [11980, 100000, 119800])  # 11.98 V, 10.0 A, 119.8 W
    check.equal(bus.registers[5], 0x5000)
    check.equal(bus.writes[0], (0, 0x8000))
    check.equal(bus.writes[-1], (0, 0b001_00_1011_1011_011))  # 32 V, 40 mV, 8 of each, shunt and bus, triggered


def test_the_usual_breakout_is_what_no_options_mean():
    bus = Bus()
    bus.registers[1] = 32000 - 1  # 319.99 mV at 0.1 Ohm
    bus.registers[4] = 31999
    bus.registers[3] = 1000
    check.equal(read(bus, {"address": 0x41})[1], 31999)  # steps of 0.1 mA: 3.1999 A
    check.equal(bus.registers[5], 4096)
    check.equal(bus.writes[-1][1] >> 11 & 3, 3)  # 320 mV


def test_a_current_that_flows_back_is_negative_and_so_is_its_power():
    bus = Bus()
    bus.registers[1] = -SHUNT & 0xFFFF
    bus.registers[4] = -CURRENT & 0xFFFF
    check.equal(read(bus), [11980, -100000, -119800])


def test_steps_are_round_numbers_and_reach_the_largest_current():
    for max_a, shunt_mohm, step_ua, calibration in (
        (0.3, 100, 10, 40960),
        (0.4, 100, 20, 20480),
        (3.2, 100, 100, 4096),
        (15, 2, 500, 40960),
        (20, 0.75, 1000, 54612),  # 54613.3, cut, and bit 0 is void
    ):
        sensor = ina219.Sensor(Bus(), {"address": 0x41, "options": {"shunt_mohm": shunt_mohm, "max_a": max_a}})
        check.equal((sensor._step_ua, sensor._calibration), (step_ua, calibration))
    for max_a, shunt_mohm in ((4, 100), (0.001, 1), (0, 100)):
        config = {"address": 0x41, "options": {"shunt_mohm": shunt_mohm, "max_a": max_a}}
        check.raises(ValueError, ina219.Sensor, Bus(), config)


def failure(bus):
    return check.raises(SensorError, read, bus).why


def test_what_overflows_or_reaches_the_end_of_the_scale_is_out_of_range():
    bus = Bus()
    bus.registers[2] = BUS | 1
    check.equal(failure(bus), "range")
    for end in (4000, -4000):
        bus = Bus()
        bus.registers[1] = end & 0xFFFF
        check.equal(failure(bus), "range")


def test_a_chip_that_lost_its_calibration_another_one_and_one_that_is_never_ready():
    bus = Bus()
    bus.forgets = True
    check.equal(failure(bus), "range")
    bus = Bus()
    bus.registers[0] = 0
    check.equal(failure(bus), "wrong_chip")
    bus = Bus()
    bus.slow = 3
    check.equal(read(bus)[0], 11980)
    bus.slow = 100
    check.equal(failure(bus), "busy")


def test_measuring_allocates_nothing():
    import gc

    sensor = ina219.Sensor(Bus(), EXAMPLE)
    values = array("i", [0, 0, 0])
    bus = sensor._bus
    bus.writeto_mem = None

    class Still(Bus):
        def writeto_mem(self, address, register, data):
            pass

    still = Still()
    still.registers = bus.registers
    sensor._bus = still
    sensor.read_into(values)
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(10):
        sensor.read_into(values)
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
