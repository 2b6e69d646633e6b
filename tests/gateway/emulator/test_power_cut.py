"""Power cuts inside the flash: at a chosen operation, with a part of its bytes written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard, Interpreter
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, powered

WRITER = """
import os
try:
    with open("/note") as file:
        print("found", file.read())
except OSError:
    print("found nothing")
number = 0
while number < 50:
    number += 1
    with open("/note.new", "w") as file:
        file.write("%08d" % number * 40)
    os.rename("/note.new", "/note")
    print("wrote", number)
"""


async def off(board: EmulatedBoard) -> None:
    await until(lambda: not board.running, what="the power cut")


def last_wrote(board: EmulatedBoard) -> int:
    return max((int(line.split()[1]) for line in board.console_tail if line.startswith("wrote ")), default=0)


def test_the_power_goes_in_the_chosen_operation(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, WRITER)
        board.cut_power_at(30, torn=0.25)
        await board.start()
        await off(board)
        assert board.flash_operations == 29  # the thirtieth was never completed
        assert board.flash_programs + board.flash_erases == 29
        assert board.flash_bytes >= 32 * board.flash_programs
        (ending,) = board.endings
        assert (ending.boot, ending.how, ending.flash_programs) == (1, "power", board.flash_programs)
        async with powered(board):  # which is allowed without a word about the cut, and it does not come again
            await until(lambda: board.ended, what="the end of main.py")
        assert (board.boots, board.reset_cause) == (2, 1)
        assert board.flash_operations > 29
        assert last_wrote(board) == 50

    run(scenario())


@pytest.mark.parametrize("torn", [0.0, 0.25, 1.0])
def test_so_much_of_the_write_is_on_the_flash(tmp_path: Path, interpreter: Interpreter, torn: float) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "with open('/x', 'wb') as file:\n    file.write(b'\\xa7' * 3000)\n")
        board.cut_power_at(12, torn=torn)  # amid the data, which littlefs writes 128 bytes at a time
        await board.start()
        await off(board)
        written = board.directory.joinpath("flash.img").read_bytes().count(b"\xa7")
        assert written > 128
        assert written % 128 == 128 * torn % 128
        assert "/x" not in board.flash.files() or board.flash.files()["/x"] == b""

    run(scenario())


def test_after_a_cut_anywhere_the_board_comes_up_with_what_was_complete(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    chance = random.Random(11)

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, WRITER)
        for cut in range(12):
            board.console_tail.clear()
            board.cut_power_at(chance.randint(1, 90), torn=chance.choice((0, 0.3, 0.7, 1)))
            await board.start()
            await until(lambda: not board.running or board.ended, what="the cut, or the end of main.py")
            assert not board.running, "the program ended before the cut"
            wrote = last_wrote(board)
            await board.power_cut()
            note = board.flash.files().get("/note", b"")
            assert len(note) in {0, 320}
            number = int(note[:8] or 0)
            assert note == b"%08d" % number * 40 if number else note == b""
            assert number in {wrote, wrote + 1} or wrote == 0, (cut, number, wrote)
        board.cut_power_at(None)
        board.console_tail.clear()
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            assert board.ended == "done"
        assert board.boots == 13
        assert [ending.boot for ending in board.endings] == list(range(1, 14))

    run(scenario())


def test_a_cut_while_the_first_file_system_is_made(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "")
        board.directory.mkdir()
        board.flash.erase()
        board.flash.install = lambda *_: []  # type: ignore[method-assign]  # the board itself is to format it
        board.cut_power_at(1, torn=0.5)
        await board.start()
        await off(board)
        assert board.boots == 1
        async with powered(board):
            await until(lambda: board.ended, what="the second try")
            assert board.boots == 2
        assert board.flash_programs > 0

    run(scenario())


def test_what_cannot_be_is_refused(tmp_path: Path, interpreter: Interpreter) -> None:
    board = make_board(tmp_path, interpreter, "")
    for operation, torn in ((0, 0.5), (1, 1.5)):
        with pytest.raises(ValueError, match="operation counts from 1"):
            board.cut_power_at(operation, torn)
