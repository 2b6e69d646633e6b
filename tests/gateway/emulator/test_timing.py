"""An emulated board that stands still where a chip does, and one that does not."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from gateway.emulator import Interpreter
from gateway.emulator.timing import AT_ONCE, Timing
from tests.aio import run, until
from tests.firmware.certificates import NAME, Authority
from tests.gateway.emulator.bench import make_board, powered

PROGRAM = """
import json, os, socket, time, tls
def spent(act):
    begin = time.ticks_ms()
    act()
    return time.ticks_diff(time.ticks_ms(), begin)
def write():
    with open("/big", "wb") as file:
        file.write(bytes(40960))
address = socket.getaddrinfo("127.0.0.1", PORT, 0, socket.SOCK_STREAM)[0][-1]
def shake():
    plain = socket.socket()
    plain.connect(address)
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    with open("/ca.der", "rb") as file:
        context.load_verify_locations(file.read())
    stream = context.wrap_socket(plain, server_hostname="NAME")
    stream.write(b"hello")
    assert stream.read(5) == b"hello"
    stream.close()
print(json.dumps([
    spent(lambda: socket.getaddrinfo("127.0.0.1", 1)), spent(lambda: socket.getaddrinfo("localhost", 1)),
    spent(shake), spent(write),
]))
"""


def test_it_stands_still_as_long_as_it_is_told(tmp_path: Path, interpreter: Interpreter) -> None:
    authority = Authority()
    slow = Timing(boot_ms=300, name_ms=250, tls_ms=400, erase_ms=30)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    async def measured(timing: Timing, name: str) -> tuple[float, list[int], int]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=authority.server(tmp_path))
        port = server.sockets[0].getsockname()[1]
        board = make_board(
            tmp_path, interpreter, PROGRAM.replace("PORT", str(port)).replace("NAME", NAME), directory=tmp_path / name,
            files={"/ca.der": authority.der}, timing=timing,
        )  # fmt: skip
        async with server:
            begin = time.monotonic()
            async with powered(board):
                started_ms = (time.monotonic() - begin) * 1000
                await until(lambda: board.ended, what="the end of main.py")
                await board.stop()
                assert board.ended == "done", "\n".join(board.console_tail)
                return started_ms, json.loads(board.console_tail[-1]), board.flash_erases

    started_ms, (number_ms, name_ms, tls_ms, erase_ms), erases = run(measured(slow, "slow"))
    assert started_ms >= 300
    assert number_ms < 245 < name_ms  # the interpreter's sleep may come back a millisecond early
    assert tls_ms > 395
    assert erases >= 10
    assert erase_ms >= 10 * 29
    _, fast, _ = run(measured(AT_ONCE, "fast"))
    assert sum(fast) < name_ms + tls_ms + erase_ms
