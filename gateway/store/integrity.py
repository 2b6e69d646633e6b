"""Is a database file whole? Asked at the start, before anything is written; and what is done with one that is not.

A damaged file is never deleted, and never written to once it is known: it is moved aside whole, for who can repair it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from gateway.store.database import DAMAGE, sync_directory

CHECK_BYTES = 256 << 20
"""Larger files are not checked page by page where SQLite cannot stop in the middle: about 10 s on an SD card."""
CHECK_S = 10.0
"""How long the check may take where it can (3.42 and newer). What it has not reached by then is taken to be whole."""
NEWEST_ROWS = 200
"""Rows at the end of each table that are read in any case: what was written last is most at risk."""
STOPS_IN_THE_MIDDLE = sqlite3.sqlite_version_info >= (3, 42)

_BESIDE = ("-wal", "-shm")


def damage_of(path: Path) -> str:
    """What is wrong with the database at `path`; empty where nothing was found, or it cannot be opened at all. Changes
    nothing in it. May take `CHECK_S`; a file that was found damaged while it was used is checked to its end."""
    if not path.exists() or path.stat().st_size == 0:
        return ""
    suspect = suspect_mark(path).exists()
    try:
        # Read only: else closing it would fold the write-ahead log into a file that may be damaged.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return ""
    try:
        return _check(connection, thorough=suspect, size=path.stat().st_size)
    except sqlite3.Error as error:
        return str(error) if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE else ""
    finally:
        connection.close()


def _check(connection: sqlite3.Connection, *, thorough: bool, size: int) -> str:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        order = "rowid" if table in {"batches", "boots", "devices", "quarantine"} else "1"
        connection.execute(f'SELECT * FROM "{table}" ORDER BY {order} DESC LIMIT {NEWEST_ROWS}').fetchall()  # noqa: S608 - names from the file's own list
    if thorough:
        return _verdict(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    if size > CHECK_BYTES and not STOPS_IN_THE_MIDDLE:
        return ""
    deadline = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        return _verdict(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return ""
        raise


def _verdict(answer: str) -> str:
    return "" if answer == "ok" else " ".join(answer.split())[:200]


def set_aside(path: Path, now_s: float) -> Path:
    """Move the database at `path` and what belongs to it beside it, under the same name with `.damaged-` and the time
    (UTC). Returns where it is now. Raises OSError."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    target, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    # The file itself last: a crash on the way leaves one without its log, never a log that a new file would take in.
    for end in (*_BESIDE, ""):
        part = path.with_name(path.name + end)
        if part.exists():
            os.rename(part, target.with_name(target.name + end))
    suspect_mark(path).unlink(missing_ok=True)
    sync_directory(path.parent)
    return target


def suspect_mark(path: Path) -> Path:
    """A file whose presence says that `path` was found damaged while it was in use."""
    return path.with_name(path.name + "-suspect")
