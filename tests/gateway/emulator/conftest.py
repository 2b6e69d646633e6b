"""Every test of the emulated board runs on each interpreter there is: the wheel's and the one on PATH."""

from __future__ import annotations

import os
import shutil

import pytest

from gateway.emulator.interpreter import OLDEST, Interpreter, NoInterpreter, find_interpreter, program_version


def _interpreters() -> list[Interpreter]:
    found = []
    try:
        found.append(find_interpreter())
    except NoInterpreter:
        if os.environ.get("CI") == "true":
            raise
    program = shutil.which("micropython")
    # A venv's own `micropython` is the wheel once more, slower to start.
    if program is not None and os.path.dirname(program) != os.path.dirname(shutil.which("python") or ""):
        also = Interpreter("program", program)
        if also not in found and program_version((program,)) >= OLDEST:
            found.append(also)
    return found


@pytest.fixture(params=_interpreters() or [None], ids=lambda found: found.kind if found else "none")
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    if request.param is None:
        pytest.skip("no MicroPython interpreter (pip install 'mpy-gateway[emulator]')")
    found: Interpreter = request.param
    return found
