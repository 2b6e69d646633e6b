"""The serial port of an emulated board: a pseudo-terminal that a program opens by its path as it opens a USB port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
import tty
from collections.abc import Callable
from typing import Final

HELD_BYTES: Final = 16 * 1024
"""What the board has sent and nobody has read yet; then it waits for who listens, or the oldest goes. Not more: whoever
interrupts a program that prints without end reads all of it first."""
_READ_BYTES: Final = 4096
_LISTENERS_S: Final = 0.05
"""How soon it is seen that a program has opened the port."""
_PATIENCE_S: Final = 1.0
"""How long the board waits for a listener that has stopped reading. A UART would not wait at all, but it is slow."""


class SerialPort:
    """The port is there from its making until `close()`, whoever comes and goes, and whether or not the board runs.

    typed  called with what a program sends to the board
    ready  called when the board may send again, after `full` was true; at the latest when patience is over
    """

    def __init__(self, typed: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        self._typed = typed
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)  # a port has no echo; what a program sets is its own affair
        os.close(slave)
        os.set_blocking(self._master, False)
        self._held = bytearray()
        self._attached = False
        self._writing = False
        self._progress_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._look()

    @property
    def full(self) -> bool:
        """The board has to wait: somebody listens, and is behind."""
        return len(self._held) >= HELD_BYTES and time.monotonic() < self._progress_s + _PATIENCE_S

    def send(self, data: bytes) -> None:
        """From the board. Lost where nobody listens, as on a wire."""
        if not self._attached:
            return
        if not self._held:
            self._progress_s = time.monotonic()
        self._held += data
        self._write()
        if self.full:
            if self._patience is None:
                self._patience = self._loop.call_later(_PATIENCE_S, self._no_longer)
        elif len(self._held) > HELD_BYTES:
            del self._held[:-HELD_BYTES]

    def _no_longer(self) -> None:
        self._patience = None
        self._ready()

    def close(self) -> None:
        """Unplugged: a program that has the port open gets an error."""
        if self._master >= 0:
            self._detach()
            if self._timer is not None:
                self._timer.cancel()
            os.close(self._master)
            self._master = -1

    def _look(self) -> None:
        """Whether a program has the port open: the kernel tells this end only when the last one closes it."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self._timer = self._loop.call_later(_LISTENERS_S, self._look)
            return
        self._timer = None
        self._attached = True
        self._loop.add_reader(self._master, self._read)

    def _detach(self) -> None:
        if self._attached:
            self._attached = False
            self._held.clear()
            self._loop.remove_reader(self._master)
            self._stop_writing()
            if self._patience is not None:
                self._patience.cancel()
            self._no_longer()

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last program that had the port open has closed it
            self._detach()
            self._look()
            return
        self._typed(data)

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._held and (count := os.write(self._master, self._held)):
                del self._held[:count]
                self._progress_s = time.monotonic()
        if self._held and not self._writing:
            self._writing = True
            self._loop.add_writer(self._master, self._write_on)
        elif not self._held:
            self._stop_writing()

    def _write_on(self) -> None:
        self._write()
        if len(self._held) < HELD_BYTES:
            self._ready()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._master)
