"""How many files and sockets this process may have open: as many as the limits of its doors let in, and some more.

Where it has too few, a door that is full to its limit cannot accept any more, and neither can the other one, nor can a
database be opened. The doors then wait and say so (device/listener.py); better that it does not come to that.
"""

from __future__ import annotations

import resource
from typing import Final

OTHERS: Final = 128
"""Databases, brokers, listening sockets, libraries that are loaded late."""


def make_room(connections: int) -> str:
    """Raise our own limit on open files to hold so many connections, as far as the system allows. Returns a sentence
    where that is not enough; else nothing."""
    allowed = allow(connections + OTHERS)
    if allowed >= connections + OTHERS:
        return ""
    return (
        f"limits: {connections:,} connections are let in, but this process may open {allowed:,} files: raise "
        "LimitNOFILE (systemd) or `ulimit -Hn`, or lower limits.connections"
    )


def allow(needed: int) -> int:
    """Raise our own limit on open files to `needed`, as far as the system allows. Returns how many we may open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return needed
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
