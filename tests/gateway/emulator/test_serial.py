"""The serial port of an emulated board, used by the real mpremote as a USB port."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatedBoard, Interpreter, NoInterpreter, find_interpreter
from gateway.emulator.interpreter import need_raw_repl
from tests.aio import run
from tests.gateway.emulator.bench import make_board, powered, printed

FOREVER = "import time\nprint('main.py runs')\nwhile True:\n    time.sleep_ms(10)\n"


def _interpreter() -> Interpreter | None:
    try:
        need_raw_repl(found := find_interpreter())
    except NoInterpreter:
        if os.environ.get("CI") == "true":
            raise
        return None
    return found


pytestmark = pytest.mark.skipif(_interpreter() is None, reason="no MicroPython with a raw REPL")


@asynccontextmanager
async def plugged(tmp_path: Path, program: str = FOREVER, **options: Any) -> AsyncIterator[EmulatedBoard]:
    board = make_board(tmp_path, find_interpreter(), program, serial=True, **options)
    async with powered(board):
        yield board
    await board.stop()


async def mpremote(board: EmulatedBoard, *arguments: str) -> str:
    """What it printed; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mpremote", "connect", board.port, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(20):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode() + "\n".join(board.console_tail)
    return printed.decode()


def test_files_go_in_and_come_out_as_they_were(tmp_path: Path) -> None:
    content = os.urandom(5000)
    (tmp_path / "in").write_bytes(content)

    async def scenario() -> None:
        async with plugged(tmp_path) as board:
            await mpremote(board, "fs", "cp", str(tmp_path / "in"), ":file")
            assert hashlib.sha256(content).hexdigest() in await mpremote(board, "fs", "sha256sum", ":file")
            await mpremote(board, "fs", "cp", ":file", str(tmp_path / "out"))
            assert "5000 file" in await mpremote(board, "fs", "ls")

    run(scenario())
    assert (tmp_path / "out").read_bytes() == content


def test_mpremote_reads_and_writes_files_of_the_host_through_mount(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "lib.py").write_text("NUMBER = 42")
    content = bytes(range(256)) * 4  # each byte there is, Ctrl-C and newline among them
    (tmp_path / "host" / "bytes").write_bytes(content)
    code = (
        "import lib; print(lib.NUMBER); b = open('bytes', 'rb').read(); f = open('copy', 'wb'); f.write(b); f.close()"
    )

    async def scenario() -> None:
        async with plugged(tmp_path) as board:
            assert "42" in await mpremote(board, "mount", str(tmp_path / "host"), "exec", code)

    run(scenario())
    assert (tmp_path / "host" / "copy").read_bytes() == content


def test_a_reset_starts_main_and_the_port_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with plugged(tmp_path) as board:
            port = board.port
            assert "2" in await mpremote(board, "exec", "print(1 + 1)")  # main.py was interrupted
            assert board.reset_cause == 5
            await mpremote(board, "reset")
            await printed(board, "main.py runs", times=2)
            assert (board.port, board.reset_cause) == (port, 2)

    run(scenario())
