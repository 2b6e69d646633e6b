"""Pure: lines for a person, on the console and, the more important ones, for the gateway."""

from micropython import const

_KEPT = const(8)  # lines that wait for a connection; of more, the oldest go
_MAX_TEXT = const(200)


def clean(text):
    """`text`, which may come from outside, made harmless for consoles and frames: one line of 200 characters at most,
    no half characters (MicroPython takes \\ud800 in JSON for one, and would write it out as invalid UTF-8)."""
    return "".join(c if _harmless(ord(c)) else "?" for c in text[:_MAX_TEXT])


def _harmless(code):
    return 32 <= code < 127 or code >= 0xA0 and not 0xD800 <= code < 0xE000


class Log:
    def __init__(self, clock):
        self._clock = clock
        self._lines = []  # (t_ms, level, text), oldest first

    def __call__(self, level, text):
        """`level`: info, warning or error."""
        text = clean(text)
        t_ms = self._clock.uptime_ms()
        print("%d.%03d %s %s" % (t_ms // 1000, t_ms % 1000, level, text))
        # what says the same as the one before, as each attempt of an outage does, must not push out why it began
        if level != "info" and not (self._lines and self._lines[-1][2] == text):
            if len(self._lines) == _KEPT:
                self._lines.pop(0)
            self._lines.append((t_ms, level, text))

    def waiting(self):
        """Whether there is a line that was not sent."""
        return bool(self._lines)

    def next_line(self):
        """The oldest line that was not sent, or None. Counts as sent from now on: lines are not acknowledged."""
        return self._lines.pop(0) if self._lines else None
