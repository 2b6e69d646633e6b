"""Broken and endless WebSocket frames at both doors, by who has got in: they end that connection, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path

import pytest

from tests.aio import run
from tests.attacks.house import UPGRADE, House, house, request

MASK = bytes(4)
HELLO = b'{"type":"hello","device":"cellar","hardware":"a4","boots":[{"boot":1,"id":"9f3c11d2c01b6a55","first":0,"next":9}]}'
FEED = ("GET /api/live HTTP/1.1", "Host: localhost", *UPGRADE[2:-1])


def frame(head: int, payload: bytes = b"") -> bytes:
    """A client's frame; the mask is zero."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return bytes([head]) + length + MASK + payload


BROKEN: dict[str, tuple[bytes, set[int]]] = {
    "not masked": (b"\x81\x02{}", {1002}),
    "compressed, though nobody agreed to it": (frame(0xC1, b"\xaa\x02\x00"), {1002}),
    "a reserved bit": (frame(0x91, b"{}"), {1002}),
    "a reserved kind of data": (frame(0x83), {1002}),
    "a reserved kind of control": (frame(0x8B), {1002}),
    "a ping of 126 bytes": (frame(0x89, b"a" * 126), {1002}),
    "a ping in pieces": (frame(0x09, b"a"), {1002}),
    "the rest of nothing": (frame(0x80, b"a"), {1002}),
    "a text within a text": (frame(0x01, b"a") + frame(0x81, b"b"), {1002}),
    "a close of one byte": (frame(0x88, b"\x03"), {1002}),
    "a close with a code that is none": (frame(0x88, struct.pack("!H", 999)), {1002}),
    "a close with a code nobody may send": (frame(0x88, struct.pack("!H", 1006)), {1002}),
    "a close whose reason is no text": (frame(0x88, struct.pack("!H", 1000) + b"\xff"), {1007}),
    "an exabyte is announced": (b"\x81\xff" + struct.pack("!Q", 1 << 60) + MASK, {1009}),
    "more than any length": (b"\x81\xff" + b"\xff" * 8 + MASK, {1002, 1009}),
    "fragments of nothing, for ever": (frame(0x01) + frame(0x00) * 200_000, {1008, 1009}),
    "fragments of little, for ever": (frame(0x01, b"a") + frame(0x00, b"a") * 200_000, {1008, 1009}),
    "pings, for ever": (frame(0x89) * 200_000, {1008}),
    "pongs, for ever": (frame(0x8A) * 200_000, {1008}),
}
DOORS = [(door, name) for door in ("devices", "people") for name in BROKEN]


async def opened(home: House, door: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that is welcome at that door."""
    port, lines = (home.page, (*FEED, home.bearer)) if door == "people" else (home.door, UPGRADE)
    if door == "devices":
        token = home.tokens.get("cellar") or await home.add("cellar")
        lines = (*UPGRADE, f"Authorization: Bearer {token}")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(*lines))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101"), answer
    assert b"extensions" not in answer.lower(), "compression was negotiated"
    if door == "devices":
        writer.write(frame(0x81, HELLO))
    return reader, writer


async def close_code(reader: asyncio.StreamReader) -> int:
    """Of the close frame, behind whatever else comes. 0: it was cut without one."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            opcode, length = await reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
            payload = await reader.readexactly(length)
            if opcode == 0x88:
                return int(struct.unpack("!H", payload[:2])[0])
    return 0


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], int]:
    """What each connection was closed with, all at one gateway with an honest board beside."""
    folder = tmp_path_factory.mktemp("websocket")

    async def attack(home: House, door: str, data: bytes) -> int:
        reader, writer = await opened(home, door)
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        async with asyncio.timeout(10):
            code = await close_code(reader)
        writer.close()
        return code

    async def scenario() -> dict[tuple[str, str], int]:
        async with house(folder, "limits.people_requests_per_s=1000") as home:
            board = await home.enter("greenhouse")
            found = {(door, name): await attack(home, door, BROKEN[name][0]) for door, name in DOORS}
            await home.works(board)
            return found

    return run(scenario(), timeout_s=50)


@pytest.mark.parametrize(("door", "name"), DOORS)
def test_broken_and_endless_frames_end_their_connection(
    door: str, name: str, codes: dict[tuple[str, str], int]
) -> None:
    endless = name.endswith("for ever")
    assert codes[door, name] in BROKEN[name][1] | ({0} if endless else set())  # who still sends may see a reset first


def test_a_compression_that_is_offered_is_not_taken(tmp_path: Path) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"

    async def scenario() -> None:
        async with house(tmp_path) as home:
            token = await home.add("cellar")
            for port, lines in (
                (home.door, (*UPGRADE, f"Authorization: Bearer {token}")),
                (home.page, (*FEED, home.bearer)),
            ):
                answer = (await home.say(port, request(*lines, offer))).partition(b"\r\n\r\n")[0]
                assert answer.startswith(b"HTTP/1.1 101")
                assert b"deflate" not in answer

    run(scenario())
