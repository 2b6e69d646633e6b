"""`mpy-gateway emulate` with serial ports, in the hands of the real mpremote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.flow.commands import command, environment, mpy_gateway


def boards_of(report: Path, program: subprocess.Popen[str]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while not report.exists():
        assert program.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    boards: list[dict[str, Any]] = json.loads(report.read_text())["boards"]
    return boards


def mpremote(port: str, *rest: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", port, *rest],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_blank_boards_are_flashed_through_their_ports_and_keep_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = command(
        "emulate", "--blank", "--devices", "2", "--seed", "5", "--state", str(tmp_path), "--report", str(report)
    )

    for run in (1, 2):
        program = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        try:
            first, second = boards_of(report, program)
            assert first["hardware"] == first["id"] != second["id"]
            assert mpremote(first["port"], "fs", "ls").split() == (
                ["ls", ":"] if run == 1 else ["ls", ":", "12", "a.py"]
            )
            asked = "import machine, esp; print(machine.unique_id().hex(), esp.flash_size())"
            assert mpremote(second["port"], "exec", asked).split() == [second["hardware"], "4194304"]
            (tmp_path / "a.py").write_text("print('a')\r\n")
            mpremote(first["port"], "fs", "cp", str(tmp_path / "a.py"), ":a.py")
        finally:
            program.send_signal(signal.SIGINT)
            printed, _ = program.communicate(timeout=10)
        assert program.returncode == 0
        assert f"{first['id']:<32} {first['port']}\n" in printed
        assert not report.exists()
        assert not os.path.exists(first["port"])


def test_a_board_that_does_not_start_again_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = command("emulate", "--blank", "--devices", "2", "--state", str(tmp_path), "--report", str(report))
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    try:
        first, second = boards_of(report, program)
        (tmp_path / "boards" / f"climate-node-{first['id']}" / "flash.img").unlink()
        mpremote(first["port"], "resume", "reset")
        assert program.stdout is not None
        said = f"{first['id']}: the emulated board is off and does not start again"
        assert any(said in line for line in iter(program.stdout.readline, ""))
        assert mpremote(second["port"], "eval", "1 + 1") == "2\n"
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=10)


def test_a_report_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path) -> None:
    ended = mpy_gateway(
        "emulate", "--blank", "--state", str(tmp_path), "--report", str(tmp_path / "no" / "report.json")
    )
    assert ended.returncode == 1
    assert "cannot be written: No such file or directory" in ended.stderr
    assert not (tmp_path / "boards").exists()
