"""What the people's door says of people, in types: accounts, sessions, API tokens. Pure; as shapes.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Session:
    """Who is asking. `account` is null for the owner: by a link, or at the gateway's machine."""

    who: Literal["browser", "cli", "api"]
    account: str | None
    role: Literal["viewer", "admin"]
    scope: Literal["read", "control", "admin"]
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class User:
    """An account. `changed_ms`: when its password was set."""

    name: str
    role: Literal["viewer", "admin"]
    created_ms: int
    changed_ms: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Users:
    users: list[User]


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its secret. `account` is null where the owner made it; `used_ms`: its last use, to the
    hour after a restart."""

    id: str
    name: str
    scope: Literal["read", "control", "admin"]
    account: str | None
    created_ms: int
    expires_ms: int | None
    used_ms: int | None


@dataclass(frozen=True, slots=True)
class Tokens:
    tokens: list[Token]


@dataclass(frozen=True, slots=True)
class NewToken:
    """`secret` is shown this once."""

    token: Token
    secret: str


@dataclass(frozen=True, slots=True)
class Link:
    link: str
