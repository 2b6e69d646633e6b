"""Who may stand at the devices' door, and how many at once. Pure.

A connection is a guest from the moment it is accepted, before any handshake: what it holds (a descriptor, memory) it
holds from then on. Until its token was found good it is a stranger, and strangers have a limit of their own: where it
is reached, one of them goes, the oldest of the address that has most, and never a device. So a crowd of idle
connections costs a board nothing but a handshake that it may have to repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.addresses import counted_as
from gateway.device.bucket import Bucket

if TYPE_CHECKING:
    from gateway.config import Limits

ADDRESSES: Final = 1_000
"""Addresses with bad tokens that are remembered, and such with good ones; the one that came least lately makes room."""
LONGEST_SHUT_MS: Final = 10_000
SAY_EVERY_MS: Final = 60_000
"""The same about the same address is said once in this time ..."""
LINES_PER_S, LINES_S = 1 / 6, 60
"""... and so much of it in all: 10 lines at once, then one every 6 s."""


@dataclass(eq=False, slots=True)
class Guest:
    """One connection. `drop` ends it at once; `leave` is still to be called for it."""

    address: str
    drop: Callable[[], object]
    number: int = 0
    """How many came before it."""
    known: bool = False
    """Its token was good."""


@dataclass(slots=True)
class _Address:
    """Strangers in the order they came, and how many devices."""

    strangers: dict[Guest, None] = field(default_factory=dict)
    known: int = 0


@dataclass(slots=True)
class _Failures:
    """Of one address: bad tokens."""

    bucket: Bucket
    count: int = 0
    last_ms: int = 0
    """By the wall clock."""
    shut_until_ms: int = 0


class Gate:
    """One per door. Times are monotonic milliseconds where not said otherwise."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: dict[str, _Address] = {}
        self._strangers = self._known = 0
        self._entered = 0
        self._failures: dict[str, _Failures] = {}
        self._good: dict[str, None] = {}
        """Addresses that devices have come from. They are never shut: behind one router, or in one IPv6 network, a
        neighbour's bad tokens would keep out all boards there."""
        self.refused: Counter[str] = Counter()
        """Connections ended before a device was let in, since the start, by why: `token`, `shut` (its address sent too
        many bad tokens), `address` (too many of one address), `strangers` (too many without a token), `tls` (which
        failed)."""

    def enter(self, peer: str, drop: Callable[[], object], now_ms: int) -> Guest | None:
        """A connection was accepted. None: it is to be closed at once. Another one may be dropped for it."""
        address = counted_as(peer)
        failures = self._failures.get(address)
        if failures is not None and now_ms < failures.shut_until_ms and address not in self._good:
            self.refused["shut"] += 1
            return None
        here = self._addresses.get(address)
        if here is not None and here.known + len(here.strangers) >= self._limits.connections_per_address:
            self.refused["address"] += 1
            if not here.strangers:
                return None
            self._drop_oldest(here)
        if self._strangers >= self._limits.strangers:
            self.refused["strangers"] += 1
            self._drop_oldest(max(self._addresses.values(), key=_crowding))
        guest = Guest(address, drop, self._entered)
        self._entered += 1
        self._addresses.setdefault(address, _Address()).strangers[guest] = None
        self._strangers += 1
        return guest

    def let_in(self, guest: Guest) -> None:
        """Its token was good."""
        here = self._addresses.get(guest.address)
        if here is not None and guest in here.strangers:
            del here.strangers[guest]
            here.known += 1
            guest.known = True
            self._strangers -= 1
            self._known += 1
            self._good.pop(guest.address, None)
            self._good[guest.address] = None  # the newest is the last
            if len(self._good) > ADDRESSES:
                del self._good[next(iter(self._good))]

    def leave(self, guest: Guest) -> None:
        """Its connection is closed. Twice does no harm."""
        here = self._addresses.get(guest.address)
        if here is None:
            return
        if guest in here.strangers:
            del here.strangers[guest]
            self._strangers -= 1
        elif guest.known:
            guest.known = False
            here.known -= 1
            self._known -= 1
        if not here.strangers and not here.known:
            del self._addresses[guest.address]

    def failed(self, guest: Guest, now_ms: int, wall_ms: int) -> None:
        """It came with a bad token, or with none. An address that does so too often is shut for a while: what comes
        from it is closed before its handshake, but where devices have come from there."""
        self.refused["token"] += 1
        failures = self._failures.pop(guest.address, None)
        if failures is None:
            per_s = self._limits.bad_tokens_per_min / 60
            failures = _Failures(Bucket(per_s, seconds=60, now_ms=now_ms))
            if len(self._failures) >= ADDRESSES:
                del self._failures[next(iter(self._failures))]
        self._failures[guest.address] = failures  # the newest is the last
        failures.count += 1
        failures.last_ms = wall_ms
        failures.shut_until_ms = now_ms + min(failures.bucket.take(now_ms), LONGEST_SHUT_MS)

    def drop_strangers(self) -> None:
        """Let go of all whose token was not found good yet."""
        for here in list(self._addresses.values()):
            while here.strangers:
                self._drop_oldest(here)

    def _drop_oldest(self, here: _Address) -> None:
        guest = next(iter(here.strangers))
        self.leave(guest)
        guest.drop()

    def stats(self) -> dict[str, Any]:
        """Figures for the status. `bad_tokens` names the addresses that failed last, newest first."""
        newest = list(self._failures.items())[-5:]
        return {
            "connections": self._known,
            "strangers": self._strangers,
            "refused": dict(self.refused),
            "bad_tokens": [
                {"address": address, "count": failures.count, "last_ms": failures.last_ms}
                for address, failures in reversed(newest)
            ],
        }


def _crowding(here: _Address) -> tuple[int, int]:
    """Of most strangers goes one; of as many, the one that came first."""
    first = next(iter(here.strangers), None)
    return len(here.strangers), -first.number if first else 0


class Complaints:
    """How often to say in the log what strangers do: at once, then rarely, with a count. Nobody can fill the log."""

    def __init__(self, now_ms: int) -> None:
        self._lines = Bucket(LINES_PER_S, seconds=LINES_S, now_ms=now_ms)
        self._said: dict[tuple[str, str], tuple[int, int]] = {}
        """(when it was said, how often it happened since)"""

    def say(self, what: str, who: str, now_ms: int) -> str | None:
        """None: not now. Else what to add to the line, which tells how often it happened unsaid."""
        said_ms, unsaid = self._said.pop((what, who), (now_ms - SAY_EVERY_MS, 0))
        if now_ms - said_ms < SAY_EVERY_MS or not self._lines.try_take(now_ms):
            self._said[what, who] = said_ms, unsaid + 1
            said = None
        else:
            self._said[what, who] = now_ms, 0
            said = f" ({unsaid} more since the last time this was said)" if unsaid else ""
        while len(self._said) > ADDRESSES:
            del self._said[next(iter(self._said))]
        return said
