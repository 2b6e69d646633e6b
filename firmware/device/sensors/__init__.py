"""What drivers share. A driver is one file here, named like the chip; how to write one: firmware/README.md.

    QUANTITIES = (("temperature", 2), ("humidity", 2))    # what it measures, and the decimals of its integers
    class Sensor:
        def __init__(self, bus, config): ...              # raises OSError where the chip is absent
        def read_into(self, values): ...                  # one integer per quantity, or NULL; raises OSError
"""

NULL = -0x40000000
"""Not measured. The smallest integer that costs no memory on a 32-bit board."""


def fixed(value, decimals):
    """The float `value` as an integer with `decimals`; NULL for NaN and for what does not fit."""
    scaled = value * 10**decimals
    if not -0x3FFFFFFF <= scaled <= 0x3FFFFFFF:  # NaN fails too: it compares false with everything
        return NULL
    return int(scaled + 0.5) if scaled >= 0 else -int(0.5 - scaled)
