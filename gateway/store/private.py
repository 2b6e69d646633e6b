"""A state directory that exists already: nobody but its owner may read it, or what is in it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError

log = logging.getLogger("store")

_OTHERS: Final = 0o077
_OURS: Final = frozenset({"registry.db", "broker.toml", "mpy-gateway.toml"})
"""What tells a directory of ours from one that somebody named by mistake: `/tmp` must not become ours alone."""
_INSIDE: Final = (".", "tls")


def keep_others_out(directory: Path) -> None:
    """Narrow `directory` to 0700 and the files in it to 0600 where they are wider, and say so. Raises ConfigError where
    that cannot be, or where it is not ours."""
    try:
        mode = stat.S_IMODE(directory.stat().st_mode)
        wide = list(_wide_files(directory)) if mode & _OTHERS or _is_ours(directory) else []
        if mode & _OTHERS:
            if not _is_ours(directory) and any(directory.iterdir()):
                raise ConfigError(
                    f"{directory} can be read by others (mode {mode:04o}) and holds other things than a gateway's "
                    "data: give one of its own with --state, or narrow it with chmod 700"
                )
            directory.chmod(0o700)
            log.warning("%s could be read by others (mode %04o): it is 0700 now", directory, mode)
        for file in wide:
            file.chmod(0o600)
        if wide:
            log.warning("%s: %d files could be read by others: they are 0600 now", directory, len(wide))
    except PermissionError as error:
        raise ConfigError(
            f"{error.filename or directory} can be read by others, and belongs to another user than this one: narrow "
            "it with chmod (700 for directories, 600 for files), or give another directory with --state"
        ) from error
    except OSError as error:
        raise ConfigError(f"{directory} cannot be used: {error.strerror or error}") from error


def _is_ours(directory: Path) -> bool:
    return any((directory / name).exists() for name in _OURS)


def _wide_files(directory: Path) -> Iterator[Path]:
    """Files of ours that others may read. What a link names may be anywhere, and stays."""
    for folder in _INSIDE:
        if not (directory / folder).is_dir():
            continue
        for entry in os.scandir(directory / folder):
            if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mode & _OTHERS:
                yield Path(entry.path)
