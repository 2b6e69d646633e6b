"""Accounts and API tokens for the command line: through the gateway that runs, else on the files.

Which of the two is decided by the lock of the state directory; on the files it is held, so that no gateway starts with
what is about to change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.dashboard.auth import Role, Scope
    from gateway.dashboard.people import People

T = TypeVar("T")
Row = dict[str, Any]


class Office(Protocol):
    """All raise ConfigError with one sentence."""

    def users(self) -> list[Row]: ...
    def add_user(self, name: str, password: str, role: Role) -> None: ...
    def set_password(self, name: str, password: str) -> None: ...
    def set_role(self, name: str, role: Role) -> None: ...
    def remove_user(self, name: str) -> None: ...
    def log_out(self, name: str) -> None: ...
    def tokens(self) -> list[Row]: ...
    def add_token(self, name: str, scope: Scope, days: int | None) -> str: ...
    def revoke_token(self, id: str) -> None: ...


@contextmanager
def office(config: Path | None, state: Path | None) -> Iterator[Office]:
    """The way to change accounts now."""
    from gateway.cli.common import RunningGateway, read_config
    from gateway.store.database import StateLock, make_state_directory

    effective = read_config(config, state, None, "warning")
    directory = effective.state
    make_state_directory(directory)
    lock = StateLock(directory)
    try:
        lock.take()
    except ConfigError:
        yield ThroughGateway(RunningGateway(directory).call)
        return
    try:
        yield OnFiles(effective)
    finally:
        lock.release()


class ThroughGateway:
    """As REST has it."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def users(self) -> list[Row]:
        rows: list[Row] = self._call("GET", "/api/users")["users"]
        return rows

    def add_user(self, name: str, password: str, role: Role) -> None:
        self._call("POST", "/api/users", {"name": name, "password": password, "role": role})

    def set_password(self, name: str, password: str) -> None:
        self._call("PUT", f"/api/users/{_part(name)}/password", {"password": password})

    def set_role(self, name: str, role: Role) -> None:
        self._call("PUT", f"/api/users/{_part(name)}/role", {"role": role})

    def remove_user(self, name: str) -> None:
        self._call("DELETE", f"/api/users/{_part(name)}")

    def log_out(self, name: str) -> None:
        self._call("POST", f"/api/users/{_part(name)}/logout")

    def tokens(self) -> list[Row]:
        rows: list[Row] = self._call("GET", "/api/tokens")["tokens"]
        return rows

    def add_token(self, name: str, scope: Scope, days: int | None) -> str:
        secret: str = self._call("POST", "/api/tokens", {"name": name, "scope": scope, "days": days})["secret"]
        return secret

    def revoke_token(self, id: str) -> None:
        self._call("DELETE", f"/api/tokens/{_part(id)}")


class OnFiles:
    """Where no gateway runs."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def users(self) -> list[Row]:
        async def work(people: People) -> list[Row]:
            return [
                {"name": name, "role": one.role, "created_ms": one.created_ms, "changed_ms": one.changed_ms}
                | {"sessions": people.sessions.count(name)}
                for name, one in people.accounts.all().items()
            ]

        return self._do(work)

    def add_user(self, name: str, password: str, role: Role) -> None:
        self._do(lambda people: people.add(name, password, role))

    def set_password(self, name: str, password: str) -> None:
        self._do(lambda people: people.set_password(name, password))

    def set_role(self, name: str, role: Role) -> None:
        self._do(lambda people: people.set_role(name, role))

    def remove_user(self, name: str) -> None:
        self._do(lambda people: people.remove(name))

    def log_out(self, name: str) -> None:
        self._do(lambda people: people.log_out_everywhere(name))

    def tokens(self) -> list[Row]:
        import msgspec

        async def work(people: People) -> list[Row]:
            return [msgspec.to_builtins(token) | {"account": token.account or None} for token in people.tokens.all()]

        return self._do(work)

    def add_token(self, name: str, scope: Scope, days: int | None) -> str:
        from gateway.dashboard.auth import Caller

        _, secret = self._do(lambda people: people.add_token(Caller("cli", "admin"), name, scope, days))
        return secret

    def revoke_token(self, id: str) -> None:
        self._do(lambda people: people.revoke_token(id, None))

    def _do(self, work: Callable[[People], Awaitable[T]]) -> T:
        from gateway.cli.common import run_loop, with_hint
        from gateway.cli.devices import registry_store
        from gateway.clock import Clock
        from gateway.dashboard.accounts import PeopleError
        from gateway.dashboard.people import People

        async def with_people() -> T:
            async with registry_store(self._config) as store:
                people = People(store, Clock())
                try:
                    await people.open()
                    return await work(people)
                finally:
                    people.close()

        try:
            return run_loop(with_people())
        except PeopleError as error:
            raise ConfigError(with_hint(str(error), error.reason)) from error


def _part(name: str) -> str:
    """As a part of a path."""
    from urllib.parse import quote

    return quote(name, safe="") or "-"
