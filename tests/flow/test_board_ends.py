"""A board's program ends in every way a program can: what survives, counted from the chips' truth log and by MQTT."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.reckoning import Reckoning
from tests.rig import ROOT, GatewayProgram, Subscriber, add_device, make_board, quick_node, settle, system


def with_fault(program: str) -> dict[str, str]:
    """Files for a board whose node does, 1.5 s after its start and in its own loop, what `program` says; once in its
    life."""
    node = (ROOT / "firmware" / "device" / "node.py").read_text()
    main_loop = "            now = self._clock.ticks()\n            wait_ms = self._buttons.poll(now)"
    assert node.count(main_loop) == 1
    hook = "            fault.look(self)\n"
    node = node.replace("import gc\n", "import gc\n\nimport fault\n", 1).replace(main_loop, hook + main_loop)
    fault = (
        "import os\n"
        "def strike(node):\n" + "".join(f"    {line}\n" for line in program.splitlines()) + "\n"
        "def look(node):\n"
        "    if node._clock.uptime_ms() > 1500 and 'struck' not in os.listdir('/'):\n"
        "        open('/struck', 'w').close()\n"
        "        print('strikes')\n"
        "        strike(node)\n"
    )
    return {"/device/node.py": node, "/fault.py": fault}


ENDS = {
    "MemoryError": "kept = []\nwhile True:\n    kept.append(bytearray(10000))",
    "an exception nobody expected": "raise ValueError('out of the blue')",
}


async def survives(
    tmp_path: Path, gateway: GatewayProgram, port: int, subscriber: Subscriber, files: dict[str, str], what: str
) -> tuple[EmulatedBoard, Reckoning]:
    """Let the board run into its end, come back, and deliver."""
    profile = quick_node(tmp_path)
    token = add_device("greenhouse", profile, gateway.state)
    board = make_board(tmp_path / "board", profile, token, port, files=files)
    try:
        await board.start()
        await until(lambda: board.boots == 2, timeout_s=25, what=f"{what}: the second boot")
        before = sum(board.taken().values())
        await until(lambda: sum(board.taken().values()) > before + 15, timeout_s=20, what="samples after it")
        await board.stop()
        return board, await settle(board, subscriber)
    finally:
        await board.power_cut()


def kept_its_promise(outcome: Reckoning) -> None:
    assert outcome.problems == []
    assert (outcome.lost, outcome.invented, outcome.holes) == (0, 0, 0)
    accounted = outcome.delivered + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
    assert accounted == outcome.taken > 20


@pytest.mark.campaign
@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_dies_comes_back_and_says_what_it_may_have_lost(tmp_path: Path, end: str) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            subscriber = Subscriber(broker.port)
            try:
                board, outcome = await survives(tmp_path, gateway, port, subscriber, with_fault(ENDS[end]), end)
                kept_its_promise(outcome)
                assert outcome.unknown_tail <= 15  # what a link that works has not yet carried
                assert board.endings[0].how == "reset"
            finally:
                subscriber.close()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_a_program_that_hangs_is_bitten_by_the_watchdog(tmp_path: Path) -> None:
    files = with_fault("while True:\n    pass")
    port_file = (ROOT / "firmware" / "device" / "port.py").read_text()
    assert port_file.count("_WATCHDOG_MS = const(30000)") + port_file.count("_WATCHDOG_MS = 30000") == 1
    port_file = port_file.replace("_WATCHDOG_MS = 30000", "_WATCHDOG_MS = 3000").replace(
        "_WATCHDOG_MS = const(30000)", "_WATCHDOG_MS = const(3000)"
    )

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            subscriber = Subscriber(broker.port)
            try:
                board, outcome = await survives(
                    tmp_path, gateway, port, subscriber, files | {"/device/port.py": port_file}, "watchdog"
                )
                kept_its_promise(outcome)
                assert board.endings[0].how == "watchdog"
            finally:
                subscriber.close()

    run(flow(), timeout_s=110)


@pytest.mark.campaign
def test_a_crash_of_the_interpreter_costs_no_more_than_a_power_cut(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                for crash in range(3):
                    count = subscriber.of().samples
                    await until(
                        lambda count=count: subscriber.of().samples > count + 10, timeout_s=20, what="samples before"
                    )
                    assert board.pid is not None
                    os.kill(board.pid, signal.SIGSEGV)
                    await until(lambda crash=crash: board.boots == crash + 2, what="the next boot")
                await until(lambda: len(subscriber.of().boots) == 4, timeout_s=20, what="samples of the last boot")
                await board.stop()
                outcome = await settle(board, subscriber)
                kept_its_promise(outcome)
                assert [end.how for end in board.endings][:3] == ["died"] * 3
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path, period_ms=50)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            try:
                for boot in range(3):
                    await board.start()
                    count = subscriber.of().samples
                    await until(lambda count=count: subscriber.of().samples > count + 15, timeout_s=20, what="samples")
                    await board.stop()
                    assert board.boots == boot + 1
                outcome = await settle(board, subscriber)
                assert outcome.problems == []
                assert outcome.delivered == outcome.taken
                assert outcome.gaps == 0
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)
