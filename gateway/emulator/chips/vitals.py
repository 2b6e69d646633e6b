# The radio of the board itself, as `vitals` sees it: WLAN.status("rssi") is read once per sample, and counted here.

import hardware as _hw
from chips import Chip as _Chip

_BEST = -38
_WORST = -84


class Chip(_Chip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self._home = -50 - self.random.below(18)  # where this board stands
        self._level = self._home

    def rssi(self):
        """Takes one sample."""
        # People and doors: a walk of a decibel or two that is drawn home.
        drawn = 1 if self._level < self._home - 4 else -1 if self._level > self._home + 4 else 0
        self._level = min(_BEST, max(_WORST, self._level + drawn + self.random.noise(2)))
        shown = _hw.page.get32(_hw.page.at["rssi"]) or self.signal("rssi", self._level * 1000) // 1000
        self.taken({"rssi": shown} if self.keeps_truth() else None)
        return shown

    def level(self):
        """What a scan shows. Not a sample."""
        return self._level

    def join_ms(self):
        """How long the access point takes."""
        return 100 + self.random.below(200)


class Radio(Chip):
    """Of a board whose profile has no vitals."""

    def taken(self, values=None):
        pass
