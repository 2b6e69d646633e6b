"""What of one connection is on its way to disk: batches, and corrections of times between them. How much is under way,
and what goes next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from gateway.device.session import Restamp
from gateway.device.stamps import ends_of
from gateway.model import Batch, Quality, Record

MERGED_RECORDS: Final = 1_000
"""Records in one batch at most: what one frame may hold. All stores must take that much at once."""


class UnderWay:
    """Received and not yet committed. Full is a state, not a limit: the frame that filled it was taken."""

    def __init__(self, *, frames: int, size_bytes: int) -> None:
        self._most_frames = frames
        self._most_bytes = size_bytes
        self._waiting: deque[tuple[Batch | Restamp, int]] = deque()
        self._frames = 0
        self._bytes = 0
        self._next: tuple[int, int] | None = None
        """Frames and bytes of what is with the store."""
        self._given: tuple[str, int, int] | None = None
        """The boot of the newest batch given out, and time and offset of its newest record."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        return self._frames >= self._most_frames or self._bytes >= self._most_bytes

    @property
    def empty(self) -> bool:
        return self._frames == 0 and not self._waiting and self._next is None

    @property
    def waiting(self) -> bool:
        """Whether `next` has something to give."""
        return bool(self._waiting)

    def put(self, batch: Batch, size_bytes: int) -> None:
        """A frame of that size has become `batch`."""
        self._waiting.append((batch, size_bytes))
        self._frames += 1
        self._bytes += size_bytes

    def correct(self, restamp: Restamp) -> None:
        """Times are to be corrected when all that was put before is on disk."""
        self._waiting.append((restamp, 0))

    def next(self) -> Batch | Restamp:
        """The oldest batch, made one with those behind it that continue it; or a correction. Call `done` before the
        next."""
        batch, size_bytes = self._waiting.popleft()
        if isinstance(batch, Restamp):
            self._next = (0, 0)
            return batch
        records: list[Record] = list(batch.records)
        offset_ms, frames = batch.offset_ms, 1
        while self._waiting:
            following, following_bytes = self._waiting[0]
            if isinstance(following, Restamp) or len(records) + len(following.records) > MERGED_RECORDS:
                break
            if not _continues(following, batch, records[-1].last, offset_ms):
                break
            self._waiting.popleft()
            records += following.records
            offset_ms = min(offset_ms, following.offset_ms)
            size_bytes += following_bytes
            frames += 1
        self._next = (frames, size_bytes)
        if frames > 1:
            if offset_ms < batch.offset_ms:
                offset_ms = self._in_order(batch.boot_id, records, offset_ms)
            batch = replace(batch, records=tuple(records), offset_ms=offset_ms)
        self._note(batch)
        return batch

    def _in_order(self, boot_id: str, records: Sequence[Record], offset_ms: int) -> int:
        """An offset that was lowered for all is not to bring the first of them before what was given out last."""
        ends = ends_of(records)
        if self._given is None or self._given[0] != boot_id or ends is None or ends[0] < self._given[1]:
            return offset_ms
        return max(offset_ms, self._given[1] + self._given[2] - ends[0])

    def _note(self, batch: Batch) -> None:
        if ends := ends_of(batch.records):
            self._given = (batch.boot_id, ends[1], batch.offset_ms)

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
    more has become known between them. Synced ones must agree."""
    return (
        batch.first == last + 1
        and batch.boot_id == first.boot_id
        and batch.quality is first.quality
        and (batch.offset_ms == offset_ms or (batch.quality is Quality.ESTIMATED and batch.offset_ms < offset_ms))
        and batch.profile == first.profile
    )
