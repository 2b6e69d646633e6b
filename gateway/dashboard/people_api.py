"""REST of people: who am I, logging out, passwords, accounts, API tokens. What they mean is in people.py."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.dashboard import people_shapes as shapes
from gateway.dashboard.apitokens import ApiToken
from gateway.dashboard.parts import NOT_ALLOWED, Parts, PartsHere, Refusal, encoded, fails
from gateway.dashboard.passwords import LONGEST
from gateway.dashboard.rights import Admin, CallerHere

router = APIRouter()

Role = Literal["viewer", "admin"]
Text = Annotated[str, Field(max_length=2 * LONGEST)]  # which passwords are taken is said in passwords.py
Name = Annotated[str, Path(min_length=1, max_length=64)]
Id = Annotated[str, Path(min_length=1, max_length=64)]

FORBIDDEN = fails(_403=NOT_ALLOWED)
TRY_FAILS = fails(
    _401="No login, or the old password is wrong.",
    _403=NOT_ALLOWED,
    _409="There is no password to change: you came in by a link or a token.",
    _422="The body is wrong, or the password is too short or too common.",
    _429="Too many failed logins: wait as long as `Retry-After` says.",
)
USER_FAILS = fails(
    _403=NOT_ALLOWED,
    _404="There is no such account.",
    _409="It is the only admin, has that name already, or there are too many.",
    _422="The body, the name or the password is wrong.",
)
TOKEN_FAILS = fails(_403=NOT_ALLOWED, _404="There is no such token.", _409="There are too many.", _422="Wrong body.")


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PasswordChange(Asked):
    """Of one's own password."""

    old: Text
    new: Text


class NewPassword(Asked):
    password: Text


class NewUser(Asked):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    password: Text
    role: Role = "viewer"


class NewRole(Asked):
    role: Role


class TokenRequest(Asked):
    """`days`: how long it is valid; left out: until it is revoked."""

    name: Annotated[str, Field(max_length=64)] = ""
    scope: Literal["read", "control", "admin"] = "read"
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


@router.get("/api/session", response_model=shapes.Session, responses=fails(), tags=["login"])
async def session(caller: CallerHere) -> Response:
    """Who is asking."""
    account = caller.account or None
    return encoded(shapes.Session(caller.who, account, caller.role, caller.scope, caller.expires_ms))


@router.post("/api/logout", status_code=204, responses=FORBIDDEN, tags=["login"])
async def logout(caller: CallerHere, parts: PartsHere) -> Response:
    """End this browser's session."""
    if caller.who == "browser":
        await parts.people.log_out(caller.session)
    return without_cookie(parts, Response(status_code=204))


@router.post("/api/logout/everywhere", status_code=204, responses=FORBIDDEN, tags=["login"])
async def logout_everywhere(caller: CallerHere, parts: PartsHere) -> Response:
    """End all sessions of this account; open feeds are closed at once. Its API tokens stay."""
    if caller.who == "browser":
        await parts.people.log_out_everywhere(caller.account)
    return without_cookie(parts, Response(status_code=204))


def without_cookie(parts: Parts, answer: Response) -> Response:
    """`answer` that deletes the session cookie."""
    answer.delete_cookie(parts.cookie, httponly=True, samesite="strict", secure=parts.secure)
    return answer


@router.post("/api/password", status_code=204, responses=TRY_FAILS, tags=["login"])
async def change_password(change: PasswordChange, caller: CallerHere, parts: PartsHere, request: Request) -> Response:
    """Change one's own password. All other sessions of the account end."""
    await parts.people.change_password(caller, change.old, change.new, client_of(request))
    return Response(status_code=204)


def client_of(request: Request) -> str:
    """The address a request came from."""
    return request.client.host if request.client else ""


@router.post("/api/link", response_model=shapes.Link, responses=FORBIDDEN, tags=["login"])
async def link(caller: CallerHere, parts: PartsHere) -> Response:
    """A new one-time link to the page, as its owner. For the gateway's own command line."""
    if caller.who != "cli":
        raise Refusal(403, "login.scope", "Only the command line can make a link: run `mpy-gateway link`.")
    return encoded(shapes.Link(parts.new_link()))


@router.get("/api/users", response_model=shapes.Users, responses=FORBIDDEN, tags=["people"])
async def users(_: Admin, parts: PartsHere) -> Response:
    """All accounts, by name."""
    found = parts.people.accounts.all().items()
    count = parts.people.sessions.count
    rows = [shapes.User(name, one.role, one.created_ms, one.changed_ms, count(name)) for name, one in found]
    return encoded(shapes.Users(rows))


@router.post("/api/users", status_code=204, responses=USER_FAILS, tags=["people"])
async def add_user(user: NewUser, _: Admin, parts: PartsHere) -> Response:
    """A new account."""
    await parts.people.add(user.name, user.password, user.role)
    return Response(status_code=204)


@router.delete("/api/users/{name}", status_code=204, responses=USER_FAILS, tags=["people"])
async def remove_user(name: Name, _: Admin, parts: PartsHere) -> Response:
    """The account is gone, with its sessions and API tokens, at once."""
    await parts.people.remove(name)
    return Response(status_code=204)


@router.put("/api/users/{name}/role", status_code=204, responses=USER_FAILS, tags=["people"])
async def set_role(name: Name, role: NewRole, _: Admin, parts: PartsHere) -> Response:
    """Make it a viewer or an admin, at once; its sessions end."""
    await parts.people.set_role(name, role.role)
    return Response(status_code=204)


@router.put("/api/users/{name}/password", status_code=204, responses=USER_FAILS, tags=["people"])
async def set_password(name: Name, new: NewPassword, caller: Admin, parts: PartsHere) -> Response:
    """Set its password; its sessions end, except the one that asks."""
    await parts.people.set_password(name, new.password, but=caller.session)
    return Response(status_code=204)


@router.post("/api/users/{name}/logout", status_code=204, responses=USER_FAILS, tags=["people"])
async def log_out_user(name: Name, _: Admin, parts: PartsHere) -> Response:
    """End all sessions of an account."""
    await parts.people.log_out_everywhere(name)
    return Response(status_code=204)


@router.get("/api/tokens", response_model=shapes.Tokens, responses=FORBIDDEN, tags=["people"])
async def tokens(caller: CallerHere, parts: PartsHere) -> Response:
    """API tokens: an admin sees all, others their own."""
    return encoded(shapes.Tokens([_token(one) for one in parts.people.tokens.all(_whose(caller))]))


@router.post("/api/tokens", response_model=shapes.NewToken, responses=TOKEN_FAILS, tags=["people"])
async def add_token(asked: TokenRequest, caller: CallerHere, parts: PartsHere) -> Response:
    """A new API token: `read` looks, `control` sends commands too, `admin` does everything. Its secret is shown once.
    Made by a browser or the command line; an API token makes no others."""
    if caller.who == "api":
        raise Refusal(403, "login.scope", "An API token makes no others: log in, or use the command line.")
    token, secret = await parts.people.add_token(caller, asked.name, asked.scope, asked.days)
    return encoded(shapes.NewToken(_token(token), secret))


@router.delete("/api/tokens/{id}", status_code=204, responses=TOKEN_FAILS, tags=["people"])
async def revoke_token(id: Id, caller: CallerHere, parts: PartsHere) -> Response:
    """It opens nothing from now on. An admin revokes any, others their own."""
    await parts.people.revoke_token(id, _whose(caller))
    return Response(status_code=204)


def _whose(caller: CallerHere) -> str | None:
    """Whose tokens a caller may see and revoke; None: everybody's."""
    if caller.role == "admin":
        return None
    if caller.who == "api":
        raise Refusal(403, "role.viewer", "This needs a token of scope admin, or a login.")
    return caller.account


def _token(token: ApiToken) -> shapes.Token:
    account = token.account or None
    return shapes.Token(token.id, token.name, token.scope, account, token.created_ms, token.expires_ms, token.used_ms)
