"""`--signal` and `--signals` of `emulate`: what the boards' chips are to measure."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from gateway.emulator import EmulatedBoard
from gateway.emulator.signalpage import read_recording
from gateway.emulator.signals import Signal, signal_of
from gateway.errors import ConfigError
from gateway.toml_lines import line_of, syntax_error

LOOK_S: Final = 0.5
"""How often a file is looked at for changes."""


def signals_of(options: Iterable[str], file: Path | None) -> dict[str, Signal]:
    """By `sensor.quantity`: those of `file`, and over them `--signal NAME=SIGNAL`. Raises ConfigError."""
    given = signals_in(file) if file else {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"--signal {option}: it is SENSOR.QUANTITY=SIGNAL, like climate.temperature=21.5")
        given[name] = signal_of(text, read_recording)
    return given


def signals_in(file: Path) -> dict[str, Signal]:
    """A TOML file: a table per sensor, a line per quantity: `temperature = "curve:20,5,period=24h"`. Recordings are
    looked for beside it. Raises ConfigError with file, line and key."""
    try:
        text = file.read_text()
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        line, sentence = syntax_error(error, text)
        raise ConfigError(f"{file}:{line}: {sentence}") from None
    except ValueError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None

    found: dict[str, Signal] = {}
    for sensor, table in tables.items():
        for quantity, value in table.items() if isinstance(table, dict) else [(None, table)]:
            try:
                found[f"{sensor}.{quantity}"] = _signal(quantity, value, file.parent)
            except ConfigError as error:
                path = (sensor, quantity) if quantity else (sensor,)
                raise ConfigError(f"{file}:{line_of(text, path)}: {'.'.join(path)}: {error}") from None
    return found


def _signal(quantity: str | None, value: Any, folder: Path) -> Signal:
    if quantity is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError('must be a number or a text like "step:20,25,at=10s", in a table named like its sensor')
    return signal_of(value, lambda name: read_recording(name, folder))


async def follow(file: Path, boards: Iterable[EmulatedBoard], say: Callable[[str], None]) -> None:
    """Give the boards what changes in `file`, for ever. A file that is wrong changes nothing, and `say` hears why."""
    known, stamp = signals_in(file), _stamp(file)
    while True:
        await asyncio.sleep(LOOK_S)
        if (now := _stamp(file)) == stamp:
            continue
        stamp = now
        try:
            given = signals_in(file)
            for name in sorted(known.keys() | given.keys()):
                if known.get(name) != given.get(name):
                    for board in boards:
                        board.signal(name, given.get(name))
            known = given
            say(f"{file}: what is measured has changed")
        except ConfigError as error:
            say(f"nothing changed: {error}")


def _stamp(file: Path) -> tuple[int, int, int]:
    """Differs when the file was written or replaced."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_mtime_ns, status.st_size
