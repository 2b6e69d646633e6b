"""The guard at the people's door: every request passes here first, before any route is looked at.

In order: the name it was called by (DNS rebinding), the site it comes from (cross-site requests and sockets), who
calls, the size of what it brings. What goes out carries the security headers. Refusals are answered as FEED.md says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from gateway.dashboard.auth import Caller, Sessions, same_token
from gateway.dashboard.shapes import Failure, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES = 64 * 1024
"""Most that a request may bring. Commands are small."""

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; style-src 'self'; connect-src 'self'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """ASGI middleware. `request.state.caller` is the `Caller`, or None on the pages that need no login."""

    def __init__(
        self, app: App, sessions: Sessions, *, cli_token: str, cookie: str, allowed_hosts: Iterable[str]
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._cli_token = cli_token
        self._cookie = cookie
        self._hosts = frozenset(name.lower() for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        caller = self._caller(headers)
        if refusal := self._refusal(scope, headers, caller):
            await _refuse(scope, _dressed(send), *refusal)
            return
        scope.setdefault("state", {})["caller"] = caller
        if scope["type"] == "http":
            await self._app(scope, _bounded(receive), _dressed(send))
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[bytes, str], caller: Caller | None) -> tuple[int, str, str] | None:
        """Status, code and text where this must not go on."""
        host = headers.get(b"host", "")
        if not self._is_our_name(host_name(host), scope):
            text = "This gateway is not called that. Add the name to allowed_hosts in [people] if it should be."
            return 421, "host.foreign", text
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and not _comes_from_here(headers, host, scope, caller):
            return 403, "origin.foreign", "This was asked by a page that is not this gateway's."
        if caller is None and needs_login(scope["path"]):
            return 401, "login.required", "Log in first: `mpy-gateway link` prints a link that opens the page."
        if int_or_zero(headers.get(b"content-length", "")) > BODY_BYTES:
            return 413, "request.size", f"A request may bring at most {BODY_BYTES} bytes."
        return None

    def _is_our_name(self, name: str, scope: Scope) -> bool:
        """Configured and loopback names, and the address this connection came in on: rebinding needs a name."""
        if name in self._hosts:
            return True
        server = scope.get("server")
        return server is not None and _is_address(name) and name == str(server[0]).lower()

    def _caller(self, headers: dict[bytes, str]) -> Caller | None:
        kind, _, token = headers.get(b"authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return Caller("cli", "admin") if same_token(token.strip(), self._cli_token) else None
        if token := cookie_value(headers.get(b"cookie", ""), self._cookie):
            return self._sessions.caller(token)
        return None


def needs_login(path: str) -> bool:
    """The page, the way in, and the health check look for themselves; whatever is said is under `/api`."""
    return path == "/api" or path.startswith("/api/")


def host_name(host: str) -> str:
    """The name in a `Host` header: without port, brackets and final dot, in small letters."""
    host = host.strip().lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.removesuffix(".")


def cookie_value(header: str, name: str) -> str:
    """Value of cookie `name`, empty where there is none."""
    for part in header.split(
        ";"
    ):  # not http.cookies: it gives up at another program's odd cookie, and ports share cookies
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def int_or_zero(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _comes_from_here(headers: dict[bytes, str], host: str, scope: Scope, caller: Caller | None) -> bool:
    """True for this gateway's own page. A browser always sends `Origin` with what changes something and with a socket;
    a program that proves itself by token need not."""
    origin = headers.get(b"origin")
    if origin is None:
        return caller is None or caller.who == "cli"  # nobody is refused for the login, not for the origin
    scheme = "https" if scope["scheme"] in {"https", "wss"} else "http"
    return origin.lower() in {f"{scheme}://{host.lower()}", f"https://{host.lower()}"}  # https: a proxy before us


def _bounded(receive: Receive) -> Receive:
    """`receive` that ends too long a body as if the caller had gone; who said its length was told before."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= BODY_BYTES else {"type": "http.disconnect"}

    return bounded


def _dressed(send: Send) -> Send:
    """`send` that adds the security headers, and `no-store` where nothing is said about caching."""

    async def dressed(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            headers = [*message.get("headers", ()), *HEADERS]
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message["headers"] = headers
        await send(message)

    return dressed


async def _refuse(scope: Scope, send: Send, status: int, code: str, text: str) -> None:
    """Answer with `Failure`; a socket is refused before it opens."""
    body = msgspec.json.encode(Failure(Problem(code, text)))
    kind = "http" if scope["type"] == "http" else "websocket.http"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
