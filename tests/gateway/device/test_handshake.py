"""Who is let in, and what the others are told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request

from gateway.device.listener import token_of
from tests.aio import run
from tests.gateway.device.door import SUBPROTOCOL, Device, Door, open_door

UNKNOWN_TOKEN = "A" * 43


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def knock(door: Door, *subprotocols: str, headers: dict[str, str] | None = None) -> ClientConnection:
    offered: Any = subprotocols or None
    return await connect(door.url, subprotocols=offered, additional_headers=headers, proxy=None)


async def refused(door: Door, *subprotocols: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and sentence of a refusal."""
    with pytest.raises(InvalidStatus) as refusal:
        await knock(door, *subprotocols, headers=headers)
    response = refusal.value.response
    return response.status_code, bytes(response.body or b"").decode()


def test_who_is_not_a_device_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            token = await door.add("greenhouse")
            how = "Send the token that `mpy-gateway devices add` printed, as `Authorization: Bearer <token>`.\n"
            offer = "Offer the subprotocol mpy-gateway.v1.\n"
            assert await refused(door, headers=bearer(token)) == (400, offer)
            assert await refused(door, "mpy-gateway.v2", headers=bearer(token)) == (400, offer)
            assert await refused(door, SUBPROTOCOL) == (401, how)
            for wrong in (UNKNOWN_TOKEN, token[:-1], token + "A", token.swapcase(), ""):
                assert await refused(door, SUBPROTOCOL, headers=bearer(wrong)) == (401, how)
            assert await refused(door, SUBPROTOCOL, headers={"Authorization": f"Basic {token}"}) == (401, how)
            assert await refused(door, SUBPROTOCOL, f"mpy-gateway.token.{UNKNOWN_TOKEN}") == (401, how)

    run(scenario())


def test_a_token_opens_as_a_header_or_as_a_subprotocol_and_is_never_echoed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            token = await door.add("greenhouse")
            ways: list[tuple[tuple[str, ...], dict[str, str] | None]] = [
                ((SUBPROTOCOL,), bearer(token)),
                ((SUBPROTOCOL, f"mpy-gateway.token.{token}"), None),
                ((f"mpy-gateway.token.{token}", SUBPROTOCOL), None),
            ]
            for subprotocols, headers in ways:
                socket = await knock(door, *subprotocols, headers=headers)
                assert socket.subprotocol == SUBPROTOCOL
                assert socket.response is not None
                assert token not in str(socket.response.headers)
                await socket.close()

    run(scenario())


def test_several_different_tokens_are_as_good_as_none(tmp_path: Path) -> None:
    """A proxy before us might go by another one than we do."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            token = await door.add("greenhouse")
            both = (SUBPROTOCOL, f"mpy-gateway.token.{token}")
            assert (await refused(door, *both, headers=bearer(UNKNOWN_TOKEN)))[0] == 401
            assert (await refused(door, *both, headers={"Authorization": "Basic eA=="}))[0] == 401
            await (await knock(door, *both, headers=bearer(token))).close()

    run(scenario())
    for number in range(20):
        one, other = f"{number:043}", f"{number + 1:043}"
        headers = Headers([("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {other}")])
        assert token_of(Request("/", headers)) is None


def test_compression_is_not_negotiated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            socket = await knock(door, SUBPROTOCOL, headers=bearer(await door.add("greenhouse")))
            assert socket.response is not None
            assert "Sec-WebSocket-Extensions" not in socket.response.headers
            await socket.close()

    run(scenario())


def test_a_revoked_token_opens_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            token = await door.add("greenhouse")
            await door.devices.revoke("greenhouse")
            assert (await refused(door, SUBPROTOCOL, headers=bearer(token)))[0] == 401

    run(scenario())


def test_no_more_devices_than_the_limit_are_let_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, connections=1) as door:
            first = await door.enter()
            token = await door.add("second")
            assert await refused(door, SUBPROTOCOL, headers=bearer(token)) == (503, "Too many devices are connected.\n")
            await first.works()

    run(scenario())


def test_one_token_holds_four_connections_and_leaves_room_for_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, connections=5) as door:
            held = [await door.knock() for _ in range(4)]
            status, sentence = await refused(door, SUBPROTOCOL, headers=bearer(door.tokens["greenhouse"]))
            assert (status, sentence[:35]) == (503, "4 connections are open with this to")
            await (await door.enter("second")).works()
            await held[0].socket.close()
            await (await door.enter()).works()

    run(scenario())


def test_a_browser_that_looks_in_is_told_that_this_is_a_websocket(tmp_path: Path) -> None:
    async def scenario() -> None:
        import asyncio

        async with open_door(tmp_path) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = (await reader.read()).decode()
            assert answer.startswith("HTTP/1.1 426")
            assert "You need a WebSocket client" in answer
            writer.close()

    run(scenario())


def test_no_token_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.INFO)  # the test's own client

    async def scenario() -> str:
        async with open_door(tmp_path) as door:
            await (await door.enter()).works()
            await refused(door, SUBPROTOCOL, headers=bearer(UNKNOWN_TOKEN))
            token = door.tokens["greenhouse"]
            socket = await knock(door, SUBPROTOCOL, f"mpy-gateway.token.{token}")
            await Device(socket, "greenhouse").hello(device="someone-else")
            await Device(socket, "greenhouse").closed()
            return token

    token = run(scenario())
    assert "refused: its token is not known" in caplog.text
    assert token not in caplog.text
    assert UNKNOWN_TOKEN not in caplog.text
