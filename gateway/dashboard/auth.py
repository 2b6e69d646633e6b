"""Who calls at the people's door: one-time links, browser sessions, and the token of our own command line.

Secrets are 256 random bits and kept as SHA-256 only: for a random secret a fast hash is as good as a slow one, and what
is looked up is the hash, so that timing tells nothing about the secret. Sessions are in the registry and outlast the
process. Passwords are another matter: passwords.py.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.dashboard.erasing import Erasing
from gateway.errors import Unavailable
from gateway.store.devices import RegistryPort

log = logging.getLogger("people")

SESSION_MS = 30 * 24 * 3600 * 1000
"""How long a browser stays logged in."""

LINKS = 20
"""Most links that wait to be used; the oldest makes room."""

SESSION_KEY = "session/"

Role = Literal["viewer", "admin"]
Scope = Literal["read", "control", "admin"]
"""What a caller may do; each includes the one before. An account's role gives the first or the last."""
SCOPES: list[Scope] = ["read", "control", "admin"]


def scope_of(role: Role) -> Scope:
    return "admin" if role == "admin" else "read"


def new_token() -> str:
    """43 characters that nobody can guess."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class Caller(msgspec.Struct, frozen=True):
    """Somebody who proved who they are."""

    who: Literal["browser", "cli", "api"]
    scope: Scope
    session: str = ""
    """Hash of a browser's session or of an API token; empty for the command line."""
    expires_ms: int | None = None
    account: str = ""
    """Empty: the owner, by a link or at the machine itself."""

    @property
    def role(self) -> Role:
        return "admin" if self.scope == "admin" else "viewer"


class Links:
    """One-time links, valid until used or until this process ends: a demo's page may be opened an hour later."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}

    def make(self) -> str:
        """A new token for a link."""
        token = new_token()
        self._waiting[digest(token)] = None
        while len(self._waiting) > LINKS:
            del self._waiting[next(iter(self._waiting))]
        return token

    def waits(self, token: str) -> bool:
        """Whether `redeem` would say yes."""
        return digest(token) in self._waiting

    def redeem(self, token: str) -> bool:
        """True once for every token made."""
        hashed = digest(token)
        if hashed not in self._waiting:
            return False
        del self._waiting[hashed]
        return True


class StoredSession(msgspec.Struct, frozen=True):
    """A session in the registry, under the hash of its token."""

    account: str
    created_ms: int
    expires_ms: int


class Sessions:
    """Browser sessions, all in memory and each in the registry. `scope` says what an account may do now; None: there is
    no such account (any more), and its sessions open nothing."""

    def __init__(
        self,
        registry: RegistryPort,
        wall_ms: Callable[[], int],
        scope: Callable[[str], Scope | None],
        *,
        per_account: int = 20,
        erasing: Erasing | None = None,
    ) -> None:
        self._registry = registry
        self._erasing = erasing or Erasing(registry)
        self._wall_ms = wall_ms
        self._scope = scope
        self._per_account = per_account
        self._sessions: dict[str, StoredSession] = {}

    async def open(self) -> None:
        """Read what earlier processes left; what has ended is deleted."""
        for entry in await self._registry.list(SESSION_KEY):
            hashed = entry.key.removeprefix(SESSION_KEY)
            try:
                self._sessions[hashed] = msgspec.json.decode(entry.value, type=StoredSession)
            except msgspec.DecodeError as error:
                log.warning("a stored session cannot be read and is deleted: %s", error)
                await self._registry.delete(entry.key)
        now_ms = self._wall_ms()
        for hashed in [h for h, session in self._sessions.items() if session.expires_ms <= now_ms]:
            await self.end(hashed)

    async def create(self, account: str) -> str:
        """Token of a new session; of too many, the one that ends first makes room. Where the disk cannot be written it
        lasts as long as this process: whoever comes to see what is wrong with the disk must get in."""
        token, now_ms = new_token(), self._wall_ms()
        others = sorted(own := self._of(account), key=lambda hashed: own[hashed].expires_ms)
        going = others[: max(0, len(others) + 1 - self._per_account)]
        for hashed in going:
            self._sessions.pop(hashed)
        session = self._sessions[digest(token)] = StoredSession(account, now_ms, now_ms + SESSION_MS)
        try:
            # at once: whoever ends it from now on deletes it behind this
            await self._registry.put(SESSION_KEY + digest(token), msgspec.json.encode(session))
            await self._erasing.delete(*(SESSION_KEY + hashed for hashed in going))
        except Unavailable as error:
            log.warning("a browser's session is kept in memory only: %s", error)
        return token

    def caller(self, token: str) -> Caller | None:
        """Who holds this session; None where it is unknown or has ended."""
        return self._caller(digest(token))

    def still(self, caller: Caller) -> bool:
        """False as soon as the caller's session has ended."""
        return self._caller(caller.session) is not None

    async def end(self, hashed: str) -> None:
        self._sessions.pop(hashed, None)  # first: it must open nothing from now on, whatever the disk does
        await self._erasing.delete(SESSION_KEY + hashed)

    async def end_all(self, account: str, *, but: str = "") -> None:
        """Log an account out everywhere, except from the session `but`."""
        ending = [hashed for hashed in self._of(account) if hashed != but]
        for hashed in ending:
            self._sessions.pop(hashed)
        await self._erasing.delete(*(SESSION_KEY + hashed for hashed in ending))

    def count(self, account: str) -> int:
        """How many browsers are logged in to it."""
        now_ms = self._wall_ms()
        return sum(session.expires_ms > now_ms for session in self._of(account).values())

    def _of(self, account: str) -> dict[str, StoredSession]:
        return {hashed: session for hashed, session in self._sessions.items() if session.account == account}

    def _caller(self, hashed: str) -> Caller | None:
        session = self._sessions.get(hashed)
        if session is None or session.expires_ms <= self._wall_ms():
            return None
        scope = self._scope(session.account)
        return scope and Caller("browser", scope, hashed, session.expires_ms, session.account)


def same_token(presented: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest(presented), digest(token))
