# `esp32`, as far as our firmware asks.

import hardware as _hw
import signals as _signals


def mcu_temperature():
    """Degrees Celsius inside the chip: a warm radio over the room's daily curve."""
    return 24 + _signals.room_mc(_hw.wall_ms(), _hw.circuit["seed"]) // 1000
