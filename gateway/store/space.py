"""Room on the disk: how much there is, and when commits must stop so that the rest still works.

Nothing is committed, and so nothing acknowledged, with less than `RESERVE_BYTES` free: the registry, the log files of
the system and SQLite's own bookkeeping need that. Boards keep what they have, and commits go on by themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.errors import Unavailable

RESERVE_BYTES = 16 << 20
"""Commits stop with less free than this."""
RESUME_BYTES = 24 << 20
"""They go on with this much, so that it does not go back and forth."""
WARN_BYTES = 256 << 20
"""With less than this there is a notice."""

FREE_SOME = "free some space, or let older samples be deleted (store.retention_days, store.max_mb)"


class Space:
    """The disk a directory lies on. `look` and `check` ask the operating system, which may take its time: call them
    in a thread."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.free_bytes = RESUME_BYTES
        """When last looked."""
        self.full = False

    def look(self) -> None:
        """Ask how much is free. Where nobody can say, it counts as enough: SQLite notices by itself."""
        try:
            found = os.statvfs(self._directory)
        except OSError:
            self.free_bytes, self.full = RESUME_BYTES, False
            return
        self.free_bytes = found.f_bavail * found.f_frsize
        self.full = self.free_bytes < (RESUME_BYTES if self.full else RESERVE_BYTES)

    def check(self) -> None:
        """Raises `Unavailable` where nothing may be committed now."""
        self.look()
        if self.full:
            raise Unavailable(f"the disk is full: {self.told()}; {FREE_SOME}")

    def told(self) -> str:
        """How much is free, for a person."""
        return (
            f"{self.free_bytes / 1e6:.0f} MB are free where {self._directory} lies, and below"
            f" {RESERVE_BYTES / 1e6:.0f} MB nothing is committed"
        )
