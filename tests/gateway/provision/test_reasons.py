"""Why a board does not come: its console, in words that say what to do."""

from __future__ import annotations

import re

import pytest

from gateway.profile import firmware_dir
from gateway.provision.reasons import reason, why

LINES = {
    "8.102 warning wifi: home: wrong password": (r'cannot join "home": the password is wrong', True),
    "8.102 warning wifi: home: wrong password, or too weak a signal": (r'cannot join "home": the password', True),
    "8.102 warning wifi: my: net: not in reach": (r'finds no network called "my: net"', True),
    "15.2 warning wifi: home: no answer": (r'cannot join "home": no answer', False),
    "3.1 warning link: no answer from 192.168.1.20:8765": ("does not reach the gateway.*firewall", False),
    "3.1 warning link: lost: [Errno 111] ECONNREFUSED": ("does not reach the gateway", False),
    "3.1 warning link: lost: [Errno 113] EHOSTUNREACH": ("does not reach the gateway", False),
    "3.1 warning link: TLS: the gateway is refused: it is not signed by the CA in /ca.der. Another gateway, or": (
        "another gateway answers.*--state",
        True,
    ),
    "3.1 warning link: TLS: the gateway is refused: its certificate has expired. A gateway renews it": (
        "TLS: the gateway is refused: its certificate has expired",
        True,
    ),
    "3.1 warning link: refused with HTTP 401: the gateway does not know this board's token": (
        "does not know the board's token",
        True,
    ),
    "3.1 warning link: refused with HTTP 401": ("does not know the board's token", True),
    "3.1 warning link: refused with HTTP 503": ("refuses the board: refused with HTTP 503", False),
    "3.1 warning link: closed by the gateway: 4012 other hardware: run `mpy-gateway devices replace`": (
        "refuses the board: other hardware",
        True,
    ),
    "mpy-gateway: /profile.json is missing: flash the board again (mpy-gateway flash)": (
        "cannot start: /profile",
        True,
    ),
    "ImportError: no module named 'device.link'": ("program fails: ImportError: no module", False),
    "MemoryError: memory allocation failed, allocating 4096 bytes": ("program fails: MemoryError", False),
    "Brownout detector was triggered": ("another cable", True),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_console_says_what_to_do(line: str) -> None:
    found = reason(line)
    assert found is not None
    sentence, lasting = LINES[line]
    assert re.search(sentence, found.sentence), found.sentence
    assert found.lasting is lasting


@pytest.mark.parametrize(
    "line",
    [
        "0.044 info greenhouse, boot 3 (9f3c11d2c01b6a55)",
        "0.059 info wifi: joining home",
        "0.265 info link: connected to 127.0.0.1:8765",
        "2.0 info link: trying again in 0.7 s",
        "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
        "",
    ],
)
def test_what_goes_well_is_no_reason(line: str) -> None:
    assert reason(line) is None


def test_what_lasts_counts_more_than_what_may_pass_and_the_newest_most() -> None:
    lines = [
        "1.0 warning wifi: home: not in reach",
        "2.0 warning wifi: home: wrong password",
        "3.0 warning link: lost: [Errno 111] ECONNREFUSED",
    ]
    found = why(lines)
    assert found is not None
    assert "password is wrong" in found.sentence
    assert why(["0.1 info wifi: joining home"]) is None


def test_the_words_are_those_of_the_firmware() -> None:
    """They are not a protocol: if one changes there, this says where else."""
    said = "".join(file.read_text() for file in (firmware_dir() / "device").glob("*.py"))
    said += (firmware_dir() / "main.py").read_text()
    for words in (
        '"wifi: %s: %s"', '"wrong password"', '"wrong password, or too weak a signal"', '"not in reach"', '"no answer"',
        '"no answer from %s:%d"', '"link: " + text', '"lost: %s"', '"link: %s"', '"refused with HTTP %d%s"',
        '"link: closed by the gateway: %d %s"', '"TLS: the gateway is refused: "',
        '"it is not signed by the CA in /ca.der.', 'print("mpy-gateway:"',
    ):  # fmt: skip
        assert words in said, words
