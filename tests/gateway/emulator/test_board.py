"""The life of an emulated board: power, Ctrl-C, crashes, what it leaves behind, and what it tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.emulator import BoardFailed, EmulatedBoard, Interpreter
from gateway.emulator import board as board_module
from gateway.errors import ConfigError
from gateway.profile import load_profile
from tests.aio import run, until
from tests.gateway.emulator.bench import NODE, SETTINGS, exists, make_board, output, powered, printed

FOREVER = "import time\nprint('up')\nwhile True:\n    time.sleep_ms(10)\n"
MEASURE_FOREVER = """
import machine
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
taken = 0
while True:
    bus.writeto(0x76, b"\\xf4\\x25")
    taken += 1
    print("taken", taken)
    while bus.readfrom_mem(0x76, 0xF3, 1)[0] & 8:
        pass
"""


# Power.


def test_stopping_is_ctrl_c_and_leaves_no_process(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
try:
    print("up")
    while True:
        time.sleep_ms(10)
except KeyboardInterrupt:
    print("tidied up")
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        await board.start()
        await printed(board, "up")
        pid = board.pid
        assert pid is not None
        assert exists(pid)
        assert os.getpgid(pid) == pid != os.getpgid(0)
        await board.stop()
        assert not exists(pid)
        assert (board.running, board.pid, board.ended) == (False, None, "done")
        assert list(board.console_tail) == ["up", "tidied up"]
        await board.stop()  # once more does no harm

    run(scenario())


def test_a_program_that_ignores_ctrl_c_is_killed_in_time(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
while True:
    try:
        print("up")
        while True:
            pass
    except BaseException:
        pass
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "up")
            pid = board.pid
            start_s = time.monotonic()
            await board.stop(timeout_s=0.3)
            assert time.monotonic() - start_s < 5
            assert pid is not None
            assert not exists(pid)

    run(scenario())


def test_a_traceback_is_printed_and_the_board_waits_at_its_prompt(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "def fail():\n    raise ValueError('so there')\nfail()")
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            assert (board.ended, board.running, board.boots) == ("failed", True, 1)
            await board.stop()
            tail = list(board.console_tail)
        assert tail[-1] == "ValueError: so there"
        assert '  File "main.py", line 2, in fail' in tail

    run(scenario())


def test_boot_py_runs_first_and_main_py_only_if_it_went_well(tmp_path: Path, interpreter: Interpreter) -> None:
    assert output(tmp_path / "a", interpreter, "print('main', x)", files={"/boot.py": "x = 1\nprint('boot')"}) == [
        "boot",
        "main 1",
    ]

    async def scenario() -> None:
        board = make_board(tmp_path / "b", interpreter, "print('main')", files={"/boot.py": "1 / 0"})
        async with powered(board):
            await until(lambda: board.ended, what="the end of boot.py")
            assert board.ended == "failed"
            await board.stop()
            assert "main" not in board.console_tail

    run(scenario())


def test_a_crash_of_the_interpreter_is_a_reset(tmp_path: Path, interpreter: Interpreter) -> None:
    program = "import machine, time\nprint('cause', machine.reset_cause())\ntime.sleep(60)"

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "cause 1")
            assert board.pid is not None
            os.kill(board.pid, signal.SIGSEGV)
            await printed(board, "cause 2")
            assert any("SIGSEGV" in line for line in board.console_tail)

    run(scenario())


def test_a_board_that_resets_for_ever_does_not_take_the_computer(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "import machine\nmachine.reset()")
        async with powered(board):
            start_s = time.monotonic()
            await until(lambda: board.boots >= 4, what="the fourth boot")
            assert time.monotonic() - start_s >= 2 * 0.25
            await board.stop()
            assert not board.running

    run(scenario())


@pytest.mark.parametrize("instant", ["deep sleep", "between two boots"])
def test_switching_off_works_while_no_program_runs(tmp_path: Path, interpreter: Interpreter, instant: str) -> None:
    how = "deepsleep()" if instant == "deep sleep" else "reset()"

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, f"import machine\nprint('off')\nmachine.{how}")
        async with powered(board):
            await printed(board, "off")
            pid = board.pid
            await until(lambda: pid is None or not exists(pid), what="the end of the program")
            assert board.running
            await board.stop()
            assert not board.running

    run(scenario())


def test_starting_and_stopping_again_and_again(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, FOREVER)
        descriptors = len(os.listdir("/proc/self/fd"))
        took_s: list[float] = []
        for number in range(5):
            start_s = time.monotonic()
            await board.start()
            took_s.append(time.monotonic() - start_s)
            if number % 2:
                await board.stop()
            else:
                await board.power_cut()
        assert board.boots == 5
        assert len(os.listdir("/proc/self/fd")) == descriptors
        print(f"start: {', '.join(f'{took * 1000:.0f}' for took in took_s)} ms")

    run(scenario())


def test_two_hosts_cannot_run_one_board(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board, other = (make_board(tmp_path, interpreter, FOREVER) for _ in range(2))
        async with powered(board):
            with pytest.raises(ConfigError, match="is running already"):
                await other.start()
            with pytest.raises(ConfigError, match="is running already"):
                await board.start()
            assert board.running
            assert other.taken() == board.taken()

    run(scenario())


# What it leaves behind.


def test_nothing_is_left_outside_its_directory(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "open('/x', 'w').close()\n" + FOREVER)
        async with powered(board):
            await printed(board, "up")
        assert {path.name for path in tmp_path.iterdir()} == {"board"}
        assert {path.name for path in board.directory.iterdir()} == {
            "circuit.json",
            "flash.img",
            "hardware.page",
            "installed.json",
            "signals.page",
        }

    run(scenario())


def test_the_board_ends_with_its_host_however_that_ends(tmp_path: Path, interpreter: Interpreter) -> None:
    host = f"""
import asyncio, sys, time
from pathlib import Path
from gateway.emulator import EmulatedBoard, Interpreter
from gateway.profile import load_profile
async def main():
    node = Path({str(NODE)!r})
    board = EmulatedBoard(load_profile(node), node.parent, {{}}, directory=Path({str(tmp_path)!r}), seed=1,
        interpreter=Interpreter({interpreter.kind!r}, {interpreter.where!r}), firmware=False,
        files={{"/main.py": "while True:\\n    try:\\n        while True: pass\\n    except BaseException: pass"}})
    await board.start()
    print(board.pid, flush=True)
    time.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", host], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert exists(pid)
        process.kill()

    async def gone() -> None:
        await until(lambda: not exists(pid), what="the end of the board")

    run(gone())


# Truth.


def test_taken_is_exact_after_power_cuts_over_all_boots(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, MEASURE_FOREVER, truth=True)
        before = 0
        for _ in range(3):
            async with powered(board):
                await printed(board, "taken 5")
                await board.power_cut()
            told = [line for line in board.console_tail if line.startswith("taken ")]
            heard = int(told[-2].split()[1])  # the cut may fall into the last line
            taken = board.taken()["climate"] - before
            assert heard < taken <= heard + 2  # one may have been taken that it had no time to tell of
            before += taken
            board.console_tail.clear()
        log = [json.loads(line)["taken"] for line in board.truth_log.read_text().splitlines()]
        assert log == sorted(set(log) & set(range(1, before + 1)))
        assert len(log) >= before - 3  # counted first, written down then: a cut can fall between the two
        assert board.taken() == {"climate": before, "vitals": 0}

    run(scenario())


def test_a_board_that_was_never_on_has_taken_nothing(tmp_path: Path, interpreter: Interpreter) -> None:
    board = make_board(tmp_path, interpreter, FOREVER)
    assert board.taken() == {"climate": 0, "vitals": 0}
    assert (board.boots, board.reset_cause, board.led, board.running) == (0, 0, False, False)
    with pytest.raises(ConfigError, match="is off"):
        board.drive(0, True)
    assert not tmp_path.joinpath("board").exists()


# Memory and console.


def test_the_firmware_sees_the_heap_of_a_board(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import gc
gc.collect()
print(gc.mem_free())
kept = []
try:
    while True:
        kept.append(bytearray(1000))
except MemoryError:
    count = len(kept)
    kept = None
    print(count)
"""
    free_bytes, kilobytes = map(int, output(tmp_path, interpreter, program))
    heap_bytes = 2 * load_profile(NODE).board.heap_bytes
    # What is missing is the file system's cache, and the program itself; a board has both in its heap, too.
    assert 0.97 * heap_bytes <= free_bytes <= heap_bytes
    assert 0.85 * heap_bytes <= kilobytes * 1000 <= heap_bytes


def test_console_lines_arrive_whole_bounded_and_whatever_they_hold(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import sys
print("a" * 2500)
sys.stdout.buffer.write(b"\\xff\\xfe bad\\r\\n")
print("\\u00e9t\\u00e9")
sys.stdout.write("no newline")
"""
    lines: list[str] = []
    assert output(tmp_path, interpreter, program, console=lines.append) == lines
    assert [len(line) for line in lines[:3]] == [1000, 1000, 500]
    assert lines[3:] == ["\ufffd\ufffd bad", "été", "no newline"]


def test_a_flood_of_output_keeps_only_the_newest_lines(tmp_path: Path, interpreter: Interpreter) -> None:
    lines = output(tmp_path, interpreter, "for n in range(5000):\n    print('line', n)")
    assert lines == [f"line {number}" for number in range(4800, 5000)]


# Models.

PROFILE = """
[node]
name = "pond-node"
board = "esp32-devkitc"
title = "Pond"
[buses.i2c0]
kind = "i2c"
scl = "GPIO22"
sda = "GPIO21"
frequency_hz = 100000
[sensors.pond]
chip = "depth77"
bus = "i2c0"
address = 0x77
period_ms = 200
[sensors.pond.quantities]
level = { unit = "mm", range = [0, 5000], precision = 1, title = "Water level" }
"""
MODEL = """
from chips import I2CChip

class Chip(I2CChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.level = 1000
        print("options", config["chip"], config["address"])

    def write_register(self, register, value):
        if register == 0x01:
            self.level += 1
            self.taken({"level": self.level})

    def read_register(self, register):
        return self.level >> 8 if register == 2 else self.level & 255
"""
DRIVER = "QUANTITIES = (('level', 0),)\nclass Sensor:\n    pass\n"


def pond(tmp_path: Path, interpreter: Interpreter, program: str, model: str | None) -> EmulatedBoard:
    node = tmp_path / "pond"
    (node / "models").mkdir(parents=True)
    (node / "sensors").mkdir()
    (node / "sensors" / "depth77.py").write_text(DRIVER)
    if model is not None:
        (node / "models" / "depth77.py").write_text(model)
    (node / "profile.toml").write_text(PROFILE)
    profile = load_profile(node / "profile.toml")
    return make_board(tmp_path, interpreter, program, profile=profile, node_dir=node, truth=True)


def test_a_model_of_the_users_own_is_soldered_in(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
for _ in range(3):
    bus.writeto_mem(0x77, 0x01, b"\\x01")
print(bus.scan(), int.from_bytes(bus.readfrom_mem(0x77, 0x02, 2), "big"))
"""

    async def scenario() -> None:
        board = pond(tmp_path, interpreter, program, MODEL)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        assert list(board.console_tail) == ["options depth77 119", "[119] 1003"]
        assert board.taken() == {"pond": 3}
        assert [json.loads(line)["values"]["level"] for line in board.truth_log.read_text().splitlines()] == [
            1001,
            1002,
            1003,
        ]

    run(scenario())


def test_a_chip_without_a_model_is_an_error_that_says_where_to_write_one(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    board = pond(tmp_path, interpreter, FOREVER, None)
    with pytest.raises(ConfigError, match=r'no model of the chip "depth77".*models/depth77\.py'):
        run(board.start())
    assert not board.running


def test_a_model_with_a_mistake_is_shown_with_its_traceback(tmp_path: Path, interpreter: Interpreter) -> None:
    board = pond(
        tmp_path, interpreter, FOREVER, "class Chip:\n    def __init__(self, config, seed):\n        nonsense\n"
    )
    with pytest.raises(BoardFailed, match=r"(?s)depth77\.py\", line 3.*NameError"):
        run(board.start())
    assert not board.running


# Whole boards.


def test_the_firmware_runs_and_its_samples_are_counted(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        gateway = {"host": "127.0.0.1", "port": 9, "tls": False}  # nobody there: it samples all the same
        settings = SETTINGS | {"token": "t" * 43, "gateway": gateway}
        node_dir, profile = NODE.parent, load_profile(NODE)
        board = EmulatedBoard(
            profile, node_dir, settings, directory=tmp_path, seed=3, interpreter=interpreter, truth=True
        )
        async with powered(board):
            await until(lambda: board.taken()["climate"] >= 3 and board.taken()["vitals"] >= 1, what="three samples")
            assert (board.boots, board.ended) == (1, None)
            assert not any("Traceback" in line for line in board.console_tail), "\n".join(board.console_tail)
        ticks = [
            entry["ticks_ms"]
            for entry in map(json.loads, board.truth_log.read_text().splitlines())
            if entry["sensor"] == "climate"
        ]
        periods = [(later - earlier) % (1 << 30) for earlier, later in itertools.pairwise(ticks)]
        assert all(500 < period < 1500 for period in periods)

    run(scenario())


def test_many_boards_at_once(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        profile = load_profile(NODE)
        boards = [
            make_board(tmp_path, interpreter, FOREVER, directory=tmp_path / str(seed), seed=seed, profile=profile)
            for seed in range(10)
        ]
        try:
            await asyncio.gather(*(board.start() for board in boards))
            pids = [board.pid for board in boards]
            assert len(set(pids)) == len(boards)
            await asyncio.gather(*(board.stop() for board in boards))
        finally:
            await asyncio.gather(*(board.power_cut() for board in boards))
        assert not any(pid is not None and exists(pid) for pid in pids)

    run(scenario())


def test_an_interpreter_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "micropython"
    deaf.write_text("#!/bin/sh\necho 'I only sleep'\nexec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(board_module, "_START_S", 0.5)
    board = make_board(tmp_path, Interpreter("program", str(deaf)), FOREVER)
    with pytest.raises(BoardFailed, match="I only sleep"):
        run(board.start())
    assert (board.running, board.pid) == (False, None)
