"""One boot of a device: its count of records, its clock, and from what its next values are judged. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from gateway.device import wire
from gateway.device.slept import drifted_ms, straightened
from gateway.device.stamps import BootTime, Mark, Now, ends_of
from gateway.intake.check import Checked, CheckedLatest, Checker, Trend
from gateway.intake.unknown import UnknownProfile
from gateway.model import Batch, Gap, Quality, Record, Refused
from gateway.store.port import Committed

MORE_EVENTS: Final = 4
"""Events of the board itself counted into the bound of what a power cut may have cost."""
MISSED_EVERY_MS: Final = 10_000
"""A sensor's `samples.missed` comes this often at most."""
FIFO_MS: Final = 100
"""A chip's FIFO is emptied this often: by so much its samples may be older than a record that came before them."""
MORE_BOOTS: Final = 64
"""Boots remembered for a correction beside those that the last hello listed; of more, the oldest are forgotten."""


@dataclass(slots=True)
class Remembered:
    """What the gateway process remembers of one device from connection to connection, by boot_id."""

    times: dict[str, BootTime] = field(default_factory=dict)
    """In the order in which they were first listed."""
    trends: dict[str, Trend] = field(default_factory=dict)
    """As of the last commit: what was not committed is sent again, and judged again."""

    def keep_only(self, boot_ids: Sequence[str]) -> None:
        """Forget all other boots: those that `hello` does not list hold nothing any more. But times that may still be
        corrected are kept, a bounded number of them, and what is newer, as they may be placed by that: else those would
        live on behind them in a chain without an end, and never learn the date."""
        others = [boot_id for boot_id in self.times if boot_id not in boot_ids]
        while others and not self.times[others[0]].awaits:
            others.pop(0)
        kept = {*boot_ids, *others[-MORE_BOOTS:]}
        self.times = {boot_id: time for boot_id, time in self.times.items() if boot_id in kept}
        self.trends = {boot_id: trend for boot_id, trend in self.trends.items() if boot_id in boot_ids}

    def settle(self, now: Now) -> list[tuple[str, int]]:
        """Boots whose estimated times are to be corrected now, each once, and their offsets."""
        found = []
        for boot_id, time in reversed(self.times.items()):  # the newest first: older ones are placed by it
            offset_ms = time.settle(now)
            if offset_ms is not None:
                found.append((boot_id, offset_ms))
        return found


class _Shown(NamedTuple):
    """The newest provisional value that was shown, and how its clock was known."""

    t_ms: int
    at_ms: int
    kind: tuple[bool, bool]


class Boot:
    """A boot that one connection may speak of."""

    def __init__(
        self, said: wire.HelloBoot, known: Committed, checker: Checker | UnknownProfile, memory: Remembered
    ) -> None:
        self.number = said.boot
        self.id = said.id
        self.checker = checker
        self.time = memory.times.setdefault(said.id, BootTime())
        self.time.sleeps = checker.sleeps
        self.time.stored(known.zero_ms, known.last_at_ms, estimated=known.estimated, corrected=known.zero_corrected)
        self.time.holds(said.t or 0)
        self.committed = known.through
        """Highest seq on disk, -1 for none."""
        self.taken = known.through
        """Highest seq handed on to be committed."""
        self._ends = False
        """An open gap was taken: from then on a commit is acknowledged even where it adds nothing."""
        self._memory = memory
        self._trend = memory.trends.get(said.id, {})
        self._mark = self.time.newest_mark
        self._under_way: deque[tuple[int, Trend, Mark | None]] = deque()
        """`_trend` and `_mark` as they were after each seq under way."""
        self._shown: _Shown | None = None

    def check(self, message: wire.Samples[Any] | wire.Rough, text: str) -> Checked:
        """A frame of samples against the profile of this boot. `take` makes its outcome count."""
        return self.checker.samples(message, text, self._trend)

    def check_latest(self, message: wire.Latest[Any] | wire.Rough) -> CheckedLatest:
        return self.checker.latest(message)

    def take(self, records: Sequence[Record], trend: Trend | None = None) -> tuple[Record, ...]:
        """What is new of `records`: it is under way from now on, call `batch` next. What was taken already is cut off,
        but an open gap never: that the boot has ended is news, wherever it is said to have ended."""
        new = tuple(_cut(record, self.taken) for record in records if record.last > self.taken or _is_open(record))
        if new:
            self._ends = self._ends or _is_open(new[-1])
            self.taken = max(self.taken, new[-1].last)
            self._trend = self._trend if trend is None else trend
        return new

    def commit(self, through: int) -> bool:
        """All through that seq is on disk. False when that was known, and the device is to be told nothing."""
        if through <= self.committed and not self._ends:
            return False
        self.committed = max(self.committed, through)
        while self._under_way and self._under_way[0][0] <= through:
            _, self._memory.trends[self.id], self.time.mark = self._under_way.popleft()
        return True

    def batch(self, device: str, records: tuple[Record, ...], now: Now) -> Batch:
        """`records`, which `take` gave, as the store wants them."""
        ends = ends_of(records)
        first_t_ms, last_t_ms = ends or (None, None)
        if last_t_ms is not None:
            self.time.arrived(last_t_ms, now)
        if self.time.sleeps and ends is not None:
            records, offset_ms, quality = self._stamp_slept(records, ends, now)
        else:
            offset_ms, quality = self.time.stamp(first_t_ms, self._mark, now)
        if last_t_ms is not None and (self._mark is None or last_t_ms >= self._mark.t_ms):
            self._mark = self.time.mark_of(last_t_ms, offset_ms, quality)
        self._under_way.append((self.taken, self._trend, self._mark))
        return Batch(
            device=device,
            boot=self.number,
            boot_id=self.id,
            records=records,
            offset_ms=offset_ms,
            quality=quality,
            received_ms=now.wall_ms,
            profile=self.checker.profile,
        )

    def _stamp_slept(
        self, records: tuple[Record, ...], ends: tuple[int, int], now: Now
    ) -> tuple[tuple[Record, ...], int, Quality]:
        """The stamp of what a boot that sleeps took: each record has its own, which its time makes up for."""
        offset_ms, quality = self.time.stamp(ends[0], self._mark, now)
        unwatched_ms = self.time.unwatched(*ends, self._mark, now)
        if unwatched_ms is not None:
            return records, unwatched_ms, Quality.ESTIMATED
        known = self.time.since(self._mark)
        if known is None:
            return records, offset_ms, quality
        return straightened(records, ends[1], *known), drifted_ms(ends[1], *known), quality

    def latest_ms(self, t_ms: int, now: Now) -> int | None:
        """Unix milliseconds of a provisional value, by the clock that stamps samples. None for one that is older than
        what was shown; a better exchange in between takes nothing back."""
        self.time.arrived(t_ms, now)
        at_ms = self.time.zero_ms(now) + t_ms
        kind = self.time.synced, self.time.doubtful
        if self._shown is not None and self._shown.t_ms > t_ms:
            return None
        if self._shown is not None and self._shown.kind == kind:  # else the clock itself has become known
            at_ms = max(at_ms, self._shown.at_ms)
        self._shown = _Shown(t_ms, at_ms, kind)
        return at_ms

    def bounded(self, gap: Gap) -> Gap:
        """`gap` as it is to be kept. Where it says how much a power cut may have cost at most, it says no more than can
        have been: what is missing was taken between the newest record that came and the next boot. The device's own
        bound is what it had reserved on its flash, and so a round number."""
        mark = None if self._mark is self.time.stored_mark else self._mark
        if gap.to is not None or gap.at_most is None or gap.why != "power_loss" or mark is None:
            return gap
        span_ms = self.time.next_began_after_ms(mark.t_ms)
        if span_ms is None or not self.checker.periods_ms:
            return gap
        at_most = max(0, self.taken + 1 - gap.seq) + most_taken(span_ms, self.checker.periods_ms)
        return msgspec.structs.replace(gap, at_most=min(gap.at_most, at_most))


def most_taken(span_ms: float, periods_ms: Iterable[int]) -> int:
    """How many records a board can take within `span_ms`. A sample may be read late by less than a period, so a span
    holds one more than whole periods fit in, and one more for its ends. With each may come the event that its sensor
    failed, or is well again: a loose wire, or a supply that breaks down, makes many of these just before the end. (The
    chip of a FIFO, whose clock may be fast, fails once a second at most: that more than makes up for it.)"""
    missed = int(span_ms // MISSED_EVERY_MS) + 1
    return MORE_EVENTS + sum(
        2 * (int(span_ms // period_ms) + 2) + missed + FIFO_MS // period_ms for period_ms in periods_ms
    )


def _is_open(record: Record) -> bool:
    return isinstance(record, Gap) and record.to is None


def _cut(record: Record, taken: int) -> Record:
    """What of `record` lies above `taken`, where its last does."""
    if record.seq > taken or not isinstance(record, Gap | Refused):
        return record
    if record.last <= taken:  # an open gap: the store cuts its bound, too
        return record
    if isinstance(record, Refused) or record.to is None:
        return msgspec.structs.replace(record, seq=taken + 1)
    count = None if record.count is None else min(record.count, record.to - taken)
    return msgspec.structs.replace(record, seq=taken + 1, count=count)
