"""Batches of one connection on their way to disk: how much is under way, and what goes next. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from gateway.model import Batch, Quality, Record

MERGED_RECORDS: Final = 1_000
"""Records in one batch at most: what one frame may hold. All stores must take that much at once."""


class UnderWay:
    """Received and not yet committed. Full is a state, not a limit: the frame that filled it was taken."""

    def __init__(self, *, frames: int, size_bytes: int) -> None:
        self._most_frames = frames
        self._most_bytes = size_bytes
        self._waiting: deque[tuple[Batch, int]] = deque()
        self._frames = 0
        self._bytes = 0
        self._next: tuple[int, int] | None = None
        """Frames and bytes of the batch that is with the store."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        return self._frames >= self._most_frames or self._bytes >= self._most_bytes

    @property
    def empty(self) -> bool:
        return self._frames == 0

    @property
    def waiting(self) -> bool:
        """Whether `next` has something to give."""
        return bool(self._waiting)

    def put(self, batch: Batch, size_bytes: int) -> None:
        """A frame of that size has become `batch`."""
        self._waiting.append((batch, size_bytes))
        self._frames += 1
        self._bytes += size_bytes

    def next(self) -> Batch:
        """The oldest batch, made one with those behind it that continue it. Call `done` before the next."""
        batch, size_bytes = self._waiting.popleft()
        records: list[Record] = list(batch.records)
        offset_ms, frames = batch.offset_ms, 1
        while self._waiting and len(records) + len(self._waiting[0][0].records) <= MERGED_RECORDS:
            following, following_bytes = self._waiting[0]
            if not _continues(following, batch, records[-1].last, offset_ms):
                break
            self._waiting.popleft()
            records += following.records
            offset_ms = min(offset_ms, following.offset_ms)
            size_bytes += following_bytes
            frames += 1
        self._next = (frames, size_bytes)
        return batch if frames == 1 else replace(batch, records=tuple(records), offset_ms=offset_ms)

    def done(self) -> None:
        """What `next` gave last is on disk."""
        if self._next is not None:
            self._frames -= self._next[0]
            self._bytes -= self._next[1]
            self._next = None


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """`batch` in two, for a store to which it was too large."""
    middle = len(batch.records) // 2
    return replace(batch, records=batch.records[:middle]), replace(batch, records=batch.records[middle:])


def _continues(batch: Batch, first: Batch, last: int, offset_ms: int) -> bool:
    """Whether `batch` may be one with `first`, which ends at `last` and has `offset_ms` by now: no hole between, and
    all else the same.

    Offsets estimated by arrival shrink with every frame, and the smallest is best for all; one that grows means that
    the wall clock was set between them. Synced ones must agree."""
    return (
        batch.first == last + 1
        and batch.boot_id == first.boot_id
        and batch.quality is first.quality
        and (batch.offset_ms == offset_ms or (batch.quality is Quality.ESTIMATED and batch.offset_ms < offset_ms))
        and batch.profile == first.profile
    )
