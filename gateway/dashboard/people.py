"""Accounts, passwords, sessions and tokens as one: what a change of one means for the others. Shell.

`ended` is called whenever somebody may have lost the right to be here, so that open feeds are looked at at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.clock import Clock
from gateway.dashboard.accounts import Accounts, PeopleError
from gateway.dashboard.apitokens import ApiToken, ApiTokens
from gateway.dashboard.auth import SCOPES, Caller, Links, Role, Scope, Sessions, scope_of
from gateway.dashboard.erasing import Erasing
from gateway.dashboard.passwords import Passwords
from gateway.dashboard.throttle import FailedLogins, Throttle
from gateway.store.devices import RegistryPort

log = logging.getLogger("people")


class TooEarly(PeopleError):
    """Too many failed logins: not before `wait_s`."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_s = -(-wait_ms // 1000)
        super().__init__(429, "login.wait", f"Too many failed logins: try again in {self.wait_s} s.")


class People:
    """Everybody who may come in by the people's door, except by the token of the command line."""

    def __init__(self, registry: RegistryPort, clock: Clock, *, sessions_per_account: int = 20) -> None:
        self._clock = clock
        erasing = Erasing(registry)
        self.accounts = Accounts(registry, clock.wall_ms, erasing=erasing)
        self.sessions = Sessions(
            registry, clock.wall_ms, self._scope, per_account=sessions_per_account, erasing=erasing
        )
        self.tokens = ApiTokens(registry, self.accounts, clock.wall_ms, erasing=erasing)
        self.links, self.setup_links = Links(), Links()
        self.failures = FailedLogins()
        self.ended: Callable[[], None] = lambda: None
        self._throttle = Throttle()
        self._passwords = Passwords()

    async def open(self) -> None:
        await self.accounts.open()
        await self.sessions.open()
        await self.tokens.open()

    def close(self) -> None:
        self._passwords.close()

    def figures(self) -> dict[str, int]:
        """For `GET /api/status` and the page's notices."""
        return {
            "accounts": len(self.accounts),
            "failed_logins": self.failures.total,
            "failed_logins_hour": self.failures.last_hour(self._clock.monotonic_ms()),
        }

    def still(self, caller: Caller) -> bool:
        """False as soon as the caller has lost the right to be here."""
        if caller.who == "cli":
            return True
        return self.sessions.still(caller) if caller.who == "browser" else self.tokens.still(caller)

    def _scope(self, account: str) -> Scope | None:
        if not account:
            return "admin"  # by a link: the owner
        found = self.accounts.get(account)
        return scope_of(found.role) if found else None

    # coming in

    async def log_in(self, name: str, password: str, address: str) -> str:
        """Token of a new session. Raises PeopleError: `login.wrong`, the same for a wrong name and a wrong password;
        `login.wait`, `login.busy`."""
        name = name.strip().lower()[:64]
        await self._prove(name, password, address)
        return await self.sessions.create(name)

    async def set_up(self, link: str, name: str, password: str) -> str:
        """Make the first account, an admin, by a setup link; token of its session. Raises PeopleError; the link is used
        up only by success."""
        if len(self.accounts) or not self.setup_links.waits(link):
            raise PeopleError(401, "login.link", "This link was used already, or the gateway was started again.")
        name = await self._make(name, password, "admin", first=True)
        self.setup_links.redeem(link)
        log.info("the first account was made: %s", name)
        return await self.sessions.create(name)

    async def _prove(self, name: str, password: str, address: str) -> None:
        """Raises PeopleError unless `password` is that of `name`."""
        now_ms = self._clock.monotonic_ms()
        if wait_ms := self._throttle.begin(name, address, now_ms):
            raise TooEarly(wait_ms)
        account = self.accounts.get(name)
        known = self._throttle.knows(name, address)
        right = await self._passwords.check(password, account.password if account else None, known=known)
        if not right or self.accounts.get(name) is not account:  # changed while we computed
            if many := self.failures.add(now_ms):
                whose = name if account else "a name that nobody has"
                log.warning("%d failed login%s, the last for %s from %s", many, "s"[: many - 1], whose, address)
            raise PeopleError(401, "login.wrong", "There is no account with this name and password.")
        self._throttle.succeeded(name, address)

    # changing

    async def add(self, name: str, password: str, role: Role) -> str:
        """A new account. Returns its name. Raises PeopleError."""
        name = await self._make(name, password, role)
        log.info("account %s added: %s", name, role)
        return name

    async def _make(self, name: str, password: str, role: Role, *, first: bool = False) -> str:
        """Nothing of an account that had this name opens it: a removal that was cut short leaves that behind."""
        name = self.accounts.check_new(name)
        kept = await self._passwords.keep(password, name)
        await self.tokens.revoke_all(name)
        await self.sessions.end_all(name)
        return await self.accounts.add(name, kept, role, first=first)

    async def change_password(self, caller: Caller, old: str, new: str, address: str) -> None:
        """Of one's own account; all other sessions of it end. Raises PeopleError."""
        if not caller.account or caller.who != "browser":
            text = "You came in by a link or token, not with a password. An admin can set passwords of accounts."
            raise PeopleError(409, "login.scope", text)
        await self._prove(caller.account, old, address)
        await self.set_password(caller.account, new, but=caller.session)

    async def set_password(self, name: str, password: str, *, but: str = "") -> None:
        """All sessions of the account end, except `but`. Raises PeopleError."""
        self.accounts.known(name)
        await self.accounts.set_password(name, await self._passwords.keep(password, name))
        log.info("account %s has a new password", name)
        await self._log_out(name, but=but)

    async def set_role(self, name: str, role: Role) -> None:
        """Takes effect at once; the account has to log in again. Raises PeopleError."""
        if await self.accounts.set_role(name, role):
            log.info("account %s is %s now", name, role)
            await self._log_out(name)

    async def remove(self, name: str) -> None:
        """With its sessions and its tokens, at once. Raises PeopleError."""
        await self.accounts.remove(name)
        self.ended()
        log.info("account %s removed", name)
        await self.tokens.revoke_all(name)
        await self._log_out(name)

    async def log_out_everywhere(self, name: str) -> None:
        """All sessions of the account end; its tokens stay."""
        if name:
            self.accounts.known(name)
        await self._log_out(name)

    async def log_out(self, session: str) -> None:
        await self.sessions.end(session)
        self.ended()

    async def add_token(self, caller: Caller, name: str, scope: Scope, days: int | None) -> tuple[ApiToken, str]:
        """Raises PeopleError; a caller gives no more rights than it has."""
        if SCOPES.index(scope) > SCOPES.index(caller.scope):
            raise PeopleError(403, "role.viewer", f"You may not make a token of scope {scope}.")
        made = await self.tokens.add(name, scope, caller.account, days)
        log.info("API token %s made: %s, for %s", made[0].id, scope, caller.account or "the owner")
        return made

    async def revoke_token(self, id: str, account: str | None) -> None:
        """`account`: only one of its own. Raises PeopleError."""
        token = await self.tokens.revoke(id, account)
        self.ended()
        log.info("API token %s revoked", token.id)

    async def _log_out(self, name: str, *, but: str = "") -> None:
        try:
            await self.sessions.end_all(name, but=but)
        finally:
            self.ended()
