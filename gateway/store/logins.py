"""What in a registry lets somebody in, and taking it out: of a copy that goes into a backup, and of one that comes from
a file that nothing seals, into which anybody can have put what they like."""

from __future__ import annotations

import sqlite3

SESSIONS = ("session/",)
"""In no backup: who was logged in logs in again."""
PEOPLE = ("user/", "api-token/")
BOARDS = ("token/",)
_REVOKED = "json_remove(json_set(CAST(value AS TEXT), '$.token', ''), '$.next')"
"""The value of a device as if it had been revoked."""


def take_out(registry: sqlite3.Connection, *, people: bool, boards: bool) -> None:
    """Sessions always; `people`: accounts and API tokens; `boards`: tokens of devices, which are then revoked. The
    connection is in autocommit mode. Raises sqlite3.Error."""
    for prefix in (*SESSIONS, *(PEOPLE if people else ()), *(BOARDS if boards else ())):
        registry.execute("DELETE FROM entries WHERE key GLOB ? || '*'", (prefix,))
    if boards:
        registry.execute(
            f"UPDATE entries SET value = CAST({_REVOKED} AS BLOB) WHERE key GLOB 'device/*' AND value NOTNULL"  # noqa: S608 - our own words
        )
