"""What the node's own outputs have, at once when it changes. Quantities are called after them: a relay's is 0 or 1, a
dimmer's percent, pixels' 0xRRGGBB."""


class Sensor:
    def __init__(self, outputs, config):
        """`outputs`: `device.outputs.make`."""
        self._outputs = outputs
        self._told = [-1 for _ in outputs]
        self.quantities = [(output.name, 0) for output in outputs]

    def changed(self):
        """Whether it is worth a sample now."""
        for i in range(len(self._told)):
            if self._outputs[i].value != self._told[i]:
                return True
        return False

    def read_into(self, values):
        self._outputs[0].pin.value()  # exactly once per sample, and nowhere else: emulation counts it
        for i in range(len(self._told)):
            self._told[i] = self._outputs[i].value
            values[i] = self._outputs[i].has()
