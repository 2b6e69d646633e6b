"""The signals of one emulated board: given, changed while it runs, and put where the board's side finds them."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.config import private_opener
from gateway.emulator.signals import Signal, Term, signal_of
from gateway.errors import ConfigError

Given = Signal | Term | str | float
_WORD: Final = 8


class Signals:
    """`names` are `sensor.quantity`. What was given before `open()` is on the board from its first measurement.

    Times of a signal count from when it was given, on the host's monotonic clock: a board that is off does not stop the
    world."""

    def __init__(self, names: Iterable[str], given: Mapping[str, Given]) -> None:
        self._names = list(names)
        self._signals: dict[str, tuple[Signal, int]] = {}
        self._page: _Page | None = None
        for name, signal in given.items():
            self.give(name, signal)

    def give(self, name: str, given: Given | None) -> None:
        """From now on the chip measures `given`; None: what it does by itself. Raises ConfigError."""
        if name not in self._names:
            raise ConfigError(f'no quantity "{name}" to give a signal to; there are {", ".join(self._names)}')
        if given is None:
            self._signals.pop(name, None)
        else:
            self._signals[name] = signal_of(given, read_recording), time.monotonic_ns() // 1000
        if self._page is not None:
            self._put(self._page, name)

    @property
    def count(self) -> int:
        """How many quantities there are."""
        return len(self._names)

    def open(self, path: Path) -> None:
        """Make the file anew. To be called before the power comes."""
        self.close()
        self._page = _Page(path, len(self._names))
        for name in self._signals:
            self._put(self._page, name)

    def close(self) -> None:
        if self._page is not None:
            self._page.close()
            self._page = None

    def headers(self, sensor: str) -> dict[str, int]:
        """For the circuit: where in the file each quantity of `sensor` has its header."""
        return {
            name.partition(".")[2]: number * _WORD
            for number, name in enumerate(self._names)
            if name.partition(".")[0] == sensor
        }

    def _put(self, page: _Page, name: str) -> None:
        signal, start_us = self._signals.get(name, (None, 0))
        page.put(self._names.index(name), signal.words(start_us) if signal else ())


class _Page:
    """A header per quantity (how often it has changed, and where its words are; 0: nowhere), then the words: 8 bytes
    each, as the machine has them. The board may read at any time: new words go where the old ones are not, and then one
    write of a header makes them the ones that hold."""

    def __init__(self, path: Path, quantities: int) -> None:
        path.unlink(missing_ok=True)
        with open(path, "xb", opener=private_opener) as file:
            file.write(bytes(quantities * _WORD))
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._end = max(quantities, 1)  # where there is room, in words; 0 is nowhere
        self._changes = [0] * quantities
        self._spare = [(0, 0)] * quantities  # where words may go, and how many
        self._used = [(0, 0)] * quantities

    def put(self, number: int, words: tuple[int, ...]) -> None:
        place = (0, 0)
        if words:
            place = self._spare[number]
            if place[1] < len(words):
                place = self._end, len(words)
                self._end += len(words)
            os.pwrite(self._file, struct.pack(f"={len(words)}q", *words), place[0] * _WORD)
        self._changes[number] += 1
        os.pwrite(self._file, struct.pack("=q", self._changes[number] << 32 | place[0]), number * _WORD)
        if words:
            self._spare[number], self._used[number] = self._used[number], place

    def close(self) -> None:
        os.close(self._file)


def read_recording(name: str, folder: Path = Path()) -> str:
    """The text of a recorded file, by its path from `folder`. Raises ConfigError."""
    try:
        return (folder / name).read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
