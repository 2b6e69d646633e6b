"""What a person presses (`inputs` of the profile). Each press is counted, and may switch an output: here, so that it
does with and without a gateway.

A press is a level that holds for two looks, 20 ms apart: contacts bounce for some milliseconds, and a relay nearby
makes pulses of microseconds. While the board cannot look (the handshake of TLS takes a second) an interrupt remembers
that somebody pressed; where an output was switched meanwhile, it may have been that, and only a level counts.
"""

import machine
from micropython import const

from device.clock import ticks_diff

LOOK_MS = const(20)
_SETTLED_MS = const(30)
_BLIND_MS = const(80)  # so long between two looks, and a press may have come and gone


class Button:
    def __init__(self, config, output, now):
        """`output`: what it switches, or None."""
        pin = machine.Pin
        low = config["active"] == "low"
        self.name = config["name"]
        self.output = output
        self.presses = 0
        self.pin = pin(config["pin"], pin.IN, pin.PULL_UP if low else pin.PULL_DOWN)
        self._active = 0 if low else 1
        self._down = self.pin() == self._active  # held at the start: no press of ours
        self._moved = False
        self._looked = self._agreed = now
        self.pin.irq(self._note, pin.IRQ_FALLING | pin.IRQ_RISING)

    def _note(self, pin):
        self._moved = True

    def pressed(self, now, disturbed):
        """Whether it has been pressed since the last look. `disturbed`: an output was switched since then."""
        moved, self._moved = self._moved, False
        blind = ticks_diff(now, self._looked) > _BLIND_MS
        self._looked = now
        down = self.pin() == self._active
        if blind and moved:
            there_and_back = not down and not self._down and not disturbed
            self._down = down
            self._agreed = now
            return down or there_and_back
        if down == self._down or blind:
            self._agreed = now
            return False
        if ticks_diff(now, self._agreed) < _SETTLED_MS:
            return False
        self._down = down
        return down


class Buttons:
    def __init__(self, configs, outputs, now):
        switched = {output.name: output for output in outputs}
        self._outputs = outputs
        self._switched = 0
        self.all = [Button(config, switched.get(config.get("toggles")), now) for config in configs]

    def poll(self, now):
        """Counts and switches. Returns ms until the next look."""
        switched = 0
        for output in self._outputs:
            switched += output.switched
        disturbed = switched != self._switched
        self._switched = switched
        for button in self.all:
            if button.pressed(now, disturbed):
                button.presses += 1
                if button.output is not None:
                    button.output.toggle()
        return LOOK_MS
