"""What is to be done so that a board holds what it should. Pure.

`/main.py` goes first and comes last: a board that is cut in between comes up at its prompt, where it waits to be
flashed again, and never runs half a firmware.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.words import size

SCRATCH: Final = "/flash.new"
"""A file is written here, verified, and then renamed."""
SETTINGS: Final = "/settings.json"
PROFILE: Final = "/profile.json"
MAIN: Final = "/main.py"
_LATE: Final = (PROFILE, SETTINGS, MAIN)
"""Written in this order, behind everything else: the token as late as it can be."""
_FOLDER: Final = "/device/"
"""What is in there is ours: what is no longer needed goes."""
_OURS: Final = frozenset({"/boot.py", "/ca.der", SCRATCH, *_LATE})
_HELD: Final = ("/outbox/",)
"""Samples that the gateway has not acknowledged yet."""
_BOARDS_OWN: Final = frozenset(
    {"/token.json", "/token.json.new", "/place.json", "/place.json.new", "/executed.bin", "/boot.json"}
)
_BLOCK_BYTES: Final = 4096
_INLINE_BYTES: Final = 128
"""littlefs keeps so small a file inside its directory."""
_SPARE_BLOCKS: Final = 8
"""For directories, and for littlefs itself, which writes anew what it changes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file on the board. `sha256` (hex) is empty where nobody needs to know."""

    size: int
    sha256: str = ""

    @classmethod
    def of(cls, content: bytes) -> Found:
        return cls(len(content), hashlib.sha256(content).hexdigest())


class What(enum.StrEnum):
    REMOVE = "remove"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Step:
    what: What
    path: str
    size: int
    """Of what is written or removed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """In the order in which it is to be done. Nothing to do: no steps."""

    steps: tuple[Step, ...]
    unchanged: int
    """Files that are as they should be."""
    missing_bytes: int
    """By which the flash is too small, or too full; 0: it fits."""

    def of(self, what: What) -> list[Step]:
        return [step for step in self.steps if step.what is what]

    @property
    def bytes(self) -> int:
        """To be sent."""
        return sum(step.size for step in self.of(What.WRITE))


def make_plan(there: Mapping[str, Found], wanted: Mapping[str, Found], free_bytes: int) -> Plan:
    """`there`: what is on the board; `wanted`: what should be, of the files that are ours."""
    differ = [path for path, file in wanted.items() if there.get(path) != file]
    gone = [path for path in there if is_ours(path) and path not in wanted]
    program_changes = any(path != SETTINGS for path in [*differ, *gone])
    writes, removals = set(differ), set(gone)
    if program_changes and MAIN in wanted:
        writes.add(MAIN)
        removals |= {MAIN} & there.keys()
    steps = [
        Step(What.REMOVE, path, there[path].size) for path in sorted(removals, key=lambda path: (path != MAIN, path))
    ]
    steps += [Step(What.WRITE, path, wanted[path].size) for path in sorted(writes, key=_when)]
    return Plan(tuple(steps), len(wanted.keys() - writes), _missing_bytes(steps, there, free_bytes))


def is_ours(path: str) -> bool:
    """Whether flashing decides what becomes of it."""
    return path.startswith(_FOLDER) or path in _OURS


def is_of_the_device(path: str) -> bool:
    """Whether it makes the board that device: our program, its identity, and what it keeps."""
    return is_ours(path) or _is_the_boards(path)


def is_flashed(there: Iterable[str]) -> bool:
    """Whether a firmware of ours was on that board, whole or not."""
    return any(path.startswith(_FOLDER) or path in (SETTINGS, PROFILE, SCRATCH) for path in there)


def foreign(there: Mapping[str, Found], wanted: Mapping[str, Found]) -> list[str]:
    """Files that would be replaced, and that no firmware of ours has put there."""
    if is_flashed(there):
        return []
    return sorted(path for path in wanted if path in there and there[path] != wanted[path])


def is_program(content: bytes) -> bool:
    """Whether a Python file does anything: a new board has a /boot.py of comments alone."""
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in content.splitlines())


def full_sentence(plan: Plan, there: Mapping[str, Found], port: str) -> str:
    """What to say where it does not fit: what could make room."""
    others = {path: file.size for path, file in there.items() if not is_ours(path) and not _is_the_boards(path)}
    largest = sorted(others, key=lambda path: -others[path])[:3]
    held = sum(file.size for path, file in there.items() if path.startswith(_HELD))
    room = [f"{path} ({size(others[path])})" for path in largest]
    said = f"the board's flash is full: {size(plan.missing_bytes)} more are needed. "
    if room:
        said += f"What is not ours there: {', '.join(room)}; remove some (mpremote connect {port} rm :FILE). "
    if held:
        said += f"Samples that wait to be sent take {size(held)}: let it reach its gateway first, or lose them. "
    return said + f"`mpy-gateway erase {port}` empties it"


def _is_the_boards(path: str) -> bool:
    return path in _BOARDS_OWN or path.startswith(_HELD)


def _when(path: str) -> tuple[int, str]:
    return (_LATE.index(path) + 1 if path in _LATE else 0), path


def _missing_bytes(steps: Iterable[Step], there: Mapping[str, Found], free_bytes: int) -> int:
    """A file is there twice while it is replaced, so what counts is the worst moment."""
    free = free_bytes // _BLOCK_BYTES - _SPARE_BLOCKS
    left = {path: _blocks(file.size) for path, file in there.items()}
    least = 0  # nothing to write needs no room
    for step in steps:
        if step.what is What.REMOVE:
            free += left.pop(step.path)
        else:
            free -= _blocks(step.size)
            least = min(least, free)
            free += left.pop(step.path, 0)
    return -least * _BLOCK_BYTES


def _blocks(size_bytes: int) -> int:
    return 0 if size_bytes <= _INLINE_BYTES else -(-size_bytes // _BLOCK_BYTES)
