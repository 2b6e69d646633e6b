"""The guard at the people's door: every request passes here first, before any route is looked at.

In order: its size, the name it was called by (DNS rebinding), the site it comes from (cross-site requests and sockets),
who calls, how often strangers do. What goes out carries the security headers. Refusals are answered as FEED.md says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

import msgspec

from gateway.addresses import counted_as
from gateway.clock import Clock
from gateway.config import Limits
from gateway.dashboard.auth import Caller, same_token
from gateway.dashboard.origin import From, address, canonical, site_asked, site_of, whence
from gateway.dashboard.people import People
from gateway.dashboard.shapes import Failure, Problem
from gateway.device.bucket import Bucket

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, list[str]]

FEED_PROTOCOL = "mpy-gateway.feed"
TOKEN_PROTOCOL = "bearer."  # noqa: S105 - what stands before the token
"""A page elsewhere cannot set `Authorization` on a WebSocket: it offers the subprotocols FEED_PROTOCOL and this, with
the API token behind it."""

HEAD_BYTES = 16 * 1024
"""Most that a request's head may have."""
BURST_S = 5
"""A stranger may ask as much at once as in so many seconds."""
STRANGERS = 1000
"""Most addresses whose requests without login are counted; the one that has been quiet for longest goes first."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of the page. Nothing inline, nothing from elsewhere."""
DOOR_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of everything else: no script at all."""
NEVER_USED = (
    "accelerometer camera display-capture geolocation gyroscope magnetometer microphone midi payment usb serial"
)

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # not no-referrer: with that, our own forms would say `Origin: null`
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in NEVER_USED.split()).encode()),
)
NO_STORE = (b"cache-control", b"no-store")


UNCLEAR = {400, 413, 414, 431, 505}
"""Refused with these, a connection is closed: where its next request begins cannot be relied on."""


class Refused(Exception):
    """Ends a request before any route is looked at."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


class Visit(Protocol):
    """The connection a request came on."""

    def is_known(self) -> None:
        """Somebody proved who they are on it."""


class Guard:
    """ASGI middleware. `request.state.caller` is the `Caller`, or None on the pages that need no login."""

    def __init__(
        self,
        app: App,
        people: People,
        clock: Clock,
        limits: Limits,
        *,
        cli_token: str,
        cookie: str,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._people = people
        self._clock = clock
        self._limits = limits
        self._cli_token = cli_token
        self._cookie = cookie
        self._hosts = frozenset(canonical(name) for name in allowed_hosts)
        self._origins = {site for origin in allowed_origins if (site := site_of(origin))}
        self._strangers: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        dressed = _dressed(send, None)
        try:
            self._check_size(scope, headers)
            self._check_name(scope, headers)
            comes_from = self._comes_from(scope, headers)
            if comes_from is From.ALLOWED:
                dressed = _dressed(send, first(headers, b"origin"))
                if b"access-control-request-method" in headers:
                    self._count_stranger(scope)
                    await _preflight(dressed)
                    return
            caller = self._caller(headers, comes_from)
            self._check_caller(scope, caller, comes_from)
        except Refused as refused:
            await _refuse(scope, dressed, refused)
            return
        await self._greet(scope, caller)
        if scope["type"] == "http":
            await self._app(scope, self._bounded(receive), dressed)
        else:
            await self._app(scope, receive, send)

    def _check_size(self, scope: Scope, headers: Headers) -> None:
        if scope["http_version"] not in {"1.0", "1.1"}:
            raise Refused(505, "request.invalid", "This door speaks HTTP/1.1.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:  # h11 looks at a half one only
            raise Refused(431, "request.size", f"The headers of a request may have at most {HEAD_BYTES} bytes.")
        if b"content-length" in headers and b"transfer-encoding" in headers:  # a proxy might see two requests there
            raise Refused(400, "request.invalid", "A request says its length, or comes in chunks, not both.")
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.people_url_bytes:
            raise Refused(414, "request.url", f"An address may have at most {self._limits.people_url_bytes} bytes.")
        if any(len(headers.get(name, ())) > 1 for name in (b"host", b"authorization", b"cookie", b"content-length")):
            raise Refused(400, "request.invalid", "A header that says who is asking must be there once at most.")
        if int_or_zero(first(headers, b"content-length")) > self._limits.people_body_bytes:
            raise Refused(413, "request.size", f"A request may bring at most {self._limits.people_body_bytes} bytes.")

    def _check_name(self, scope: Scope, headers: Headers) -> None:
        """Configured and loopback names, and the address this connection came in on: rebinding needs a name."""
        asked = site_asked(first(headers, b"host"), _scheme(scope))
        server = scope.get("server")
        ours = server and canonical(str(server[0]))
        if asked is None or (asked.name not in self._hosts and not (address(asked.name) and asked.name == ours)):
            text = "This gateway is not called that. Add the name to allowed_hosts in [people] if it should be."
            raise Refused(421, "host.foreign", text)

    def _comes_from(self, scope: Scope, headers: Headers) -> From:
        found = whence(headers.get(b"origin", ()), first(headers, b"host"), _scheme(scope), self._origins)
        if found is From.ELSEWHERE:
            text = "This was asked by a page that is not this gateway's; allowed_origins in [people] can name others."
            raise Refused(403, "origin.foreign", text)
        return found

    def _caller(self, headers: Headers, comes_from: From) -> Caller | None:
        """By token, whoever asks. By cookie only our own page: a browser sends it along whatever page asks, so a page
        elsewhere, even an allowed one, has to have a token of its own."""
        kind, _, token = first(headers, b"authorization").partition(" ")
        if kind.lower() == "bearer":
            return self._by_token(token.strip())
        if offered := offered_token(first(headers, b"sec-websocket-protocol")):
            return self._by_token(offered)
        token = cookie_value(first(headers, b"cookie"), self._cookie)
        if not token or comes_from is From.ALLOWED:
            return None
        return self._people.sessions.caller(token)

    def _by_token(self, token: str) -> Caller | None:
        if same_token(token, self._cli_token):
            return Caller("cli", "admin")
        return self._people.tokens.caller(token)

    def _check_caller(self, scope: Scope, caller: Caller | None, comes_from: From) -> None:
        if caller is None:
            self._count_stranger(scope)
            if needs_login(scope["path"]):
                raise Refused(401, "login.required", "Log in first: the page at / asks for name and password.")
        elif caller.who == "browser" and comes_from is From.NOWHERE and _changes(scope):
            raise Refused(403, "origin.foreign", "A browser says which page asks; this request does not.")

    def _count_stranger(self, scope: Scope) -> None:
        client, now_ms = scope.get("client"), self._clock.monotonic_ms()
        key = counted_as(str(client[0])) if client else ""
        per_s = self._limits.people_requests_per_s
        bucket = self._strangers.setdefault(key, Bucket(per_s, seconds=BURST_S, now_ms=now_ms))
        self._strangers.move_to_end(key)
        if len(self._strangers) > STRANGERS:
            self._strangers.popitem(last=False)
        if not bucket.try_take(now_ms):
            raise Refused(429, "request.rate", "Too many requests without a login: try again in a second.")

    async def _greet(self, scope: Scope, caller: Caller | None) -> None:
        state = scope.setdefault("state", {})
        state["caller"] = caller
        if caller is None:
            return
        guest: Visit | None = state.get("guest")
        if guest:
            guest.is_known()
        if caller.who == "api":
            await self._people.tokens.used(caller)

    def _bounded(self, receive: Receive) -> Receive:
        """`receive` that ends too long a body as if the caller had gone; who said its length was told before."""
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= self._limits.people_body_bytes else {"type": "http.disconnect"}

        return bounded


def first(headers: Headers, name: bytes) -> str:
    """The header's value, empty where there is none."""
    return headers[name][0] if name in headers else ""


def needs_login(path: str) -> bool:
    """The page, the way in, and the health check look for themselves; whatever is said is under `/api`."""
    return path == "/api" or path.startswith("/api/")


def cookie_value(header: str, name: str) -> str:
    """Value of cookie `name`, empty where there is none."""
    # not http.cookies: it gives up at another program's odd cookie, and ports share cookies
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def offered_token(protocols: str) -> str:
    """The token among the subprotocols a page offers, empty where there is none."""
    for offer in protocols.split(","):
        if offer.strip().startswith(TOKEN_PROTOCOL):
            return offer.strip().removeprefix(TOKEN_PROTOCOL)
    return ""


def int_or_zero(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _scheme(scope: Scope) -> str:
    return "https" if scope["scheme"] in {"https", "wss"} else "http"


def _changes(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in {"GET", "HEAD", "OPTIONS"}


def _dressed(send: Send, origin: str | None) -> Send:
    """`send` that adds the security headers, `no-store` where nothing is said about caching, and that the page of
    `origin` may read it."""

    async def dressed(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            headers = [*message.get("headers", ()), *HEADERS]
            names = {name.lower() for name, _ in headers}
            if b"cache-control" not in names:
                headers.append(NO_STORE)
            if b"content-security-policy" not in names:
                headers.append((b"content-security-policy", DOOR_POLICY.encode()))
            if origin:
                headers += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
            message["headers"] = headers
        await send(message)

    return dressed


async def _preflight(send: Send) -> None:
    """What a browser asks before a page elsewhere may ask. No cookies: such a page brings an API token."""
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer with `Failure`; a socket is refused before it opens."""
    body = msgspec.json.encode(Failure(Problem(refused.code, str(refused))))
    kind = "http" if scope["type"] == "http" else "websocket.http"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.status in UNCLEAR:
        headers.append((b"connection", b"close"))
    if refused.status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": f"{kind}.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
