"""Changes to inputs that know what they change: lines of a talk, values of their JSON, lines of an HTTP request. Blind
changes of bytes hardly ever leave JSON whole, and so never come behind the parser."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

NUMBERS: Final = [0, 1, -1, 7, 17, 63, 64, 999, 1_000, 1_001, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, 10**30]
SCALARS: Final = [
    *NUMBERS,
    0.5,
    -0.0,
    1e308,
    21.5,
    None,
    True,
    False,
    "",
    "a",
    "x" * 65,
    "x" * 501,
    "\x00",
    "é",
    "\u202e",
]
NAMES: Final = ["type", "boot", "seq", "t", "values", "boots", "id", "first", "next", "profile", "from", "to", "count",
                "at_most", "why", "code", "data", "sensor", "temperature", "humidity", "pressure", "class"]  # fmt: skip
RAW: Final = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1E400",
    "0." + "3" * 40,
    "9" * 400,
    '"\\ud800"',
    "[]",
    "{}",
]
MARK: Final = "\ue000"
"""Stands in a tree where one of RAW comes into its text."""
EVENTS: Final = [
    "*commit",
    "*again",
    "*date",
    "*full",
    "+1",
    "+250",
    "+1000",
    "+60000",
    "+99999999",
    "=4d47010061626364",
]
FRAMES: Final = [
    '{"type":"samples","boot":17,"seq":0,"t":[1000],"values":{"temperature":[21.5]}}',
    '{"type":"samples","boot":16,"seq":3,"t":[1,2],"values":{"temperature":[999,null]}}',
    '{"type":"latest","boot":17,"t":5000,"values":{"temperature":21.5}}',
    '{"type":"gap","boot":16,"from":0,"to":null,"at_most":9,"why":"power_loss"}',
    '{"type":"gap","boot":17,"from":1,"to":4,"count":2,"why":"full"}',
    '{"type":"event","boot":17,"seq":1,"t":9,"code":"boot","data":{"a":1}}',
    '{"type":"clock","id":1,"t":1000}',
    '{"type":"clock","id":2,"t":1900}',
    '{"type":"result","id":"abc","status":"done"}',
    '{"type":"log","level":"info","text":"hello"}',
    '{"type":"settings","reported":{"a":1}}',
    '{"type":"hello","device":"greenhouse","hardware":"a4","boots":[{"boot":17,"id":"9f3c11d2c01b6a55","first":0,"next":99}]}',
]


def change(target: str, data: bytes, rng: random.Random) -> bytes:
    """An input of that target (device.py) made into another one."""
    if target == "opening":
        return opening(data, rng)
    return talk(data.decode(errors="replace"), rng).encode(errors="replace")


def talk(text: str, rng: random.Random) -> str:
    """`text` with a change or a few to its lines."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        match rng.randrange(10):
            case 0:
                lines.insert(at, rng.choice(EVENTS))
            case 1:
                lines.insert(at, rng.choice(FRAMES))
            case 2:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 3 if len(lines) > 1:
                del lines[at]
            case 4:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines[at] = frame(lines[at], rng)
    return "\n".join(lines)


def frame(line: str, rng: random.Random) -> str:
    """`line` with one change to its JSON; to its letters where it is none."""
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError):
        return _letters(line, rng)
    places = _places(tree) if isinstance(tree, dict) else []
    if not places or rng.random() < 0.1:
        return _letters(line, rng)
    _change(*rng.choice(places), rng)
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=rng.random() < 0.5)
    for form in (json.dumps(MARK), f'"{MARK}"'):
        while form in text:
            text = text.replace(form, rng.choice(RAW), 1)
    return text


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting and len(found) < 500:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(min(len(holder), 20)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _change(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    changes: list[Callable[[], Any]] = [
        lambda: rng.choice(SCALARS),
        lambda: MARK,
        lambda: [value],
        lambda: {rng.choice(NAMES): value},
    ]
    if isinstance(value, int | float) and abs(value) < 1e30:
        changes += [
            lambda: value + rng.choice((-1, 1, 1000)),
            lambda: -value,
            lambda: value * 2,
            lambda: float(value),
        ] * 2
    if isinstance(value, list):
        changes += [
            lambda: value * rng.choice((2, 3, 50)),
            lambda: value[1:],
            lambda: [*value, rng.choice(SCALARS)],
        ] * 2
        changes += [lambda: (value or [0]) * (1001 // max(1, len(value)) + 1)]
    if isinstance(value, str):
        changes += [lambda: value + rng.choice(["\x1b", "\n", "a", "é"]), lambda: value[:-1], lambda: value * 20]
    if isinstance(value, dict):
        changes += [lambda: value | {rng.choice(NAMES): rng.choice(SCALARS)}] * 2
        changes += [lambda: value | {f"q{n}": [1] for n in range(rng.choice((5, 70)))}]
    match rng.randrange(8):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(NAMES)] = value
        case _:
            holder[key] = rng.choice(changes)()


def _letters(line: str, rng: random.Random) -> str:
    at = rng.randrange(len(line) + 1)
    match rng.randrange(4):
        case 0:
            return line[:at] + rng.choice('[]{}",:0e.-\\ntu\x00\x1bé\u2028') + line[at:]
        case 1:
            return line[:at] + line[at + 1 :]
        case 2:
            return line[:at]
        case _:
            return line[:at] + rng.choice(("[", '{"a":', "\\u", '"')) * rng.choice((1, 9, 300)) + line[at:]


HEADERS: Final = [
    b"Host: x", b"Host: y", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Upgrade: h2c",
    b"Upgrade: websocket", b"Connection: close", b"Connection: Upgrade, close", b"Sec-WebSocket-Version: 8", b"Expect: 100-continue",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Sec-WebSocket-Key: short", b" folded", b"\tfolded", b"No colon", b": no name",
    b"Sec-WebSocket-Extensions: permessage-deflate", b"Sec-WebSocket-Protocol: mpy-gateway.v1", b"Authorization: Bearer " + b"A" * 43,
    b"Sec-WebSocket-Protocol: mpy-gateway.v1, mpy-gateway.token." + b"A" * 43, b"Authorization: Basic YTpi", b"X: " + b"a" * 9000,
    b"X\x00: y", b"X: \x00", b"X : y", b"Sec-WebSocket-Protocol: ,,;", b"Origin: null", b"Sec-WebSocket-Protocol: \xff",
]  # fmt: skip
FRAME_HEADS: Final = [
    b"\x81\x80", b"\x81\x00", b"\x81\xfe\x00\x05", b"\x81\xff" + b"\xff" * 8, b"\x82\x88", b"\x89\x80", b"\x89\xfe\x01\x00", b"\x8a\x80",
    b"\x88\x80", b"\x88\x81", b"\x88\x82", b"\x01\x81", b"\x00\x81", b"\x80\x81", b"\xc1\x80", b"\x83\x80", b"\x8f\x80", b"\x09\x80",
]  # fmt: skip


def opening(data: bytes, rng: random.Random) -> bytes:
    """`data` with a change or a few to its header lines, or to the frames behind them."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        match rng.randrange(9):
            case 0 | 1:
                lines.insert(at + 1, rng.choice(HEADERS))
            case 2:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 3 if len(lines) > 1:
                del lines[at]
            case 4:
                lines[at] = lines[at].swapcase()
            case 5:
                cut = rng.randrange(len(lines[at]) + 1)
                lines[at] = (
                    lines[at][:cut]
                    + rng.choice((b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b"\xff"))
                    + lines[at][cut:]
                )
            case 6:
                rest += rng.choice(FRAME_HEADS) + rng.randbytes(rng.choice((0, 4, 9, 130)))
            case 7:
                rest += masked(frame(rng.choice(FRAMES), rng).encode(), rng)
            case _:
                rest = rest[: rng.randrange(len(rest) + 1)]
    return b"\r\n".join(lines) + (blank if rng.random() < 0.95 else b"\n\n") + rest


def masked(payload: bytes, rng: random.Random, head: int = 0x81) -> bytes:
    """A frame of a client. The mask is zero: what is in it can be read, and changed."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([head if rng.random() < 0.9 else rng.randrange(256)]) + length + bytes(4) + payload
