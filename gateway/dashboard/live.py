"""4b OUT, pure: the newest value per device and quantity, what changed, and what waits for one browser.

`Live` turns committed batches into messages and joins what belongs together. `Outbox` is one browser's bounded queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.dashboard.messages import (
    CorrectedMessage,
    EventMessage,
    GapMessage,
    LatestMessage,
    Message,
    QuarantineMessage,
    SamplesMessage,
)
from gateway.dashboard.shapes import EventRow, Latest, QuarantineRow
from gateway.model import Batch, Correction, Event, Gap, Quality, Record, Refused, Sample

if TYPE_CHECKING:
    from gateway.store import history

AHEAD_MS = 60_000
"""What is stamped further ahead of the gateway's clock than this was stamped before that clock was set back."""
SAMPLES_IN_A_MESSAGE = 1000
"""No `samples` message holds more, so that no frame grows without bound."""


class _Columns:
    """Samples of one boot on their way into one message."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.seq: list[int] = []
        self.at_ms: list[int] = []
        self.values: dict[str, list[float | None]] = {}

    def continues(self, batch: Batch) -> bool:
        """True where `batch` may go into the same message."""
        return (
            self.batch.boot_id == batch.boot_id
            and self.batch.quality is batch.quality
            and len(self.seq) < SAMPLES_IN_A_MESSAGE
        )

    def add(self, sample: Sample, at_ms: int) -> None:
        for quantity, value in sample.values.items():
            column = self.values.setdefault(quantity, [])
            column.extend([None] * (len(self.seq) - len(column)))
            column.append(value)
        self.seq.append(sample.seq)
        self.at_ms.append(at_ms)

    def message(self) -> SamplesMessage:
        for column in self.values.values():
            column.extend([None] * (len(self.seq) - len(column)))
        batch = self.batch
        return SamplesMessage(batch.device, batch.boot, batch.boot_id, self.seq, self.at_ms, batch.quality, self.values)


@dataclass(frozen=True, slots=True)
class _Newest:
    """A newest value with what decides whether another one supersedes it. Unknown boot: it is provisional."""

    latest: Latest
    boot_id: str = ""
    seq: int = -1

    def superseded_by(self, other: _Newest, now_ms: int) -> bool:
        """Within one boot the sequence decides, since times may be corrected; between boots the time, unless the one
        that is known was stamped ahead of it."""
        if self.boot_id and self.boot_id == other.boot_id:
            return other.seq >= self.seq
        if self.latest.at_ms > now_ms + AHEAD_MS:
            return True
        if other.latest.provisional:
            return other.latest.at_ms > self.latest.at_ms
        return other.latest.at_ms >= self.latest.at_ms


class Live:
    """What is newest, and what has changed since the last `take`."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[str, _Newest]] = {}
        self._messages: list[Message | _Columns] = []
        self._open: dict[str, _Columns] = {}
        self._counted: set[str] = set()
        self._last: dict[str, tuple[str, int, Quality]] = {}
        """Per device the boot_id, the time and its quality of the record committed last."""

    def load(self, device: str, rows: Mapping[str, history.Latest], now_ms: int) -> None:
        """Take in what the history knows; it never hides what is newer. `now_ms`: by the gateway's clock."""
        known = self._newest.get(device, {})
        for quantity, (at_ms, value, quality, boot_id, seq) in rows.items():
            if quantity in known and at_ms > now_ms + AHEAD_MS:
                continue  # stamped ahead: it must not hide what has come since
            self._offer(device, quantity, _Newest(Latest(value, at_ms, quality), boot_id, seq), now_ms)

    def latest(self, device: str) -> dict[str, Latest]:
        """The newest value per quantity."""
        return {quantity: newest.latest for quantity, newest in self._newest.get(device, {}).items()}

    def forget(self, device: str) -> None:
        self._newest.pop(device, None)
        self._last.pop(device, None)

    def committed(self, batch: Batch) -> None:
        """Take in what the store has committed."""
        self._counted.add(batch.device)
        events: list[EventRow] = []
        refused: list[QuarantineRow] = []
        for index, record in enumerate(batch.records):
            match record:
                case Sample():
                    self._sample(batch, record)
                case Event(seq, t_ms, code, sensor, data):
                    events.append(EventRow(batch.at_ms(t_ms), batch.boot_id, seq, code, sensor, data))
                case Gap(seq, to, count, at_most, why):
                    around = self._before(batch, index), _after(batch, index)
                    place = batch.device, batch.boot, batch.boot_id, seq, to
                    self._messages.append(GapMessage(*place, count, at_most, why, *around, batch.received_ms))
                case Refused():
                    pass
                case Correction():
                    self._correct(batch, record)
            refused += quarantined(batch, record)
        if (last_ms := _newest_ms(batch, batch.records)) is not None:
            self._last[batch.device] = batch.boot_id, last_ms, batch.quality
        if events:
            self._messages.append(EventMessage(batch.device, events))
        if refused:
            self._messages.append(QuarantineMessage(batch.device, refused))

    def _sample(self, batch: Batch, sample: Sample) -> None:
        at_ms = batch.at_ms(sample.t_ms)
        columns = self._open.get(batch.device)
        if columns is None or not columns.continues(batch):
            columns = self._open[batch.device] = _Columns(batch)
            self._messages.append(columns)
        columns.add(sample, at_ms)
        for quantity, value in sample.values.items():
            latest = Latest(value, at_ms, batch.quality)
            self._offer(batch.device, quantity, _Newest(latest, batch.boot_id, sample.seq), batch.received_ms)

    def _correct(self, batch: Batch, record: Correction) -> None:
        """Samples that were told before as `estimated` have another time now; what was read as `corrected` has it."""
        place = batch.device, batch.boot, batch.boot_id
        self._messages.append(CorrectedMessage(*place, record.seq, record.to, record.moved_ms))
        self._open.pop(batch.device, None)  # what comes now was stamped after it
        newest = self._newest.get(batch.device, {})
        for quantity, known in newest.items():
            if (
                known.boot_id == batch.boot_id
                and record.seq <= known.seq <= record.to
                and known.latest.quality == Quality.ESTIMATED
            ):
                moved = replace(known.latest, at_ms=known.latest.at_ms + record.moved_ms, quality=batch.quality)
                newest[quantity] = replace(known, latest=moved)
        boot_id, _, quality = self._last.get(batch.device, ("", 0, Quality.SYNCED))
        if boot_id == batch.boot_id and quality is Quality.ESTIMATED:
            del self._last[batch.device]  # which of several corrections was its own is not known here; REST knows

    def _before(self, batch: Batch, index: int) -> int | None:
        """The last time known before the record at `index`, as `GapRow.before_ms`."""
        here_ms = _newest_ms(batch, batch.records[:index])
        if here_ms is not None:
            return here_ms
        boot_id, last_ms, _ = self._last.get(batch.device, ("", 0, Quality.SYNCED))
        if boot_id == batch.boot_id:
            return last_ms
        return batch.offset_ms if batch.records[index].seq == 0 else None

    def provisional(self, device: str, at_ms: int, values: Mapping[str, float], quality: Quality, now_ms: int) -> None:
        """Take in values that a device sent ahead of its backlog. `now_ms`: by the gateway's clock."""
        for quantity, value in values.items():
            self._offer(device, quantity, _Newest(Latest(value, at_ms, quality, provisional=True)), now_ms)
        self._messages.append(LatestMessage(device, at_ms, dict(values)))

    def tell(self, message: Message) -> None:
        """Send `message` along, after what was taken in before it."""
        self._messages.append(message)

    def take(self) -> list[Message]:
        """The messages since the last call. Samples of one device and boot are joined."""
        messages = [m.message() if isinstance(m, _Columns) else m for m in self._messages]
        self._messages = []
        self._open.clear()
        return messages

    def take_counted(self) -> set[str]:
        """Devices whose counts may have changed since the last call."""
        counted, self._counted = self._counted, set()
        return counted

    def _offer(self, device: str, quantity: str, value: _Newest, now_ms: int) -> None:
        newest = self._newest.setdefault(device, {})
        known = newest.get(quantity)
        if known is None or known.superseded_by(value, now_ms):
            newest[quantity] = value


def _newest_ms(batch: Batch, records: Sequence[Record]) -> int | None:
    return next((batch.at_ms(r.t_ms) for r in reversed(records) if isinstance(r, Sample | Event)), None)


def _after(batch: Batch, index: int) -> int | None:
    """The first time known after the record at `index`, as far as `batch` tells."""
    behind = batch.records[index + 1 :]
    return next((batch.at_ms(r.t_ms) for r in behind if isinstance(r, Sample | Event)), None)


def quarantined(batch: Batch, record: Record) -> list[QuarantineRow]:
    """The rows that `record` leaves in quarantine."""
    if isinstance(record, Refused):
        row = QuarantineRow(batch.received_ms, batch.boot_id, record.seq, None, record.raw, record.code, record.reason)
        return [row]
    if not isinstance(record, Sample):
        return []
    at_ms = batch.at_ms(record.t_ms)
    return [
        QuarantineRow(at_ms, batch.boot_id, record.seq, r.quantity, r.value, r.code, r.reason) for r in record.refused
    ]


class Outbox:
    """Encoded messages that wait for one browser, at most `limit_bytes` of them.

    Full means too slow: `put` says so once and takes nothing more, for a feed with a hole in it would be a lie.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.too_slow = False
        self._waiting: deque[bytes] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            if self._bytes + len(message) > self.limit_bytes:
                self.too_slow = True
            if self.too_slow:
                return
            self._waiting.append(message)
            self._bytes += len(message)

    def take(self, limit_bytes: int) -> bytes:
        """One frame: a JSON list of what waits longest, with no more added once it has reached `limit_bytes`."""
        frame: list[bytes] = []
        size = 0
        while self._waiting and size < limit_bytes:
            message = self._waiting.popleft()
            frame.append(message)
            size += len(message)
        self._bytes -= size
        return b"[" + b",".join(frame) + b"]"
