"""Who has a name and a password here. All in memory and each in the registry, under `user/<name>`."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection

import msgspec

from gateway.dashboard.auth import Role
from gateway.dashboard.erasing import Erasing
from gateway.errors import ConfigError
from gateway.store.devices import RegistryPort

log = logging.getLogger("people")

ACCOUNTS = 50
"""Most accounts."""
USER_KEY = "user/"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class PeopleError(ConfigError):
    """What was asked of accounts, passwords or tokens cannot be done. For REST with a stable code, listed in
    FEED.md; on the command line one sentence and exit 1."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason = status, code


class Account(msgspec.Struct, frozen=True):
    """A person. `password` is what argon2id made of it (passwords.py)."""

    role: Role
    password: str
    created_ms: int
    changed_ms: int
    """When the password was set."""


def check_new(name: str, taken: Collection[str]) -> str:
    """`name` as it is kept, beside the accounts `taken`. Raises PeopleError where no account can have it."""
    kept = name.strip().lower()
    if not _NAME.fullmatch(kept):
        text = 'A name is 1 to 32 of a-z, 0-9, ".", "_" and "-", a letter or digit first.'
        raise PeopleError(422, "user.name", text)
    if kept in taken:
        raise PeopleError(409, "user.exists", f"There is an account {kept} already.")
    if len(taken) >= ACCOUNTS:
        raise PeopleError(409, "user.many", f"There are {ACCOUNTS} accounts already, which is the most.")
    return kept


def unknown(name: str) -> PeopleError:
    return PeopleError(404, "user.unknown", f"There is no account {name[:40]}.")


class Accounts:
    """One process at a time changes them: the running gateway, or the command line where none runs."""

    def __init__(self, registry: RegistryPort, wall_ms: Callable[[], int], *, erasing: Erasing | None = None) -> None:
        self._registry = registry
        self._erasing = erasing or Erasing(registry)
        self._wall_ms = wall_ms
        self._accounts: dict[str, Account] = {}
        self._one_change = asyncio.Lock()
        """What is checked must still be so when it is written."""

    async def open(self) -> None:
        """Read them. One that cannot be read has no way in; others are not held up by it."""
        for entry in await self._registry.list(USER_KEY):
            try:
                self._accounts[entry.key.removeprefix(USER_KEY)] = msgspec.json.decode(entry.value, type=Account)
            except msgspec.DecodeError as error:
                log.error("%s cannot be read, so that account cannot log in: %s", entry.key, error)

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name: str) -> Account | None:
        return self._accounts.get(name)

    def all(self) -> dict[str, Account]:
        """By name, in the order of the names."""
        return dict(sorted(self._accounts.items()))

    def check_new(self, name: str) -> str:
        """`name` as it is kept. Raises PeopleError where no account can have it."""
        return check_new(name, self._accounts)

    async def add(self, name: str, password: str, role: Role, *, first: bool = False) -> str:
        """`password` as argon2id made it; `first`: only where there is none yet. Returns the name as it is kept. Raises
        PeopleError."""
        async with self._one_change:
            kept = self.check_new(name)
            if first and self._accounts:
                raise PeopleError(401, "login.link", "Somebody was quicker: there is an account already.")
            await self._keep(kept, Account(role, password, self._wall_ms(), self._wall_ms()))
        return kept

    async def set_password(self, name: str, password: str) -> None:
        """Raises PeopleError where there is no such account."""
        async with self._one_change:
            changed = msgspec.structs.replace(self.known(name), password=password, changed_ms=self._wall_ms())
            await self._keep(name, changed)

    async def set_role(self, name: str, role: Role) -> bool:
        """False: it has that role already. Raises PeopleError: no such account, or the last admin."""
        async with self._one_change:
            account = self.known(name)
            if account.role == role:
                return False
            self._check_not_last_admin(name)
            await self._keep(name, msgspec.structs.replace(account, role=role))
        return True

    async def remove(self, name: str) -> None:
        """Raises PeopleError: no such account, or the last admin."""
        async with self._one_change:
            if name not in self._accounts:
                await self._erasing.delete()  # it may have been removed, and the disk was full
            self.known(name)
            self._check_not_last_admin(name)
            del self._accounts[name]  # first: it must open nothing from now on, whatever the disk does
            await self._erasing.delete(USER_KEY + name)

    def known(self, name: str) -> Account:
        """Raises PeopleError where there is no such account."""
        if account := self._accounts.get(name):
            return account
        raise unknown(name)

    def _check_not_last_admin(self, name: str) -> None:
        if self._accounts[name].role == "admin" and not any(
            account.role == "admin" for other, account in self._accounts.items() if other != name
        ):
            text = f"{name} is the only admin: make another account an admin first."
            raise PeopleError(409, "user.last_admin", text)

    async def _keep(self, name: str, account: Account) -> None:
        self._erasing.used_again(USER_KEY + name)
        await self._registry.put(USER_KEY + name, msgspec.json.encode(account))
        self._accounts[name] = account
