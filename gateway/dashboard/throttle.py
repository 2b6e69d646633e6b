"""How often somebody may try a password: free at first, then after growing waits, per account and per address. Pure.

Nobody is locked out for ever: waits end at `LONGEST_MS`; from an address where an account was logged in to before, the
failures of that address alone count; from one that has hardly failed itself, others' failures are waited for
`NEWCOMER_MS` at most, so that a stranger who keeps guessing does not keep the owner out; and the command line on the
gateway's own machine always lets in. An attempt counts as failed from its beginning, so that many at once
are no way around.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict

from gateway.addresses import counted_as

FREE = 5
"""Failures before the first wait."""
LONGEST_MS = 60_000
NEWCOMER_MS = 10_000
"""Between two attempts at an account by addresses with fewer than `FREE` failures of their own."""
FORGET_MS = 3_600_000
"""After so long without a failure all is as before."""
SLOTS = 4096
"""Accounts share so many counters, by a keyed hash: names that were made up can push nobody's counter out."""
ADDRESSES = 1000
"""Most addresses that are remembered; the one that failed longest ago goes first."""
KNOWN = 1000
"""Most pairs of account and address that have logged in."""
HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


class _Failures:
    """How many, and when the last one was."""

    __slots__ = ("at_ms", "count", "newcomer_ms")

    def __init__(self) -> None:
        self.count, self.at_ms, self.newcomer_ms = 0, 0, -NEWCOMER_MS

    def add(self, now_ms: int) -> None:
        self._forget(now_ms)
        self.count, self.at_ms = self.count + 1, now_ms

    def wait_ms(self, now_ms: int) -> int:
        self._forget(now_ms)
        if self.count < FREE:
            return 0
        pause_ms = min(LONGEST_MS, 1000 << min(self.count - FREE, 16))
        return max(0, self.at_ms + pause_ms - now_ms)

    def _forget(self, now_ms: int) -> None:
        if now_ms - self.at_ms >= FORGET_MS:
            self.count = 0


class Throttle:
    """Times are of a clock that only grows."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(16)
        self._accounts = [_Failures() for _ in range(SLOTS)]
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[int, str], _Failures] = OrderedDict()

    def begin(self, account: str, address: str, now_ms: int) -> int:
        """Ask to try a password. 0: go on, and it counts as a failure unless `succeeded` is called. Otherwise so many
        milliseconds too early, which changes nothing."""
        slot, address = self._slot(account), counted_as(address)
        of_address = self._addresses.get(address) or _Failures()
        of_account = self._known.get((slot, address), self._accounts[slot])
        own_ms, wait_ms = of_address.wait_ms(now_ms), of_account.wait_ms(now_ms)
        is_newcomer = of_address.count < FREE and (slot, address) not in self._known
        if is_newcomer:
            wait_ms = min(wait_ms, max(0, of_account.newcomer_ms + NEWCOMER_MS - now_ms))
        if (wait_ms := max(own_ms, wait_ms)) == 0:
            of_account.add(now_ms)
            if is_newcomer:
                of_account.newcomer_ms = now_ms
            of_address.add(now_ms)
            self._addresses[address] = of_address
            self._addresses.move_to_end(address)
            while len(self._addresses) > ADDRESSES:
                self._addresses.popitem(last=False)
        return wait_ms

    def knows(self, account: str, address: str) -> bool:
        """Whether the account was logged in to from there before."""
        return (self._slot(account), counted_as(address)) in self._known

    def succeeded(self, account: str, address: str) -> None:
        """The attempt that began was right: both start anew, and know each other from now on."""
        slot, address = self._slot(account), counted_as(address)
        self._accounts[slot] = _Failures()
        self._addresses.pop(address, None)
        self._known[slot, address] = _Failures()
        self._known.move_to_end((slot, address))
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def _slot(self, account: str) -> int:
        hashed = hmac.digest(self._key, account.encode("utf-8", "replace"), hashlib.sha256)
        return int.from_bytes(hashed[:4]) % SLOTS


class FailedLogins:
    """How many there were in the last hour, and when it is time to say so again."""

    SAY_EVERY_MS = 10_000

    def __init__(self) -> None:
        self.total = 0
        self._minutes: OrderedDict[int, int] = OrderedDict()
        self._unsaid = 0
        self._said_ms: int | None = None

    def add(self, now_ms: int) -> int:
        """One more. Returns how many to log now, 0 for none: the log is not to be flooded."""
        self.total += 1
        minute = now_ms // _MINUTE_MS
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
        while len(self._minutes) > HOUR_MS // _MINUTE_MS:
            self._minutes.popitem(last=False)
        self._unsaid += 1
        if self._said_ms is not None and now_ms - self._said_ms < self.SAY_EVERY_MS:
            return 0
        self._said_ms, unsaid, self._unsaid = now_ms, self._unsaid, 0
        return unsaid

    def last_hour(self, now_ms: int) -> int:
        oldest = (now_ms - HOUR_MS) // _MINUTE_MS
        return sum(count for minute, count in self._minutes.items() if minute > oldest)
