"""Private directories that a backup is made in: locked while in use, and removed by whoever comes next where one was
killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

INSIDE: Final = ".backup-"
"""How their names begin in a state directory."""
_LETTERS: Final = "[a-z0-9_]{8}"
_OURS: Final = frozenset(
    name + end
    for name in ("registry.db", "samples.db", "mpy-gateway.toml", "backup")
    for end in ("", "-journal", "-wal", "-shm")
)


@contextmanager
def opened(place: Path, prefix: str) -> Iterator[Path]:
    """A new private directory in `place`, gone afterwards. What killed ones left there goes first. Raises OSError."""
    sweep(place, prefix)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a disk without locks: then nobody else can take it for left, either
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def sweep(place: Path, prefix: str) -> None:
    """Remove what killed backups left in `place`: directories of this name that are ours, hold nothing but what a
    backup puts there, and are not in use. What cannot be removed stays."""
    name = re.compile(re.escape(prefix) + _LETTERS)
    with suppress(OSError):
        for entry in list(os.scandir(place)):
            if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_left(Path(entry.path))


def _remove_left(directory: Path) -> None:
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == os.geteuid() and set(os.listdir(lock)) <= _OURS:
            shutil.rmtree(directory, ignore_errors=True)
    except OSError:  # in use, or on a disk without locks
        return
    finally:
        os.close(lock)
