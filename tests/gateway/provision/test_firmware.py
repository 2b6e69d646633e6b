"""The firmware as it is flashed: what is compiled, what is not, how much it is, and that it is the same everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from gateway.emulator.image import FlashImage
from gateway.errors import ConfigError
from gateway.profile import find_node, firmware_dir, firmware_sources, load_profile
from gateway.provision import firmware
from gateway.provision.firmware import board_files, compile_portable
from tests.firmware import flashed
from tests.gateway.profile.node import write_node

PATH = find_node("climate-node")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_everything_is_compiled_but_what_must_be_source() -> None:
    files = board_files(load_profile(PATH), PATH.parent)
    assert {path for path in files if path.endswith(".py")} == {"/boot.py", "/main.py", "/device/viper.py"}
    compiled = {path: content for path, content in files.items() if path.endswith(".mpy")}
    # format 6, no machine code, small integers of 31 bits: what every board of ours can load
    assert {content[:4] for content in compiled.values()} == {b"M\x06\x00\x1f"}
    sources = {path.removesuffix(".py") for path in firmware_sources(load_profile(PATH), PATH.parent)}
    assert {path.rpartition(".")[0] for path in files} == sources


def test_a_users_own_driver_is_compiled_under_its_name_on_the_board(tmp_path: Path) -> None:
    files = board_files(load_profile(write_node(tmp_path)), tmp_path)
    assert b"device/sensors/bme280.py" in files["/device/sensors/bme280.mpy"]
    assert str(tmp_path).encode() not in b"".join(files.values())


def test_what_was_compiled_once_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_portable("device/x.py", b"x = 1\n")
    monkeypatch.setattr(firmware, "_run_compiler", None)  # to call it would fail
    assert compile_portable("device/x.py", b"x = 1\n") == first
    (kept,) = (tmp_path / "cache/mpy-gateway/mpy").iterdir()
    assert kept.read_bytes() == first
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert compile_portable("device/x.py", b"x = 1\n")


def test_wrong_python_is_one_sentence_with_file_and_line() -> None:
    with pytest.raises(ConfigError, match=r"device/x\.py cannot be compiled.*line 2"):
        compile_portable("device/x.py", b"x = 1\nx = = 1\n")


def test_without_a_compiler_the_sources_are_flashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "find_compiler", lambda: None)
    files = board_files(load_profile(PATH), PATH.parent)
    assert files == {
        path: source.read_bytes() for path, source in firmware_sources(load_profile(PATH), PATH.parent).items()
    }


async def _installed(tmp_path: Path) -> dict[str, bytes]:
    board = EmulatedBoard(load_profile(PATH), PATH.parent, {}, directory=tmp_path / "board", seed=1)
    await board.start()
    await board.power_cut()
    return FlashImage(tmp_path / "board/flash.img").files()


def test_the_emulated_board_has_the_very_files(tmp_path: Path) -> None:
    import asyncio

    on_board = asyncio.run(_installed(tmp_path))
    for path, content in board_files(load_profile(PATH), PATH.parent).items():
        assert hashlib.sha256(on_board[path]).digest() == hashlib.sha256(content).digest(), path


def test_the_firmware_with_all_drivers_fits_120_kb() -> None:
    compiled: dict[str, int] = {}
    for source in [*(firmware_dir() / "device").rglob("*.py")]:
        name = source.relative_to(firmware_dir()).as_posix()
        compiled[name] = len(compile_portable(name, source.read_bytes()) or b"")
    assert compiled["device/sensors/bme280.py"] > 0
    assert sum(compiled.values()) <= 120 * 1024


def test_a_node_loads_no_more_of_it_than_before(tmp_path: Path) -> None:
    """With TLS, to its first sample. The aim was 45 KB: journal, TLS, mDNS and commands have made it more, and what is
    here is held."""
    files = flashed.write_flashed(tmp_path)
    found = flashed.start(tmp_path, files)
    assert 50 * 1024 < found["loaded_bytes"] <= 70 * 1024
    only_others_need = {"device.doze", "device.outputs", "device.buttons"}  # nodes that sleep, or switch
    assert not only_others_need & set(found["modules"])


@pytest.mark.campaign
def test_a_wheel_makes_the_very_files(tmp_path: Path) -> None:
    """Built and unpacked, with nothing of the checkout in reach."""
    root = firmware_dir().parent
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(root)],
        env=os.environ | {"GATEWAY_WEB": "skip"}, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    script = (
        "import hashlib, json, gateway\n"
        "from gateway.profile import find_node, load_profile\n"
        "from gateway.provision.firmware import board_files\n"
        "path = find_node('climate-node')\n"
        "files = board_files(load_profile(path), path.parent)\n"
        "hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}\n"
        "print(json.dumps([gateway.__file__, hashes]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(tmp_path / "unpacked")}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    where, hashes = json.loads(ran.stdout)
    assert where.startswith(str(tmp_path))
    files = board_files(load_profile(PATH), PATH.parent)
    assert hashes == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
