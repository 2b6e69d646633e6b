"""The firmware's pure modules, each tested on the real MicroPython by a script of its own in mpy/."""

from __future__ import annotations

import pytest

from tests.firmware import interpreter

SCRIPTS = sorted(path.name for path in interpreter.SCRIPTS.glob("test_*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_on_micropython(script: str) -> None:
    has_flash = script.endswith("_cut.py")  # a whole chip in RAM, anew for each test, in one piece
    interpreter.run_tests(script, heap="4m" if has_flash else interpreter.HEAP)
