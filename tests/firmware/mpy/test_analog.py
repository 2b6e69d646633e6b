"""What stands at a pin: soil probe and battery. Figures: the drivers' own sources, named there."""

from array import array

import check
import machine


class Adc:
    """A converter that gives these microvolts, one after the other."""

    ATTN_11DB = 3
    given = []

    def __init__(self, pin):
        self.attenuation = None
        self.at = -1

    def atten(self, attenuation):
        self.attenuation = attenuation

    def read_uv(self):
        self.at += 1
        return Adc.given[self.at % len(Adc.given)]


class Share:
    """One of a port that only knows shares of its supply (rp2)."""

    def __init__(self, pin):
        pass

    def read_u16(self):
        return 65535 // 2


machine.ADC = Adc

from device import analog  # noqa: E402
from device.sensors import RANGE, SensorError, battery, soil  # noqa: E402


def read(driver, mv, options=None):
    Adc.given = [mv * 1000]
    values = array("i", [0, 0])
    driver.Sensor(None, {"pin": 34, "options": options}).read_into(values)
    return list(values)


def why(driver, mv, options=None):
    try:
        read(driver, mv, options)
    except SensorError as error:
        return error.why
    return None


def test_the_middle_of_nine_readings_counts():
    Adc.given = [1000000, 1001000, 2900000, 999000, 1000500, 128000, 1002000, 1000000, 3000000]
    check.equal(analog.Analog(34).read_mv(), 1000)


def test_a_port_without_calibration_gives_a_share_of_its_supply():
    machine.ADC = Share
    check.equal(analog.Analog(26).read_mv(), 3300 * 32767 // 65535)
    machine.ADC = Adc


def test_soil_between_its_ends():
    check.equal(read(soil, 2150), [0, 2150])
    check.equal(read(soil, 950), [1000, 950])
    check.equal(read(soil, 1550), [500, 1550])
    check.equal(read(soil, 1500, {"dry_mv": 2000, "wet_mv": 1000}), [500, 1500])


def test_soil_a_little_beyond_its_ends_is_the_end():
    check.equal(read(soil, 2449)[0], 0)
    check.equal(read(soil, 651)[0], 1000)


def test_no_probe_is_no_dry_soil():
    for mv in (142, 649, 2451):
        check.equal(why(soil, mv), RANGE)


def test_a_calibration_that_is_none_is_said():
    check.raises(ValueError, lambda: read(soil, 1000, {"dry_mv": 900, "wet_mv": 950}))


def test_a_battery_by_its_curve():
    for mv, voltage, fill in ((2100, 4200, 100), (1920, 3840, 50), (1635, 3270, 0), (1850, 3700, 12), (2200, 4400, 100)):
        check.equal(read(battery, mv), [voltage, fill])


def test_another_divider():
    check.equal(read(battery, 1000, {"r_top_kohm": 270, "r_bottom_kohm": 100})[0], 3700)


def test_no_battery_is_no_empty_one():
    check.equal(why(battery, 142), RANGE)
    check.equal(why(battery, 2300), RANGE)


def test_options_with_a_point_in_them():
    check.equal(read(battery, 500, {"r_top_kohm": 4.7, "r_bottom_kohm": 1.0})[0], 2850)
    check.equal(read(soil, 1500, {"dry_mv": 2000.0, "wet_mv": 1000.0}), [500, 1500])
    check.raises(ValueError, lambda: read(battery, 1000, {"r_bottom_kohm": 0}))


def test_measuring_allocates_nothing():
    import gc

    values = array("i", [0, 0])
    for driver, mv in ((soil, 1500), (battery, 1900)):
        Adc.given = [mv * 1000, mv * 1000 + 3000, mv * 1000 - 70000]
        sensor = driver.Sensor(None, {"pin": 34})
        sensor.read_into(values)
        gc.collect()
        before = gc.mem_alloc()
        for _ in range(10):
            sensor.read_into(values)
        check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
