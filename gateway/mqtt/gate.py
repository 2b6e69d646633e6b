"""Who may come in by the doors of the embedded broker, and what they may publish. Pure.

Two logins are known: the gateway's own, drawn at every start and told to nobody, and the one that is configured, if
any. Whoever has the first is the gateway. All others may read everything, and publish everything but what only the
gateway says: nothing below its base topic except commands.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, OrderedDict
from enum import Enum, auto

import msgspec

from gateway.addresses import counted_as

MAX_CLIENTS = 1_000
MAX_UNKNOWN = 200
"""Connections that have not logged in yet."""
RESERVED = 50
"""So many more of either from this machine: no crowd of others keeps the gateway itself out."""
MAX_PER_ADDRESS, MAX_UNKNOWN_PER_ADDRESS = 100, 30
"""From one address (IPv6: one /64); this machine itself may have all."""
MAX_REFUSALS_UNDER_WAY = 4
"""Wrong logins of one address that wait for their answer at a time. Further ones are answered at once, unread."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 8.0
"""After a wrong login: doubled with each that follows from the same address. Only its own answer waits so long, so that
a program with an old password holds up nobody beside it."""
FORGET_MS = 10 * 60_000
"""So long after the last wrong login of an address its delays begin anew."""
MAX_ADDRESSES = 1_000
"""Of wrong logins that are remembered; the oldest goes."""


class Login(msgspec.Struct, frozen=True):
    """A name with its password. Its text is nobody's business."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.username!r})"

    def __str__(self) -> str:
        return repr(self)


class Who(Enum):
    """What a login has shown."""

    GATEWAY = auto()
    CLIENT = auto()
    NOBODY = auto()


class Visit:
    """One connection, counted until `leave`, and as unknown until `known`."""

    def __init__(self, address: str, whose: str, connections: Counter[str], unknown: Counter[str]) -> None:
        self.address = address
        self._whose = whose
        self._connections = connections
        self._unknown: Counter[str] | None = unknown
        connections[whose] += 1
        unknown[whose] += 1

    def known(self) -> None:
        """It has logged in, or was refused. Idempotent."""
        if self._unknown is not None:
            _less(self._unknown, self._whose)
            self._unknown = None

    def leave(self) -> None:
        self.known()
        _less(self._connections, self._whose)


class Gate:
    """`login` None: whoever reaches the door may come in."""

    def __init__(self, own: Login, login: Login | None, base: str) -> None:
        self._own = _digest(own.username.encode(), own.password.encode())
        self._login = _digest(login.username.encode(), login.password.encode()) if login else None
        self._base = f"{base}/".encode()
        self._connections: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Per address how many wrong logins there were, and when the last was."""
        self._refusing: Counter[str] = Counter()

    def enter(self, address: str) -> Visit | None:
        """Another connection. None: there are too many."""
        whose, here = counted_as(address), _is_here(address)
        more = RESERVED if here else 0
        if self._connections.total() >= MAX_CLIENTS + more or self._unknown.total() >= MAX_UNKNOWN + more:
            return None
        mine, unknown = self._connections[whose], self._unknown[whose]
        if not here and (mine >= MAX_PER_ADDRESS or unknown >= MAX_UNKNOWN_PER_ADDRESS):
            return None
        return Visit(address, whose, self._connections, self._unknown)

    # logins
    def who(self, username: bytes | None, password: bytes | None) -> Who:
        """Takes as long whatever is wrong: digests of one length are compared, all of them always."""
        shown = _digest(username or b"", password or b"")
        is_gateway = hmac.compare_digest(shown, self._own)
        is_client = self._login is None or hmac.compare_digest(shown, self._login)
        if is_gateway:
            return Who.GATEWAY
        return Who.CLIENT if is_client else Who.NOBODY

    def may_try(self, address: str) -> bool:
        """Whether a login from there is looked at just now."""
        return self._refusing[counted_as(address)] < MAX_REFUSALS_UNDER_WAY

    def refusing(self, address: str, now_ms: int) -> float:
        """A wrong login came from `address`: how many seconds its answer waits. `refused` follows."""
        whose = counted_as(address)
        count, last_ms = self._failures.pop(whose, (0, now_ms))
        count = 1 if now_ms - last_ms > FORGET_MS else count + 1
        self._failures[whose] = count, now_ms
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        self._refusing[whose] += 1
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(count - 1, 10))

    def refused(self, address: str) -> None:
        _less(self._refusing, counted_as(address))

    def welcome(self, address: str) -> None:
        """A right login came from there."""
        self._failures.pop(counted_as(address), None)

    # topics
    def may_publish(self, who: Who, topic: bytes) -> bool:
        """An empty topic stands for one that was named and allowed before (MQTT 5: topic alias)."""
        if who is Who.GATEWAY or not topic.startswith(self._base):
            return True
        device, command, _ = topic.removeprefix(self._base).partition(b"/command/")
        return bool(command) and b"/" not in device


def _less(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if not counter[address]:
        del counter[address]


def _digest(username: bytes, password: bytes) -> bytes:
    return hashlib.sha256(len(username).to_bytes(4, "big") + username + password).digest()


def _is_here(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1", "")
