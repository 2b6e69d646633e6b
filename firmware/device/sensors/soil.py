"""Capacitive soil moisture probe (DFRobot SEN0193 and its many copies): a voltage that falls as the soil gets wet.

Each probe has its own ends, and each soil: `options = { dry_mv = 2150, wet_mv = 950 }` are what it gives in air and in
a glass of water, up to the line; `probe_voltage` says what it gives now, to find them. (SEN0193's page, "Calibration".)
"""

from micropython import const

from device.analog import Analog
from device.sensors import EIO, RANGE, SensorError

QUANTITIES = (("moisture", 1), ("probe_voltage", 3))  # % of what lies between dry and wet; V

_DRY_MV = const(2150)
_WET_MV = const(950)
_BEYOND = const(4)  # by a quarter of the way it may be beyond its ends: other soil, other temperature


class Sensor:
    def __init__(self, bus, config):
        options = config.get("options") or {}
        self._dry_mv = int(options.get("dry_mv", _DRY_MV))
        self._span_mv = self._dry_mv - int(options.get("wet_mv", _WET_MV))
        if self._span_mv <= 0:
            raise ValueError("soil: dry_mv must be above wet_mv: a dry probe gives more")
        self._analog = Analog(config["pin"], options.get("readings"))

    def read_into(self, values):
        mv = self._analog.read_mv()
        below_mv = self._dry_mv - mv
        if not -(self._span_mv // _BEYOND) <= below_mv <= self._span_mv + self._span_mv // _BEYOND:
            raise SensorError(RANGE, EIO)  # no probe, a broken wire, or one calibrated for another probe
        values[0] = max(0, min(1000, below_mv * 1000 // self._span_mv))
        values[1] = mv
