"""`erase`, `pull-config` and `logs` on a board behind a serial port (`pytest --device PORT`: a real one)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import run
from gateway.cli.pull import hide
from gateway.provision.usb import Session
from tests.bench_board import BenchBoard, bench_board
from tests.gateway.provision.rom_loader import RomLoader

SETTINGS = {
    "device": "greenhouse",
    "token": "t" * 43,
    "gateway": {"host": "10.0.0.2", "port": 8766, "tls": True, "name": "gw.local"},
    "wifi": [{"ssid": "home", "password": "a secret"}, {"ssid": "open", "password": ""}],
}
PROGRAM = b"import time\nn = 0\nwhile True:\n    n += 1\n    print('line', n, chr(27))\n    time.sleep_ms(20)\n"


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchBoard]:
    with bench_board(request, tmp_path_factory.mktemp("tools") / "board") as bench:
        yield bench


@pytest.fixture
def flashed(board: BenchBoard) -> BenchBoard:
    board.wipe()
    with Session(board.port) as session:
        session.enter()
        for path, content in (
            ("/settings.json", json.dumps(SETTINGS).encode()),
            ("/profile.json", b'{"node": "climate-node"}'),
            ("/device/net.mpy", b"firmware"),
            ("/outbox/0001.bin", bytes(3000)),
            ("/token.json", b'{"token": "n"}'),
            ("/mine.py", b"mine = 1\n"),
            ("/main.py", PROGRAM),
        ):
            session.write(path, content)
    return board


def files_of(board: BenchBoard) -> set[str]:
    with Session(board.port) as session:
        session.enter()
        return set(session.files())


def test_a_board_tells_its_settings_without_what_opens_anything(
    flashed: BenchBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pull-config", flashed.port]) == 0
    said = capsys.readouterr().out
    assert '"device": "greenhouse"' in said
    assert '"node": "climate-node"' in said
    assert "a secret" not in said
    assert "ttttt" not in said
    assert run(["pull-config", flashed.port, "--secrets", "--to", str(tmp_path / "kept")]) == 0
    kept = tmp_path / "kept" / "settings.json"
    assert json.loads(kept.read_text()) == SETTINGS
    assert kept.stat().st_mode & 0o777 == 0o600


def test_erasing_leaves_what_is_not_ours(flashed: BenchBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["erase", flashed.port]) == 1  # nobody is there to be asked
    asked = capsys.readouterr().err
    assert "files of greenhouse from the board, and 2.9 KB of samples that the gateway may not have: say --yes" in asked
    assert "/device/net.mpy" in files_of(flashed)
    assert run(["erase", flashed.port, "--yes"]) == 0
    assert "mpy-gateway devices forget greenhouse" in capsys.readouterr().out
    assert files_of(flashed) == {"/mine.py"}
    assert run(["erase", flashed.port, "--yes"]) == 0
    assert "nothing of ours is on the board" in capsys.readouterr().out
    assert run(["pull-config", flashed.port]) == 1
    assert "was never flashed by us" in capsys.readouterr().err


def test_a_console_is_shown_while_the_board_runs(flashed: BenchBoard) -> None:
    command = [sys.executable, "-m", "gateway", "logs", flashed.port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stderr is not None
        assert "listening at" in listening.stderr.readline()
        lines = [listening.stdout.readline() for _ in range(3)]
        listening.send_signal(signal.SIGINT)
        assert listening.wait(10) == 130
    numbers = [int(line.split()[2]) for line in lines[1:]]  # the first may be half of one
    assert numbers[1] == numbers[0] + 1
    assert lines[1].endswith("\\x1b\n")  # nothing that a board says moves the terminal's cursor


def test_a_flash_is_erased_as_a_whole_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with RomLoader() as loader:
        assert run(["erase", loader.port, "--all"]) == 1
        assert "MicroPython included: say --yes" in capsys.readouterr().err
        assert 0xD0 not in loader.commands
        assert run(["erase", loader.port, "--all", "--yes"]) == 0
        assert bytes(loader.flash) == b"\xff" * (4 << 20)


def test_secrets_are_hidden_wherever_they_are() -> None:
    found = {"token": "x", "a": [{"password": "y", "previous": "z", "ssid": "s"}], "password": ""}
    assert hide(found) == {
        "token": "(hidden)",
        "a": [{"password": "(hidden)", "previous": "(hidden)", "ssid": "s"}],
        "password": "",
    }
