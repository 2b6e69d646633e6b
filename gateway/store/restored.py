"""Marking a state directory that was made from a backup: what its log lacks is explained by that, and no cursor of the
log it was copied from is taken for one of its own. For who restores; both files closed by everyone else."""

from __future__ import annotations

import secrets
import sqlite3

from gateway.store.notices import PREFIX, Kept, encoded

_NOTICE = (
    "restored from a backup: samples received after that backup was made are not here;"
    " boards send again what they still hold, and the rest shows as gaps (gateway_restored)"
)


def mark_restored(samples: sqlite3.Connection, registry: sqlite3.Connection, now_ms: int) -> None:
    """Both connections in autocommit mode, both files brought to today's schema (`database.connect` does both). Done
    again, it marks again. Nobody may use the files before it has returned: in between, cursors may not fit the log.

    - The log gets a new id: what it will hold from now on is not what stood under the same numbers in the original.
    - Cursors of outlets (`outlet/<name>/cursor` in the registry, "<log>:<id>") go on in it where they were, or at its
      end where they were further: everything it holds was taken.
    - A hole that a boot known now has at its next commit, and one at the beginning of a boot that is unknown and began
      before `now_ms` (Unix), is a gap `gateway_restored`, see `Commit`.
    """
    old_log = samples.execute("SELECT value FROM meta WHERE key = 'log'").fetchone()[0]
    highest = samples.execute(
        "SELECT max(coalesce((SELECT max(id) FROM batches), 0), (SELECT value FROM meta WHERE key = 'highest_id'))"
    ).fetchone()[0]
    new_log = secrets.token_hex(8)
    samples.execute("BEGIN IMMEDIATE")
    samples.execute("UPDATE meta SET value = ? WHERE key = 'log'", (new_log,))
    samples.execute("INSERT OR REPLACE INTO meta VALUES ('restored_ms', ?)", (now_ms,))
    samples.execute("UPDATE boots SET restored = 1")
    samples.execute("COMMIT")
    _move_cursors(registry, old_log, new_log, highest, now_ms)


def _move_cursors(registry: sqlite3.Connection, old_log: str, new_log: str, highest: int, now_ms: int) -> None:
    registry.execute("BEGIN IMMEDIATE")
    for key, value in registry.execute(
        "SELECT key, value FROM entries WHERE key GLOB 'outlet/*/cursor' AND value NOTNULL"
    ).fetchall():
        log_id, _, id = bytes(value).decode("utf-8", "replace").partition(":")
        if log_id == old_log and id.isdecimal():
            cursor = f"{new_log}:{min(int(id), highest)}".encode()
            _put(registry, key, cursor)
    _put(registry, f"{PREFIX}restored", encoded(Kept("warning", _NOTICE, now_ms)))
    registry.execute("COMMIT")


def _put(registry: sqlite3.Connection, key: str, value: bytes) -> None:
    registry.execute(
        "INSERT INTO entries VALUES (?, ?, 1)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = revision + 1",
        (key, value),
    )
