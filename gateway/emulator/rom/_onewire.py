# `_onewire` as an ESP32 has it: slots on a wire, over the chips that are soldered to the pin. It is low where any of
# them pulls.

import hardware as _hw

_STUCK = 2  # of page.py's FAULTS
_MISSING = 1
_NACK = 4
_GARBAGE = 5


def _chips(pin):
    return _hw.onewire_chips.get(pin._id, ())


def _held(chips):
    """Whether somebody holds the wire low all the time."""
    for chip in chips:
        if chip.fault() == _STUCK:
            return True
    return False


def _awake(chip):
    fault = chip.fault()
    return fault != _MISSING and fault != _NACK


def reset(pin):
    """Whether somebody answered; also where the wire is held low, as on a board."""
    chips = _chips(pin)
    present = _held(chips)
    for chip in chips:
        if _awake(chip):
            chip.reset()
            present = True
    return present


def readbit(pin):
    chips = _chips(pin)
    bit = 0 if _held(chips) else 1
    for chip in chips:
        if _awake(chip):
            given = chip.read_bit()
            bit &= chip.random.below(2) if chip.fault() == _GARBAGE else given
    return bit


def writebit(pin, bit):
    for chip in _chips(pin):
        if _awake(chip):
            chip.write_bit(bit & 1)


def readbyte(pin):
    byte = 0
    for at in range(8):
        byte |= readbit(pin) << at
    return byte


def writebyte(pin, byte):
    for at in range(8):
        writebit(pin, byte >> at & 1)


def crc8(data):
    """X^8 + X^5 + X^4 + 1 (Maxim application note 27)."""
    crc = 0
    for byte in data:
        for _ in range(8):
            low = (crc ^ byte) & 1
            crc >>= 1
            if low:
                crc ^= 0x8C
            byte >>= 1
    return crc
