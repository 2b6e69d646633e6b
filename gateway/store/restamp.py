"""Correcting the times of a boot whose clock became known late: one bounded step, for the writer's thread.

A step changes whole rows and adds the batch that tells of it, in one transaction; what is corrected is no longer
`estimated`, so a step that is done again finds only what is left.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from gateway.errors import StoreError
from gateway.model import Correction
from gateway.store.body import count_records
from gateway.store.commit import INT64

STEP_ROWS = 500
STEP_BYTES = 1 << 20
"""What one step changes at most, about; commits wait for no more than that (figures: README.md)."""


class Estimated(NamedTuple):
    """A row to be corrected. `head` is the beginning of its body, `length` all of that in bytes."""

    id: int
    first: int
    last: int
    at_first_ms: int | None
    at_last_ms: int | None
    offset_ms: int
    profile: str
    length: int
    head: bytes

    @property
    def records(self) -> int:
        return count_records(self.head)


def next_rows(connection: sqlite3.Connection, boot: int) -> tuple[list[Estimated], bool]:
    """The oldest estimated rows of the boot, as many as one step takes, and whether there are more."""
    rows: list[Estimated] = []
    taken = 0
    for found in connection.execute(
        "SELECT id, first, last, at_first_ms, at_last_ms, offset_ms, profile, length(body), substr(body, 1, 5)"
        " FROM batches WHERE boot = ? AND quality = 'estimated' ORDER BY id",
        (boot,),
    ):
        if rows and (len(rows) >= STEP_ROWS or taken >= STEP_BYTES):
            return rows, True
        rows.append(Estimated(*found))
        taken += rows[-1].length
    return rows, False


def correct(connection: sqlite3.Connection, boot: int, rows: list[Estimated], offset_ms: int) -> list[Correction]:
    """Give `rows`, which are all the estimated ones up to the last of them, their new times. Raises StoreError where
    those are beyond what a database holds. Within a transaction."""
    if any(at_ms not in INT64 for row in rows for at_ms in _new_times(row, offset_ms)):
        raise StoreError(f"times at an offset of {offset_ms} ms cannot be stored")
    connection.execute(
        "UPDATE batches SET at_first_ms = at_first_ms + (?1 - offset_ms), at_last_ms = at_last_ms + (?1 - offset_ms),"
        " offset_ms = ?1, quality = 'corrected' WHERE boot = ?2 AND quality = 'estimated' AND id <= ?3",
        (offset_ms, boot, rows[-1].id),
    )
    return corrections(rows, offset_ms)


def corrections(rows: list[Estimated], offset_ms: int) -> list[Correction]:
    """What is said of them: one for each run without a hole that had the same offset. Pure."""
    found: list[Correction] = []
    for row in rows:
        moved_ms = offset_ms - row.offset_ms
        if found and found[-1].moved_ms == moved_ms and found[-1].to + 1 == row.first:
            found[-1] = Correction(found[-1].seq, row.last, moved_ms)
        else:
            found.append(Correction(row.first, row.last, moved_ms))
    return found


def latest_ms(rows: list[Estimated], offset_ms: int) -> int | None:
    """The latest time in `rows`, corrected."""
    return max((row.at_last_ms + offset_ms - row.offset_ms for row in rows if row.at_last_ms is not None), default=None)


def _new_times(row: Estimated, offset_ms: int) -> list[int]:
    moved_ms = offset_ms - row.offset_ms
    old = (row.at_first_ms, row.at_last_ms)
    return [moved_ms, offset_ms, *(at_ms + moved_ms for at_ms in old if at_ms is not None)]
