"""What a node switches (`outputs` of the profile): relays, dimmers, pixels. Each start begins with all at rest: after a
power cut nobody knows whether what was on may be on again.

`value` is what an output has: 0 or 1, percent, 0xRRGGBB; 0 is at rest.
"""

import machine


class _Output:
    ARGS = ()  # of its command, from the highest byte of its value to the lowest: name, largest, where it is left out
    FULL = 1  # the value that it is first switched on to

    def __init__(self, config):
        self.name = config["name"]
        self.value = 0
        self.switched = 0  # how often: a relay disturbs what is near it
        self._on = self.FULL  # what a button switches it on to: what it had last
        self._rest = 1 if config["active"] == "low" else 0
        self.pin = machine.Pin(config["pin"], machine.Pin.OUT, value=self._rest)

    def wanted(self, args):
        """The value that `args` of its command ask for. Raises ValueError with a sentence."""
        value = 0
        for name, largest, usual in self.ARGS:
            part = args.get(name, usual)
            if type(part) is not int or not 0 <= part <= largest:
                raise ValueError("'%s' is a whole number from 0 to %d" % (name, largest))
            value = value << 8 | part
        return value

    def set(self, value):
        self.switched = self.switched + 1 & 0xFFFF
        self._put(value)
        self.value = value
        if value:
            self._on = value

    def toggle(self):
        self.set(0 if self.value else self._on)

    def has(self):
        """What it has, as far as the board can tell."""
        return self.value


class Relay(_Output):
    ARGS = (("on", 1, 1),)

    def _put(self, on):
        self.pin.value(on ^ self._rest)

    def has(self):
        return self.pin() ^ self._rest  # a short circuit shows


class Dimmer(_Output):
    ARGS = (("percent", 100, 100),)
    FULL = 100

    def __init__(self, config):
        super().__init__(config)
        self._hz = config["frequency_hz"]
        self._pwm = None

    def _put(self, percent):
        if 0 < percent < 100:
            duty = (100 - percent if self._rest else percent) * 65535 // 100
            if self._pwm is None:
                self._pwm = machine.PWM(self.pin, freq=self._hz, duty_u16=duty)
            else:
                self._pwm.duty_u16(duty)
            return
        if self._pwm is not None:
            self._pwm.deinit()
            self._pwm = None
        self.pin.init(machine.Pin.OUT, value=(percent > 0) ^ self._rest)  # a level, with no pulse in it


class Pixels(_Output):
    """All in one colour."""

    ARGS = (("red", 255, 0), ("green", 255, 0), ("blue", 255, 0))
    FULL = 0xFFFFFF

    def __init__(self, config):
        super().__init__(config)
        import neopixel  # most nodes have none

        self._row = neopixel.NeoPixel(self.pin, config["count"])
        if config["order"] == "RGB":
            self._row.ORDER = (0, 1, 2, 3)
        self._put(0)  # they have kept their colour through the reset

    def _put(self, colour):
        self._row.fill((colour >> 16, colour >> 8 & 255, colour & 255))
        self._row.write()


def make(configs):
    """The outputs that have a command: all but LEDs. Raises ValueError where a pin or a kind is none."""
    return [_make(config) for config in configs if config["kind"] != "led"]


def _make(config):
    kind = config["kind"]
    if kind == "relay":
        return Relay(config)
    if kind == "dimmer":
        return Dimmer(config)
    if kind == "pixels":
        return Pixels(config)
    raise ValueError("an output of kind '%s' is not supported" % kind)
