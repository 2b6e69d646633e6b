"""Runs MicroPython scripts on the real interpreter, with the firmware on their path and the heap of a board."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.emulator.interpreter import NoInterpreter, find_interpreter

FIRMWARE = Path(__file__).parents[2] / "firmware"
SCRIPTS = Path(__file__).with_name("mpy")
BOARD_TIME = SCRIPTS / "rom"
HEAP = "320k"  # 160 KB of a board: pointers are twice as wide here


@functools.cache
def command(heap: str = HEAP) -> tuple[str, ...]:
    """The interpreter's command line. Skips the test where there is none, fails it when CI=true."""
    try:
        found = find_interpreter()
    except NoInterpreter as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    program = (sys.executable, "-m", "micropython") if found.kind == "module" else (found.where,)
    return (*program, "-X", f"heapsize={heap}")


def environment(*first: Path) -> dict[str, str]:
    """Where modules come from: `first`, then a board's `time`, then the firmware."""
    path = ":".join(str(folder) for folder in (*first, SCRIPTS, BOARD_TIME, FIRMWARE))
    return {**os.environ, "MICROPYPATH": path}


def run_script(script: str, *arguments: str, heap: str = HEAP, timeout_s: float = 50, stdin: str | None = None) -> str:
    """What `mpy/<script>` prints. Fails the test with its traceback where it does not end well."""
    ran = subprocess.run(
        [*command(heap), str(SCRIPTS / script), *arguments],
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert ran.returncode == 0, f"{script} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def run_tests(script: str, *arguments: str, heap: str = HEAP) -> None:
    """Runs a script of tests (mpy/check.py); each that fails is named with its traceback."""
    printed = run_script(script, *arguments, heap=heap)
    assert printed.rstrip().endswith("all passed"), printed
