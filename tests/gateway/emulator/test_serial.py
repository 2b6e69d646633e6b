"""The serial port of an emulated board, used by the real mpremote as a USB port."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from gateway.emulator import EmulatedBoard, Interpreter, NoInterpreter, find_interpreter
from gateway.emulator.interpreter import need_raw_repl
from gateway.emulator.thread import LoopThread
from gateway.errors import ConfigError
from tests.aio import run
from tests.gateway.emulator.bench import make_board

FOREVER = "import time\nprint('main.py runs')\nwhile True:\n    time.sleep_ms(10)\n"


def _interpreter() -> Interpreter | None:
    try:
        need_raw_repl(found := find_interpreter())
    except NoInterpreter:
        if os.environ.get("CI") == "true":
            raise
        return None
    return found


pytestmark = pytest.mark.skipif(_interpreter() is None, reason="no MicroPython with a raw REPL")


class Plugged:
    """A board and who sits before it."""

    def __init__(self, directory: Path, thread: LoopThread) -> None:
        self.thread = thread
        self.board: EmulatedBoard = make_board(directory, find_interpreter(), FOREVER, serial=True)
        thread.run(self.board.start())
        self.port = self.board.port

    def mpremote(self, *words: str, fails: bool = False) -> str:
        """What it printed."""
        ran = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", self.port, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
            check=False,
        )  # fmt: skip
        assert (ran.returncode != 0) == fails, ran.stdout + "\n".join(self.board.console_tail)
        return ran.stdout

    def main_is(self, program: str, tmp_path: Path) -> None:
        """Copy it onto the board, and start it."""
        (tmp_path / "main.py").write_text(program)
        self.mpremote("fs", "cp", str(tmp_path / "main.py"), ":main.py", "+", "reset")

    def printed(self, text: str, times: int = 1) -> None:
        lines = self.board.console_tail
        self.thread.until(lambda: sum(text in line for line in lines) >= times, 10, f"{text!r} on the console")

    @contextlib.contextmanager
    def opened(self) -> Iterator[serial.Serial]:
        with serial.Serial(self.port, timeout=5) as port:
            yield port


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    thread = LoopThread("board")
    plugged = Plugged(tmp_path_factory.mktemp("serial"), thread)
    yield plugged
    thread.run(plugged.board.stop())
    assert not os.path.exists(plugged.port)
    thread.close()


@pytest.fixture
def plugged(one: Plugged, tmp_path: Path) -> Plugged:
    """A board that runs `FOREVER`, whatever the test before did."""
    one.thread.run(one.board.power_cut())
    one.board.files["/main.py"] = FOREVER + f"# {tmp_path}\n"  # what changed at the host is written
    one.board.console_tail.clear()
    one.thread.run(one.board.start())
    one.printed("main.py runs")
    return one


# Files.


def test_files_go_in_and_come_out_as_they_were(plugged: Plugged, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(5000)
    (tmp_path / "in").write_bytes(content)
    said = plugged.mpremote(
        "fs", "cp", str(tmp_path / "in"), ":file", "+", "fs", "sha256sum", ":file", "+", "fs", "ls",
        "+", "fs", "cp", ":file", str(tmp_path / "out"), "+", "fs", "rm", ":file",
    )  # fmt: skip
    assert hashlib.sha256(content).hexdigest() in said
    assert "5000 file" in said
    assert (tmp_path / "out").read_bytes() == content
    assert "file" not in plugged.mpremote("fs", "ls").split()


def test_mpremote_reads_and_writes_files_of_the_host_through_mount(plugged: Plugged, tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("NUMBER = 42")
    content = bytes(range(256)) * 4  # each byte there is, Ctrl-C and newline among them
    (tmp_path / "bytes").write_bytes(content)
    code = (
        "import lib; print(lib.NUMBER); b = open('bytes', 'rb').read(); f = open('copy', 'wb'); f.write(b); f.close()"
    )
    assert "42" in plugged.mpremote("mount", str(tmp_path), "exec", code)
    assert (tmp_path / "copy").read_bytes() == content


# What the board is.


def test_it_says_what_it_is(plugged: Plugged) -> None:
    said = plugged.mpremote("exec", "import os, sys, esp; print(os.uname().sysname, sys.platform, esp.flash_size())")
    assert said == "esp32 esp32 4194304\n"
    assert "Emulated ESP32-DevKitC V4 with ESP32" in plugged.mpremote("eval", "__import__('os').uname().machine")
    assert "Emulated ESP32-DevKitC V4 with ESP32" in plugged.mpremote(
        "eval", "__import__('sys').implementation._machine"
    )


def test_print_sends_what_a_terminal_wants_and_an_error_fails(plugged: Plugged) -> None:
    assert plugged.mpremote("run", "/dev/stdin") == ""
    with plugged.opened() as port:
        port.write(b"\r\x03\r\x02print('a\\nb')\r")
        assert port.read_until(b"\r\na\r\nb\r\n>>> ").endswith(b"\r\na\r\nb\r\n>>> ")
    assert "ValueError: no" in plugged.mpremote("exec", "raise ValueError('no')", fails=True)


# Interrupts and resets.


def test_ctrl_c_ends_main_and_a_soft_reset_at_the_prompt_starts_it_again(plugged: Plugged) -> None:
    with plugged.opened() as port:
        port.write(b"\x03\x03")
        assert port.read_until(b">>> ").endswith(b"\r\n>>> ")
        assert plugged.board.ended == "interrupted"
        port.write(b"1 + 1\r")
        assert port.read_until(b"2\r\n>>> ").endswith(b"1 + 1\r\n2\r\n>>> ")
        port.write(b"\x04")
        assert port.read_until(b"main.py runs\r\n").startswith(b"\r\nMPY: soft reboot\r\n")
    assert plugged.board.reset_cause == 5
    assert plugged.board.ended is None


def test_a_soft_reset_in_the_raw_repl_comes_back_to_it_without_main(plugged: Plugged) -> None:
    with plugged.opened() as port:
        port.write(b"\r\x03\r\x01")
        assert port.read_until(b"raw REPL; CTRL-B to exit\r\n>").endswith(b"exit\r\n>")
        port.write(b"\x04")
        again = b"OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"
        assert port.read(len(again)) == again
    assert plugged.board.ended == "skipped"


def test_a_reset_starts_main_and_the_port_stays(plugged: Plugged) -> None:
    assert "2" in plugged.mpremote("exec", "print(1 + 1)")
    plugged.mpremote("reset")
    plugged.printed("main.py runs", times=2)
    assert plugged.board.reset_cause == 2
    plugged.mpremote("exec", "--no-follow", "import machine; machine.reset()")
    plugged.thread.run(plugged.board.power_cut())
    plugged.thread.run(plugged.board.start())
    plugged.printed("main.py runs", times=3)
    assert plugged.board.port == plugged.port
    assert plugged.mpremote("resume", "eval", "1 + 1") == "2\n"


def test_a_watchdog_bites_through_ctrl_c_a_soft_reset_and_the_raw_repl(plugged: Plugged, tmp_path: Path) -> None:
    program = (
        "import machine, time\nif machine.reset_cause() == 3:\n    print('bitten')\nelse:\n"
        "    machine.WDT(timeout=2500)\n    print('armed')\n    while True:\n        time.sleep_ms(10)\n"
    )
    plugged.main_is(program, tmp_path)
    plugged.printed("armed")
    with plugged.opened() as port:
        port.write(b"\r\x03\r\x01")
        assert port.read_until(b"raw REPL; CTRL-B to exit\r\n>").endswith(b"exit\r\n>")
        port.write(b"\x04")
        assert port.read_until(b"soft reboot\r\nraw REPL; CTRL-B to exit\r\n>").endswith(b"exit\r\n>")
        assert plugged.board.reset_cause == 5  # the program that armed it is gone
        plugged.printed("bitten")
    assert plugged.board.reset_cause == 3


BROKEN = {
    "a syntax error": "print('broken')\nthis is no Python\n",
    "an endless loop": "print('broken')\nwhile True:\n    pass\n",
    "an end": "print('broken')\nimport sys\nsys.exit()\n",
    "a reset at once": "print('broken')\nimport machine\nmachine.reset()\n",
}


@pytest.mark.parametrize("program", BROKEN.values(), ids=BROKEN)
def test_a_broken_main_is_replaced_through_the_port(plugged: Plugged, tmp_path: Path, program: str) -> None:
    plugged.main_is(program, tmp_path)
    plugged.printed("SyntaxError" if "no Python" in program else "broken")
    with plugged.opened() as port:  # it restarts by itself: somebody has to hold Ctrl-C down
        deadline = time.monotonic() + 10
        while plugged.board.ended not in ("skipped", "interrupted", "failed") and time.monotonic() < deadline:
            port.write(b"\x03")
            time.sleep(0.05)
    plugged.main_is("print('mended')", tmp_path)
    plugged.printed("mended")


# Who listens.


def test_a_board_that_prints_and_nobody_listens_goes_on(plugged: Plugged, tmp_path: Path) -> None:
    program = "number = 0\nwhile True:\n    number += 1\n    print('line', number, 'x' * 100)\n"
    plugged.main_is(program, tmp_path)
    lines = plugged.board.console_tail

    def much() -> bool:  # 2 MB: far more than all buffers on the way
        return len(lines) > 1 and lines[-2].startswith("line") and int(lines[-2].split()[1]) > 20000

    plugged.thread.until(much, 10, "end of what it prints")
    assert "2" in plugged.mpremote("exec", "print(1 + 1)")


def test_who_has_the_port_open_and_reads_nothing_does_not_stop_the_board(plugged: Plugged) -> None:
    program = "for number in range(20000): print('line', number, 'x' * 100)\nprint('at the end')"
    with plugged.opened() as port:
        port.write(b"\r\x03" + f"exec({program!r})\r".encode())
        plugged.printed("line 19999")
        tail = port.read_until(b"at the end\r\n>>> ")  # what it finds is old, then there is a hole, then the newest
    assert b"line 19999 " in tail
    assert len(tail) < 100_000


def test_who_listens_slowly_loses_nothing(plugged: Plugged) -> None:
    with plugged.opened() as port:
        port.write(b"\r\x03\r\x01")
        port.read_until(b"exit\r\n>")
        port.write(b"for number in range(40000): print(number)\x04")
        printed = b""
        while not printed.endswith(b"\x04\x04>"):
            time.sleep(0.01)
            printed += port.read(port.in_waiting or 1)
    assert printed == b"OK" + b"".join(b"%d\r\n" % number for number in range(40000)) + b"\x04\x04>"


def test_an_old_interpreter_is_said_in_one_sentence(tmp_path: Path) -> None:
    program = tmp_path / "micropython"
    program.write_text("#!/bin/sh\necho \"(name='micropython', version=(1, 25, 0))\"\n")
    program.chmod(0o700)
    board = make_board(tmp_path, Interpreter("program", str(program)), "", serial=True)
    with pytest.raises(ConfigError, match="has no raw REPL, so an emulated board with it has no serial port"):
        run(board.start())
