"""How often each of the node's buttons was pressed since the board started, at once when it is. Quantities are called
after them."""


class Sensor:
    def __init__(self, buttons, config):
        """`buttons`: of `device.buttons.Buttons`."""
        self._buttons = buttons
        self._told = [-1 for _ in buttons]
        self.quantities = [(button.name, 0) for button in buttons]

    def changed(self):
        """Whether it is worth a sample now."""
        for i in range(len(self._told)):
            if self._buttons[i].presses != self._told[i]:
                return True
        return False

    def read_into(self, values):
        self._buttons[0].pin.value()  # exactly once per sample, and nowhere else: emulation counts it
        for i in range(len(self._told)):
            values[i] = self._told[i] = self._buttons[i].presses
