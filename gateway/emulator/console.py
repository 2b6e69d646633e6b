"""What an emulated board's interpreter writes, made into what a board sends. Pure.

The interpreter writes to a pipe and knows no carriage returns; on a board `print` sends them, and only
`sys.stdout.buffer` does not. Which is which is told in the stream itself, by rom/terminal.py.
"""

from __future__ import annotations

import re
from typing import Final

RAW_BEGINS: Final = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY_BEGINS: Final = b'Type "help()" for more information.\r\n'
_MARK: Final = b"\x1b_mpy:"
"""Then eight hex digits: so many bytes follow as they are; or `SKIP`: what follows is left out up to RAW_BEGINS."""
_SKIP: Final = b"ffffffff"
_MARK_BYTES: Final = len(_MARK) + 8
_LONE_NEWLINE: Final = re.compile(rb"(?<!\r)\n")


class Console:
    """One run of the interpreter, as it is seen on the wire."""

    def __init__(self) -> None:
        self.raw_repl = False
        """The prompt is the raw REPL's, which programs talk to: a soft reset returns to it, without main.py."""
        self._rest = b""
        self._unchanged = 0
        self._skipping = False
        self._last = b""

    def feed(self, data: bytes) -> bytes:
        """`data` as it comes from the interpreter; returns what the board sends."""
        data = self._rest + data
        sent = bytearray()
        while data:
            if self._unchanged:
                part, data = data[: self._unchanged], data[self._unchanged :]
                self._unchanged -= len(part)
                sent += part
                continue
            if self._skipping:
                data = self._skip(data)
                if self._skipping:
                    break
            part, data, complete = self._until_mark(data)
            sent += self._text(part)
            if not complete:
                break
        self._rest = data
        return bytes(sent)

    def _skip(self, data: bytes) -> bytes:
        at = data.find(RAW_BEGINS)
        self._skipping = at < 0
        return data[at:] if at >= 0 else data[-len(RAW_BEGINS) :]

    def _until_mark(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """The text before the next mark, what comes after that mark, and whether there is nothing to wait for."""
        at = data.find(_MARK)
        if at < 0:
            held = next((n for n in range(len(_MARK) - 1, 0, -1) if data.endswith(_MARK[:n])), 0)
            return data[: len(data) - held], data[len(data) - held :], not held
        mark = data[at : at + _MARK_BYTES]
        if len(mark) < _MARK_BYTES:
            return data[:at], data[at:], False
        try:
            count = mark[len(_MARK) :]
            self._skipping = count == _SKIP
            self._unchanged = 0 if self._skipping else int(count, 16)
        except ValueError:  # a program that happens to print our mark
            return data[: at + len(_MARK)], data[at + len(_MARK) :], True
        return data[:at], data[at + _MARK_BYTES :], True

    def _text(self, part: bytes) -> bytes:
        if not part:
            return b""
        seen = self._last + part
        raw_at, friendly_at = seen.rfind(RAW_BEGINS), seen.rfind(_FRIENDLY_BEGINS)
        if raw_at != friendly_at:
            self.raw_repl = raw_at > friendly_at
        before = len(self._last)
        self._last = seen[-len(_FRIENDLY_BEGINS) :]
        if before and part[:1] == b"\n" and seen[before - 1 : before] == b"\r":
            return b"\n" + _LONE_NEWLINE.sub(b"\r\n", part[1:])
        return _LONE_NEWLINE.sub(b"\r\n", part)
