"""What the people's door does with requests that mean no good: foreign pages, slow and many connections, headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gateway.dashboard.connections import Lobby
from gateway.tls.authority import PEOPLE, Authority
from tests.aio import run
from tests.gateway.tls.shake import issued, serving

from .door import Door, close_code, messages, open_door

DASH = "https://dash.example.org"


async def token_of(door: Door, scope: str = "control") -> str:
    answer = await door.ask("/api/tokens", method="POST", headers=door.bearer, body={"scope": scope})
    secret: str = answer.json["secret"]
    return secret


def test_a_dashboard_served_from_elsewhere_asks_with_a_token_and_never_with_a_cookie(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, allowed_origins=(DASH,)) as door:
            await door.connect()
            from_there = {"Origin": DASH}
            preflight = await door.ask(
                "/api/devices/greenhouse/commands",
                method="OPTIONS",
                headers=from_there
                | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
            )
            assert preflight.status == 204
            assert preflight.headers["access-control-allow-origin"] == DASH
            assert "authorization" in preflight.headers["access-control-allow-headers"]
            assert "access-control-allow-credentials" not in preflight.headers
            token = {"Authorization": f"Bearer {await token_of(door)}"}
            sent = await door.ask(
                "/api/devices/greenhouse/commands", method="POST", headers=from_there | token, body={"name": "ping"}
            )
            assert (sent.status, sent.headers["access-control-allow-origin"]) == (200, DASH)
            assert "origin" in sent.headers["vary"].lower()
            cookie = await door.log_in()
            for path in ("/api/devices", "/api/session"):
                refused = await door.ask(path, headers=from_there | cookie)
                assert refused.status == 401, "a cookie of the gateway's own page is no token of that page"
                assert refused.headers["access-control-allow-origin"] == DASH, "it may read why"
            assert await door.open_feed_status(from_there | cookie) == 401
            own = await door.ask("/api/devices", headers=cookie)
            assert "access-control-allow-origin" not in own.headers
            other = await door.ask("/api/devices", headers={"Origin": "https://evil.example"} | token)
            assert other.status == 403
            assert "access-control-allow-origin" not in other.headers

    run(main())


def test_a_browsers_socket_brings_its_token_as_a_subprotocol(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, allowed_origins=(DASH,)) as door:
            url = door.server.url.replace("http", "ws") + "/api/live"
            token = await token_of(door, "read")
            offered = [Subprotocol("mpy-gateway.feed"), Subprotocol(f"bearer.{token}")]
            async with connect(url, origin=DASH, subprotocols=offered) as socket:  # type: ignore[arg-type]
                assert socket.subprotocol == "mpy-gateway.feed", "the token is not said back"
                assert (await anext(messages(socket)))["type"] == "snapshot"
                token_id = (await door.ask("/api/tokens", headers=door.bearer)).json["tokens"][0]["id"]
                await door.ask(f"/api/tokens/{token_id}", method="DELETE", headers=door.bearer)
                assert await close_code(socket) == 4401
            for wrong in ("bearer.guess", f"bearer.{token}", token):
                headers = {"Origin": DASH, "Sec-WebSocket-Protocol": f"mpy-gateway.feed, {wrong}"}
                assert await door.open_feed_status(headers) == 401
            headers = {"Origin": "https://evil.example", "Sec-WebSocket-Protocol": f"bearer.{await token_of(door)}"}
            assert await door.open_feed_status(headers) == 403

    run(main())


def test_a_foreign_page_may_not_even_ask_to_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            cookie = await door.log_in()
            for origin in ("https://evil.example", "null", f"http://127.0.0.1:{door.server.port + 1}"):
                for path in ("/api/devices", "/", "/login"):
                    assert (await door.ask(path, headers=cookie | {"Origin": origin})).status == 403, origin
                form = await door.ask("/login", method="POST", headers={"Origin": origin}, body=b"name=a&password=b")
                assert form.status == 403, "nobody is logged in to somebody else's account"
            own = cookie | {"Origin": f"HTTP://127.0.0.1:{door.server.port}".lower()}
            assert (await door.ask("/api/devices", headers=own)).status == 200

    run(main())


def test_what_a_proxy_says_is_not_believed(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            cookie = await door.log_in()
            said = {
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-For": "127.0.0.1",
                "Forwarded": "host=evil.example",
                "Origin": "https://evil.example",
            }
            assert (await door.ask("/api/logout", method="POST", headers=cookie | said)).status == 403
            named = {"X-Forwarded-Host": f"127.0.0.1:{door.server.port}", "Host": "evil.example"}
            assert (await door.ask("/api/devices", headers=cookie | named)).status == 421

    run(main())


async def raw(door: Door, request: bytes) -> bytes:
    """What is answered to these very bytes, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


CONTRADICTING = [
    ["Host: {host}", "Host: evil.example"],
    ["Host: {host}", "Authorization: Bearer a", "Authorization: Bearer {token}"],
    ["Host: {host}", "Cookie: a=b", "Cookie: c=d", "Authorization: Bearer {token}"],
    ["Host: {host}", "Origin: http://{host}", "Origin: https://evil.example", "Authorization: Bearer {token}"],
    ["Host: {host}", "Content-Length: 1", "Content-Length: 2", "Authorization: Bearer {token}"],
    ["Host: {host}", "Content-Length: 5", "Transfer-Encoding: chunked", "Authorization: Bearer {token}", "x"],
    ["Authorization: Bearer {token}"],
]


def test_headers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            said = {"host": f"127.0.0.1:{door.server.port}", "token": door.server.cli_token}
            for lines in CONTRADICTING:
                head = "\r\n".join(["GET /api/devices HTTP/1.1", *lines, "Connection: close"]).format(**said)
                status = (await raw(door, f"{head}\r\n\r\n".encode())).split(b" ", 2)[1]
                assert status in {b"400", b"403", b"421"}, lines

    run(main())


def test_too_long_an_address_and_too_many_requests_of_strangers_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        limits = {"people_requests_per_s": 2, "people_url_bytes": 300}
        async with open_door(tmp_path, limits=limits, allowed_origins=(DASH,)) as door:
            long = await door.ask("/api/devices?" + "x" * 300, headers=door.bearer)
            assert (long.status, long.json["error"]["code"]) == (414, "request.url")
            for _ in range(10):
                assert (await door.ask("/login")).status == 200
            for path in ("/login", "/api/devices", "/healthz"):
                refused = await door.ask(path)
                assert (refused.status, refused.json["error"]["code"]) == (429, "request.rate")
                assert refused.headers["retry-after"] == "1"
            beforehand = {"Origin": DASH, "Access-Control-Request-Method": "POST"}
            assert (await door.ask("/api/devices", method="OPTIONS", headers=beforehand)).status == 429
            assert (await door.ask("/api/devices", headers=door.bearer)).status == 200, "who is known goes on"
            door.clock.advance(1000)
            assert (await door.ask("/login")).status == 200

    run(main())


def test_of_many_strangers_the_oldest_of_the_fullest_address_makes_room() -> None:
    lobby: Lobby[int] = Lobby(most=4, per_address=3)
    assert [lobby.enter(guest, "a") for guest in (1, 2, 3)] == [[], [], []]
    assert lobby.enter(4, "a") == [1]
    lobby.knows(2)
    assert lobby.enter(5, "a") == [3]
    assert lobby.enter(6, "b") == []
    assert lobby.enter(7, "b") == [4]
    for guest in (5, 6, 7):
        lobby.knows(guest)
    assert lobby.enter(8, "c") == [8], "who is known stays, and nobody else comes in"
    lobby.leave(2)
    lobby.leave(2)
    assert lobby.enter(9, "c") == []
    assert len(lobby) == 4


def test_strangers_who_only_hold_connections_do_not_keep_others_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, limits={"people_connections": 20, "people_connections_per_address": 15}) as door:
            async with door.feed() as known:
                idle = [await asyncio.open_connection("127.0.0.1", door.server.port) for _ in range(40)]
                assert (await door.ask("/api/devices", headers=door.bearer)).status == 200
                assert (await anext(messages(known)))["type"] == "snapshot"
                first = await asyncio.wait_for(idle[0][0].read(), 2)
                assert first == b"", "the oldest was closed"
                assert len(door.server._server.config.lobby) <= 15
                for _, writer in idle:
                    writer.close()
            await until(lambda: not len(door.server._server.config.lobby))

    run(main())


async def until(true: Callable[[], bool], *, within_s: float = 3) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - of another task, which tells nobody
            await asyncio.sleep(0.01)


async def drip(door: Door, first: bytes, drop: bytes, *, every_s: float = 0.05) -> float:
    """Send `first`, then a drop again and again; returns how long the connection lived."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    begun = time.monotonic()
    writer.write(first)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(drop)
        await asyncio.wait({ended}, timeout=every_s)
        assert time.monotonic() - begun < 5, "nobody ends it"
    writer.close()
    await asyncio.gather(ended, return_exceptions=True)
    return time.monotonic() - begun


def head_of(door: Door, *lines: str) -> bytes:
    return "\r\n".join([lines[0], f"Host: 127.0.0.1:{door.server.port}", *lines[1:], ""]).encode()


SLOW: dict[str, Callable[[Door], tuple[bytes, bytes]]] = {
    "nothing at all": lambda _: (b"", b""),
    "a head without an end": lambda door: (head_of(door, "GET / HTTP/1.1"), b"x"),
    "a second head without an end": lambda door: (head_of(door, "GET /healthz HTTP/1.1") + b"\r\n" + b"GET / H", b"x"),
    "a body without an end": lambda door: (
        head_of(door, "POST /login HTTP/1.1", "Content-Length: 5000") + b"\r\n",
        b"x",
    ),
    "the same by chunks, of somebody known": lambda door: (
        head_of(
            door,
            "POST /api/devices/greenhouse/commands HTTP/1.1",
            f"Authorization: Bearer {door.server.cli_token}",
            "Transfer-Encoding: chunked",
        )
        + b"\r\n",
        b"1\r\nx\r\n",
    ),
}


def test_slow_requests_are_cut_and_a_feed_is_not(tmp_path: Path) -> None:
    """Slow-loris: a byte now and then keeps uvicorn waiting for ever."""

    async def main() -> None:
        limits = {"people_head_s": 0.4, "people_body_s": 0.4}
        async with open_door(tmp_path, limits=limits) as door, door.feed() as feed:
            lived = await asyncio.gather(*(drip(door, *slow(door)) for slow in SLOW.values()), return_exceptions=True)
            assert all(isinstance(s, float) and s < 2 for s in lived), dict(zip(SLOW, lived, strict=True))
            await until(lambda: len(door.server._server.config.lobby) == 1)
            assert feed.state.name == "OPEN"

    run(main())


def test_a_connection_without_a_login_does_not_live_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, limits={"people_stranger_s": 0.5}) as door, door.feed() as known:
            asking = head_of(door, "GET /healthz HTTP/1.1") + b"\r\n"
            assert await drip(door, asking, asking) < 2
            assert (await anext(messages(known)))["type"] == "snapshot"
            await door.ask("/healthz")
            assert known.state.name == "OPEN"

    run(main())


def test_connections_that_never_shake_hands_are_counted_and_cut(tmp_path: Path) -> None:
    async def main() -> None:
        pem, _ = issued(Authority.make("gw-test"), PEOPLE)
        limits = {"people_connections_per_address": 5, "handshake_s": 0.5}
        async with open_door(tmp_path, tls=serving(tmp_path, pem), limits=limits) as door:
            lobby = door.server._server.config.lobby
            idle = [await asyncio.open_connection("127.0.0.1", door.server.port) for _ in range(8)]
            await until(lambda: len(lobby) == 5)
            first = await asyncio.wait_for(idle[0][0].read(), 2)
            assert first == b"", "the oldest made room"
            await until(lambda: not len(lobby))
            for _, writer in idle:
                writer.close()

    run(main())
