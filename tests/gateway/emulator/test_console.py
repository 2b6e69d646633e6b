"""What the interpreter writes, made into what a board sends: the same however it is cut into pieces."""

from __future__ import annotations

import pytest

from gateway.emulator.console import RAW_BEGINS, Console

GREETING = b'MicroPython v1\r\nType "help()" for more information.\r\n>>> '


def sent(written: bytes, piece: int) -> tuple[bytes, bool]:
    console = Console()
    out = b"".join(console.feed(written[at : at + piece]) for at in range(0, len(written), piece))
    return out, console.raw_repl


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"a\nb\r\nc\n\n", b"a\r\nb\r\nc\r\n\r\n"),
        (b"\x1b_mpy:00000003\n\r\n\nx", b"\n\r\n\r\nx"),  # bytes as they are, then text
        (b"\x1b[K\x1b_mpy:zzzzzzzz\x1b_mpy", b"\x1b[K\x1b_mpy:zzzzzzzz"),  # a cursor key's, and a program's own
        (b"boot\n\x1b_mpy:ffffffff" + GREETING + b"\r\n" + RAW_BEGINS + b">", b"boot\r\n" + RAW_BEGINS + b">"),
    ],
)
def test_newlines_marks_and_the_greeting(written: bytes, expected: bytes, piece: int) -> None:
    assert sent(written, piece)[0] == expected


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_which_repl_it_is(piece: int) -> None:
    assert not sent(GREETING, piece)[1]
    assert sent(GREETING + b"\r\n" + RAW_BEGINS + b">", piece)[1]
    assert not sent(GREETING + b"\r\n" + RAW_BEGINS + b">\r\n" + GREETING, piece)[1]
