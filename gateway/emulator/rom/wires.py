# The two wires of an I2C bus: who answers on them, and what goes wrong (board.fault, in the hardware page).

import hardware as _hw
from chips import Random

_ENODEV = 19
_ETIMEDOUT = 116

# As in gateway/emulator/page.py: FAULTS.
_MISSING = 1  # nobody acknowledges
_STUCK = 2  # the chip has lost its clock in the middle of a byte and holds SDA low until it has got nine more
_CRC = 3  # one bit of what is read arrives wrong
_NACK = 4  # every other time, by chance, nobody acknowledges
_GARBAGE = 5  # what is read is noise

_CLOCKS = 9  # a byte and its acknowledgement: whatever the chip was at, it is through with it


class Wires:
    """`scl` and `sda` are pins; `chips` what is soldered to them, by address."""

    def __init__(self, scl, sda, seed):
        self.chips = {}
        self._random = Random(seed)
        self._driven = (_hw.page.at["driven"] + scl, _hw.page.at["driven"] + sda)
        self._high = True
        self._clocks = 0

    def chip(self, address):
        """The chip that acknowledges `address`. OSError as an ESP32's controller gives it."""
        if self.sda_is_low() or _hw.page.get8(self._driven[0]) == 1:
            raise OSError(_ETIMEDOUT)
        chip = self.chips.get(address)
        if chip is None:
            raise OSError(_ENODEV)
        fault = chip.fault()
        if fault == _MISSING or fault == _NACK and self._random.below(2):
            raise OSError(_ENODEV)
        return chip

    def spoil(self, chip, buffer):
        """What was read of `chip`, as it arrives."""
        fault = chip.fault()
        if fault == _CRC:
            buffer[self._random.below(len(buffer))] ^= 1 << self._random.below(8)
        elif fault == _GARBAGE:
            for at in range(len(buffer)):
                buffer[at] = self._random.below(256)

    # As pins show them.

    def sda_is_low(self):
        """Whether somebody holds it down: a chip that is stuck, or a wire to ground (board.drive)."""
        for address in self.chips:
            if self.chips[address].fault() == _STUCK:
                return True
        return _hw.page.get8(self._driven[1]) == 1

    def drive_scl(self, level):
        """The program moves SCL by hand."""
        if level and not self._high:
            self._clocks += 1
            if self._clocks >= _CLOCKS:
                self._clocks = 0
                for address in self.chips:
                    chip = self.chips[address]
                    if chip.fault() == _STUCK:
                        chip.heal()
        self._high = bool(level)
