"""What goes wrong on an I2C bus of the emulated board, as a program sees it at its controller and its pins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import Interpreter
from gateway.errors import ConfigError
from tests.aio import run
from tests.gateway.emulator.bench import make_board, powered, printed

PROGRAM = """
import json, time
from machine import I2C, Pin
scl, sda, go_on = Pin(22), Pin(21, Pin.IN, Pin.PULL_UP), Pin(5, Pin.IN)
bus = I2C(0, scl=scl, sda=sda)

def ids(times):
    found = []
    for _ in range(times):
        try:
            found.append(bus.readfrom_mem(0x76, 0xD0, 1)[0])
        except OSError as error:
            found.append(-error.errno)
    return found

def clocked():
    levels = []
    scl.init(Pin.OPEN_DRAIN, value=1)
    for _ in range(9):
        levels.append(sda.value())
        scl.value(0)
        scl.value(1)
    return levels + [sda.value()]

for turn in range(7):
    print(turn, json.dumps([bus.scan(), ids(64), [sda.value()] + clocked(), ids(1)]))
    while go_on.value() == turn % 2:
        time.sleep_ms(1)
"""
GOOD = [0x60] * 64
HIGH, HELD = [1] * 11, [0] * 10 + [1]


def test_each_fault_is_what_a_program_would_see_of_it(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, PROGRAM)
        turn = 0

        async def seen(fault: str | None = None) -> list[Any]:
            """What the program prints in its next turn: scan, ids, SDA before and while it is clocked, an id then."""
            nonlocal turn
            if turn:
                board.fault("climate", fault)
                board.drive(5, turn % 2 == 1)
            await printed(board, f"{turn} [[")
            turn += 1
            found: list[Any] = json.loads(board.console_tail[-1].partition(" ")[2])
            return found

        board.fault("climate", "stuck")  # it has no power yet, so there is nothing to be stuck
        async with powered(board):
            assert await seen() == [[0x76], GOOD, HIGH, [0x60]]
            assert await seen("missing") == [[], [-19] * 64, HIGH, [-19]]
            _, ids, _, _ = await seen("nack")
            assert 16 <= ids.count(-19) <= 48
            assert set(ids) == {-19, 0x60}
            _, ids, _, _ = await seen("crc")
            assert all((found ^ 0x60).bit_count() == 1 for found in ids)
            _, ids, _, _ = await seen("garbage")
            assert len(set(ids)) > 32
            assert board.faults() == {"climate": "garbage"}
            assert await seen("stuck") == [[], [-116] * 64, HELD, [0x60]]
            assert board.faults() == {}
            board.drive(21, False)  # a wire to ground is no chip: no clock frees it
            assert await seen() == [[], [-116] * 64, [0] * 11, [-116]]

    run(scenario())


def test_a_fault_that_is_none_and_a_sensor_that_is_not_there_are_refused(tmp_path: Path) -> None:
    board = make_board(tmp_path, Interpreter("program", "none"), "")
    assert board.faults() == {}
    with pytest.raises(ConfigError, match='no sensor "soil"'):
        board.fault("soil", "missing")
    with pytest.raises(ConfigError, match="there are: missing, stuck, crc, nack, garbage"):
        board.fault("climate", "tired")
