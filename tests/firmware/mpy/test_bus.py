import check
from device import bus


class Line:
    """An open drain on a wire that a resistor pulls up."""

    def __init__(self, wires, name):
        self._wires = wires
        self._name = name

    def value(self, level=None):
        return self._wires.see(self._name) if level is None else self._wires.drive(self._name, level)


class Wires:
    """A chip in the middle of a byte: it has `bits` to give, then it wants to be acknowledged; it shifts when SCL falls."""

    def __init__(self, bits=(), shorted=None):
        self.bits = list(bits)
        self.shorted = shorted
        self.levels = {"scl": 1, "sda": 1}
        self.stopped = False

    def see(self, name):
        held = name == "sda" and self.bits and self.bits[0] == 0
        return 0 if held or name == self.shorted else self.levels[name]

    def drive(self, name, level):
        before = self.levels[name]
        self.levels[name] = level
        if name == "scl" and before and not level and self.bits:
            self.bits.pop(0)
        if name == "sda" and level and not before and self.levels["scl"] and self.see("sda"):
            self.stopped = True

    def free(self):
        return bus.free(Line(self, "scl"), Line(self, "sda"))


def test_a_chip_at_any_bit_of_any_byte_lets_go_and_is_stopped():
    for byte in (0x00, 0x5A, 0x80, 0x01, 0xFE):
        for done in range(8):
            wires = Wires([byte >> bit & 1 for bit in range(7 - done, -1, -1)])
            check.true(wires.free(), (byte, done))
            check.true(wires.stopped, (byte, done))
            check.equal((wires.see("scl"), wires.see("sda")), (1, 1))


def test_a_wire_to_ground_is_not_freed():
    for shorted in ("scl", "sda"):
        wires = Wires(shorted=shorted)
        check.equal((wires.free(), wires.stopped), (False, False))


check.run(globals())
