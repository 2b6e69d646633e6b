"""What was measured, for people: samples thinned for charts, newest values, events, what was refused, and counts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol, TypeAlias, TypedDict

import msgspec

from gateway.model import Batch, Quality, Sample
from gateway.store.gaps import GapRow


class Counts(msgspec.Struct, frozen=True):
    """What a device has ever sent. `lost` is how many samples its gaps stand for, at most; `uncertain` is the part of
    `lost` that is only a bound. `quarantined` counts refused values and frames, `quarantine_dropped` those of them
    that are not kept any more. `pruned` is how many of `samples` retention has deleted."""

    samples: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    quarantined: int = 0
    committed_boots: int = 0
    uncertain: int = 0
    quarantine_dropped: int = 0
    pruned: int = 0


class QuarantineRow(msgspec.Struct, frozen=True):
    """Something validation refused. `value` is its JSON text; `quantity` is None where it was a whole frame."""

    at_ms: int
    boot_id: str
    seq: int
    quantity: str | None
    value: str
    code: str
    reason: str


class EventRow(msgspec.Struct, frozen=True):
    """Something that happened on the device (WIRE.md, section 4)."""

    at_ms: int
    boot_id: str
    seq: int
    code: str
    sensor: str | None
    data: dict[str, str | float | int | bool | None]


class Latest(NamedTuple):
    """A quantity's newest committed value."""

    at_ms: int
    value: float
    quality: Quality
    boot_id: str = ""
    """Of the sample it came in, like `seq`."""
    seq: int = -1


class Unsure(NamedTuple):
    """From `from_ms` to `to_ms` samples have times of this quality, which is not `synced`."""

    from_ms: int
    to_ms: int
    quality: Quality


class Series(TypedDict):
    """Two columns, ordered by time."""

    at_ms: list[int]
    value: list[float]


class Place(NamedTuple):
    """Where a scan goes on."""

    at_ms: int
    id: int


JOIN_MS = 60_000
"""Spans of unsure times that are no further apart than this are told as one."""
MOST_UNSURE = 100

Point: TypeAlias = tuple[int, float]
"""(at_ms, value)"""


class HistorySource(Protocol):
    """What a store adapter gives beside `Store` so that there can be a history. All may raise `Unavailable`."""

    async def scan(
        self, device: str, from_ms: int, to_ms: int, after: Place | None
    ) -> tuple[list[Batch], Place | None]:
        """The next piece of the batches with a time from `from_ms` to `to_ms` (perhaps others among them), in about the
        order of time, and where to go on; None at the end."""

    async def extent(self, device: str) -> tuple[int, int] | None:
        """About the earliest and the latest time there is. None where there is nothing."""

    async def quarantined(self, device: str, limit: int) -> list[QuarantineRow]:
        """Newest first."""

    async def events(self, device: str, limit: int) -> list[EventRow]:
        """Newest first."""

    async def gaps(self, device: str, limit: int) -> list[GapRow]:
        """The one committed last first."""

    def latest(self, device: str) -> dict[str, Latest]: ...

    def counts(self, device: str) -> Counts: ...


class History:
    """Reads only. Nothing here waits for the writer, or makes it wait."""

    def __init__(self, source: HistorySource):
        self._source = source

    async def samples(
        self, device: str, quantities: Collection[str] | None, from_ms: int, to_ms: int, max_points: int
    ) -> dict[str, Series]:
        """Values taken from `from_ms` to `to_ms`, both included, per quantity (None: of all), by time. Where one has
        more than `max_points`, each of max_points/2 equal spans gives its lowest and its highest."""
        return (await self.chart(device, quantities, from_ms, to_ms, max_points))[0]

    async def chart(
        self, device: str, quantities: Collection[str] | None, from_ms: int, to_ms: int, max_points: int
    ) -> tuple[dict[str, Series], list[Unsure]]:
        """`samples`, and where their times are not `synced`."""
        extent = await self._source.extent(device)
        if extent is None:
            return {}, []
        # A chart of "everything" begins at 0, so the spans are laid over what there is.
        window = Window(max(from_ms, extent[0]), min(to_ms, extent[1]), max_points, quantities)
        place: Place | None = None
        while True:
            batches, place = await self._source.scan(device, window.from_ms, window.to_ms, place)
            await asyncio.to_thread(window.add, batches)
            if place is None:
                return window.series(), window.unsure()

    async def latest(self, device: str) -> dict[str, Latest]:
        """The newest committed value of each quantity."""
        return self._source.latest(device)

    async def counts(self, device: str) -> Counts:
        return self._source.counts(device)

    async def quarantine(self, device: str, limit: int) -> list[QuarantineRow]:
        """What validation refused, newest first."""
        return await self._source.quarantined(device, limit)

    async def gaps(self, device: str, limit: int) -> list[GapRow]:
        """Samples that no longer exist, what was committed last first."""
        return await self._source.gaps(device, limit)

    async def events(self, device: str, limit: int) -> list[EventRow]:
        """Newest first."""
        return await self._source.events(device, limit)


class Window:
    """Collects samples of a span of time. Memory is bounded by `max_points`, not by how much there is. Pure."""

    def __init__(self, from_ms: int, to_ms: int, max_points: int, quantities: Collection[str] | None = None):
        self.from_ms = from_ms
        self.to_ms = to_ms
        self._max_points = max_points
        self._wanted = None if quantities is None else frozenset(quantities)
        self._points: defaultdict[str, list[Point]] = defaultdict(list)
        self._unsure: list[Unsure] = []

    def add(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            if batch.quality is not Quality.SYNCED:
                self._note_unsure(batch)
            for record in batch.records:
                if type(record) is Sample and self.from_ms <= (at_ms := batch.offset_ms + record.t_ms) <= self.to_ms:
                    for quantity, value in record.values.items():
                        if self._wanted is None or quantity in self._wanted:
                            self._points[quantity].append((at_ms, value))
        for quantity, points in self._points.items():
            if len(points) > self._max_points:
                self._points[quantity] = thin(points, self.from_ms, self.to_ms, self._max_points // 2)

    def _note_unsure(self, batch: Batch) -> None:
        """Batches come in about the order of time: one that touches the span before it makes that longer."""
        times = [
            at_ms
            for record in batch.records
            if type(record) is Sample and self.from_ms <= (at_ms := batch.offset_ms + record.t_ms) <= self.to_ms
        ]
        if not times:
            return
        span = Unsure(min(times), max(times), batch.quality)
        if self._unsure:
            last = self._unsure[-1]
            if last.quality is span.quality and span.from_ms - last.to_ms <= JOIN_MS:
                self._unsure[-1] = Unsure(min(last.from_ms, span.from_ms), max(last.to_ms, span.to_ms), span.quality)
                return
        if len(self._unsure) < MOST_UNSURE:
            self._unsure.append(span)

    def unsure(self) -> list[Unsure]:
        """Spans of time in which samples are not `synced`, `MOST_UNSURE` at most."""
        return sorted(self._unsure)

    def series(self) -> dict[str, Series]:
        found: dict[str, Series] = {}
        for quantity, points in self._points.items():
            points.sort()
            found[quantity] = {"at_ms": [at_ms for at_ms, _ in points], "value": [value for _, value in points]}
        return found


def thin(points: Iterable[Point], from_ms: int, to_ms: int, spans: int) -> list[Point]:
    """The lowest and the highest point of each of `spans` equal spans. Doing it again changes nothing. Pure."""
    lowest: dict[int, Point] = {}
    highest: dict[int, Point] = {}
    width = to_ms - from_ms + 1
    for point in points:
        at_ms, value = point
        span = (at_ms - from_ms) * spans // width
        if span not in lowest:
            lowest[span] = highest[span] = point
        elif value < lowest[span][1]:
            lowest[span] = point
        elif value > highest[span][1]:
            highest[span] = point
    return [*lowest.values(), *(point for span, point in highest.items() if point is not lowest[span])]
