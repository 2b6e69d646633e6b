"""When a boot began in Unix time, and how well that is known (WIRE.md, section 7). Pure.

One `BootTime` per boot outlives its connections. The first of these that holds gives the time:

anchored   there was an exchange, and the wall clock was trusted once since: the boot keeps the wall as it was then
stored     the store knows its zero from before the gateway started: it goes on with that; where it was corrected, only
           as an estimate
heard      an exchange or arrivals, and a wall clock that is not trusted, or no exchange yet: estimated
placed     it had ended before the gateway heard of it: it ends where the next boot begins: estimated

So what the wall clock does later moves nothing that is anchored or stored. What was estimated is corrected, once, when
the time is known (`settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.device.slept import Known, goes_forward
from gateway.device.timesync import DRIFT, SLEEP_DRIFT, BootClock, Exchange
from gateway.model import Event, Quality, Record, Sample
from gateway.store.port import Committed


class Now(NamedTuple):
    """The time at which something happened to a connection."""

    monotonic_ms: int
    wall_ms: int
    trusted: bool = True
    """Whether the wall clock is known to be right."""

    @property
    def wall_offset_ms(self) -> int:
        """Unix milliseconds at monotonic zero, by the wall clock as it is now."""
        return self.wall_ms - self.monotonic_ms


class Mark(NamedTuple):
    """The newest record of a boot, and how it was stamped."""

    t_ms: int
    offset_ms: int
    round: int | None
    """How many corrections came before; None where it is stamped for good."""


SLACK_MS: Final = 5
"""The wall and the monotonic clock are rounded, each for itself: so far apart they are still in step."""
CONTINUE_MS: Final = 2_000
"""A stored zero that differs from the wall clock by more is not explained by drift."""
SETTLE_MS: Final = 10_000
"""For so long after the first exchange a better one replaces its error; what comes later is drift."""
ALONE_MS: Final = 600_000
"""So long before the first exchange of a boot that sleeps, its clock may be half a minute off."""
_NEVER: Final = -(1 << 63)
SILENT_MS: Final = 30_000
"""A boot that has answered no clock question for so long, while the wall clock was trusted, is taken to answer none."""


class BootTime:
    """Milliseconds since boot to Unix milliseconds, for one boot."""

    def __init__(self) -> None:
        self.sleeps = False
        """The board sleeps: between connections its clock may be off by percents (slept.py)."""
        self.clock = BootClock()
        """On our monotonic clock."""
        self.next: BootTime | None = None
        """The boot that followed. None: it runs, or nothing is known of the one behind it."""
        self.floor_ms: int | None = None
        """Unix milliseconds before which it cannot have begun."""
        self.mark: Mark | None = None
        """As of the last commit of this process."""
        self.stored_mark: Mark | None = None
        """As the store had it at the last hello: exact to a few milliseconds."""
        self.moved_ms: int | None = None
        """By how much the wall clock differed from a stored zero, where that is more than drift; for the log."""
        self._exchanged: Known | None = None
        """Of a boot that sleeps: as the best exchange of the connection before had it."""
        self._newest_t_ms = 0
        self._anchor_ms: int | None = None
        """Unix milliseconds at monotonic zero, as the wall clock had it when the boot was anchored."""
        self._stored_ms: int | None = None
        """Its zero in Unix milliseconds, as the store has it."""
        self._stored_sure = False
        """That is from an exchange."""
        self._stored_guess_at_ms: int | None = None
        """Time of the newest record the store has, where some of what it has is estimated: its `t` is not known."""
        self._stored_until_ms: int | None = None
        """Monotonic: until then the anchor gives way to a better exchange, and the stored zero stays."""
        self._guess_ms: int | None = None
        """Unix milliseconds at monotonic zero, for what is estimated."""
        self._unsure = False
        """`_guess_ms` is of a wall clock that was not trusted."""
        self._silent_from_ms: int | None = None
        self._owed = False
        """There is, or may be, something of it in the store that has quality `estimated`."""
        self._owed_doubt = False
        """Some of that was stamped while `doubtful`."""
        self._owed_from: tuple[int, Mark | None] | None = None
        """Time of the first record that is owed, and the mark before it; None where another process stamped it."""
        self._unwatched = False
        """Some of that is for ever: see `unwatched`."""
        self._asked = False
        """A correction is under way."""
        self._corrections: list[int] = []
        """The offset of each, in order."""

    # What is learnt

    def stored(self, zero_ms: int | None, last_at_ms: int | None, *, estimated: bool, corrected: bool = False) -> None:
        """What the store knows of it, when a hello lists it: see `Committed`."""
        self._owed = self._owed or (estimated and not self._asked and not self._unwatched)
        self._stored_guess_at_ms = last_at_ms if estimated else None
        if zero_ms is None:
            return
        if last_at_ms is not None and not estimated:
            self.stored_mark = Mark(last_at_ms - zero_ms, zero_ms, None)
        if not self.synced and not self.clock.synced:
            self._stored_ms, self._stored_sure = zero_ms, not corrected and not self.sleeps

    @property
    def newest_mark(self) -> Mark | None:
        """The later of the two: what another process, or a connection that was cut off, committed is known by the
        store alone."""
        if self.mark is None or self.stored_mark is None or self.mark.round is not None:
            return self.mark or self.stored_mark
        return max(self.mark, self.stored_mark, key=lambda mark: mark.t_ms + mark.offset_ms)

    def holds(self, t_ms: int) -> None:
        """It has a record of that time."""
        self._newest_t_ms = max(self._newest_t_ms, t_ms)

    def arrived(self, t_ms: int, now: Now) -> None:
        """Something measured at `t_ms` is here now. Of a boot that has ended this says nothing: it may have waited."""
        self.holds(t_ms)
        if self.next is None:
            self.clock.arrived(t_ms, now.monotonic_ms)

    def clock_went_on(self) -> None:
        """A new connection."""
        best = self.clock.best
        if not self.sleeps:
            return
        if best is not None and self._anchor_ms is not None:
            self._exchanged = Known(best.device_t_ms, best.offset_ms + self._anchor_ms)
        self.clock.slept()

    def exchange(self, exchange: Exchange, now: Now) -> Exchange:
        """Take an answer into account; returns the best. Call `settle` next, of all boots."""
        best = self.clock.exchange(exchange)
        self._anchor(now)
        return best

    # What follows

    @property
    def synced(self) -> bool:
        """Whether what is stamped now never moves again."""
        return self._anchor_ms is not None or self._stored_sure

    @property
    def doubtful(self) -> bool:
        """Its time is that of a wall clock nobody vouched for, so it moves when the date becomes known."""
        if self.synced:
            return False
        if self.next is None or self.clock.offset_ms() is not None:
            return self._unsure
        return self.next.doubtful

    def zero_ms(self, now: Now) -> int:
        """Unix milliseconds at its zero, as far as is known."""
        clock_ms = self.clock.offset_ms()
        if self._anchor_ms is not None and clock_ms is not None:
            return clock_ms + self._anchor_ms
        if self._stored_ms is not None:
            return self._stored_ms
        if self.next is None or self.clock.synced:
            return self._heard_ms(clock_ms, now)
        placed_ms = self.next.zero_ms(now) - self._newest_t_ms
        return placed_ms if clock_ms is None else min(placed_ms, self._heard_ms(clock_ms, now))

    def stamp(self, first_t_ms: int | None, before: Mark | None, now: Now) -> tuple[int, Quality]:
        """Unix milliseconds at its zero for records from `first_t_ms` on (None: they have no time), and how good it is.

        `before` is the newest record before them: nothing is stamped earlier than that one, so that the order within
        a boot stays whatever exchanges and clocks do. What that costs lies within the error of the earlier stamp."""
        bound_ms = self._bound_ms(first_t_ms, before) if before else self._bound_by_guess_ms(first_t_ms)
        offset_ms = max(self.zero_ms(now), bound_ms)
        if self.synced:
            return offset_ms, Quality.SYNCED
        if not self._owed or self._owed_from is None:
            self._owed_from = (self._newest_t_ms if first_t_ms is None else first_t_ms, before)
        self._owed, self._owed_doubt = True, self._owed_doubt or self.doubtful
        return offset_ms, Quality.ESTIMATED

    def since(self, before: Mark | None) -> tuple[Known, Known] | None:
        """Of a boot that sleeps: between what its clock is known to have drifted, the newest record or the exchange
        before the connection, and this one's. None: it is not known."""
        best = self.clock.best
        if not self.sleeps or best is None or self._anchor_ms is None:
            return None
        until = Known(best.device_t_ms, best.offset_ms + self._anchor_ms)
        found = [known for known in (self._known(before), self._exchanged) if known and goes_forward(known, until)]
        return (max(found), until) if found else None

    def unwatched(self, first_t_ms: int, last_t_ms: int, before: Mark | None, now: Now) -> int | None:
        """The offset of what a boot that sleeps took with a known time on one side of it alone, and far away: nothing
        will ever tell how wrong its clock was there. None: it is not so."""
        best = self.clock.best
        if not self.sleeps or best is None:
            return None
        offset_ms = self.zero_ms(now)
        known = self.since(before)
        if self.next is not None and last_t_ms > best.device_t_ms + SETTLE_MS:  # behind the last: it had ended by then
            offset_ms = min(offset_ms, self.next.zero_ms(now) - max(self._newest_t_ms, last_t_ms))
        elif (known[0].t_ms if known else best.device_t_ms) - first_t_ms <= ALONE_MS:
            return None
        self._unwatched = True
        return max(offset_ms, self._bound_ms(first_t_ms, before))

    def mark_of(self, t_ms: int, offset_ms: int, quality: Quality) -> Mark:
        """The mark of a record that was stamped so just now."""
        return Mark(t_ms, offset_ms, len(self._corrections) if quality is Quality.ESTIMATED else None)

    # Corrections

    def settle(self, now: Now) -> int | None:
        """The offset that its `estimated` records are to be corrected to, once. None: there are none, nothing better is
        known yet, or they are being corrected. Answer with `corrected` or `not_corrected`. Of several boots the newest
        comes first: the others are placed by it."""
        self._anchor(now)
        if not self.synced:
            self._believe_the_wall(now)
        if not self._owed or self._asked or not (self.synced or (self._owed_doubt and not self.doubtful)):
            return None
        if self._owed_from is not None or not self._corrections:
            bound_ms = _NEVER if self._owed_from is None else self._bound_ms(*self._owed_from)
            self._corrections.append(max(self.zero_ms(now), bound_ms))
        self._owed = self._owed_doubt = False
        self._owed_from = None
        self._asked = True
        return self._corrections[-1]

    def corrected(self) -> None:
        """The store has corrected what was there."""
        self._asked = False

    def not_corrected(self) -> None:
        """Nobody knows whether the store has: `settle` says it again."""
        self._owed = self._owed_doubt = True
        self._asked = False

    def next_began_after_ms(self, t_ms: int) -> float | None:
        """Milliseconds from `t_ms` of this boot to the beginning of the next one, at most. By exchanges of both, on the
        monotonic clock. None where one of them is missing, or where the wall clock has not kept step with it between
        the two: it may have been set, but the monotonic one may have stood still as well (a sleep, not on Linux)."""
        if self.next is None or self._anchor_ms is None or self.next._anchor_ms is None:
            return None
        ours, theirs = self.clock.best, self.next.clock.best
        apart_ms = abs(self._anchor_ms - self.next._anchor_ms)
        if ours is None or theirs is None or apart_ms > CONTINUE_MS:
            return None
        at_ms = ours.offset_ms + t_ms
        error_ms = ours.error_ms(at_ms, self._drift) + theirs.error_ms(theirs.offset_ms, self.next._drift)
        error_ms += apart_ms + SLACK_MS
        return max(0.0, theirs.offset_ms - at_ms + error_ms)

    @property
    def awaits(self) -> bool:
        """Whether its records may still be corrected: it is to be remembered though it holds nothing any more."""
        return self._asked or (self._owed and (self.synced or self.clock.synced or self._owed_doubt))

    # Parts of these

    @property
    def _drift(self) -> float:
        return SLEEP_DRIFT if self.sleeps else DRIFT

    def _anchor(self, now: Now) -> None:
        best = self.clock.best
        if best is None:
            return
        if self._anchor_ms is None and not self._stored_sure:
            self._anchor_ms = now.wall_offset_ms if now.trusted else None
        elif self._anchor_ms is None:
            self._go_on(best, now)
        elif self._stored_ms is not None and self._stored_sure and self._stored_until_ms is not None:
            if now.monotonic_ms <= self._stored_until_ms:
                self._anchor_ms = self._stored_ms - best.offset_ms
            else:
                self._stored_until_ms = None

    def _go_on(self, best: Exchange, now: Now) -> None:
        """Anchor a boot whose zero the store has. Only forward, and only where that is no drift: otherwise what comes
        would lie before, or between, what is stored."""
        assert self._stored_ms is not None  # noqa: S101  for mypy: that is when this is called
        moved_ms = best.offset_ms + now.wall_offset_ms - self._stored_ms
        since_ms = best.device_t_ms - (0 if self.stored_mark is None else self.stored_mark.t_ms)
        drifted_ms = min(CONTINUE_MS, best.round_trip_ms / 2 + DRIFT * abs(since_ms) + SLACK_MS)
        if not now.trusted or abs(moved_ms) <= drifted_ms:
            moved_ms = 0
        self.moved_ms = moved_ms or None
        self._anchor_ms = self._stored_ms - best.offset_ms + max(0, moved_ms)
        if moved_ms <= 0:
            self._stored_until_ms = now.monotonic_ms + SETTLE_MS

    def _heard_ms(self, clock_ms: int | None, now: Now) -> int:
        """By the wall clock as it was when this was first asked. One that is not trusted may go forward, and is no
        earlier than what the store has of the boots before."""
        if self._guess_ms is None:
            self._guess_ms, self._unsure = now.wall_offset_ms, not now.trusted
        elif self._unsure and not now.trusted and now.wall_offset_ms > self._guess_ms + SLACK_MS:
            self._guess_ms = now.wall_offset_ms
        if clock_ms is None:
            return now.monotonic_ms + self._guess_ms
        if self._unsure and self.floor_ms is not None:
            self._guess_ms = max(self._guess_ms, self.floor_ms - clock_ms)
        return clock_ms + self._guess_ms

    def _believe_the_wall(self, now: Now) -> None:
        """Estimate by a wall clock that is trusted now, where no exchange is to be expected any more."""
        if not self._unsure or not now.trusted:
            return
        if self._silent_from_ms is None:
            self._silent_from_ms = now.monotonic_ms
        if self.next is not None or now.monotonic_ms >= self._silent_from_ms + SILENT_MS:
            self._guess_ms, self._unsure = now.wall_offset_ms, False

    def _known(self, mark: Mark | None) -> Known | None:
        """Where that record lies, if that does not move any more."""
        if mark is None:
            return None
        if mark.round is None:
            return Known(mark.t_ms, mark.offset_ms)
        return Known(mark.t_ms, self._corrections[mark.round]) if mark.round < len(self._corrections) else None

    def _bound_ms(self, first_t_ms: int | None, before: Mark | None) -> int:
        """The lowest offset with which what was measured from `first_t_ms` on does not come before that mark."""
        if first_t_ms is None or before is None or first_t_ms < before.t_ms:
            return _NEVER
        offset_ms = before.offset_ms
        if before.round is not None and before.round < len(self._corrections):
            offset_ms = self._corrections[before.round]
        return before.t_ms + offset_ms - first_t_ms

    def _bound_by_guess_ms(self, first_t_ms: int | None) -> int:
        """The same where the newest record before is one that another process, or a connection that was cut off,
        estimated: what was corrected of it lies at the correction's offset, what was not where it is."""
        if self._stored_guess_at_ms is None or first_t_ms is None:
            return _NEVER
        if self._corrections:
            return self._corrections[-1]
        return _NEVER if self.synced else self._stored_guess_at_ms - first_t_ms


def ends_of(records: Sequence[Record]) -> tuple[int, int] | None:
    """Times of the first and the last of `records` that have one. Looks at no more than it must: on the hot path."""
    for first in records:
        if isinstance(first, Sample | Event):
            break
    else:
        return None
    for last in reversed(records):
        if isinstance(last, Sample | Event):
            return first.t_ms, last.t_ms
    return None


def floor_ms(listed: Sequence[tuple[Committed, int]]) -> int | None:
    """Unix milliseconds before which the last of these boots cannot have begun: what the store has of boots that came
    before, and behind that the boots that are still to come, one after the other. None where nothing is known.

    `listed` are the boots of a hello with the time of the newest record that each holds, oldest first."""
    lowest_ms: int | None = None
    for place, (known, newest_t_ms) in enumerate(listed):
        later_ms = max((other.last_at_ms or _NEVER for other, _ in listed[place + 1 :]), default=_NEVER)
        if known.floor_ms is not None and known.floor_ms > later_ms:  # else it may be of a boot behind this one
            lowest_ms = known.floor_ms if lowest_ms is None else max(lowest_ms, known.floor_ms)
        if place == len(listed) - 1:
            break
        if known.zero_ms is not None:
            end_ms = known.zero_ms + newest_t_ms
            lowest_ms = end_ms if lowest_ms is None else max(lowest_ms, end_ms)
        elif lowest_ms is not None:
            lowest_ms += newest_t_ms
    return lowest_ms


class WallWatch:
    """Notices when somebody, or NTP, sets the wall clock."""

    STEP_MS: Final = 2_000

    def __init__(self, now: Now) -> None:
        self._offset_ms = now.wall_offset_ms
        self._trusted = now.trusted

    def look(self, now: Now) -> str | None:
        """A sentence for the log where it was set since the last look, or can be believed since."""
        moved_ms, believed = now.wall_offset_ms - self._offset_ms, now.trusted and not self._trusted
        self._offset_ms, self._trusted = now.wall_offset_ms, now.trusted
        if abs(moved_ms) <= self.STEP_MS and not believed:
            return None
        if believed:
            return f"this machine knows the date now (set by {moved_ms / 1000:+.1f} s): estimated times are corrected"
        moved = f"the clock of this machine was set by {moved_ms / 1000:+.1f} s"
        if not now.trusted:
            return f"{moved}, but it is not synchronised: times stay estimated until it is"
        return f"{moved}: running boards keep the time they have until they, or the gateway, restart"
