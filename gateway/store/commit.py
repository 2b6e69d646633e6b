"""What one commit writes, worked out before SQLite is touched. Pure.

A `Commit` takes the batches that arrived within one window, cuts off what is committed already, fills holes, and joins
what belongs together into rows: frames of one sample each would otherwise cost a row each.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.errors import StoreError
from gateway.model import Batch, Correction, Event, Gap, Quality, Record, Refused, Sample

ROW_RECORDS = 1_000
"""A row, and so a message of an outlet, is at most about this long (`weight`)."""
ROW_SPAN_MS = 600_000
"""The times of one row lie at most this far apart. A search by time relies on it."""
_MOST_LOST = (1 << 53) - 1  # whatever a device claims, counts of its boots can be added up
INT64 = range(-(1 << 63), 1 << 63)

BootKey: TypeAlias = tuple[str, str]
"""(device, boot_id)"""


class Boot(msgspec.Struct):
    """One row of `boots`: what is committed of a boot, and what it consisted of."""

    id: int
    device_id: int
    boot_id: str
    boot: int
    through: int = -1
    ended: bool = False
    samples: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    uncertain: int = 0
    quarantined: int = 0
    zero_ms: int | None = None
    last_at_ms: int | None = None
    last_guess_ms: int | None = None
    restored: bool = False
    """Known from a backup, and nothing committed since: a hole before what comes next is the restore's."""
    changed: bool = False

    def note_times(self, quality: Quality, offset_ms: int, at_ms: int | None) -> None:
        """A batch stamped so is the newest; `at_ms` is the latest time in it, if any."""
        if quality is Quality.ESTIMATED:
            self.last_guess_ms = _later(self.last_guess_ms, at_ms)
        else:
            self.zero_ms = offset_ms
            self.last_at_ms = _later(self.last_at_ms, at_ms)


class Row(msgspec.Struct):
    """One row of `batches` while it grows."""

    source: Batch
    boot: Boot
    records: list[Record]
    weight: int = 0
    notable: int = 0
    t_first: int | None = None
    t_last: int | None = None


class Quarantined(msgspec.Struct, frozen=True):
    """One row of `quarantine`."""

    device_id: int
    boot_id: str
    seq: int
    quantity: str | None
    value: str
    code: str
    reason: str
    at_ms: int


class Commit:
    """Collects what one transaction writes. Use one per transaction. `restored_ms`: when the log was restored from a
    backup, Unix milliseconds; None where it never was."""

    def __init__(self, restored_ms: int | None = None) -> None:
        self._restored_ms = restored_ms
        self.boots: dict[BootKey, Boot] = {}
        """Every boot touched, as it is after the commit."""
        self._rows: list[Row] = []
        self.quarantined: list[Quarantined] = []
        self.new_devices: dict[str, int] = {}
        self.new_boots = 0
        self._open: dict[str, Row] = {}  # the newest row of each device: only that one may grow, or order would be lost

    def note_times(self) -> None:
        """Let each boot know of the times in its new rows. To be called once, after the last `add`."""
        for row in self.rows:
            at_ms = None if row.t_last is None else row.source.at_ms(row.t_last)
            row.boot.note_times(row.source.quality, row.source.offset_ms, at_ms)

    @property
    def rows(self) -> list[Row]:
        """What is to be written, in order."""
        return [row for row in self._rows if row.records]

    def add(self, batch: Batch, boot: Boot) -> None:
        """Take what `boot` does not have of `batch`. Adding the same again changes nothing. Raises StoreError for
        numbers that no database holds; this commit is then of no use any more.

        What follows an open gap is kept in quarantine only (`boot.ended`): readers are promised that the boot has
        ended there. It is acknowledged all the same, so no board is blocked by it."""
        self.boots[batch.device, batch.boot_id] = boot
        through = boot.through
        row = self._row_for(batch, boot)
        for record in batch.records:
            if record.seq != boot.through + 1 or type(record) is not Sample or record.refused or boot.ended:
                row = self._add_unusual(row, record)
                continue
            row = self._room(row, record.t_ms)
            row.records.append(record)
            row.weight += 1
            boot.samples += 1
            boot.through = record.seq
        if boot.through != through:
            boot.changed = True
            boot.restored = False

    def _add_unusual(self, row: Row, record: Record) -> Row:
        """Whatever is not simply the next good sample."""
        boot = row.boot
        if record.last <= boot.through and not (_is_open(record) and not boot.ended):
            return row
        if boot.ended:
            self._refuse_late(row, record)
            return row
        if record.seq > boot.through + 1:
            hole = record.seq - boot.through - 1
            row = self._append(row, Gap(boot.through + 1, record.seq - 1, hole, None, self._why(row)))
        left = _cut_to(record, boot.through + 1)
        if record.seq <= boot.through and _says_nothing(left):
            return row
        return self._append(row, left)

    def _why(self, row: Row) -> str:
        """Why there is a hole at the end of the boot. A boot that began before the log was restored and is unknown to
        it had its first records in what the backup lacks."""
        unknown = row.boot.through == -1 and self._restored_ms is not None and row.source.offset_ms < self._restored_ms
        return "gateway_restored" if row.boot.restored or unknown else "unexplained"

    def _append(self, row: Row, record: Record) -> Row:
        if record.last not in INT64:
            raise StoreError(f"{row.source.device}: sequence number {record.last} cannot be stored")
        if isinstance(record, Event):
            record = _storable_event(record)
        row = self._room(row, record.t_ms if isinstance(record, Sample | Event) else None)
        row.records.append(record)
        row.weight += weight(record)
        row.boot.through = record.last
        self._count(row, record)
        return row

    def _count(self, row: Row, record: Record) -> None:
        boot = row.boot
        match record:
            case Sample():
                boot.samples += 1
                for refusal in record.refused:
                    self._quarantine(row, record.seq, record.t_ms, *msgspec.structs.astuple(refusal))
            case Event():
                row.notable += 1
                boot.events += 1
            case Gap():
                row.notable += 1
                boot.gaps += 1
                bound = record.at_most if record.to is None else record.to - record.seq + 1
                boot.lost = min(boot.lost + (bound or 0 if record.count is None else record.count), _MOST_LOST)
                boot.uncertain = min(boot.uncertain + (bound or 0 if record.count is None else 0), _MOST_LOST)
                boot.ended = record.to is None
            case Refused():
                row.notable += 1
                self._quarantine(row, record.seq, None, None, record.raw, record.code, record.reason)

    def _refuse_late(self, row: Row, record: Record) -> None:
        value = msgspec.json.encode(record).decode()[:4096]
        t_ms = record.t_ms if isinstance(record, Sample | Event) else None
        self._quarantine(row, record.seq, t_ms, None, value, "boot.ended", "came after the gap that ended its boot")
        row.boot.through = record.last

    def _quarantine(  # one argument per column
        self, row: Row, seq: int, t_ms: int | None, quantity: str | None, value: str, code: str, reason: str
    ) -> None:
        source = row.source
        at_ms = source.received_ms if t_ms is None else source.at_ms(t_ms)
        self.quarantined.append(
            Quarantined(row.boot.device_id, source.boot_id, seq, quantity, value, code, reason, at_ms)
        )
        row.boot.quarantined += 1

    def _row_for(self, batch: Batch, boot: Boot) -> Row:
        """The row `batch` goes on in: the device's newest, where everything that is said once per row is equal."""
        row = self._open.get(batch.device)
        if row is not None and row.boot is boot and _same_kind(row.source, batch):
            return row
        return self._new_row(batch, boot)

    def _new_row(self, source: Batch, boot: Boot) -> Row:
        row = Row(source, boot, [])
        self._rows.append(row)
        self._open[source.device] = row
        return row

    def _room(self, row: Row, t_ms: int | None) -> Row:
        """`row` where a record of time `t_ms` still fits, else a new one. Widens its span."""
        if row.weight >= ROW_RECORDS:
            row = self._new_row(row.source, row.boot)
        if t_ms is None:
            return row
        first = t_ms if row.t_first is None else min(t_ms, row.t_first)
        last = t_ms if row.t_last is None else max(t_ms, row.t_last)
        if last - first > ROW_SPAN_MS:
            row = self._new_row(row.source, row.boot)
            first = last = t_ms
        if t_ms + row.source.offset_ms not in INT64 or t_ms not in INT64:
            raise StoreError(f"{row.source.device}: a time of {t_ms} ms cannot be stored")
        row.t_first, row.t_last = first, last
        return row


def _later(one: int | None, other: int | None) -> int | None:
    return one if other is None or (one is not None and one > other) else other


def _cut_to(record: Record, first: int) -> Record:
    """What is left of `record` from `first` on."""
    gone = first - record.seq
    if gone <= 0 or isinstance(record, Sample | Event | Correction):
        return record
    if isinstance(record, Refused):
        return msgspec.structs.replace(record, seq=first)
    left = None if record.to is None else record.to - first + 1
    count = record.count if record.count is None or left is None else min(record.count, left)
    at_most = None if record.at_most is None else max(0, record.at_most - gone)
    return Gap(first, record.to, count, at_most, record.why)


def _is_open(record: Record) -> bool:
    return type(record) is Gap and record.to is None


def _says_nothing(record: Record) -> bool:
    """An open gap that was cut down to nothing: all it was unsure of is here."""
    return type(record) is Gap and record.to is None and record.at_most == 0


def weight(record: Record) -> int:
    """How much of a row it takes, in samples: refused things carry text."""
    if isinstance(record, Sample):
        return 1 + 4 * len(record.refused)
    return 50 if isinstance(record, Refused) else 4


def _same_kind(one: Batch, other: Batch) -> bool:
    return one is other or (
        one.offset_ms == other.offset_ms
        and one.quality is other.quality
        and one.profile == other.profile
        and one.boot == other.boot
    )


def _storable_event(event: Event) -> Event:
    """MessagePack has no integers beyond 64 bits, JSON has: they are kept as text."""
    huge = {key: str(value) for key, value in event.data.items() if type(value) is int and value not in INT64}
    return msgspec.structs.replace(event, data={**event.data, **huge}) if huge else event
