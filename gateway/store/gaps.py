"""Reading gaps from samples.db, with the times around them: a function for a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.model import Event, Gap, Record, Sample
from gateway.store.body import records_of

SLACK_MS = 60_000
"""How far behind its receipt a record may be stamped and still be found as what was before a gap."""
SCAN_ROWS = 20_000
"""Rows looked through for what was before or after one gap. Past that it is not known."""


class GapRow(msgspec.Struct, frozen=True):
    """Samples `first` to `to` of a boot, which no longer exist (`model.Gap`)."""

    boot: int
    boot_id: str
    first: int
    to: int | None
    count: int | None
    at_most: int | None
    why: str
    received_ms: int
    """When the gateway learned of it, Unix milliseconds, like the two below."""
    before_ms: int | None
    """The last time known before the loss: of the record before it in its boot, or the start of the boot where the
    loss begins it. None where that is not stored any more."""
    after_ms: int | None
    """The first time known after it: of the record behind it in its boot. Of an open gap that of the boot that
    followed. None where nothing has followed yet."""


class _Row(NamedTuple):
    """A row of `batches` that may hold gaps."""

    id: int
    device: int
    boot: int
    boot_number: int
    boot_id: str
    offset_ms: int
    received_ms: int
    body: bytes
    name: str
    first: int
    last: int


def gaps(connection: sqlite3.Connection, device: str, limit: int) -> list[GapRow]:
    """Up to `limit` gaps of `device`, the one committed last first."""
    found: list[GapRow] = []
    (ever,) = connection.execute(
        "SELECT coalesce(sum(gaps), 0) FROM boots WHERE device = (SELECT id FROM devices WHERE name = ?)", (device,)
    ).fetchone()
    limit = min(limit, ever)  # where there is none, nothing is to be looked through
    if not limit:
        return []
    rows = connection.execute(
        "SELECT batches.id, batches.device, boots.id, boots.boot, boots.boot_id, offset_ms, received_ms, body,"
        " name, first, last"
        " FROM batches JOIN boots ON boots.id = batches.boot JOIN devices ON devices.id = batches.device"
        " WHERE batches.device = (SELECT id FROM devices WHERE name = ?) AND notable > 0 ORDER BY batches.id DESC",
        (device,),
    )
    for row in map(_Row._make, rows):
        records = records_of(row.body, row.name, row.first, row.last)
        for index in range(len(records) - 1, -1, -1):
            record = records[index]
            if isinstance(record, Gap):
                found.append(_with_times(connection, row, records, index, record))
                if len(found) >= limit:
                    return found
    return found


def _with_times(connection: sqlite3.Connection, row: _Row, records: Sequence[Record], index: int, gap: Gap) -> GapRow:
    before_ms = _newest_ms(row, records[:index])
    if before_ms is None:
        before_ms = row.offset_ms if gap.seq == 0 else _before(connection, row, gap.seq)
    after_ms = _oldest_ms(row, records[index + 1 :])
    if after_ms is None and before_ms is not None:
        after_ms = (
            _after_boot(connection, row, before_ms) if gap.to is None else _after(connection, row, gap, before_ms)
        )
    return GapRow(
        boot=row.boot_number,
        boot_id=row.boot_id,
        first=gap.seq,
        to=gap.to,
        count=gap.count,
        at_most=gap.at_most,
        why=gap.why,
        received_ms=row.received_ms,
        before_ms=before_ms,
        after_ms=after_ms,
    )


def _newest_ms(row: _Row, records: Sequence[Record]) -> int | None:
    return max((row.offset_ms + r.t_ms for r in records if isinstance(r, Sample | Event)), default=None)


def _oldest_ms(row: _Row, records: Sequence[Record]) -> int | None:
    return min((row.offset_ms + r.t_ms for r in records if isinstance(r, Sample | Event)), default=None)


# In one boot time and sequence grow together, so the index by time leads to the neighbours.


def _before(connection: sqlite3.Connection, row: _Row, first: int) -> int | None:
    return _one(
        connection,
        "SELECT at_last_ms FROM"
        " (SELECT at_last_ms, boot, last FROM batches WHERE device = ? AND at_last_ms <= ?"
        " ORDER BY at_last_ms DESC LIMIT ?) WHERE boot = ? AND last < ? LIMIT 1",
        (row.device, row.received_ms + SLACK_MS, SCAN_ROWS, row.boot, first),
    )


def _after(connection: sqlite3.Connection, row: _Row, gap: Gap, before_ms: int) -> int | None:
    return _one(
        connection,
        "SELECT at_first_ms FROM"
        " (SELECT at_first_ms, boot, first FROM batches WHERE device = ? AND at_last_ms >= ?"
        " ORDER BY at_last_ms LIMIT ?) WHERE boot = ? AND first > ? LIMIT 1",
        (row.device, before_ms, SCAN_ROWS, row.boot, gap.seq),
    )


def _after_boot(connection: sqlite3.Connection, row: _Row, before_ms: int) -> int | None:
    """The first record of the boot that began after this one ended."""
    return _one(
        connection,
        "SELECT at_first_ms FROM"
        " (SELECT at_first_ms, boot FROM batches WHERE device = ? AND at_last_ms >= ?"
        " ORDER BY at_last_ms LIMIT ?) WHERE boot != ? AND at_first_ms >= ? LIMIT 1",
        (row.device, before_ms, SCAN_ROWS, row.boot, before_ms),
    )


def _one(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> int | None:
    found = connection.execute(query, values).fetchone()
    return None if found is None else found[0]
