"""The newest committed batches in memory: woken readers, live subscribers, and reads that need no disk.

An outlet that keeps up reads from here alone; only one that is behind goes to the file.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import weakref
from collections import deque
from collections.abc import Collection

import msgspec

from gateway.model import Batch, Correction, Quality
from gateway.store import commit

TAIL_RECORDS = 5_000
"""Records kept in memory for readers that keep up, refusals counted for what they take; about 2 MB."""
LIVE_BATCHES = 2_000
"""Batches that wait for one live reader. One more, and all of them are skipped."""
LIVE_RECORDS = 20_000
"""The same in records, counted as above."""


class Live:
    """Batches as they are committed. Subscribed from the moment it is made until it is closed or forgotten.

    A reader that falls behind loses everything that waits, at once: one hole it can read, instead of many.
    `skipped` counts the batches lost so."""

    def __init__(self, devices: Collection[str] | None, most: int = LIVE_BATCHES):
        self._devices = None if devices is None else frozenset(devices)
        self._most = most
        self._batches: deque[tuple[Batch, int]] = deque()
        """What waits, with its weight."""
        self._records = 0
        self._news = asyncio.Event()
        self._closed = False
        self.skipped = 0

    def __aiter__(self) -> Live:
        return self

    async def __anext__(self) -> Batch:
        while not self._batches:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        batch, weight = self._batches.popleft()
        self._records -= weight
        return batch

    async def aclose(self) -> None:
        self.close()

    def forget(self, device: str) -> None:
        """What waits of `device` is not given out."""
        self._batches = deque(waiting for waiting in self._batches if waiting[0].device != device)
        self._records = sum(weight for _, weight in self._batches)

    def close(self) -> None:
        """What waits is still given out, then the iteration ends."""
        self._closed = True
        self._news.set()

    def offer(self, batch: Batch) -> None:
        if self._closed or (self._devices is not None and batch.device not in self._devices):
            return
        weight = _weight(batch)
        if len(self._batches) >= self._most or (self._batches and self._records + weight > LIVE_RECORDS):
            self.skipped += len(self._batches)
            self._batches.clear()
            self._records = 0
        self._batches.append((batch, weight))
        self._records += weight
        self._news.set()


class Feed:
    """`newest` is the id of the newest committed batch."""

    def __init__(self, newest: int = 0):
        self.newest = newest
        self._tail: deque[Batch] = deque()  # without a hole up to `newest`
        self._tail_records = 0
        self._subscribers: weakref.WeakSet[Live] = weakref.WeakSet()
        self._waiters: set[asyncio.Future[None]] = set()

    def publish(self, batches: list[Batch]) -> None:
        """`batches` have just been committed."""
        self.newest += len(batches)
        for batch in batches:
            if type(batch.records[0]) is Correction:
                self._correct(batch)
            self._tail.append(batch)
        self._tail_records += sum(map(_weight, batches))
        while self._tail_records > TAIL_RECORDS and len(self._tail) > 1:
            self._tail_records -= _weight(self._tail.popleft())
        for subscriber in list(self._subscribers):
            for batch in batches:
                subscriber.offer(batch)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _correct(self, correction: Batch) -> None:
        """Give what is corrected its new times, as it has them in the file. What waits for a live reader stays as it
        was: its correction comes behind it."""
        starts = [record.seq for record in correction.records]  # rising, and no two overlap
        for index, batch in enumerate(self._tail):
            if batch.boot_id != correction.boot_id or batch.device != correction.device:
                continue
            at = bisect.bisect_right(starts, batch.first) - 1
            if batch.quality is Quality.ESTIMATED and at >= 0 and batch.last <= correction.records[at].last:
                self._tail[index] = msgspec.structs.replace(
                    batch, offset_ms=correction.offset_ms, quality=Quality.CORRECTED
                )

    def forget(self, device: str) -> None:
        """Give nothing more of `device`. The tail goes as a whole: it may have no hole, and the file has the rest."""
        self._tail.clear()
        self._tail_records = 0
        for subscriber in list(self._subscribers):
            subscriber.forget(device)

    def subscribe(self, devices: Collection[str] | None) -> Live:
        live = Live(devices)
        self._subscribers.add(live)
        return live

    def after(self, id: int, device: str | None, limit: int) -> list[Batch] | None:
        """Batches behind `id`, or None where the tail does not reach back so far."""
        skip = len(self._tail) - (self.newest - id)
        if skip < 0:
            return None
        found: list[Batch] = []
        for batch in itertools.islice(self._tail, skip, None):
            if len(found) == limit:
                break
            if device is None or batch.device == device:
                found.append(batch)
        return found

    async def wait(self, id: int, timeout_s: float) -> bool:
        """Until something lies behind `id`. False at the timeout."""
        if self.newest > id:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)
        return self.newest > id

    def close(self) -> None:
        """Ends all subscriptions and waits."""
        for subscriber in list(self._subscribers):
            subscriber.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _weight(batch: Batch) -> int:
    """How much memory it takes, in samples."""
    return sum(map(commit.weight, batch.records))
