"""One run of the interpreter: started, listened to, killed. It decides nothing; board.py does."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.emulator.interpreter import Interpreter

LINE_BYTES: Final = 1000
"""A longer line on the console is cut into several."""
_PIPE_BYTES: Final = 16 * 1024
"""Of the console with a serial port, which is read no faster than somebody listens."""
_READ_BYTES: Final = 65536
_ROM: Final = Path(__file__).with_name("rom")


class BoardProcess:
    """An interpreter that runs rom/start.py on the circuit in `directory`, in a process group of its own.

    It talks over a pipe, in words of a line each: `booted` when /boot.py is about to run, `armed` when a watchdog was,
    `ended done` (`failed`, `interrupted`, `skipped`) when main.py ended, and `reset`, `soft` or `sleep` when it waits
    to be killed for that.

    console   called with what it prints, as it comes
    keyboard  it has a standard input, for `type()`, and a prompt after main.py
    """

    def __init__(
        self,
        interpreter: Interpreter,
        directory: Path,
        heap_bytes: int,
        console: Callable[[bytes], None],
        *,
        keyboard: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._words: asyncio.Queue[str] = asyncio.Queue()
        self._gone = asyncio.Event()
        lifeline, self._lifeline = os.pipe()
        self._control, control = os.pipe()
        self._console, console_end = os.pipe()
        keys, self._keyboard = os.pipe() if keyboard else (os.open(os.devnull, os.O_RDONLY), -1)
        self._readers: dict[int, Callable[[bytes], None]] = {}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that was found
                interpreter.command(
                    *(["-i"] if keyboard else []),
                    "-X",
                    f"heapsize={heap_bytes}",
                    str(_ROM / "start.py"),
                    str(directory / "circuit.json"),
                    str(control),
                    lifeline=lifeline,
                ),
                stdin=keys,
                stdout=console_end,
                stderr=console_end,
                cwd=directory,
                env=_environment(),
                pass_fds=(lifeline, control),
                start_new_session=True,  # Ctrl-C in the host's terminal is not for the board
            )
        except BaseException:
            for end in (self._lifeline, self._control, self._console, self._keyboard):
                _close(end)
            raise
        finally:
            for end in (lifeline, control, console_end, keys):
                os.close(end)
        if keyboard:
            os.set_blocking(self._keyboard, False)
            fcntl.fcntl(self._console, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._listen(self._control, Lines(self._words.put_nowait).feed, self._control_closed)
        self._listen(self._console, console, lambda: None)

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

    @property
    def interruptible(self) -> bool:
        """Whether Ctrl-C is a signal just now, and not a key: while a program runs, unless it has said otherwise
        (micropython.kbd_intr). The interpreter then has a handler for SIGINT, and that shows."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)
        return False

    def type(self, data: bytes) -> None:
        """To its standard input. What does not fit any more is lost: a board's buffer is smaller."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._keyboard, data)

    def hold_console(self, hold: bool) -> None:
        """Do not listen for a while: a program that prints much waits then."""
        if self._console in self._readers:
            if hold:
                self._loop.remove_reader(self._console)
            else:
                self._loop.add_reader(self._console, self._ready, self._console, lambda: None)

    def strike(self) -> None:
        """SIGKILL, without waiting for the end."""
        self._signal(signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL, and return when nothing of the process is left. May be called again."""
        self.strike()
        await self._gone.wait()
        self._process.wait()  # it has closed its files: what is left of its end takes microseconds
        for reader, take in tuple(self._readers.items()):
            with contextlib.suppress(BlockingIOError):  # a grandchild could still hold the other end
                while data := os.read(reader, _READ_BYTES):
                    take(data)
            take(b"")
            self._close(reader)
        _close(self._lifeline)
        _close(self._keyboard)
        self._lifeline = self._keyboard = -1

    def interrupted(self) -> bool:
        """Whether it was Ctrl-C that ended it: one that came between two programs, or before the one before was seen
        (mp_hal_set_interrupt_char and sighandler in MicroPython's ports/unix/unix_mphal.c)."""
        return self._process.wait() in (-signal.SIGINT, 1)

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

    def _listen(self, reader: int, take: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        os.set_blocking(reader, False)
        self._readers[reader] = take
        self._loop.add_reader(reader, self._ready, reader, closed)

    def _ready(self, reader: int, closed: Callable[[], None]) -> None:
        try:
            data = os.read(reader, _READ_BYTES)
        except BlockingIOError:
            return
        self._readers[reader](data)
        if not data:
            self._close(reader)
            closed()

    def _close(self, reader: int) -> None:
        if reader in self._readers:
            del self._readers[reader]
            self._loop.remove_reader(reader)
            os.close(reader)


class Lines:
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


def _close(end: int) -> None:
    if end >= 0:
        os.close(end)


def _environment() -> dict[str, str]:
    """Nothing of the host's but what its Python may need to find its own library."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", **kept}
