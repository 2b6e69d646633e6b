"""Deleting the oldest of the log, by age and by size: what may go (pure), and one bounded step of it, for the writer's
thread.

Always a beginning of the log goes, whole rows, so that a cursor that points into it simply goes on at the oldest that
is left. What is deleted is counted, in the transaction that deletes it: per device, and per outlet that had not taken
it. What was refused of it goes with it: else `max_mb` could be filled by that alone, and no sample would be left. Boots
stay for ever: they are what makes a repeat recognisable.

The file does not shrink: freed pages are filled again by what comes. Giving them back to the disk (auto_vacuum) would
move pages about, each written twice, and cost every commit another page: on an SD card that is the wrong way round.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateway.clock import RELEASED_MS
from gateway.store.body import count_records

STEP_ROWS = 200
STEP_BYTES = 512 << 10
"""What one step deletes at most, about; commits wait for no more than that (figures: README.md)."""
SCAN_ROWS, MOST_SCAN_ROWS = 1_000, 100_000
"""Rows whose age one step looks at; and where the age of none of these is known."""
DAY_MS = 86_400_000


class Limits(NamedTuple):
    """What is kept at most; None is without a limit."""

    age_ms: int | None
    size_bytes: int | None


class Pruned(NamedTuple):
    """What one step deleted. `samples` and `quarantined` by device and `untaken` by outlet; `more` where the next step
    has work too."""

    rows: int
    samples: Counter[str]
    quarantined: Counter[str]
    untaken: Counter[str]
    more: bool


NOTHING = Pruned(0, Counter(), Counter(), Counter(), False)


def through(stamps: Iterable[tuple[int, int]], before_ms: int, now_ms: int) -> int:
    """Up to which id rows are older than `before_ms`, given (id, when it was received) in order; 0 for none. Pure.

    A row was received no later than the one behind it, whatever the clock said at the time: a stamp that cannot be
    true says nothing, and such a row goes with the next one that is believed. One that is too new stops here: rather
    too late than too early."""
    found = 0
    for id, stamp_ms in stamps:
        if not RELEASED_MS <= stamp_ms <= now_ms:
            continue
        if stamp_ms >= before_ms:
            break
        found = id
    return found


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the file holds, without its free pages."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def due(connection: sqlite3.Connection, limits: Limits, now_ms: int | None) -> int:
    """Up to which id rows are to go now. `now_ms` is Unix milliseconds, None while nobody knows the date: then nothing
    goes by its age."""
    if limits.size_bytes is not None and used_bytes(connection) > limits.size_bytes:
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])
    if limits.age_ms is None or now_ms is None:
        return 0
    for rows in (SCAN_ROWS, MOST_SCAN_ROWS):
        stamps = connection.execute(_STAMPS, (rows,))
        if found := through(stamps, now_ms - limits.age_ms, now_ms):
            return found
    return 0


# What was received under a clock that was wrong is known better once its times are corrected.
_STAMPS = (
    "SELECT id, CASE WHEN quality <> 'estimated' AND at_last_ms > received_ms THEN at_last_ms ELSE received_ms END"
    " FROM batches ORDER BY id LIMIT ?"
)


def step(connection: sqlite3.Connection, limits: Limits, now_ms: int | None, cursors: Mapping[str, int]) -> Pruned:
    """One step, one transaction. `cursors`: up to which id each outlet has taken."""
    last = due(connection, limits, now_ms)
    if not last:
        return NOTHING
    rows = taken = end = 0
    samples, untaken = Counter[str](), Counter[str]()
    gone: defaultdict[str, dict[str, int]] = defaultdict(dict)  # by device: up to which seq of each boot
    found = connection.execute(  # row by row: SQLite reads a body whole to see its beginning
        "SELECT batches.id, name, boot_id, last, substr(body, 1, 5), notable, length(body) FROM batches"
        " JOIN devices ON devices.id = batches.device JOIN boots ON boots.id = batches.boot"
        " WHERE batches.id <= ? ORDER BY batches.id LIMIT ?",
        (last, STEP_ROWS),
    )
    for id, device, boot_id, through_seq, head, notable, length in found:
        count = max(0, count_records(head) - notable)
        samples[device] += count
        gone[device][boot_id] = through_seq
        untaken.update({outlet: count for outlet, cursor in cursors.items() if id > cursor})
        rows, taken, end = rows + 1, taken + length, id
        if taken >= STEP_BYTES:
            break
    found.close()
    connection.execute("BEGIN IMMEDIATE")
    # An id is never used twice, also where the newest row goes (0001.sql).
    connection.execute("UPDATE meta SET value = max(value, (SELECT max(id) FROM batches)) WHERE key = 'highest_id'")
    connection.execute("DELETE FROM batches WHERE id <= ?", (end,))
    quarantined = Counter({device: _delete_quarantined(connection, device, boots) for device, boots in gone.items()})
    connection.executemany(
        "UPDATE devices SET pruned = pruned + ? WHERE name = ?", [(count, name) for name, count in samples.items()]
    )
    connection.executemany(
        "INSERT INTO untaken VALUES (?1, ?2) ON CONFLICT (outlet) DO UPDATE SET samples = samples + ?2",
        [(outlet, count) for outlet, count in untaken.items() if count],
    )
    connection.execute("COMMIT")
    return Pruned(rows, samples, +quarantined, +untaken, end < last)


def _delete_quarantined(connection: sqlite3.Connection, device: str, gone: Mapping[str, int]) -> int:
    """Delete what was refused of `gone`, the seq of each boot up to which it is deleted, and what was refused before:
    quarantine is in the order of the log. Returns how many rows."""
    found = connection.execute(
        "SELECT id, boot_id, seq FROM quarantine WHERE device = (SELECT id FROM devices WHERE name = ?)"
        " ORDER BY id DESC",
        (device,),
    )
    last = next((id for id, boot_id, seq in found if seq <= gone.get(boot_id, -1)), None)
    found.close()
    if last is None:
        return 0
    return connection.execute(
        "DELETE FROM quarantine WHERE device = (SELECT id FROM devices WHERE name = ?) AND id <= ?", (device, last)
    ).rowcount
