"""API tokens for scripts: named, of one scope, shown once, kept as hashes under `api-token/<sha256>`."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable

import msgspec

from gateway.dashboard.accounts import Accounts, PeopleError
from gateway.dashboard.auth import SCOPES, Caller, Scope, scope_of
from gateway.dashboard.erasing import Erasing
from gateway.errors import StoreError
from gateway.store.devices import RegistryPort

log = logging.getLogger("people")

TOKENS = 100
"""Most tokens."""
TOKEN_KEY = "api-token/"  # noqa: S105 - the beginning of a key
PREFIX = "mpygw_"
"""So that scanners for lost secrets can tell what they have found."""
USED_EVERY_MS = 3_600_000
"""The last use is written this often at most: every write wears the SD card."""


class ApiToken(msgspec.Struct, frozen=True):
    """What is kept of a token. `account` made it; empty: the owner did, at the machine or by a link."""

    id: str
    """What it is called where it is listed and revoked; tells nothing about the token."""
    name: str
    scope: Scope
    account: str
    created_ms: int
    expires_ms: int | None
    used_ms: int | None = None


class ApiTokens:
    """All in memory and each in the registry."""

    def __init__(
        self,
        registry: RegistryPort,
        accounts: Accounts,
        wall_ms: Callable[[], int],
        *,
        erasing: Erasing | None = None,
    ) -> None:
        self._registry = registry
        self._erasing = erasing or Erasing(registry)
        self._accounts = accounts
        self._wall_ms = wall_ms
        self._tokens: dict[str, ApiToken] = {}
        self._written_ms: dict[str, int] = {}

    async def open(self) -> None:
        """Read them; what cannot be read opens nothing."""
        for entry in await self._registry.list(TOKEN_KEY):
            try:
                self._tokens[entry.key.removeprefix(TOKEN_KEY)] = msgspec.json.decode(entry.value, type=ApiToken)
            except msgspec.DecodeError as error:
                log.error("an API token cannot be read and opens nothing: %s", error)

    def all(self, account: str | None = None) -> list[ApiToken]:
        """The oldest first; of one account, or (None) of everybody."""
        found = [token for token in self._tokens.values() if account in (None, token.account)]
        return sorted(found, key=lambda token: (token.created_ms, token.id))

    async def add(self, name: str, scope: Scope, account: str, days: int | None) -> tuple[ApiToken, str]:
        """A new token and its secret, which is kept nowhere. Raises PeopleError where there are too many."""
        if len(self._tokens) >= TOKENS:
            raise PeopleError(409, "token.many", f"There are {TOKENS} tokens already: revoke one that is not used.")
        secret, now_ms = PREFIX + secrets.token_urlsafe(32), self._wall_ms()
        expires_ms = None if days is None else now_ms + days * 24 * 3600 * 1000
        token = ApiToken(secrets.token_hex(4), name, scope, account, now_ms, expires_ms)
        await self._keep(_digest(secret), token)
        return token, secret

    async def revoke(self, id: str, account: str | None = None) -> ApiToken:
        """It opens nothing from now on. `account`: only one of its own. Raises PeopleError where there is none."""
        for hashed, token in self._tokens.items():
            if token.id == id and account in (None, token.account):
                await self._forget(hashed)
                return token
        await self._erasing.delete()  # it may have been revoked, and the disk was full
        raise PeopleError(404, "token.unknown", f"There is no token {id[:40]}.")

    async def revoke_all(self, account: str) -> None:
        """Those an account has made."""
        await self._forget(*[hashed for hashed, token in self._tokens.items() if token.account == account])

    def caller(self, secret: str) -> Caller | None:
        """Who holds this token: never with more rights than the account that made it has now."""
        return self._caller(_digest(secret))

    def still(self, caller: Caller) -> bool:
        """False once it is revoked, has expired, or its account is gone."""
        return self._caller(caller.session) is not None

    async def used(self, caller: Caller) -> None:
        """Remember when; what is written may be an hour older."""
        hashed, now_ms = caller.session, self._wall_ms()
        if token := self._tokens.get(hashed):
            self._tokens[hashed] = msgspec.structs.replace(token, used_ms=now_ms)
            if now_ms - self._written_ms.get(hashed, token.used_ms or 0) >= USED_EVERY_MS:
                self._written_ms[hashed] = now_ms
                try:
                    await self._write(hashed, self._tokens[hashed])  # in memory it may be revoked when this is done
                except StoreError as error:
                    log.warning("the last use of an API token is not written: %s", error)

    def _caller(self, hashed: str) -> Caller | None:
        token = self._tokens.get(hashed)
        if token is None or (token.expires_ms is not None and token.expires_ms <= self._wall_ms()):
            return None
        scope = token.scope
        if token.account:
            account = self._accounts.get(token.account)
            if account is None:
                return None
            scope = min(scope, scope_of(account.role), key=SCOPES.index)
        return Caller("api", scope, session=hashed, expires_ms=token.expires_ms, account=token.account)

    async def _keep(self, hashed: str, token: ApiToken) -> None:
        await self._write(hashed, token)
        self._tokens[hashed] = token

    async def _write(self, hashed: str, token: ApiToken) -> None:
        await self._registry.put(TOKEN_KEY + hashed, msgspec.json.encode(token))

    async def _forget(self, *hashes: str) -> None:
        for hashed in hashes:
            del self._tokens[hashed]  # first: it must open nothing from now on, whatever the disk does
            self._written_ms.pop(hashed, None)
        await self._erasing.delete(*(TOKEN_KEY + hashed for hashed in hashes))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
