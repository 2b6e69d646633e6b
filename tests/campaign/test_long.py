"""What takes too long for the suite: `.ci/run` runs it afterwards, `pytest -m campaign` by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.commands import FREE_PORTS, mpy_gateway, set_options

pytestmark = pytest.mark.campaign


def test_the_embedded_broker_is_as_large_after_a_million_messages_as_after_the_first_quarter(tmp_path: Path) -> None:
    report = tmp_path / "broker.json"
    subprocess.run(
        [sys.executable, "-m", "tests.bench.broker", "--messages", "1000000", "--report", str(report)],
        check=True,
        timeout=400,
    )
    rss = json.loads(report.read_text())["rss_bytes"]
    assert rss["100%"] <= 1.1 * rss["25%"], rss


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_boards_lose_nothing(tmp_path: Path, seed: int) -> None:
    report = tmp_path / "report.json"
    words = ["demo", "--for", "40", "--devices", "20", "--seed", str(seed), "--report", str(report)]
    ended = mpy_gateway(*words, *set_options(*FREE_PORTS), timeout_s=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    devices = json.loads(report.read_text())["devices"]
    assert len(devices) == 20
    for name, row in devices.items():
        assert row["taken"] == row["committed"] == row["published"] == row["seen"], (name, row)
