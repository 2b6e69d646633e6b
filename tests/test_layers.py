"""Pure files take values and time and return values: they import no socket, file, clock or task."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

IMPURE = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "select", "shutil", "signal", "socket",
    "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time",
    "fastapi", "machine", "network", "paho", "starlette", "uvicorn", "websockets",
}  # fmt: skip

PURE = [
    "gateway/model.py",
    "gateway/errors.py",
    "gateway/addresses.py",
    "gateway/words.py",
    "gateway/doctor.py",
    "gateway/emulator/signals.py",
    "gateway/device/wire.py",
    "gateway/device/session.py",
    "gateway/device/boots.py",
    "gateway/device/underway.py",
    "gateway/device/bucket.py",
    "gateway/device/window.py",
    "gateway/device/timesync.py",
    "gateway/device/stamps.py",
    "gateway/device/slept.py",
    "gateway/intake/unknown.py",
    "gateway/intake/check.py",
    "gateway/command/ledger.py",
    "gateway/provision/plan.py",
    "gateway/provision/reasons.py",
    "gateway/store/commit.py",
    "gateway/store/newest.py",
    "gateway/mqtt/topics.py",
    "gateway/mqtt/states.py",
    "gateway/mqtt/presences.py",
    "gateway/mqtt/aside.py",
    "gateway/mqtt/pace.py",
    "gateway/mqtt/outflow.py",
    "gateway/mqtt/strikes.py",
    "gateway/mqtt/v311.py",
    "gateway/dashboard/live.py",
    "gateway/dashboard/messages.py",
    "gateway/dashboard/panel.py",
    "gateway/dashboard/shapes.py",
    "gateway/tls/authority.py",
    "gateway/emulator/console.py",
    "gateway/dashboard/people_shapes.py",
    "gateway/dashboard/origin.py",
    "gateway/dashboard/throttle.py",
    "gateway/toml_lines.py",
    "gateway/problems.py",
    "gateway/config/text.py",
    "gateway/profile/check.py",
    "gateway/profile/driver.py",
    "gateway/profile/model.py",
    "gateway/profile/units.py",
    "gateway/profile/wear.py",
    "firmware/device/beat.py",
    "firmware/device/sampler.py",
    "firmware/device/columns.py",
    "firmware/device/records.py",
    "firmware/device/asleep.py",
    "firmware/device/errand.py",
    "firmware/device/outbox.py",
    "firmware/device/page.py",
    "firmware/device/ring.py",
    "firmware/device/link.py",
    "firmware/device/wire.py",
    "firmware/device/websocket.py",
]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("file", PURE)
def test_pure_file_imports_no_input_or_output(file: str) -> None:
    assert not imported(ROOT / file) & IMPURE


def test_only_the_adapter_knows_that_the_store_is_sqlite() -> None:
    allowed = {ROOT / "gateway/store", ROOT / "gateway/app.py", ROOT / "gateway/cli/devices.py"}
    for path in (ROOT / "gateway").rglob("*.py"):
        if path in allowed or path.parent in allowed or "node_modules" in path.parts:
            continue
        text = path.read_text()
        assert "sqlite3" not in imported(path), path
        assert "gateway.store.sqlite" not in text, path


def test_nothing_of_the_gateway_is_on_the_board() -> None:
    for path in (ROOT / "firmware").rglob("*.py"):
        assert "gateway" not in imported(path), path
