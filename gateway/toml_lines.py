"""On which line of a TOML text does a key stand? For error messages; `tomllib` keeps no positions. Pure.

The text must be one that `tomllib` has accepted: this reads only as much TOML as is needed to find keys in valid text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys from the top of the document; an int is a place in an array."""

_SPACE = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
"""Everything that can stand between two keys or values. A comma is only a separator to us."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotes may stand right before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,#\]}]+(?: \d[^\s,#\]}]*)?")
"""A number, boolean or date; a space inside belongs to a date and its time."""


def lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) on which each key, table and array element of `text` is first named."""
    return _Scanner(text).scan()


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line of `path` or, where it is not there, of the nearest table around it. None: the document as a whole."""
    found = lines(text)
    for length in range(len(path), 0, -1):
        if line := found.get(tuple(path[:length])):
            return line
    return None


def syntax_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Line and sentence of what `tomllib` did not like in `text`."""
    message, _, place = str(error).rpartition(" (at ")
    if number := re.match(r"line (\d+)", place):
        return int(number[1]), message
    return text.count("\n") + 1, f"{message or error} at the end of the file"


class _Scanner:
    """One pass over the text. Newlines need no meaning of their own: a key always starts where a value has ended."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted_to = 0
        self.line = 1
        self.found: dict[KeyPath, int] = {}
        self.array_tables: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self.skip(_SPACE)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_SPACE)
        return self.found

    def header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; the latter opens a new element each time."""
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        keys, line = self.key()
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for i, key in enumerate(keys):
            path = (*path, key)
            last = i == len(keys) - 1
            self.note(path, line)
            if last and is_array:
                self.array_tables[path] = self.array_tables.get(path, -1) + 1
            if path in self.array_tables:
                path = (*path, self.array_tables[path])
                self.note(path, line)
        return path

    def pair(self, table: KeyPath) -> None:
        keys, line = self.key()
        path = table
        for key in keys:
            path = (*path, key)
            self.note(path, line)
        self.at += 1  # the equals sign
        self.value(path)

    def value(self, path: KeyPath) -> None:
        self.skip(_SPACE)
        opening = self.text[self.at]
        if opening == "{":
            self.at += 1
            self.skip(_SPACE)
            while self.text[self.at] != "}":
                self.pair(path)
                self.skip(_SPACE)
            self.at += 1
        elif opening == "[":
            self.at += 1
            self.skip(_SPACE)
            count = 0
            while self.text[self.at] != "]":
                self.note((*path, count), self.line_here())
                self.value((*path, count))
                self.skip(_SPACE)
                count += 1
            self.at += 1
        else:
            self.skip(_STRING if opening in "\"'" else _SCALAR)

    def key(self) -> tuple[list[str], int]:
        """A dotted key and the line it stands on; leaves off at what follows it (`=` or `]`)."""
        self.skip(_SPACE)
        line = self.line_here()
        keys = []
        while True:
            self.skip(_SPACE)
            if self.text[self.at] in "\"'":
                quoted = self.skip(_STRING)
                keys.append(tomllib.loads(f"k = {quoted}")["k"])
            else:
                keys.append(self.skip(_BARE_KEY))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return keys, line
            self.at += 1

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"not valid TOML at line {self.line_here()}")
        self.at = match.end()
        return match[0]

    def note(self, path: KeyPath, line: int) -> None:
        self.found.setdefault(path, line)

    def line_here(self) -> int:
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        return self.line
