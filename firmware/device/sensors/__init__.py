"""What drivers share. A driver is one file here, named like the chip; how to write one: firmware/README.md.

    QUANTITIES = (("temperature", 2), ("humidity", 2))    # what it measures, and the decimals of its integers
    class Sensor:
        def __init__(self, bus, config): ...              # raises OSError where the chip is absent
        def read_into(self, values): ...                  # one integer per quantity, or NULL; raises OSError

A chip that takes long to measure need not hold up the others:

        lead_ms = 750                                     # how long
        def begin(self): ...                              # so long before a sample is due: read_into only fetches. Or
                                                          # it was not called: read_into begins, and waits

A chip that measures by itself, and keeps what it measured in a FIFO, each `period_ms` by its own clock:

        left                                              # samples that were fetched and not read yet
        fetch_ms = 1000                                   # how often, where a tenth of a second or `period_ms` is wrong
        def fetch(self): ...                              # sets `left`, then fetches all; True: it had overflowed
        def read_into(self, values): ...                  # the oldest of them, and one less is `left`

A driver that knows when there is something new, and need not wait for its period:

        def changed(self): ...                            # True: take a sample now
"""

MISSING = "missing"  # no chip answers
BUS_STUCK = "bus_stuck"  # somebody holds a line of the bus, or the bus timed out
CRC = "crc"  # what came is not what the chip sent
RANGE = "range"  # beyond what its data sheet says it can give
BUSY = "busy"  # it never becomes ready
WRONG_CHIP = "wrong_chip"  # another one answers at its address

EIO = 5
ENODEV = 19
ETIMEDOUT = 116  # of an ESP32; other ports: 110


class SensorError(OSError):
    """A chip that fails, and how: `why` is one of the words above. A bus tells two of them by itself, with a plain
    OSError (ENODEV: missing, ETIMEDOUT: bus_stuck), so a driver need not."""

    def __init__(self, why, errno=EIO):
        super().__init__(errno)
        self.why = why


def why(error):
    """Why reading failed, or None where it is none of the words above."""
    if isinstance(error, SensorError):
        return error.why
    errno = error.errno if isinstance(error, OSError) else None
    return MISSING if errno == ENODEV else BUS_STUCK if errno in (ETIMEDOUT, 110) else None


NULL = -0x40000000
"""Not measured. The smallest integer that costs no memory on a 32-bit board."""


def fixed(value, decimals):
    """The float `value` as an integer with `decimals`; NULL for NaN and for what does not fit."""
    scaled = value * 10**decimals
    if not -0x3FFFFFFF <= scaled <= 0x3FFFFFFF:  # NaN fails too: it compares false with everything
        return NULL
    return int(scaled + 0.5) if scaled >= 0 else -int(0.5 - scaled)
