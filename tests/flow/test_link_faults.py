"""A bad network between board and gateway: nothing is lost, and the board notices a dead connection in time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.faults import FaultProxy
from tests.rig import Subscriber, add_device, hurried, make_board, quick_node, settle, system

PING_S, PONG_S = 15.0, 10.0
"""firmware/device/link.py: when it asks, and how long it waits for the answer."""


class Console:
    """The board's own words, with when they came."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def __call__(self, line: str) -> None:
        self.lines.append((time.monotonic(), line))

    def first_after(self, since_s: float, *texts: str) -> float | None:
        """Seconds from `since_s` until the board said one of `texts`."""
        for at_s, line in self.lines:
            if at_s >= since_s and any(text in line for text in texts):
                return at_s - since_s
        return None


async def samples_more(board: EmulatedBoard, count: int) -> None:
    before = sum(board.taken().values())
    await until(lambda: sum(board.taken().values()) >= before + count, timeout_s=20, what="samples during the fault")


FAULTS = {
    "cut by a reset": lambda proxy: proxy.cut("rst"),
    "cut in order": lambda proxy: proxy.cut("fin"),
    "refused": lambda proxy: proxy.refuse(),
    "slow": lambda proxy: proxy.slow(2500),
    "late by 300 ms": lambda proxy: proxy.delay(0.3),
    "duplicate": lambda proxy: proxy.duplicate(),
    "stalled": lambda proxy: proxy.stall(),
    "gateway silently gone": lambda proxy: proxy.half_open("gateway"),
    "board silently gone": lambda proxy: proxy.half_open("board"),
}


SOME = ("duplicate", "gateway silently gone", "board silently gone")


@pytest.mark.parametrize(
    "names", [pytest.param(SOME, id="some"), pytest.param(tuple(FAULTS), id="all", marks=pytest.mark.campaign)]
)
def test_no_fault_of_the_link_loses_or_doubles_a_sample(tmp_path: Path, names: tuple[str, ...]) -> None:
    async def flow() -> None:
        console = Console()
        with system(tmp_path) as (broker, gateway, port), FaultProxy(port) as proxy:
            profile = quick_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, proxy.port, files=hurried(10), console=console)
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                await until(lambda: subscriber.of().samples > 5, timeout_s=20, what="the first samples")
                for name in names:
                    began_s = time.monotonic()
                    FAULTS[name](proxy)
                    await samples_more(board, 6)
                    if name in {"stalled", "gateway silently gone"}:
                        await until(
                            lambda since_s=began_s: console.first_after(since_s, "does not answer"),
                            timeout_s=(PING_S + PONG_S) / 10 + 5,
                            what=f"{name}: noticing it",
                        )
                    proxy.heal()
                    taken = sum(board.taken().values())
                    await until(
                        lambda taken=taken: subscriber.of().samples > taken + 3,  # so it is connected anew
                        timeout_s=20,
                        what=f"{name}: going on",
                    )
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.delivered == outcome.taken > 30
                assert not outcome.problems
                assert (outcome.lost, outcome.invented, outcome.holes, outcome.gaps) == (0, 0, 0, 0)
                assert len(subscriber.of().boots) == 1
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_a_dead_link_is_noticed_within_the_ping_deadline(tmp_path: Path) -> None:
    """With the firmware's own deadlines; a board for each way to be dead."""

    async def one(fault: str, board: EmulatedBoard, console: Console, proxy: FaultProxy, seen: Subscriber) -> None:
        got = seen.of(board.name)
        await board.start()
        await until(lambda: got.samples > 5, timeout_s=20, what="the first samples")
        began_s = time.monotonic()
        FAULTS[fault](proxy)
        await until(lambda: console.first_after(began_s, "does not answer", "lost"), timeout_s=40, what="noticing it")
        took_s = console.first_after(began_s, "does not answer", "lost")
        assert took_s is not None
        print(f"{fault}: noticed after {took_s:.1f} s")
        assert took_s < PING_S + PONG_S + 1.5
        proxy.heal()
        await until(lambda: got.samples > 250, timeout_s=40, what="the backlog")
        await board.stop()
        outcome = await settle(board, seen)
        assert outcome.delivered == outcome.taken
        assert (outcome.problems, outcome.gaps) == ([], 0)

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port), FaultProxy(port) as first, FaultProxy(port) as second:
            profile = quick_node(tmp_path)
            subscriber = Subscriber(broker.port)
            boards = []
            for proxy in (first, second):
                name = f"board-{proxy.port}"
                console = Console()
                token = add_device(name, profile, gateway.state)
                board = make_board(
                    tmp_path / name, profile, token, proxy.port, device=name, seed=proxy.port, console=console
                )
                boards.append((board, console, proxy))
            try:
                faults = ("stalled", "gateway silently gone")
                await asyncio.gather(
                    *(one(fault, *parts, subscriber) for fault, parts in zip(faults, boards, strict=True))
                )
            finally:
                subscriber.close()
                for board, _, _ in boards:
                    await board.power_cut()

    run(flow(), timeout_s=110)
