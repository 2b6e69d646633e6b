"""The devices' door over TLS: a device that verifies is served, and who does not finish a handshake is dropped."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from gateway.tls.authority import DEVICES, Authority
from gateway.tls.context import authority_context
from tests.aio import run, until
from tests.gateway.device.door import Door, open_door
from tests.gateway.tls.shake import NAME, issued, serving

OURS = Authority.make("gw-test")


def pinning(authority: Authority) -> ssl.SSLContext:
    return authority_context(authority.pem.decode())


def test_a_device_that_pins_the_authority_and_verifies_the_name_is_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, tls=serving(tmp_path, issued(OURS, DEVICES)[0])) as door:
            assert door.url.startswith("wss://127.0.0.1:")
            device = await door.knock(ssl=pinning(OURS), server_hostname=NAME)
            await device.hello()
            await device.receive("welcome")
            await device.works()
            for trust, name in ((pinning(Authority.make("gw-test")), NAME), (pinning(OURS), "gw-other.mpy-gateway")):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await door.knock(ssl=trust, server_hostname=name)
            with pytest.raises((InvalidHandshake, OSError)):
                await _in_the_clear(door)
            await device.works()

    run(scenario())


async def _in_the_clear(door: Door) -> None:

    await connect(door.url.replace("wss", "ws"), proxy=None)


def test_why_a_board_gets_no_further_than_tls_is_said_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        server = serving(tmp_path, issued(OURS, DEVICES)[0])
        async with open_door(tmp_path, tls=server) as door:
            stranger = pinning(Authority.make("gw-other"))
            stranger.maximum_version = ssl.TLSVersion.TLSv1_2  # as boards have it

            def try_it() -> None:  # in a thread: asyncio's client goes without its alert
                with socket.create_connection(("127.0.0.1", door.server.port)) as plain:
                    stranger.wrap_socket(plain, server_hostname=NAME)

            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(try_it)
            await until(lambda: "it does not trust this gateway's certificate" in caplog.text, what="the line")
            _, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: "it speaks no TLS" in caplog.text, what="the line")
            writer.close()
            assert "devices add NAME --again --files DIR" in caplog.text
            assert door.server.stats()["refused"]["tls"] == 2

    run(scenario())


def nothing(_: ssl.SSLContext) -> bytes:
    return b""


def half(client: ssl.SSLContext) -> bytes:
    """The first flight of a handshake that is never continued."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME).do_handshake()
    return outgoing.read()


def a_part(client: ssl.SSLContext) -> bytes:
    return half(client)[:20]


@pytest.mark.parametrize("begin", [nothing, a_part, half])
def test_a_handshake_that_is_not_finished_is_dropped_in_time(tmp_path: Path, begin: Callable[..., bytes]) -> None:
    async def scenario() -> None:
        server = serving(tmp_path, issued(OURS, DEVICES)[0])
        async with open_door(tmp_path, tls=server, handshake_s=0.3) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(begin(pinning(OURS)))
            began = time.monotonic()
            async with asyncio.timeout(5):
                while await reader.read(4096):
                    pass
            assert time.monotonic() - began >= 0.25, "dropped, not refused"
            writer.close()

    run(scenario())


def test_after_the_handshake_who_asks_nothing_is_dropped_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = serving(tmp_path, issued(OURS, DEVICES)[0])
        async with open_door(tmp_path, tls=server, handshake_s=0.3) as door:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", door.server.port, ssl=pinning(OURS), server_hostname=NAME
            )
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()

    run(scenario())
