"""The page's pure parts, in their own language: types checked, and its unit tests run with Node's test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.programs import need_program


def node(directory: Path, *arguments: str) -> None:
    command = [need_program("node"), *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_well_typed(web_tools: Path) -> None:
    node(web_tools, "node_modules/typescript/bin/tsc")


def test_the_pages_unit_tests_pass(web_tools: Path) -> None:
    node(web_tools, "node_modules/typescript/bin/tsc", "-p", "tsconfig.test.json")
    files = sorted(str(file) for file in (web_tools / "build" / "test").glob("*.test.js"))
    assert files
    node(web_tools, "--test", *files)
