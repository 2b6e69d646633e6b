"""Who may come in by the people's door: one-time links, browser sessions, and the token of our own command line.

Secrets are 256 random bits and kept as SHA-256 only: for a random secret a fast hash is as good as a slow one, and what
is looked up is the hash, so that timing tells nothing about the secret. Sessions are in the registry and outlast the
process.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.errors import Unavailable
from gateway.store.port import Store

log = logging.getLogger("people")

SESSION_MS = 30 * 24 * 3600 * 1000
"""How long a browser stays logged in."""

SESSIONS = 200
"""Most sessions at a time; the one that ends first makes room."""

LINKS = 20
"""Most links that wait to be used; the oldest makes room."""

SESSION_KEY = "session/"


def new_token() -> str:
    """43 characters that nobody can guess."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


Role = Literal["viewer", "admin"]
Scope = Literal["read", "control", "admin"]
"""What a caller may do; each includes the one before. An account's role gives the first or the last."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. `session` is the hash of a browser's session, empty for the command line."""

    who: Literal["browser", "cli"]
    scope: Scope
    session: str = ""
    expires_ms: int | None = None

    @property
    def role(self) -> Role:
        return "admin" if self.scope == "admin" else "viewer"


class Links:
    """One-time links, valid until used or until this process ends: a demo's page may be opened an hour later."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}

    def make(self) -> str:
        """A new token for `/login?link=`."""
        token = new_token()
        self._waiting[digest(token)] = None
        while len(self._waiting) > LINKS:
            del self._waiting[next(iter(self._waiting))]
        return token

    def redeem(self, token: str) -> bool:
        """True once for every token made."""
        hashed = digest(token)
        if hashed not in self._waiting:
            return False
        del self._waiting[hashed]
        return True


class StoredSession(msgspec.Struct, frozen=True):
    """A session in the registry, under the hash of its token."""

    created_ms: int
    expires_ms: int


class Sessions:
    """Browser sessions, all in memory and each in the registry."""

    def __init__(self, store: Store, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._wall_ms = wall_ms
        self._sessions: dict[str, StoredSession] = {}

    async def open(self) -> None:
        """Read what earlier processes left; what has ended is deleted."""
        for entry in await self._store.list(SESSION_KEY):
            hashed = entry.key.removeprefix(SESSION_KEY)
            try:
                self._sessions[hashed] = msgspec.json.decode(entry.value, type=StoredSession)
            except msgspec.DecodeError as error:
                log.warning("a stored session cannot be read and is deleted: %s", error)
                await self._store.delete(entry.key)
        now_ms = self._wall_ms()
        for hashed in [h for h, session in self._sessions.items() if session.expires_ms <= now_ms]:
            await self.end(hashed)

    async def create(self) -> str:
        """Token of a new session. Where the disk cannot be written it lasts as long as this process: whoever comes to
        see what is wrong with the disk must get in."""
        token, now_ms = new_token(), self._wall_ms()
        session = self._sessions[digest(token)] = StoredSession(now_ms, now_ms + SESSION_MS)
        try:
            if len(self._sessions) > SESSIONS:
                await self.end(min(self._sessions, key=lambda hashed: self._sessions[hashed].expires_ms))
            await self._store.put(SESSION_KEY + digest(token), msgspec.json.encode(session))
        except Unavailable as error:
            log.warning("a browser's session is kept in memory only: %s", error)
        return token

    def caller(self, token: str) -> Caller | None:
        """Who holds this session; None where it is unknown or has ended."""
        hashed = digest(token)
        session = self._sessions.get(hashed)
        if session is None or session.expires_ms <= self._wall_ms():
            return None
        return Caller("browser", "admin", hashed, session.expires_ms)

    def still(self, caller: Caller) -> bool:
        """False as soon as the caller's session has ended."""
        if caller.who == "cli":
            return True
        session = self._sessions.get(caller.session)
        return session is not None and session.expires_ms > self._wall_ms()

    async def end(self, hashed: str) -> None:
        self._sessions.pop(hashed, None)
        await self._store.delete(SESSION_KEY + hashed)


def same_token(presented: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest(presented), digest(token))
