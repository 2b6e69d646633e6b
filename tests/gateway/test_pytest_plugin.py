"""The fixtures that come with the package, in a project of somebody else's."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "gateway.pytest_plugin"


def pytest_in(project: Path) -> subprocess.CompletedProcess[str]:
    options = ["-p", PLUGIN, "-p", "no:cacheprovider", "--rootdir", str(project), "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(project)],
        capture_output=True, text=True, timeout=50, check=False, cwd=project,
        env={"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


def test_the_example_in_the_readme_passes_and_what_fails_says_why(tmp_path: Path) -> None:
    readme = (ROOT / "gateway" / "emulator" / "README.md").read_text()
    example = re.search(r"```python\n(def test_.*?)```", readme, re.S)
    assert example
    (tmp_path / "test_mine.py").write_text(
        f"{example[1]}\n\ndef test_too_late(mpy_board):\n"
        "    mpy_board('climate-node', name='late').wait_for_event('no.such', timeout_s=0.2)\n"
    )
    ran = pytest_in(tmp_path)
    assert "1 failed, 2 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "TimeoutError: no no.such within 0.2 s. The board's last lines:" in ran.stdout
    assert "info late, boot 1 (" in ran.stdout


def test_a_project_that_does_not_use_it_does_not_load_us() -> None:
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entries == {"mpy-gateway": PLUGIN}
    code = f"import pytest, sys; before = set(sys.modules); import {PLUGIN}; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [name for name in loaded.split() if not name.startswith("email.")] == ["gateway", PLUGIN]  # our version
