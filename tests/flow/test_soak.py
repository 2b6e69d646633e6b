"""The soak in small: all faults at random for some seconds, then the count of every measurement."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.commands import environment
from tests.rig import ROOT

KEYS = {"taken", "delivered", "repeated", "gaps", "lost", "longest_silence_s", "unknown_tail", "interrupted", "faults"}


@pytest.mark.timeout(160)  # alone it takes some 30 s
@pytest.mark.parametrize(
    ("power_loss", "boards", "seconds", "seed"),
    [
        ("unsent", 2, 20, 1),
        pytest.param("none", 3, 30, 2, marks=[pytest.mark.campaign, pytest.mark.timeout(260)]),
    ],
)
def test_all_faults_at_random_and_nothing_is_lost(
    tmp_path: Path, power_loss: str, boards: int, seconds: float, seed: int
) -> None:
    report_file = tmp_path / "report.json"
    words = ["--boards", str(boards), "--seconds", str(seconds), "--seed", str(seed), "--power-loss", power_loss]
    words += ["--hurried", "--drain", "30", "--report", str(report_file), "--keep", str(tmp_path / "soak")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.soak", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd=ROOT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=140 if seconds < 25 else 240)
    except BaseException:
        process.send_signal(signal.SIGINT)  # so that it tidies up
        process.communicate(timeout=20)
        raise
    assert process.returncode == 0, output
    report = json.loads(report_file.read_text())
    assert report.keys() >= KEYS
    assert report["lost"] == report["invented"] == report["holes"] == 0
    assert report["delivered"] + report["in_gaps"] + report["unknown_tail"] + report["interrupted"] >= report["taken"]
    assert report["taken"] > 20
    assert sum(report["faults"].values()) >= 8
    if power_loss == "none":
        assert report["unknown_tail"] == 0
