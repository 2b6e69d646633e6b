"""Power cuts of whole emulated boards, at random moments and inside flash operations, with the link up, down and
flapping, in both settings: every board comes back and delivers, and every possible loss is inside a gap's bound."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.faults import FaultProxy
from tests.rig import Subscriber, add_device, hurried, make_board, outcome_of, quick_node, settle, system

SETTINGS = {"unsent": 100, "none": 400}
"""By `delivery.power_loss`, how often a sample is taken (ms): as often as the check of the wear allows."""
LINKS = ("up", "down", "flapping")


async def flap(proxy: FaultProxy, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        proxy.cut(chance.choice(("rst", "fin")))


async def cut_again_and_again(
    board: EmulatedBoard, proxy: FaultProxy, cuts: int, chance: random.Random, seen: Counter[str]
) -> None:
    """Start the board and cut its power, `cuts` times; each time it must have come up and measured something, if it was
    given the time."""
    for _ in range(cuts):
        link, inside = chance.choice(LINKS), chance.random() < 0.6
        if link == "down":
            proxy.refuse()
        if inside:
            board.cut_power_at(chance.randint(1, 12 if link == "up" else 50), torn=chance.choice((0.0, 0.3, 0.7, 1.0)))
        flapping = asyncio.create_task(flap(proxy, chance)) if link == "flapping" else None
        boots = board.boots
        before = sum(board.taken().values())
        await board.start()
        try:
            if inside:
                with contextlib.suppress(AssertionError):  # one that has nothing more to write is cut as it is
                    await until(lambda: not board.running, timeout_s=4)
            else:
                await until(
                    lambda before=before: sum(board.taken().values()) > before, timeout_s=20, what="a measurement"
                )
                await asyncio.sleep(chance.uniform(0, 2.5))
        finally:
            if flapping is not None:
                flapping.cancel()
        torn = inside and not board.running
        board.cut_power_at(None)
        await board.power_cut()
        assert board.boots == boots + 1
        seen["inside a flash operation" if torn else "between two"] += 1
        seen[f"link {link}"] += 1
        proxy.heal()


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("boards", "cuts", "seed"),
    [
        pytest.param(1, 2, 1, id="4 cuts"),
        pytest.param(5, 5, 2, id="50 cuts", marks=pytest.mark.campaign),
    ],
)
def test_cuts_of_whole_boards_lose_nothing_beyond_what_they_own_up_to(
    tmp_path: Path, boards: int, cuts: int, seed: int
) -> None:
    """`boards` of each setting, each cut `cuts` times."""
    seen: Counter[str] = Counter()

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port), ExitStack() as stack:
            subscriber = Subscriber(broker.port)
            stack.callback(subscriber.close)
            made: list[tuple[EmulatedBoard, FaultProxy, str]] = []
            for setting, period_ms in SETTINGS.items():
                profile = quick_node(tmp_path / setting, period_ms=period_ms, power_loss=setting)
                for number in range(boards):
                    name = f"{setting}-{number}"
                    proxy = stack.enter_context(FaultProxy(port))
                    token = await asyncio.to_thread(add_device, name, profile, gateway.state)
                    board = make_board(
                        tmp_path / name, profile, token, proxy.port, device=name, seed=seed * 100 + len(made),
                        files=hurried(10),
                    )  # fmt: skip
                    made.append((board, proxy, setting))
            try:
                await asyncio.gather(
                    *(
                        cut_again_and_again(board, proxy, cuts, random.Random(f"{seed} {board.name}"), seen)
                        for board, proxy, _ in made
                    )
                )
                for board, _, _ in made:
                    await board.start()
                started_ms = time.time_ns() // 1_000_000
                for board, _, setting in made:
                    await until(
                        lambda board=board, setting=setting: delivers(board, subscriber, setting, started_ms),
                        timeout_s=60,
                        what=f"{board.name}: all but the newest samples, and no fault",
                        every_s=0.2,
                    )
                    await board.stop()
                    outcome = await settle(board, subscriber, setting)
                    print(board.name, outcome)
                    assert outcome.problems == [], board.name
                    assert (outcome.lost, outcome.invented, outcome.holes) == (0, 0, 0), board.name
                    accounted = outcome.delivered + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
                    assert accounted >= outcome.taken > 0, board.name
                    assert board.boots == cuts + 1
                    if setting == "none":
                        assert outcome.unknown_tail == 0, board.name
            finally:
                for board, _, _ in made:
                    await board.power_cut()

    run(flow(), timeout_s=190)
    print(dict(seen))
    assert seen["inside a flash operation"] + seen["between two"] == 2 * boards * cuts


def delivers(board: EmulatedBoard, subscriber: Subscriber, setting: str, started_ms: int) -> bool:
    """Whether samples taken after `started_ms` arrive, and nearly all before it is accounted for."""
    outcome = outcome_of(board, subscriber, setting)
    accounted = outcome.delivered + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
    boots = subscriber.of(board.name).boots.values()
    new = sum(at_ms > started_ms for boot in boots for at_ms, _, _ in boot.samples.values())
    return outcome.taken - accounted < 20 and new > 3
