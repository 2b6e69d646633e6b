"""What happens to a board from outside: its network goes, its supply sags, its clock runs wrong; and what wears."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard, Interpreter
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, powered, printed


def test_a_network_out_of_reach_is_lost_and_joined_again_by_the_chip_itself(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = """
import network, time
wlan = network.WLAN()
wlan.active(True)
wlan.connect("home", "sesame-sesame")
last = None
while True:
    status = wlan.status()
    if status != last:
        last = status
        print("status", status, len(wlan.scan()))
        if status == network.STAT_GOT_IP:
            print("rssi", wlan.status("rssi"))
    if status == network.STAT_NO_AP_FOUND:
        wlan.connect("home", "sesame-sesame")
    time.sleep_ms(1)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        board.show_rssi(-91)
        async with powered(board):
            await printed(board, "rssi -91")
            board.out_of_reach(True)
            await printed(board, "status 200 0")
            board.out_of_reach(False)
            await printed(board, "status 1010 1", times=2)
            await board.power_cut()
            board.out_of_reach(True)  # holds over a start
            await board.start()
            await printed(board, "status 201 0", times=2)
            board.out_of_reach(False)
            await printed(board, "status 1010 1", times=3)
        assert [line for line in board.console_tail if line.startswith("status")][:5] == [
            "status 1001 1",
            "status 1010 1",
            "status 200 0",
            "status 1001 1",
            "status 1010 1",
        ]

    run(scenario())


def test_a_clock_that_runs_wrong_gains_what_it_should_and_never_jumps(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
last = start = time.ticks_us()
print("from", start)
while True:
    now = time.ticks_us()
    assert 0 <= time.ticks_diff(now, last) < 500000
    last = now
    time.sleep_ms(1)
    print("at", time.ticks_diff(time.ticks_us(), start))
"""

    def gained(board: EmulatedBoard) -> int:
        """Microseconds that the board's clock is ahead of ours, plus a constant, minus how late a line arrives."""
        return int(board.console_tail[-1].split()[1]) - time.monotonic_ns() // 1000

    async def ahead(board: EmulatedBoard) -> int:
        """... without the lateness, near enough: the best of some lines."""
        seen: list[int] = []

        def enough() -> bool:
            seen.append(gained(board))
            return len(seen) > 30

        await until(enough, what="lines", every_s=0.002)
        return max(seen)

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "at")
            before = await ahead(board)
            start_s = time.monotonic()
            board.run_fast(100_000)  # far more than any clock, to be seen soon
            await until(lambda: time.monotonic() > start_s + 0.3, what="a while")
            board.run_fast(0)
            took_us = (time.monotonic() - start_s) * 1e6
            fast = await ahead(board) - before
            assert fast == pytest.approx(took_us * 0.1, abs=15_000)
            board.run_fast(-100_000)
            await until(lambda: gained(board) < before, what="a clock that lost it again", timeout_s=5)
            assert board.ended is None

    run(scenario())


def test_a_brown_out_is_a_power_up_and_may_tear_what_is_being_written(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine, time
print("cause", machine.reset_cause(), machine.RTC().memory(), time.time() < 100)
machine.RTC().memory(b"kept")
n = 0
while True:
    with open("/log", "w") as file:
        file.write("x" * 300)
    n += 1
    print("written", n)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "written 3")
            await board.brown_out(torn=0.5)
            await printed(board, "cause 1 b'' True", times=2)
            board.console_tail.clear()
            await printed(board, "written 3")
            await board.brown_out()
            await printed(board, "cause 1 b'' True")
            assert [ending.how for ending in board.endings] == ["power", "power"]
            wear = board.flash_wear()
        assert board.flash_erases >= sum(wear.blocks) >= 2
        assert wear.worst == max(wear.blocks) >= 1
        assert wear.mean == pytest.approx(sum(wear.blocks) / 512)
        assert sum(board.flash_wear().blocks) == board.flash_erases

    run(scenario())


def test_a_brown_out_does_not_wait_for_ever_for_a_board_that_writes_nothing(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "import time\nprint('up')\nwhile True:\n    time.sleep_ms(5)\n")
        async with powered(board):
            await printed(board, "up")
            await board.brown_out(torn=0.5, wait_s=0.05)
            await printed(board, "up", times=2)
            assert (board.boots, board.reset_cause) == (2, 1)

    run(scenario())
