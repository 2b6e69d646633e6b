"""Who is connected now, and how that goes. In memory only: what must last is in the store.

The device server keeps this up to date; whoever shows it watches.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.model import Quality

RATE_S: Final = 10
"""Rates are averages over this long."""


OVERSLEPT_S: Final = 60
"""A device that sleeps is late when it is not back so long after it wanted to be ..."""
OVERSLEPT_PART: Final = 0.1
"""... and this part of its sleep: a board's clock may be 5 % off in deep sleep, and its first try may fail."""


@dataclass(eq=False)
class ConnectionInfo:
    """One connection of a device and its figures; the device server counts in it while it lasts.

    `since_ms` and `last_seen_ms` are Unix milliseconds; `rtt_ms` and `quality` None before the first clock exchange."""

    device: str
    epoch: int
    address: str
    since_ms: int
    node: str = ""
    hardware: str = ""
    firmware: str = ""
    frames: int = 0
    bytes_in: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """How often each error code was answered."""
    last_seen_ms: int | None = None
    rtt_ms: float | None = None
    quality: Quality | None = None
    sleep_ms: int | None = None
    """It has said that it sleeps for so long once this connection has ended."""
    monotonic_s: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        self._samples = 0
        self._began_s = self.monotonic_s()
        self._recent: deque[tuple[int, int]] = deque(maxlen=RATE_S + 1)  # (second, samples in it)

    def clock_was_set(self, wall_ms: int) -> None:
        """It began when it did, by the clock as it is now: else a board would be online for years once NTP answers."""
        self.since_ms = wall_ms - int((self.monotonic_s() - self._began_s) * 1000)

    @property
    def samples(self) -> int:
        """Samples committed. Only ever counted up."""
        return self._samples

    @samples.setter
    def samples(self, total: int) -> None:
        second = int(self.monotonic_s())
        added = total - self._samples
        if self._recent and self._recent[-1][0] == second:
            added += self._recent.pop()[1]
        self._recent.append((second, added))
        self._samples = total

    @property
    def rate(self) -> float:
        """Samples per second over the last 10 s, or since the connection began."""
        now_s = self.monotonic_s()
        recent = sum(count for second, count in self._recent if second > now_s - RATE_S)
        return recent / max(1.0, min(RATE_S, now_s - self._began_s))


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a device put into its log. `uptime_ms`: by its own clock; `at_ms`: when it came."""

    level: str
    text: str
    uptime_ms: int | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """Something changed about `device`. `connection` is None while it is not connected; `asleep`: as it announced.
    `latest` holds what came ahead of a backlog since the last change: the newest time, and values that are not stored
    yet."""

    device: str
    connection: ConnectionInfo | None
    asleep: bool = False
    latest: tuple[int, dict[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class _Nap:
    until_s: float
    timer: asyncio.TimerHandle


class Presence:
    """One connection per device: the newest."""

    def __init__(self) -> None:
        self._connections: dict[str, ConnectionInfo] = {}
        self._naps: dict[str, _Nap] = {}
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._hearers: list[Callable[[str, LogLine], None]] = []

    def connected(self, connection: ConnectionInfo) -> None:
        """Takes the place of an older connection of the same device; itself older, it is ignored."""
        known = self._connections.get(connection.device)
        if known is None or known.epoch <= connection.epoch:
            self._connections[connection.device] = connection
            self._wake(connection.device)
            self._tell(connection.device)

    def disconnected(self, device: str, epoch: int) -> None:
        """That connection has ended. Nothing changes where a newer one is there."""
        known = self._connections.get(device)
        if known is not None and known.epoch == epoch:
            del self._connections[device]
            if known.sleep_ms is not None:
                self._sleep(device, known.sleep_ms)
            self._tell(device)

    def is_here(self, device: str) -> bool:
        """Whether it is connected, or asleep as it announced."""
        return device in self._connections or device in self._naps

    def asleep_until_s(self, device: str) -> float | None:
        """On the monotonic clock: when a device that sleeps is expected again. None of one that does not, or that has
        overslept."""
        nap = self._naps.get(device)
        return None if nap is None else nap.until_s

    def asleep(self) -> list[str]:
        """Who sleeps as announced, by id."""
        return sorted(self._naps.keys() - self._connections.keys())

    def _sleep(self, device: str, sleep_ms: int) -> None:
        late_s = OVERSLEPT_S + OVERSLEPT_PART * sleep_ms / 1000
        timer = asyncio.get_running_loop().call_later(sleep_ms / 1000 + late_s, self._oversleep, device)
        self._naps[device] = _Nap(time.monotonic() + sleep_ms / 1000, timer)

    def _oversleep(self, device: str) -> None:
        del self._naps[device]
        self._tell(device)

    def _wake(self, device: str) -> None:
        if (nap := self._naps.pop(device, None)) is not None:
            nap.timer.cancel()

    def latest(self, device: str, at_ms: int, values: dict[str, float]) -> None:
        """Provisional values taken at `at_ms`, from a `latest` frame."""
        self._tell(device, (at_ms, values))

    def say(self, device: str, line: LogLine) -> None:
        """A line of a device's log: who listens gets it now, nobody later."""
        for hearer in self._hearers:
            hearer(device, line)

    def hear(self, hearer: Callable[[str, LogLine], None]) -> None:
        """Be told of each line of a device's log from now on."""
        self._hearers.append(hearer)

    def changed(self, device: str) -> None:
        """Something worth showing at once has changed in its `ConnectionInfo`."""
        self._tell(device)

    def get(self, device: str) -> ConnectionInfo | None:
        """None while it is offline."""
        return self._connections.get(device)

    def all(self) -> list[ConnectionInfo]:
        return list(self._connections.values())

    def watch(self) -> Watch:
        """Changes from now on, coalesced per device: a slow watcher sees the newest state, and never a long queue."""
        watch = Watch(self)
        self._watches.add(watch)
        return watch

    def _tell(self, device: str, latest: tuple[int, dict[str, float]] | None = None) -> None:
        for watch in self._watches:
            watch.tell(device, latest)


class Watch:
    """An iterator over changes. Forgetting it ends it."""

    def __init__(self, presence: Presence):
        self._presence = presence
        self._changed: dict[str, tuple[int, dict[str, float]] | None] = {}
        self._news = asyncio.Event()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> PresenceChange:
        while not self._changed:
            self._news.clear()
            await self._news.wait()
        device = next(iter(self._changed))
        asleep = self._presence.asleep_until_s(device) is not None
        return PresenceChange(device, self._presence.get(device), asleep, self._changed.pop(device))

    def tell(self, device: str, latest: tuple[int, dict[str, float]] | None) -> None:
        waiting = self._changed.get(device)
        if waiting is not None and latest is not None:
            latest = max(waiting[0], latest[0]), {**waiting[1], **latest[1]}
        self._changed[device] = latest or waiting
        self._news.set()
