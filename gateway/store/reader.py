"""Reading samples.db: functions for a reader's thread. Each reads a bounded piece, so that no reader holds up the
folding of the write-ahead log into the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from gateway.model import Batch, Event, Gap, Quality
from gateway.store.body import records_of
from gateway.store.commit import ROW_SPAN_MS
from gateway.store.history import EventRow, Place, QuarantineRow
from gateway.store.port import Committed

LATEST_ROWS, LATEST_RECORDS = 50, 1_000
"""How far back the start looks for a device's newest values. A rarer quantity shows when it comes again."""
SCAN_RECORDS = 5_000
EVENT_ROWS = 20_000
"""Rows with something other than samples (events, gaps, refused frames) that are looked through for events."""
READ_RECORDS = 10_000
"""An outlet that is far behind has so many in memory at a time, whatever the rows hold."""

_COLUMNS = (
    "batches.id, devices.name, boots.boot, boots.boot_id, body, offset_ms, quality, received_ms, profile, first, last"
    " FROM batches JOIN devices ON devices.id = batches.device JOIN boots ON boots.id = batches.boot"
)
_QUALITIES = {str(quality): quality for quality in Quality}


def _batch(log_id: str, row: Sequence[Any]) -> Batch:
    id, device, boot, boot_id, body, offset_ms, quality, received_ms, profile, first, last = row
    return Batch(
        device=device,
        boot=boot,
        boot_id=boot_id,
        records=records_of(body, device, first, last),
        offset_ms=offset_ms,
        quality=_QUALITIES.get(quality, Quality.ESTIMATED),  # a bit that SQLite does not guard, as in a body
        received_ms=received_ms,
        cursor=f"{log_id}:{id}",
        profile=profile,
    )


def read(connection: sqlite3.Connection, log_id: str, after: int, device: str | None, limit: int) -> list[Batch]:
    """Up to `limit` batches behind id `after`, in commit order; of large ones fewer, but one at least."""
    if device is None:
        rows = connection.execute(
            f"SELECT {_COLUMNS} WHERE batches.id > ? ORDER BY batches.id LIMIT ?",
            (after, limit),
        )
    else:  # without an index for it: it would cost every commit a page per device, and few ask for this
        rows = connection.execute(
            f"SELECT {_COLUMNS} WHERE batches.id > ? AND devices.name = ? ORDER BY batches.id LIMIT ?",
            (after, device, limit),
        )
    batches: list[Batch] = []
    records = 0
    for row in rows:
        batches.append(_batch(log_id, row))
        records += len(batches[-1].records)
        if records >= READ_RECORDS:
            break
    return batches


def committed(connection: sqlite3.Connection, device: str, boot_ids: Sequence[str]) -> list[Committed]:
    (device_id,) = connection.execute("SELECT max(id) FROM devices WHERE name = ?", (device,)).fetchone()
    newest = connection.execute(_TWO_NEWEST_BOOTS, (device_id,)).fetchall()  # the floor of each is one of the two
    found = []
    for boot_id in boot_ids:
        row = connection.execute(_SELECT_COMMITTED, (device_id, boot_id)).fetchone()
        number, through, ended, estimated, zero_ms, last_at_ms, corrected = row or (0, -1, 0, 0, None, None, 0)
        floor_ms = next((at_ms for other, at_ms in newest if other != boot_id), None)
        found.append(
            Committed(
                boot_id, number, through, bool(ended), bool(estimated), zero_ms, last_at_ms, bool(corrected), floor_ms
            ),
        )
    return found


def cut_off(connection: sqlite3.Connection, device: str) -> Batch | None:
    """The end of the newest boot of `device`, where that is from a backup and nothing of it has come since."""
    row = connection.execute(
        "SELECT boots.id, boot, boot_id, through, ended, restored FROM boots JOIN devices ON devices.id = boots.device"
        " WHERE name = ? ORDER BY boots.id DESC LIMIT 1",
        (device,),
    ).fetchone()
    if row is None or row[4] or not row[5]:
        return None
    id, boot, boot_id, through, *_ = row
    newest = connection.execute(
        "SELECT offset_ms, quality, profile FROM batches WHERE boot = ? ORDER BY id DESC LIMIT 1", (id,)
    ).fetchone()
    offset_ms, quality, profile = newest or (0, str(Quality.ESTIMATED), "")
    end = Gap(through + 1, None, None, None, "gateway_restored")
    return Batch(device, boot, boot_id, (end,), offset_ms, _QUALITIES[quality], 0, profile=profile)


_LAST_AT = "max(coalesce(last_at_ms, last_guess_ms), coalesce(last_guess_ms, last_at_ms))"
_TWO_NEWEST_BOOTS = (
    f"SELECT boot_id, {_LAST_AT} AS at_ms FROM boots WHERE device = ? AND at_ms NOTNULL ORDER BY at_ms DESC LIMIT 2"  # noqa: S608 - our own columns
)
_SELECT_COMMITTED = (
    "SELECT boot, through, ended,"  # noqa: S608 - our own columns
    " EXISTS (SELECT 1 FROM batches WHERE batches.boot = boots.id AND quality = 'estimated'),"
    f" zero_ms, {_LAST_AT},"
    " zero_ms NOTNULL AND last_at_ms NOTNULL AND NOT EXISTS (SELECT 1 FROM batches WHERE device = boots.device"
    " AND at_last_ms = boots.last_at_ms AND batches.boot = boots.id AND quality = 'synced')"
    " FROM boots WHERE device = ? AND boot_id = ?"
)


def scan(
    connection: sqlite3.Connection, device: str, from_ms: int, to_ms: int, after: Place | None
) -> tuple[list[Batch], Place | None]:
    """See `HistorySource.scan`. A row spans ten minutes at most, which bounds the search at its end."""
    at_ms, id = after or (from_ms, -1)
    batches: list[Batch] = []
    records = 0
    for at_first_ms, at_last_ms, *row in connection.execute(
        f"SELECT at_first_ms, at_last_ms, {_COLUMNS}"  # noqa: S608 - our own columns
        " WHERE batches.device = (SELECT id FROM devices WHERE name = ?) AND (at_last_ms, batches.id) > (?, ?)"
        " AND at_last_ms <= ? ORDER BY at_last_ms, batches.id",
        (device, at_ms, id, to_ms + ROW_SPAN_MS),
    ):
        if at_first_ms <= to_ms:
            batches.append(_batch("", row))
            records += len(batches[-1].records)
        if records >= SCAN_RECORDS:
            return batches, Place(at_last_ms, row[0])
    return batches, None


def extent(connection: sqlite3.Connection, device: str) -> tuple[int, int] | None:
    """See `HistorySource.extent`: exact."""
    first, last = connection.execute(
        "SELECT min(at_last_ms), max(at_last_ms) FROM batches WHERE device = (SELECT id FROM devices WHERE name = ?)",
        (device,),
    ).fetchone()
    if first is None:
        return None
    (earliest,) = connection.execute(
        "SELECT min(at_first_ms) FROM batches WHERE device = (SELECT id FROM devices WHERE name = ?)"
        " AND at_last_ms <= ?",
        (device, first + ROW_SPAN_MS),
    ).fetchone()
    return earliest, last


def quarantine(connection: sqlite3.Connection, device: str, limit: int) -> list[QuarantineRow]:
    rows = connection.execute(
        "SELECT at_ms, boot_id, seq, quantity, value, code, reason FROM quarantine"
        " WHERE device = (SELECT id FROM devices WHERE name = ?) ORDER BY id DESC LIMIT ?",
        (device, limit),
    )
    return [QuarantineRow(*row) for row in rows]


def events(connection: sqlite3.Connection, device: str, limit: int) -> list[EventRow]:
    """Newest first, by commit."""
    found: list[EventRow] = []
    for row in connection.execute(
        f"SELECT {_COLUMNS} WHERE batches.device = (SELECT id FROM devices WHERE name = ?) AND notable > 0"  # noqa: S608 - our own columns
        " ORDER BY batches.id DESC LIMIT ?",
        (device, EVENT_ROWS),
    ):
        batch = _batch("", row)
        found.extend(
            EventRow(batch.at_ms(record.t_ms), batch.boot_id, record.seq, record.code, record.sensor, record.data)
            for record in reversed(batch.records)
            if isinstance(record, Event)
        )
        if len(found) >= limit:
            break
    return found[:limit]


def newest_values(connection: sqlite3.Connection, note: Callable[[Batch], None]) -> None:
    """Show `note` the newest batches of each device, newest first."""
    for (device,) in connection.execute("SELECT name FROM devices").fetchall():
        for batch in newest_batches(connection, device):
            note(batch)


def newest_batches(connection: sqlite3.Connection, device: str) -> list[Batch]:
    """The newest by time, newest first, as many as the newest values are looked for in."""
    found: list[Batch] = []
    records = 0
    for row in connection.execute(
        f"SELECT {_COLUMNS} WHERE batches.device = (SELECT id FROM devices WHERE name = ?) AND at_last_ms NOTNULL"  # noqa: S608 - our own columns
        " ORDER BY at_last_ms DESC LIMIT ?",
        (device, LATEST_ROWS),
    ):
        found.append(_batch("", row))
        records += len(found[-1].records)
        if records >= LATEST_RECORDS:
            break
    return found
