"""One boot of a device: its count of records, its clock, and from what its next values are judged. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from gateway.device import wire
from gateway.device.timesync import BootClock
from gateway.intake.check import Checked, CheckedLatest, Checker, Trend
from gateway.model import Batch, Event, Gap, Quality, Record, Refused, Sample


class Now(NamedTuple):
    """The time at which something happened to a connection."""

    monotonic_ms: int
    wall_ms: int
    trusted: bool = True
    """Whether the wall clock is known to be right."""


@dataclass(slots=True)
class Remembered:
    """What the gateway process remembers of one device from connection to connection, by boot_id."""

    clocks: dict[str, BootClock] = field(default_factory=dict)
    trends: dict[str, Trend] = field(default_factory=dict)
    """As of the last commit: what was not committed is sent again, and judged again."""

    def keep_only(self, boot_ids: set[str]) -> None:
        """Forget all other boots: those that `hello` does not list hold nothing any more."""
        self.clocks = {boot_id: clock for boot_id, clock in self.clocks.items() if boot_id in boot_ids}
        self.trends = {boot_id: trend for boot_id, trend in self.trends.items() if boot_id in boot_ids}


class Boot:
    """A boot that one connection may speak of."""

    def __init__(self, said: wire.HelloBoot, committed: int, checker: Checker, memory: Remembered) -> None:
        self.number = said.boot
        self.id = said.id
        self.checker = checker
        self.clock = memory.clocks.setdefault(said.id, BootClock())
        self.committed = committed
        """Highest seq on disk, -1 for none."""
        self.taken = committed
        """Highest seq handed on to be committed."""
        self._ends = False
        """An open gap was taken: from then on a commit is acknowledged even where it adds nothing."""
        self._memory = memory
        self._trend = memory.trends.get(said.id, {})
        self._trends: deque[tuple[int, Trend]] = deque()
        """`_trend` as it was after each seq under way."""

    def check(self, message: wire.Samples[Any] | wire.Rough, text: str) -> Checked:
        """A frame of samples against the profile of this boot. `take` makes its outcome count."""
        return self.checker.samples(message, text, self._trend)

    def check_latest(self, message: wire.Latest[Any] | wire.Rough) -> CheckedLatest:
        return self.checker.latest(message)

    def take(self, records: Sequence[Record], trend: Trend | None = None) -> tuple[Record, ...]:
        """What is new of `records`: it is under way from now on. What was taken already is cut off, but an open gap
        never: that the boot has ended is news, wherever it is said to have ended."""
        new = tuple(_cut(record, self.taken) for record in records if record.last > self.taken or _is_open(record))
        if new:
            self._ends = self._ends or _is_open(new[-1])
            self.taken = max(self.taken, new[-1].last)
            self._trend = self._trend if trend is None else trend
            self._trends.append((self.taken, self._trend))
        return new

    def commit(self, through: int) -> bool:
        """All through that seq is on disk. False when that was known, and the device is to be told nothing."""
        if through <= self.committed and not self._ends:
            return False
        self.committed = max(self.committed, through)
        while self._trends and self._trends[0][0] <= through:
            self._memory.trends[self.id] = self._trends.popleft()[1]
        return True

    def arrived(self, records: Sequence[Record], latest_ms: int) -> None:
        """`records` were measured by monotonic `latest_ms`: a bound for the clock until there was an exchange."""
        newest = next((record for record in reversed(records) if isinstance(record, Sample | Event)), None)
        if newest is not None:
            self.clock.arrived(newest.t_ms, latest_ms)

    def stamp(self, now: Now, wall_offset_ms: int) -> tuple[int, Quality]:
        """Unix milliseconds at this boot's zero, and how good they are."""
        offset_ms = self.clock.offset_ms()
        if offset_ms is None:  # nothing with a time has come yet: a gap, say
            return now.wall_ms, Quality.ESTIMATED
        quality = Quality.SYNCED if self.clock.synced and now.trusted else Quality.ESTIMATED
        return offset_ms + wall_offset_ms, quality

    def batch(self, device: str, records: tuple[Record, ...], now: Now, wall_offset_ms: int) -> Batch:
        """`records`, as the store wants them."""
        offset_ms, quality = self.stamp(now, wall_offset_ms)
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
