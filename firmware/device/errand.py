"""Pure: when a board that sleeps goes to the gateway, and for how long. Wi-Fi takes a hundred times what a sleeping
board takes, so a gateway that is away must not keep it awake, nor make it try at each wake.

All times are milliseconds of uptime, which goes on in deep sleep.
"""

from micropython import const

_PATIENCE_MS = const(20000)  # without anything acknowledged: joining takes 2 to 5 s, TLS 1 to 3
_LONGEST_MS = const(600000)  # what is not sent then is for the next time
LINGER_MS = const(250)  # when all is acknowledged: commands that have waited come right behind `welcome`
_EARLY_MS = const(5000)  # a wake that comes so little before its time does not leave it to the next one
_FIRST_RETRY_MS = const(60000)
_LAST_RETRY_MS = const(3600000)


class Errand:
    def __init__(self, send_every_ms, tries=0, due_ms=0):
        """`tries`: how many failed in a row. `due_ms`: when the next one is due."""
        self._send_every_ms = send_every_ms
        self.tries = tries
        self.due_ms = due_ms
        self._began_ms = self._progress_ms = 0
        self._backlog = 0
        self._acked = False
        self._done_ms = None

    def due(self, now_ms, crowded):
        """Whether to go now. `crowded`: what is held would soon have to go to flash."""
        return now_ms + _EARLY_MS >= self.due_ms or crowded and not self.tries

    def wait_ms(self, now_ms):
        """How long it is until a wake is one for the next errand."""
        return self.due_ms - _EARLY_MS - now_ms

    def begin(self, now_ms, backlog):
        self._began_ms = self._progress_ms = now_ms
        self._backlog = backlog
        self._acked = False
        self._done_ms = None

    def over(self, now_ms, online, backlog, at_rest):
        """Whether that was it: all is done, or it takes too long. `at_rest`: nothing but records is to be sent."""
        if online and backlog < self._backlog:
            self._progress_ms = now_ms
            self._acked = True
        self._backlog = backlog
        if not online or backlog or not at_rest:
            self._done_ms = None
        elif self._done_ms is None:
            self._done_ms = now_ms
        done = self._done_ms is not None and now_ms >= self._done_ms + LINGER_MS
        if not done and now_ms < min(self._progress_ms + _PATIENCE_MS, self._began_ms + _LONGEST_MS):
            return False
        if done or self._acked:
            self.tries = 0
            self.due_ms = self._began_ms + self._send_every_ms
        else:
            retry_ms = min(_FIRST_RETRY_MS << min(self.tries, 6), _LAST_RETRY_MS)
            self.tries = min(self.tries + 1, 255)
            self.due_ms = self._began_ms + max(self._send_every_ms, retry_ms)
        return True
