"""Why a board that was flashed does not come: its own words on the console, turned into what to do. Pure.

The words are those of the firmware (firmware/device/net.py, link.py, secure.py, config.py, main.py) and, in front of
them, of the chip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_AGAIN: Final = "run the same command again"


@dataclass(frozen=True, slots=True)
class Reason:
    """`sentence` says what is wrong and what to do. `lasting`: waiting will not help."""

    sentence: str
    lasting: bool


_REASONS: Final[tuple[tuple[str, str, bool], ...]] = (
    (
        r"wifi: (.+): wrong password(?:, or too weak a signal)?$",
        'the board cannot join "{1}": the password is wrong, or the signal too weak. Set the right one and ' + _AGAIN,
        True,
    ),
    (
        r"wifi: (.+): not in reach$",
        'the board finds no network called "{1}": look at its name (an ESP32 sees 2.4 GHz only), and ' + _AGAIN,
        True,
    ),
    (r"wifi: (.+): (.+)$", 'the board cannot join "{1}": {2}', False),
    (
        r"link: TLS: the gateway is refused: it is not signed by the CA",
        "another gateway answers at the address the board was given: its certificate is not of this one's authority. "
        "Look at devices.host and port, and which gateway runs there (--state names this one's data), and " + _AGAIN,
        True,
    ),
    (r"link: (TLS: the gateway is refused: .+)$", "{1}", True),
    (
        r"link: refused with HTTP 401\b",
        "the gateway does not know the board's token: does the one that runs there keep its data where this command "
        "looked (--state)? Then " + _AGAIN + ", which gives it a new one",
        True,
    ),
    (r"link: closed by the gateway: (4003|4004|4010|4011|4012) (.*)$", "the gateway refuses the board: {2}", True),
    (r"link: (refused with HTTP \d+)$", "the gateway refuses the board: {1}", False),
    (
        r"link: (?:no answer from |lost: .*(?:CONNREFUSED|HOSTUNREACH|NETUNREACH|TIMEDOUT|Errno (?:111|113|101|110)))",
        "the board does not reach the gateway: does it run, on the same network, and is its port open in the firewall?",
        False,
    ),
    (r"link: (lost: .+|TLS: .+)$", "the board does not get through to the gateway: {1}", False),
    (r"mpy-gateway: (.+)$", "the board cannot start: {1}", True),
    (r"Brownout detector was triggered", "the board's voltage breaks down: another cable or USB port", True),
    (
        r"((?:Import|Syntax|Memory|Attribute|Name|Type|Value|Key|OS)Error: .+|MemoryError.*)$",
        "the board's program fails: {1}",
        False,
    ),
)
_COMPILED: Final = tuple((re.compile(pattern), sentence, lasting) for pattern, sentence, lasting in _REASONS)


def reason(line: str) -> Reason | None:
    """What one line of the console means; None: nothing that keeps a board away."""
    for pattern, sentence, lasting in _COMPILED:
        if found := pattern.search(line.strip()):
            words = [found[0], *(group or "" for group in found.groups())]
            return Reason(sentence.format(*words), lasting)
    return None


def why(lines: Iterable[str]) -> Reason | None:
    """Of all that a board has said, the newest reason; one that lasts before one that may pass."""
    found = [one for one in map(reason, lines) if one is not None]
    lasting = [one for one in found if one.lasting]
    return lasting[-1] if lasting else found[-1] if found else None
