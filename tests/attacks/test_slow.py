"""Slow-loris: many connections that say a byte now and then, at both doors. They are cut off, nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.aio import run, until
from tests.attacks.house import UPGRADE, House, house, request

EACH = 10
DEADLINE_S = 0.6
LIMITS = (
    f"limits.handshake_s={DEADLINE_S}",
    f"limits.people_head_s={DEADLINE_S}",
    f"limits.people_body_s={DEADLINE_S}",
)
POST = request("POST /login HTTP/1.1", "Host: localhost", "Content-Length: 60000", "Origin: http://localhost")
SLOW = {
    "nothing at all": (b"", b""),
    "a request line": (b"GET /", b"a"),
    "headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
    "one endless header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"y"),
    "blank lines": (b"", b"\r\n"),
    "a body": (POST, b"a"),
    "chunks": (POST.replace(b"Content-Length: 60000", b"Transfer-Encoding: chunked"), b"1\r\na\r\n"),
}
AT = {"devices": [name for name in SLOW if name not in {"a body", "chunks"}], "people": list(SLOW)}


async def loris(port: int, first: bytes, drop: bytes) -> float:
    """Says `first`, then a drop every 50 ms. Returns after how many seconds it was cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began_s = time.monotonic()

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(first)
            while True:
                await asyncio.sleep(0.05)
                writer.write(drop)

    dripping = asyncio.create_task(drip())
    with contextlib.suppress(ConnectionError):
        while await reader.read(4096):
            pass
    dripping.cancel()
    writer.close()
    return time.monotonic() - began_s


@pytest.mark.parametrize("door", AT)
def test_who_is_slow_on_purpose_is_cut_off_and_holds_nobody_up(door: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path, *LIMITS) as home:
            board = await home.enter("greenhouse")
            port = home.door if door == "devices" else home.page
            crowd = [asyncio.create_task(loris(port, *SLOW[name])) for name in AT[door] for _ in range(EACH)]
            await asyncio.sleep(DEADLINE_S / 3)
            await home.works(board)
            took_s = await asyncio.gather(*crowd)
            named = zip(took_s, [name for name in AT[door] for _ in range(EACH)], strict=True)
            assert max(took_s) < DEADLINE_S + 3, max(named)
            await home.works(board)
            await until(lambda: nobody_is_left(home), what="the end of all of them")

    run(scenario())


def nobody_is_left(home: House) -> bool:
    return home.gateway.door.stats()["strangers"] == 0


def test_who_gets_in_and_says_nothing_goes_too(tmp_path: Path) -> None:
    """With a good token, even: its hello is awaited for a while, and never more than four at once."""

    async def scenario() -> None:
        async with house(tmp_path, "limits.hello_s=0.5") as home:
            board, token = await home.enter("greenhouse"), await home.add("cellar")
            opening = request(*UPGRADE, f"Authorization: Bearer {token}")
            took_s = await asyncio.gather(*(loris(home.door, opening, b"") for _ in range(12)))
            assert max(took_s) < 4
            await home.works(board)

    run(scenario())
