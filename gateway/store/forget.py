"""Erasing one device from samples.db: one bounded step of it, for the writer's thread, and what a deleted row leaves.

SQLite keeps deleted rows in the file until something else is written over them. `secure_delete` (database.py) has it
write zeros there at once. The write-ahead log still holds the pages as they were; folded into the file and cut to
nothing, it does not. What then is left of them on the disk itself nobody above the file system can erase.
"""

from __future__ import annotations

import sqlite3

STEP_ROWS = 200
STEP_BYTES = 512 << 10
"""What one step deletes at most, about; commits wait for no more than that, as with retention."""


def step(connection: sqlite3.Connection, device: str) -> bool:
    """One step, one transaction. False once nothing of `device` is left."""
    row = connection.execute("SELECT id FROM devices WHERE name = ?", (device,)).fetchone()
    if row is None:
        return False
    id = int(row[0])
    connection.execute("BEGIN IMMEDIATE")
    if not (_delete_batches(connection, id) or _delete_quarantined(connection, id)):
        connection.execute("DELETE FROM boots WHERE device = ?", (id,))
        connection.execute("DELETE FROM devices WHERE id = ?", (id,))
    connection.execute("COMMIT")
    return True


def _delete_batches(connection: sqlite3.Connection, device_id: int) -> int:
    """The oldest; returns how many."""
    found = connection.execute(
        "SELECT id, length(body) FROM batches WHERE device = ? ORDER BY at_last_ms LIMIT ?", (device_id, STEP_ROWS)
    )
    ids, size = [], 0
    for id, length in found:
        ids.append((id,))
        size += length
        if size >= STEP_BYTES:
            break
    found.close()
    if ids:  # an id is never used twice, also where the newest row goes (0001.sql)
        connection.execute("UPDATE meta SET value = max(value, (SELECT max(id) FROM batches)) WHERE key = 'highest_id'")
        connection.executemany("DELETE FROM batches WHERE id = ?", ids)
    return len(ids)


def _delete_quarantined(connection: sqlite3.Connection, device_id: int) -> int:
    return connection.execute(
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE device = ? LIMIT ?)",
        (device_id, STEP_ROWS),
    ).rowcount


def empty_log(connection: sqlite3.Connection) -> bool:
    """Fold the write-ahead log into the file and cut it to nothing. False while a reader still needs it."""
    busy_ms = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
    connection.execute("PRAGMA busy_timeout = 50")  # whoever commits waits for us
    try:
        return int(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]) == 0
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
