"""What the gateway may ask for: name to action, then exactly one result (WIRE.md, sections 4 and 5).

Results are kept until they are acknowledged and sent again after a reconnect. A command that comes twice gets the
result it got before and is not executed again. None is forgotten before its acknowledgement: where too many wait, a new
command is refused.

A restart forgets the results. So a command that acts is written to flash before it acts (executed.py): one that comes
again afterwards is answered `done` where it had ended, and `unknown` where nobody can tell how far it came. What has no
effect (`ping`, and what is refused) may be answered anew and is not written.
"""

import gc
from micropython import const

from device import wire
from device.clock import sooner, ticks_add, ticks_diff
from device.log import clean

_KEPT = const(8)  # results; of more, those are forgotten that were acknowledged
_MOST = const(32)  # results without acknowledgement: as many as the gateway has commands open, and executed.py ids
_RESTART_WAIT_MS = const(3000)  # for the acknowledgement of its result
_BLINK_MS = const(125)


class Wrong(Exception):
    """The arguments do not fit. The text goes back to whoever asked."""


class NotWritten(Exception):
    """That a command begins could not be written to flash, so it must not."""


class Commands:
    def __init__(self, clock, led, executed, outputs=()):
        """`led` is called with True or False; `executed` remembers over a restart what was begun; each of `outputs`
        has a command of its name."""
        self._clock = clock
        self._led = led
        self._executed = executed
        self._results = []  # [id, frame, acknowledged, sent on this connection], oldest first
        self._blinks = 0
        self._blink_due = 0
        self._restart_id = None
        self._restart_due = 0
        self._actions = {"ping": self._ping, "identify": self._identify, "restart": self._restart}
        for output in outputs:
            self._actions[output.name] = self._switching(output)

    def execute(self, command, now):
        """Acts on a command as `wire.decode` gives it. Returns None, or the frame that refuses it: to be sent at once,
        and kept nowhere, so that a flood of commands costs no memory."""
        id = command["id"]
        for kept in self._results:
            if kept[0] == id:
                kept[2] = kept[3] = False
                return None
        before = self._before(id)
        if not self._room():
            return before or _failed(id, "command.busy", "%d results wait to be acknowledged" % _MOST)
        self._results.append([id, before or self._act(id, command, now), False, False])
        return None

    def _before(self, id):
        """The result of a command that was begun before this start. None: it was not."""
        ended = self._executed.look(id)
        if ended is None:
            return None
        if ended:
            return wire.result(id, "done")
        return wire.result(id, "unknown", error=("command.interrupted", "the board was restarted in the middle"))

    def _act(self, id, command, now):
        action = self._actions.get(command["name"])
        if action is None:
            return _failed(id, "command.unknown", "no command '%s'" % clean(command["name"]))
        if command["deadline_ms"] <= 0:
            return _failed(id, "command.expired", "it came too late")
        try:
            return wire.result(id, "done", action(id, command["args"], now))
        except Wrong as error:
            return _failed(id, "command.args", str(error))
        except NotWritten as error:
            return _failed(id, "command.flash", "flash cannot be written (%s), so it was not carried out" % error)

    def _begin(self, id, ended=False):
        """The last step before an action has an effect."""
        try:
            self._executed.begin(id, ended)
        except OSError as error:
            raise NotWritten(error) from None

    def _end(self, id):
        """The first step after it. Where flash fails, a restart finds it begun and answers `unknown`."""
        try:
            self._executed.end(id)
        except OSError:
            pass  # the result tells how it ended; only a restart before its acknowledgement would have to ask flash

    def _room(self):
        """Whether one more result can be kept; acknowledged ones make way for it, the oldest first."""
        results = self._results
        at = 0
        while len(results) >= _KEPT and at < len(results):
            if results[at][2]:
                results.pop(at)
            else:
                at += 1
        return len(results) < _MOST

    # -- the actions: each takes (id, args, now) and returns the result's data. One with an effect calls `_begin` when
    # -- nothing can be wrong any more, and `_end` after it.

    def _ping(self, id, args, now):
        return {"uptime_ms": self._clock.uptime_ms(), "free_heap": gc.mem_free()}

    def _identify(self, id, args, now):
        seconds = args.get("seconds", 5)
        if type(seconds) is not int or not 1 <= seconds <= 60:
            raise Wrong("'seconds' is a whole number from 1 to 60")
        self._begin(id)
        self._blinks = seconds * 1000 // _BLINK_MS
        self._blink_due = now
        self._end(id)
        return None

    def _restart(self, id, args, now):
        self._begin(id, ended=True)  # whatever comes between this and the restart is a restart itself
        self._restart_id = id
        self._restart_due = ticks_add(now, _RESTART_WAIT_MS)
        return None

    def _switching(self, output):
        def switch(id, args, now):
            try:
                value = output.wanted(args)
            except ValueError as error:
                raise Wrong(str(error))
            self._begin(id)
            output.set(value)
            self._end(id)
            return {output.name: value}

        return switch

    # -- results -------------------------------------------------------------------------------------------------------

    def next_result(self):
        """A frame that is to be sent, or None. Counts as sent from now on."""
        for kept in self._results:
            if not kept[2] and not kept[3]:
                kept[3] = True
                return kept[1]
        return None

    def ack(self, id):
        for kept in self._results:
            if kept[0] == id:
                kept[2] = True
                if id == self._restart_id:
                    self._restart_due = None

    def pending(self):
        """Whether a result waits for its acknowledgement."""
        for kept in self._results:
            if not kept[2]:
                return True
        return False

    def resume(self):
        """A new connection: whatever was not acknowledged is sent again."""
        for kept in self._results:
            kept[3] = False

    def at_rest(self):
        """Whether nothing is under way. A result that nobody has acknowledged is kept by flash, as over a restart."""
        return not (self._blinks or self._restart_id)

    # -- time ----------------------------------------------------------------------------------------------------------

    def poll(self, now):
        """Blinks. Returns ms until the next blink."""
        if not self._blinks:
            return 1000
        if ticks_diff(now, self._blink_due) >= 0:
            self._blinks -= 1
            self._led(self._blinks & 1 == 1)
            self._blink_due = ticks_add(now, _BLINK_MS)
        return sooner(1000, self._blink_due, now)

    def blinking(self):
        """Whether `identify` has the LED."""
        return self._blinks > 0

    def restart_due(self, now):
        """Whether to restart now: the result of `restart` has been acknowledged, or nobody did in time."""
        if self._restart_id is None:
            return False
        return self._restart_due is None or ticks_diff(now, self._restart_due) >= 0


def _failed(id, code, text):
    return wire.result(id, "failed", error=(code, text))
