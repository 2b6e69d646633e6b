"""The voltage of a lithium-ion or lithium-polymer cell, through a divider of two resistors, and how full that makes it.

`options = { r_top_kohm = 100, r_bottom_kohm = 100 }`: from the cell's plus to the pin, and from it to ground. The pin
must stay below 2.45 V (what an ESP32's ADC measures), so halves are right for one cell.
"""

from micropython import const

from device.analog import Analog
from device.sensors import EIO, RANGE, SensorError

QUANTITIES = (("battery_voltage", 3), ("battery", 0))  # V, %

# Millivolts of a cell at rest, by fill: the chart for lithium-polymer cells that model builders use, and no maker's
# figure. Load, temperature and age shift it; within some 10 %.
_CURVE = ((3270, 0), (3610, 5), (3690, 10), (3730, 20), (3770, 30), (3800, 40), (3840, 50))
_CURVE += ((3870, 60), (3950, 70), (4020, 80), (4110, 90), (4200, 100))
_LEAST_MV = const(2000)  # a cell with less is dead, or not there
_MOST_MV = const(4500)


class Sensor:
    def __init__(self, bus, config):
        options = config.get("options") or {}
        self._bottom = int(options.get("r_bottom_kohm", 100) * 10)  # tenths of a kiloohm: products stay small
        self._whole = self._bottom + int(options.get("r_top_kohm", 100) * 10)
        if self._bottom <= 0:
            raise ValueError("battery: r_bottom_kohm is more than 0")
        self._analog = Analog(config["pin"], options.get("readings"))

    def read_into(self, values):
        mv = self._analog.read_mv() * self._whole // self._bottom
        if not _LEAST_MV <= mv <= _MOST_MV:
            raise SensorError(RANGE, EIO)
        values[0] = mv
        values[1] = fill(mv)


def fill(mv):
    """Percent."""
    below_mv, below = _CURVE[0]
    if mv <= below_mv:
        return 0
    for at_mv, at in _CURVE:
        if mv <= at_mv:
            return below + (mv - below_mv) * (at - below) // (at_mv - below_mv) if at_mv > below_mv else at
        below_mv, below = at_mv, at
    return 100
