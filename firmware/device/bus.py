"""Shell: frees an I2C bus on which a chip holds the data line low (NXP UM10204, section 3.1.16, "Bus clear").

A chip that was interrupted in the middle of a byte, by a restart of the board or by a clock that it missed, still waits
for the rest of it. Where its next bit is a 0 it holds SDA low, and no controller can begin anything. After nine clocks
at most it is through with that byte, nobody has acknowledged it, and it lets go; a STOP ends what it was at.
"""

from micropython import const
from time import sleep_us

_CLOCKS = const(9)
_HALF_CLOCK_US = const(5)  # 100 kHz, which every chip can follow


def free(scl, sda):
    """Whether the bus is free now. `scl`, `sda`: its pins as open drains, released; nobody else uses them meanwhile."""
    for _ in range(_CLOCKS):  # all of them: that SDA is high may just be a 1 among the bits that are to come
        _move(scl, 0)
        _move(scl, 1)
    if not sda.value() or not scl.value():
        return False  # no chip does that: a wire, or one without power
    _move(scl, 0)
    _move(sda, 0)
    _move(scl, 1)
    _move(sda, 1)
    return True


def _move(line, level):
    line.value(level)
    sleep_us(_HALF_CLOCK_US)
