"""TLS of the firmware: on the real MicroPython, against real servers, right ones and all kinds of wrong ones."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.certificates import NAME, Authority
from tests.firmware.gateway import Gateway, running
from tests.firmware.test_node import board

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PERSON_MS = 29_000
"""A wait of about 30 s and more: only a person can mend it."""
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Servers:
    """Servers of all kinds. `told` is what those without TLS have heard."""

    def __init__(self) -> None:
        self.told = bytearray()
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Servers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def gateway(self, tls: ssl.SSLContext, says: datetime.datetime | None = None) -> Gateway:
        """A right one, but for its certificate. It says that it is `says`."""
        gateway = await self._open.enter_async_context(running(tls))
        gateway.time_ms = int(says.timestamp() * 1000) if says else None
        return gateway

    async def plain(self, answer: bytes | None) -> int:
        """Says `answer` to what it hears and closes; None: it says nothing, and stays."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                self.told += await reader.read(4096)
                if answer is None:
                    self.told += await reader.read()
                else:
                    writer.write(answer)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        await self._open.enter_async_context(server)
        return int(server.sockets[0].getsockname()[1])


async def attempts(ca: bytes, folder: Path, **kinds: int | tuple[int, int]) -> dict[str, dict[str, Any]]:
    """What became of the link with each: its port, or port and how many tries. See mpy/tls_link.py."""
    interpreter.command()  # skips the test where there is no interpreter
    (folder / "ca.der").write_bytes(ca)
    wanted = [
        f"{kind}:{':'.join(map(str, port if isinstance(port, tuple) else (port,)))}" for kind, port in kinds.items()
    ]
    printed = await asyncio.to_thread(interpreter.run_script, "tls_link.py", str(folder / "ca.der"), NAME, *wanted)
    found = [json.loads(line) for line in printed.splitlines()]
    return {one["kind"]: one for one in found}


def test_each_wrong_gateway_is_refused_with_a_line_of_its_own_and_told_nothing(tmp_path: Path) -> None:
    authority, other = Authority(), Authority()

    async def flow() -> dict[str, dict[str, Any]]:
        async with Servers() as servers:
            found = await attempts(
                authority.der,
                tmp_path,
                other_ca=(await servers.gateway(other.server(tmp_path))).port,
                other_name=(await servers.gateway(authority.server(tmp_path, "gw-99999999.mpy-gateway"))).port,
                expired=(await servers.gateway(authority.server(tmp_path, ends=NOW - DAY))).port,
                future=(await servers.gateway(authority.server(tmp_path, began=NOW + DAY))).port,
                all_wrong=(await servers.gateway(other.server(tmp_path, "x", ends=NOW - DAY))).port,
                http=await servers.plain(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
                garbage=await servers.plain(bytes(range(256))),
                alert=await servers.plain(b"\x15\x03\x03\x00\x02\x02\x28"),  # fatal: handshake failure
                closes=(await servers.plain(b""), 4),
                silent=await servers.plain(None),
            )
            assert b"Authorization" not in servers.told
            assert b"T" * 43 not in servers.told
            assert servers.told.startswith(b"\x16\x03"), "a ClientHello"
            return found

    found = run(flow(), timeout_s=50)
    first = {kind: one["lines"][0] for kind, one in found.items()}
    assert "not signed by the CA in /ca.der" in first["other_ca"]
    assert f"not for {NAME}" in first["other_name"]
    assert "has expired" in first["expired"]
    assert "not valid yet" in first["future"]
    assert "not signed by the CA in /ca.der" in first["all_wrong"]
    assert "speaks no TLS" in first["http"]
    assert "speaks no TLS" in first["garbage"]
    assert "does not want our handshake" in first["alert"]
    assert first["closes"].endswith("the gateway ended the handshake")
    assert first["silent"].endswith("no answer to the handshake: the gateway is slow, or speaks no TLS")
    for line in first.values():
        assert len(line) <= 200, "log.clean cuts it"
    for kind in ("other_ca", "other_name", "expired", "future", "all_wrong", "http", "garbage", "alert"):
        assert found[kind]["waits"][0] >= PERSON_MS, kind
    for kind in ("silent", "closes"):
        assert found[kind]["waits"][0] < 1_500, kind
    assert "ends every handshake" in found["closes"]["lines"][4]
    assert [wait >= PERSON_MS for wait in found["closes"]["waits"]] == [False, False, True, True]


def test_from_the_date_that_the_gateway_tells_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """mbedtls cannot know: the board's clock said 2000 (and here, on the unix port, it asks the host's)."""
    authority = Authority(ends=year(2060))

    async def flow() -> tuple[dict[str, dict[str, Any]], Gateway]:
        async with Servers() as servers:
            late = await servers.gateway(authority.server(tmp_path, ends=year(2040)), says=year(2041))
            right = await servers.gateway(authority.server(tmp_path, ends=year(2055)), says=year(2041))
            return await attempts(authority.der, tmp_path, late=(late.port, 2), right=right.port), late

    found, late = run(flow())
    refused = [line for line in found["late"]["lines"] if "has expired" in line]
    assert len(refused) == 2
    assert len(late.hellos) == 1, "the second time the handshake is as far as it comes"
    assert min(found["late"]["waits"]) >= PERSON_MS
    assert found["late"]["until"] == "20400101000000"
    assert found["right"]["lines"][-1].startswith("link: connected")
    assert found["right"]["until"] == "20550101000000", "written with four digits of the year from 2050 on"
    assert found["right"]["bytes"] == [0, 0], "writing and reading through TLS allocates nothing"


def year(number: int) -> datetime.datetime:
    return datetime.datetime(number, 1, 1, tzinfo=datetime.UTC)


def test_a_board_delivers_over_tls_large_frames_both_ways_and_has_the_date_then(tmp_path: Path) -> None:
    authority = Authority()

    async def flow() -> None:
        lines: list[str] = []
        async with running(authority.server(tmp_path)) as gateway:
            gateway.time_ms = int(year(2027).timestamp() * 1000) + 123
            gateway.window = 1000
            gateway.acks = False
            one = board(gateway.port, tmp_path / "board", lines, climate=10, vitals=400)
            one.settings["gateway"] = {"host": "localhost", "port": gateway.port, "tls": True, "name": NAME}
            one.files["/ca.der"] = authority.der
            await one.start()
            try:
                await until(lambda: len(gateway.samples) > 100, timeout_s=25, what="samples")
                assert 0 <= (one.date - year(2027)).total_seconds() < 20
                gateway.acks = True
                gateway.records.clear()
                assert gateway.socket is not None
                gateway.socket.transport.abort()  # all of it comes again, in larger frames
                await until(lambda: len(gateway.hellos) == 2, timeout_s=15, what="the reconnect")
                # Larger than any the gateway sends. A board may not parse the largest that it takes, 16 KB: three times
                # that must be there in one piece each, beside TLS.
                await gateway.say({"type": "clock", "id": 77, "pad": "x" * 8_000})
                await gateway.say(b"MG\x01\x00" + bytes(4092))
                await until(lambda: gateway.clocks().get(77) and gateway.echoes, what="both answers")
                assert gateway.echoes == [b"MG\x01\x00" + bytes(4092)]
                await one.stop()
                assert gateway.closed[-1] == (1000, "")
                assert len(gateway.samples) == sum(one.taken().values())
                assert max(gateway.sizes) > 1_500
            finally:
                await one.stop()

    run(flow(), timeout_s=55)


def test_what_the_socket_does_not_take_at_once_goes_later_and_what_comes_meanwhile_is_read(tmp_path: Path) -> None:
    """The server reads nothing until the board can send no more, and writes a lot meanwhile."""
    authority = Authority()
    blocks = 100
    heard = hashlib.sha256()
    ours = bytes(range(251)) * 800
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(1) == b"!"
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ours)
        await full.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        left = blocks * 20_000
        while left:
            data = await reader.read(65_536)
            assert data
            heard.update(data)
            left -= len(data)
        writer.close()

    async def flow() -> dict[str, Any]:
        (tmp_path / "ca.der").write_bytes(authority.der)
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server(tmp_path)) as server:
            port = server.sockets[0].getsockname()[1]
            words = (str(tmp_path / "ca.der"), NAME, str(port), str(blocks), str(len(ours)))
            board = await asyncio.create_subprocess_exec(
                *interpreter.command(), str(interpreter.SCRIPTS / "tls_flood.py"), *words,
                env=interpreter.environment(), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert board.stdout is not None
            assert await board.stdout.readline() == b"full\n"
            full.set()
            found: dict[str, Any] = json.loads(await board.stdout.read())
            await board.wait()
        return found

    found = run(flow(), timeout_s=50)
    assert found["nothing"] > 0
    assert found["sent_hash"] == heard.hexdigest()
    assert found["came"] == len(ours)
    assert found["came_hash"] == hashlib.sha256(ours).hexdigest()
