"""Finding MicroPython, and saying how to get it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import Interpreter, NoInterpreter, find_interpreter
from gateway.emulator.interpreter import OLDEST, program_version


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    find_interpreter.cache_clear()
    yield
    find_interpreter.cache_clear()


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = folder / "micropython"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return file


def test_the_interpreter_found_is_new_enough(interpreter: Interpreter) -> None:
    if interpreter.kind == "program":
        assert program_version((interpreter.where,)) >= OLDEST
    else:
        assert list(Path(interpreter.where).glob("micropython_module*.so"))


@pytest.mark.usefixtures("no_wheel")
def test_a_program_on_path_is_taken_when_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "echo \"(name='micropython', version=(1, 25, 0, ''), _machine='linux')\""
    file = program(tmp_path, answer, monkeypatch)
    assert find_interpreter() == Interpreter("program", str(file))


@pytest.mark.usefixtures("no_wheel")
def test_an_old_program_is_refused_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "echo \"(name='micropython', version=(1, 19, 1))\"", monkeypatch)
    with pytest.raises(NoInterpreter, match=r"is MicroPython 1\.19.*apt install micropython"):
        find_interpreter()


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize("script", ["echo something else", "exit 3"])
def test_a_program_that_is_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(tmp_path, script, monkeypatch)
    with pytest.raises(NoInterpreter, match=r"is not MicroPython|does not run"):
        find_interpreter()


@pytest.mark.usefixtures("no_wheel")
def test_without_any_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoInterpreter) as caught:
        find_interpreter()
    text = str(caught.value)
    assert "apt install micropython" in text
    assert "pip install 'mpy-gateway[emulator]'" in text
    assert "\n" not in text
