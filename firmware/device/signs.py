"""Pure: what the LED tells a person who has no terminal, when the gateway has not been reached for a minute. So many
flashes, a pause, and again; firmware/README.md says what to do about each."""

from micropython import const

from device.clock import sooner, ticks_add, ticks_diff

NONE = const(0)
NO_NETWORK = const(2)  # of Wi-Fi: none of the settings' is in reach
WRONG_PASSWORD = const(3)
NO_GATEWAY = const(4)
UNTRUSTED = const(5)  # what answers cannot prove that it is our gateway
REFUSED = const(6)  # by the gateway: token or identity

_PATIENCE_MS = const(60000)  # a router that restarts is nobody's business
_LONGEST_MS = const(0x10000000)  # well below half the period of the ticks: `since` moves on
_FLASH_MS = const(200)
_DARK_MS = const(300)
_PAUSE_MS = const(2000)
_IDLE_MS = const(1000)


class Signs:
    def __init__(self, led):
        """`led` is called with True or False."""
        self._led = led
        self._since = None  # when the trouble began
        self._due = 0
        self._step = 0  # even: dark, and a flash is next
        self.showing = False

    def poll(self, now, trouble):
        """`trouble` is one of the above. Returns ms until the next call."""
        if not trouble:
            self._since = None
            self._dark()
            return _IDLE_MS
        if self._since is None:
            self._since = now
        lasted_ms = ticks_diff(now, self._since)
        if lasted_ms < _PATIENCE_MS:
            return _IDLE_MS
        if lasted_ms > _LONGEST_MS:
            self._since = ticks_add(now, -_PATIENCE_MS)
        if not self.showing:
            self.showing = True
            self._step = 0
            self._due = now
        if ticks_diff(now, self._due) >= 0:
            self._turn(now, trouble)
        return sooner(_IDLE_MS, self._due, now)

    def _turn(self, now, trouble):
        if self._step >= 2 * trouble:  # all flashes are done, or it is another trouble now, with fewer
            self._step = 0
            self._led(False)
            self._due = ticks_add(now, _PAUSE_MS)
            return
        lit = self._step % 2 == 0
        self._led(lit)
        self._step += 1
        self._due = ticks_add(now, _FLASH_MS if lit else _DARK_MS)

    def _dark(self):
        if self.showing:
            self.showing = False
            self._led(False)
