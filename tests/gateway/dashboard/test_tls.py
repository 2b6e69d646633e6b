"""The people's door over TLS: page, login, feed; a cookie that never goes out in the clear; no endless handshakes."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
from pathlib import Path

import pytest

from gateway.tls.authority import PEOPLE, Authority
from gateway.tls.context import authority_context
from tests.aio import run
from tests.gateway.dashboard.door import Door, next_of, open_door
from tests.gateway.tls.shake import NOW, issued, serving

OURS = Authority.make("gw-test")


def trust() -> ssl.SSLContext:
    return authority_context(OURS.pem.decode())


def server(directory: Path) -> ssl.SSLContext:
    return serving(directory, issued(OURS, PEOPLE, NOW, "127.0.0.1")[0])


async def ask(
    door: Door, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    def in_thread() -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", door.server.port, timeout=10, context=trust())
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(in_thread)


def test_the_link_lets_a_browser_in_and_its_cookie_never_leaves_tls(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, tls=server(tmp_path)) as door:
            link = door.server.one_time_link()
            assert link.startswith("https://127.0.0.1:")
            status, headers, _ = await ask(door, link.removeprefix(door.server.url))
            assert status == 303
            cookie = headers["set-cookie"]
            assert {"secure", "httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
            proof = {"Cookie": cookie.partition(";")[0]}
            assert (await ask(door, "/api/devices", proof))[0] == 200
            # A browser that was told never to come without TLS could not come at all with another authority.
            assert headers["strict-transport-security"] is None

    run(scenario())


def test_without_tls_the_cookie_is_not_marked_or_no_browser_would_send_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            answer = await door.ask(door.server.one_time_link().removeprefix(door.server.url))
            assert "secure" not in answer.headers["set-cookie"].lower()

    run(scenario())


def test_the_feed_is_for_our_own_page_and_for_no_other_scheme(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, tls=server(tmp_path)) as door:
            async with door.feed(ssl=trust()) as socket:
                assert (await next_of(socket, "snapshot"))["type"] == "snapshot"
            _, headers, _ = await ask(door, door.server.one_time_link().removeprefix(door.server.url))
            cookie = headers["set-cookie"].partition(";")[0]
            for origin, status in ((door.server.url, 404), (door.server.url.replace("https", "http"), 403)):
                answer = await ask(door, "/api/nothing", {"Cookie": cookie, "Origin": origin}, "POST")
                assert answer[0] == status, json.loads(answer[2])

    run(scenario())


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_finish_a_handshake_is_dropped_and_others_are_served(tmp_path: Path, first: bytes) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, tls=server(tmp_path), limits={"handshake_s": 0.3}) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(first)
            began = time.monotonic()
            assert (await ask(door, "/api/devices"))[0] == 401
            async with asyncio.timeout(5):
                answered = await reader.read()
            assert b"HTTP" not in answered
            assert time.monotonic() - began < 5
            writer.close()

    run(scenario())
