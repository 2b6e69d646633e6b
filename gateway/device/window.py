"""How many samples a device may send without an acknowledgement. Pure.

What is under way lies in the gateway's memory and must fit into a commit or two, so a window is smaller when the store
is slow and when many boards come at once. A device keeps its window for as long as it is connected; what it fills is
also bounded by the frames that may wait for their commit, after which the gateway reads nothing more.
"""

from __future__ import annotations

from typing import Final

TOTAL: Final = 100_000
"""Samples under way over all connections, about: 40 MB."""
QUICK_MS: Final = 1_000
"""A commit that takes this long, its window included, is what SD cards need: no reason for less."""
LEAST: Final = 16
"""A board gets on with this, too, and a store in trouble is asked no more than it can answer."""


def window_samples(most: int, *, connections: int, commit_ms: float, trouble: bool) -> int:
    """Between `LEAST` (or `most`, where that is less) and `most`, for one more beside `connections` devices.

    `commit_ms` is what the last commit took; `trouble` says that the store cannot commit at all now."""
    share = min(most, TOTAL // (connections + 1))
    if trouble:
        share = LEAST
    elif commit_ms > QUICK_MS:
        share = int(share * QUICK_MS / commit_ms)
    return min(most, max(LEAST, share))
