"""One run of the interpreter: started, listened to, killed. It decides nothing; board.py does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.emulator.interpreter import Interpreter

LINE_BYTES: Final = 1000
"""A longer line on the console is cut into several."""
_READ_BYTES: Final = 65536
_ROM: Final = Path(__file__).with_name("rom")


class BoardProcess:
    """An interpreter that runs rom/start.py on the circuit in `directory`, in a process group of its own.

    It talks over a pipe, in words of a line each: `booted` when /boot.py is about to run, `armed` when a watchdog was,
    `ended done` (`failed`, `interrupted`) when main.py ended, and `reset`, `soft` or `sleep` when it waits to be killed
    for that.
    """

    def __init__(
        self, interpreter: Interpreter, directory: Path, heap_bytes: int, console: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._words: asyncio.Queue[str] = asyncio.Queue()
        self._gone = asyncio.Event()
        lifeline, self._lifeline = os.pipe()
        self._control, control = os.pipe()
        self._console, console_end = os.pipe()
        self._readers: dict[int, _Lines] = {}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that was found
                interpreter.command(
                    "-X",
                    f"heapsize={heap_bytes}",
                    str(_ROM / "start.py"),
                    str(directory / "circuit.json"),
                    str(control),
                    lifeline=lifeline,
                ),
                stdin=subprocess.DEVNULL,
                stdout=console_end,
                stderr=console_end,
                cwd=directory,
                env=_environment(),
                pass_fds=(lifeline, control),
                start_new_session=True,  # Ctrl-C in the host's terminal is not for the board
            )
        except BaseException:
            for end in (self._lifeline, self._control, self._console):
                os.close(end)
            raise
        finally:
            for end in (lifeline, control, console_end):
                os.close(end)
        self._listen(self._control, _Lines(self._words.put_nowait), self._control_closed)
        self._listen(self._console, _Lines(console), lambda: None)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def word(self) -> str:
        """The next word of the board; `died`, again and again, when it has none any more."""
        if self._gone.is_set() and self._words.empty():
            return "died"
        return await self._words.get()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._signal(signal.SIGINT)

    def strike(self) -> None:
        """SIGKILL, without waiting for the end."""
        self._signal(signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL, and return when nothing of the process is left. May be called again."""
        self.strike()
        await self._gone.wait()
        self._process.wait()  # it has closed its files: what is left of its end takes microseconds
        for reader, lines in tuple(self._readers.items()):
            with contextlib.suppress(BlockingIOError):  # a grandchild could still hold the other end
                while data := os.read(reader, _READ_BYTES):
                    lines.feed(data)
            lines.feed(b"")
            self._close(reader)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def exit_status(self) -> str:
        """How it ended, once it has."""
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _control_closed(self) -> None:
        """Only the process holds the other end, so it has ended."""
        self._gone.set()
        self._words.put_nowait("died")

    def _listen(self, reader: int, lines: _Lines, closed: Callable[[], None]) -> None:
        def ready() -> None:
            try:
                data = os.read(reader, _READ_BYTES)
            except BlockingIOError:
                return
            lines.feed(data)
            if not data:
                self._close(reader)
                closed()

        os.set_blocking(reader, False)
        self._readers[reader] = lines
        self._loop.add_reader(reader, ready)

    def _close(self, reader: int) -> None:
        if reader in self._readers:
            del self._readers[reader]
            self._loop.remove_reader(reader)
            os.close(reader)


class _Lines:
    """Bytes to lines of bounded length, whatever comes."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """`data` as it arrives; empty at the end."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._give(line.rstrip(b"\r"))
        while len(rest) > LINE_BYTES:
            self._give(rest[:LINE_BYTES])
            rest = rest[LINE_BYTES:]
        if rest and not data:
            self._give(rest)
            rest = b""
        self._rest = rest

    def _give(self, line: bytes) -> None:
        for at in range(0, max(len(line), 1), LINE_BYTES):
            self._take(line[at : at + LINE_BYTES].decode("utf-8", "replace"))


def _environment() -> dict[str, str]:
    """Nothing of the host's but what its Python may need to find its own library."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", **kept}
