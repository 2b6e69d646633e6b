"""Does to emulated boards what a schedule says (faults.py), and ends it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from gateway.emulator.board import EmulatedBoard
from gateway.emulator.faults import Fault
from gateway.errors import ConfigError


async def play(
    faults: Iterable[Fault],
    boards: Mapping[str, EmulatedBoard],
    say: Callable[[str], None],
    *,
    seconds: float | None = None,
) -> None:
    """`faults` at their times from now on, those that begin within `seconds`; returns when all have ended. `say` hears
    of each as it begins. A board that cannot be started again is said, too: the others go on."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    async with asyncio.TaskGroup() as under_way:
        for fault in faults:
            if seconds is not None and fault.at_s > seconds:
                break
            await asyncio.sleep(start_s + fault.at_s - loop.time())
            say(f"{fault.at_s:8.1f} s  {fault.board}: {fault.words}")
            under_way.create_task(_strike(boards[fault.board], fault, say))


async def _strike(board: EmulatedBoard, fault: Fault, say: Callable[[str], None]) -> None:
    try:
        await strike(board, fault)
    except ConfigError as error:
        say(f"{fault.board}: {error}")


async def strike(board: EmulatedBoard, fault: Fault) -> None:
    """One fault, from its beginning to its end. Raises ConfigError where the board cannot be started again."""
    await _STRIKES[fault.kind](board, fault)


async def _wifi(board: EmulatedBoard, fault: Fault) -> None:
    try:
        if fault.what == "gone":
            board.out_of_reach(True)
        else:
            board.show_rssi(round(fault.value))
        await asyncio.sleep(fault.for_s)
    finally:
        if fault.what == "gone":
            board.out_of_reach(False)
        else:
            board.show_rssi(None)


async def _power(board: EmulatedBoard, fault: Fault) -> None:
    if fault.what == "brown-out":
        await board.brown_out(torn=fault.value, wait_s=fault.for_s)
        return
    off_s = fault.for_s
    if fault.what == "torn":  # half of the time to get that far, half without power
        off_s /= 2
        await board.cut_power_within(off_s, fault.operation, fault.value)
    else:
        await board.power_cut()
    await asyncio.sleep(off_s)
    await board.start()


async def _clock(board: EmulatedBoard, fault: Fault) -> None:
    try:
        board.run_fast(round(fault.value if fault.what == "fast" else -fault.value))
        await asyncio.sleep(fault.for_s)
    finally:
        board.run_fast(0)


async def _bus(board: EmulatedBoard, fault: Fault) -> None:
    try:
        board.fault(fault.sensor, fault.what)
        await asyncio.sleep(fault.for_s)
    finally:
        board.fault(fault.sensor, None)


_STRIKES: Final[dict[str, Callable[[EmulatedBoard, Fault], Awaitable[None]]]] = {
    "wifi": _wifi,
    "power": _power,
    "clock": _clock,
    "bus": _bus,
}
