"""The schedule of faults, and that a board has them and is whole again."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import pytest

from gateway.emulator import BoardFailed, Interpreter
from gateway.emulator.faults import BUS_FAULTS, KINDS, Fault, kinds_of, schedule
from gateway.emulator.page import FAULTS
from gateway.emulator.playfaults import play, strike
from gateway.errors import ConfigError
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, powered, printed

BOARDS = ("soil-1", "soil-2")


def first(seconds: float, seed: int = 7, **options: float) -> list[Fault]:
    faults = schedule(KINDS, seed, BOARDS, ("air", "light"), **options)  # type: ignore[arg-type]
    return list(itertools.takewhile(lambda fault: fault.at_s < seconds, faults))


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    assert first(600) == first(600)
    assert first(600) != first(600, seed=8)
    assert [fault.at_s for fault in first(600)] == sorted(fault.at_s for fault in first(600))


def test_a_kind_more_or_a_board_more_changes_nothing_of_the_others() -> None:
    alone = schedule(["power"], 7, ["soil-2"])
    among = (fault for fault in first(600) if (fault.board, fault.kind) == ("soil-2", "power"))
    assert list(itertools.islice(alone, 10)) == list(itertools.islice(among, 10))


def test_everything_happens_everywhere_and_each_fault_ends_before_the_next_of_its_kind() -> None:
    faults = first(7200)
    assert len(Counter(fault.what for fault in faults)) == 7 + len(BUS_FAULTS)
    assert {fault.sensor for fault in faults if fault.kind == "bus"} == {"air", "light"}
    for board, kind in itertools.product(BOARDS, KINDS):
        mine = [fault for fault in faults if (fault.board, fault.kind) == (board, kind)]
        assert len(mine) > 100
        assert all(one.at_s + one.for_s + 5 <= after.at_s for one, after in itertools.pairwise(mine))
    assert BUS_FAULTS == FAULTS


def test_a_pace_stretches_the_schedule() -> None:
    for slow, quick in zip(first(100), first(10, pace=0.1), strict=True):
        assert (quick.at_s, quick.for_s) == pytest.approx((slow.at_s / 10, slow.for_s / 10))
        assert (quick.what, quick.value, quick.operation) == (slow.what, slow.value, slow.operation)


def test_without_a_bus_the_other_kinds_go_on() -> None:
    assert {fault.kind for fault in itertools.islice(schedule(KINDS, 7, BOARDS), 100)} == {"wifi", "power", "clock"}


def test_kinds_are_read_and_a_wrong_one_is_a_sentence() -> None:
    assert kinds_of("wifi, bus,wifi") == ("wifi", "bus")
    with pytest.raises(ConfigError, match='no fault "pwer": wifi, power, clock, bus; did you mean "power"'):
        kinds_of("wifi,pwer")


def test_each_fault_has_its_words() -> None:
    words = {fault.what: fault.words for fault in first(7200)}
    assert words["gone"].startswith("Wi-Fi out of reach for ")
    assert "in flash operation" in words["torn"]
    assert "%" in words["brown-out"]
    assert all("{" not in text for text in words.values())


SHOW = """
import machine, network, time
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
wlan = network.WLAN()
wlan.active(True)
wlan.connect("home", "sesame-sesame")
print("cause", machine.reset_cause())
last = None
while True:
    try:
        bus.readfrom_mem(0x76, 0xD0, 1)
        answers = "answers"
    except OSError as error:
        answers = error.errno
    seen = wlan.isconnected(), answers
    if seen != last:
        last = seen
        print("sees", *seen)
    time.sleep_ms(2)
"""


def test_a_board_has_its_faults_and_is_whole_again(tmp_path: Path, interpreter: Interpreter) -> None:
    faults = [
        Fault(0.0, "b", "wifi", "gone", 0.3),
        Fault(0.1, "b", "bus", "missing", 0.3, sensor="climate"),
        Fault(0.1, "b", "clock", "fast", 0.3, value=300),
        Fault(0.6, "b", "wifi", "weak", 0.1, value=-90),
        Fault(0.8, "b", "power", "off", 0.1),
        Fault(99.0, "b", "power", "off", 0.1),
    ]
    said: list[str] = []

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, SHOW)
        async with powered(board):
            await printed(board, "sees True answers")
            await play(faults, {"b": board}, said.append, seconds=5)
            assert board.running
            assert board.faults() == {}
            await printed(board, "cause 1", times=2)
            await printed(board, "sees True answers", times=3)
            lines = list(board.console_tail)
            assert lines.index("sees False answers", 3) < lines.index("sees False 19")
            assert board.boots == 2

    run(scenario())
    assert said == [
        "     0.0 s  b: Wi-Fi out of reach for 0.3 s",
        "     0.1 s  b: climate does not answer for 0.3 s",
        "     0.1 s  b: clock 300 ppm fast for 0.3 s",
        "     0.6 s  b: Wi-Fi signal of -90 dBm for 0.1 s",
        "     0.8 s  b: power cut for 0.1 s",
    ]


@pytest.mark.parametrize("what", ["torn", "brown-out"])
def test_a_fault_of_the_power_strikes_in_the_flash(tmp_path: Path, interpreter: Interpreter, what: str) -> None:
    program = """
import machine
print("cause", machine.reset_cause())
while True:
    with open("/log", "w") as file:
        file.write("x" * 300)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "cause 1")
            operations = board.flash_operations
            await strike(board, Fault(0, "b", "power", what, 0.5, value=0.5, operation=5))
            assert board.boots == 2
            assert board.endings[-1].how == "power"
            assert board.endings[-1].flash_programs <= operations + 5 or what == "brown-out"
            await printed(board, "cause 1", times=2)

    run(scenario())


def test_a_board_that_does_not_start_again_is_said_and_the_others_go_on() -> None:
    class Broken:
        async def power_cut(self) -> None:
            pass

        async def start(self) -> None:
            raise BoardFailed("the emulated board b did not start")

    said: list[str] = []
    run(play([Fault(0, "b", "power", "off", 0)], {"b": Broken()}, said.append))  # type: ignore[dict-item]
    assert said[1] == "b: the emulated board b did not start"


def test_what_is_cancelled_ends_its_faults(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "")
        await board.start()
        faults = [Fault(0, "b", "bus", "nack", 60, sensor="climate")]
        task = asyncio.create_task(play(faults, {"b": board}, lambda line: None))
        await until(board.faults, what="the fault")
        task.cancel()
        await asyncio.wait([task])
        assert board.faults() == {}
        await board.power_cut()

    run(scenario())
