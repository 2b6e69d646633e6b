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
class PresenceChange:
    """Something changed about `device`. `connection` is None while it is offline; `latest` holds what came ahead of a
    backlog since the last change: the newest time, and values that are not stored yet."""

    device: str
    connection: ConnectionInfo | None
    latest: tuple[int, dict[str, float]] | None = None


class Presence:
    """One connection per device: the newest."""

    def __init__(self) -> None:
        self._connections: dict[str, ConnectionInfo] = {}
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()

    def connected(self, connection: ConnectionInfo) -> None:
        """Takes the place of an older connection of the same device; itself older, it is ignored."""
        known = self._connections.get(connection.device)
        if known is None or known.epoch <= connection.epoch:
            self._connections[connection.device] = connection
            self._tell(connection.device)

    def disconnected(self, device: str, epoch: int) -> None:
        """That connection has ended. Nothing changes where a newer one is there."""
        known = self._connections.get(device)
        if known is not None and known.epoch == epoch:
            del self._connections[device]
            self._tell(device)

    def latest(self, device: str, at_ms: int, values: dict[str, float]) -> None:
        """Provisional values taken at `at_ms`, from a `latest` frame."""
        self._tell(device, (at_ms, values))

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
        return PresenceChange(device, self._presence.get(device), self._changed.pop(device))

    def tell(self, device: str, latest: tuple[int, dict[str, float]] | None) -> None:
        waiting = self._changed.get(device)
        if waiting is not None and latest is not None:
            latest = max(waiting[0], latest[0]), {**waiting[1], **latest[1]}
        self._changed[device] = latest or waiting
        self._news.set()
