"""Which boards are plugged in, and what keeps us from one."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from dataclasses import dataclass
from grp import struct_group
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.provision import ports
from gateway.provision.ports import boards, choose, is_emulated, problem, recognised


@dataclass
class Listed:
    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None = None
    product: str | None = None


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "problem", lambda port, usb="": "")


CP2102 = Listed("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001")
ESP32_S3 = Listed("/dev/ttyACM0", 0x303A, 0x1001, "F4:12:FA:00:00:01")
MODEM = Listed("/dev/ttyACM1", 0x12D1, 0x1506, product="HUAWEI Mobile")


@pytest.mark.parametrize(
    ("vid", "pid", "product", "what"),
    [
        (0x10C4, 0xEA60, None, "CP210x USB bridge"),
        (0x1A86, 0x55D4, None, "CH9102 USB bridge"),
        (0x0403, 0x6001, None, "FT232R USB bridge"),
        (0x303A, 0x1001, None, "ESP32 by its own USB"),
        (0x303A, 0x8123, "LilyGo", "ESP32 by its own USB"),
        (0x2E8A, 0x0005, None, "Raspberry Pi Pico with MicroPython"),
        (0x1234, 0x5678, "Acme USB-Serial", "Acme USB-Serial"),
        (0x12D1, 0x1506, "HUAWEI Mobile", None),
        (0x10C4, 0xEA60, "Sonoff Zigbee 3.0 USB Dongle Plus", None),  # a CP210x, as on boards
        (0x2E8A, 0x000C, "Debug Probe (CMSIS-DAP)", None),
        (None, None, None, None),
    ],
)
def test_what_is_behind_a_port(vid: int | None, pid: int | None, product: str | None, what: str | None) -> None:
    assert recognised(vid, pid, product) == what


@pytest.mark.usefixtures("free")
def test_what_is_no_board_is_left_out_and_the_only_one_is_chosen() -> None:
    assert [board.port for board in boards([MODEM, CP2102])] == ["/dev/ttyUSB0"]
    assert choose(None, [MODEM, CP2102]) == "/dev/ttyUSB0"
    assert choose("/dev/ttyS7", [CP2102]) == "/dev/ttyS7"


@pytest.mark.usefixtures("free")
def test_of_several_one_has_to_be_named() -> None:
    with pytest.raises(ConfigError) as several:
        choose(None, [CP2102, ESP32_S3])
    assert str(several.value) == (
        "there are several boards, so name the port of the one that is meant: "
        "/dev/ttyACM0 (ESP32 by its own USB, F4:12:FA:00:00:01); /dev/ttyUSB0 (CP210x USB bridge, 0001)"
    )


def test_none_at_all_says_where_to_look() -> None:
    with pytest.raises(ConfigError, match=r"no board is plugged in.*cable.*dmesg"):
        choose(None, [MODEM])


def test_a_pico_that_waits_for_micropython_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PICO_DRIVE", tmp_path)
    with pytest.raises(ConfigError, match=r"copy the \.uf2 file"):
        choose(None, [MODEM])


def a_port(tmp_path: Path, mode: int, group: int, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "ttyUSB0"
    path.touch()
    status = os.stat(path)
    monkeypatch.setattr(os, "access", lambda path, how: False)
    fields = list(status)
    fields[stat.ST_MODE], fields[stat.ST_GID] = mode, group
    monkeypatch.setattr(os, "stat", lambda path, **how: os.stat_result(fields))
    return str(path)


def test_a_group_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = a_port(tmp_path, 0o20660, 20, monkeypatch)  # 20 is dialout on Debian
    assert "it belongs to the group dialout. Type `sudo usermod -aG dialout $USER`" in problem(port)
    entry = struct_group(("dialout", "x", 20, ["anna"]))
    monkeypatch.setattr("grp.getgrgid", lambda gid: entry)
    monkeypatch.setenv("LOGNAME", "anna")
    assert "only since the last login: log out and in again" in problem(port)


def test_a_udev_rule_that_is_missing_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = a_port(tmp_path, 0o20600, 0, monkeypatch)
    assert 'ATTRS{idVendor}=="303a", MODE="0660", GROUP="dialout"' in problem(port, "303a:1001")


HOLD = (
    "import os, sys, time\nos.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\nprint('open', flush=True)\nsys.stdin.read()"
)


def test_who_has_it_open_is_named_and_we_ourselves_are_not() -> None:
    ours, theirs = pty.openpty()
    port = os.ttyname(theirs)
    try:
        assert problem(port) == ""
        holding = [sys.executable, "-c", HOLD, port]
        with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            assert f"({holder.pid}) has it open: end that first" in problem(port)
            with pytest.raises(ConfigError, match="has it open"):
                choose(port)
            assert holder.stdin is not None
            holder.stdin.close()
        assert problem(port) == ""
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "greenhouse").write_text("")
    with pytest.raises(ConfigError, match="this is a file, and no serial port"):
        choose(str(tmp_path / "greenhouse"))


def test_a_pseudo_terminal_is_an_emulated_board() -> None:
    assert is_emulated("/dev/pts/7")
    assert not is_emulated("/dev/ttyUSB0")
