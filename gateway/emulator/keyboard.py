"""What is typed at a board's serial port, on its way to the interpreter."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateway.emulator.process import BoardProcess

HELD_BYTES: Final = 4096
"""How much may be typed while nothing takes it."""
_CTRL_C: Final = 3
_BETWEEN_S: Final = 0.1
"""A second SIGINT that comes before the interpreter has seen the first would end it."""
_AFTER_S: Final = 0.02
"""... and one may end it all the same (BoardProcess.interrupted): what comes next is for who comes next."""


class Keyboard:
    """Keys in their order; Ctrl-C as a signal where a program runs."""

    def __init__(self) -> None:
        self._keys = bytearray()
        self._process: BoardProcess | None = None
        self._interrupted_s = 0.0
        self._waiting: asyncio.TimerHandle | None = None

    def typed(self, data: bytes) -> None:
        if len(self._keys) < HELD_BYTES:
            self._keys += data
            self._pass()

    def attach(self, process: BoardProcess) -> None:
        """It runs, and takes what has been typed so far."""
        self._process = process
        self._pass()

    def detach(self) -> None:
        """It takes nothing any more; what is typed from now on waits."""
        self._process = None

    def forget(self) -> None:
        """Nobody was there for what has been typed."""
        self._keys.clear()

    def take_ctrl_c(self) -> bool:
        """Whether Ctrl-C was typed while nothing ran; that and what came before it is forgotten then."""
        at = self._keys.rfind(_CTRL_C)
        del self._keys[: at + 1]
        return at >= 0

    def _pass(self) -> None:
        while self._keys and self._process is not None:
            key = self._keys[0]
            wait_s = self._interrupted_s + (_BETWEEN_S if key == _CTRL_C else _AFTER_S) - time.monotonic()
            if wait_s > 0:
                if self._waiting is None:
                    self._waiting = asyncio.get_running_loop().call_later(wait_s, self._go_on)
                return
            if key == _CTRL_C and self._process.interruptible:
                self._interrupted_s = time.monotonic()
                self._process.interrupt()
                part = self._keys[:1]
            else:
                at = self._keys.find(_CTRL_C, 1)
                part = self._keys[: at if at > 0 else None]
                self._process.type(bytes(part))
            del self._keys[: len(part)]

    def _go_on(self) -> None:
        self._waiting = None
        self._pass()
