"""Boards that sleep between their samples, against the real gateway: counted by the chips and by a subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from tests.aio import run, until
from tests.faults import FaultProxy
from tests.flow.commands import mpy_gateway
from tests.reckoning import Reckoning
from tests.rig import (
    NamedBoots,
    Subscriber,
    add_device,
    make_board,
    settle,
    sleepless,
    sleepy_node,
    system,
)


def kept_its_promise(outcome: Reckoning) -> None:
    assert outcome.problems == []
    assert (outcome.lost, outcome.invented, outcome.holes) == (0, 0, 0)
    accounted = outcome.delivered + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
    assert accounted == outcome.taken


async def end(board: NamedBoots, subscriber: Subscriber, power_loss: str = "unsent") -> Reckoning:
    """The power goes, whatever the board does; a last boot that stays awake tells what that cost, and is stopped."""
    await board.power_cut()
    board.files |= sleepless(first_awake_ms=60_000)
    boots = len(board.boot_ids)
    await board.start()
    await until(lambda: len(board.boot_ids) > boots, what="the last boot")
    (boot_id, _) = max(board.boot_ids.items(), key=lambda known: known[1])
    await until(lambda: boot_id in subscriber.of(board.name).boots, timeout_s=60, what=f"what {board.name} has to tell")
    await board.stop()
    outcome = await settle(board, subscriber, power_loss)
    print(board.name, board.boots, outcome)
    return outcome


async def wakes(board: NamedBoots, count: int) -> None:
    """Wait for so many more."""
    boots = board.boots
    await until(lambda: board.boots >= boots + count, timeout_s=20, what=f"{count} wakes")


def test_a_board_sleeps_wakes_and_delivers_with_a_gateway_that_is_there_away_and_back(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = sleepy_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port, files=sleepless(), sleep_factor=100)
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                await until(lambda: subscriber.of().samples >= 4, timeout_s=20, what="samples of several wakes")
                gateway.kill()
                await wakes(board, 3)
                gateway.start()
                count = subscriber.of().samples
                words = ("send", "greenhouse", "ping", "--wait", "30", "--state", str(gateway.state))
                asking = asyncio.create_task(asyncio.to_thread(mpy_gateway, *words))
                await until(lambda: subscriber.of().samples > count + 4, timeout_s=20, what="what was held")
                assert "ping: done" in (await asking).stdout, "a command waits for it as for any device that is away"
                assert list(board.boot_ids.values()) == [1], "one boot, whatever number of starts"
                assert {ending.how for ending in board.endings} == {"sleep"}
                outcome = await end(board, subscriber)
                kept_its_promise(outcome)
                assert outcome.taken >= 10
                assert outcome.unknown_tail <= 3  # what waited in the RTC's memory when the power went
                assert outcome.gaps <= 1
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
@pytest.mark.timeout(150)
def test_samples_have_their_true_time_though_the_clock_of_a_sleeping_board_is_wrong(tmp_path: Path) -> None:
    """5 % off for 30 s of sleep are 1.5 s; that is what the first sample behind a connection would be off."""

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            subscriber = Subscriber(broker.port)
            profile = sleepy_node(tmp_path, send_every_s=30)
            boards = []
            for name, rate in (("slow", 0.95), ("fast", 1.05)):
                token = await asyncio.to_thread(add_device, name, profile, gateway.state)
                boards.append(
                    make_board(tmp_path / name, profile, token, port, device=name, files=sleepless(), sleep_factor=rate)
                )
            try:
                await asyncio.gather(*(board.start() for board in boards))
                await asyncio.sleep(65)
                for board in boards:
                    outcome = await end(board, subscriber)
                    kept_its_promise(outcome)
                    assert outcome.delivered >= 10
                    assert outcome.worst_time_ms <= 300
                    first = next(boot_id for boot_id, number in board.boot_ids.items() if number == 1)
                    qualities = {quality for _, quality, _ in subscriber.of(board.name).boots[first].samples.values()}
                    assert qualities == {"synced"}
            finally:
                subscriber.close()
                for board in boards:
                    await board.power_cut()

    run(flow(), timeout_s=140)


async def live_dangerously(board: NamedBoots, proxy: FaultProxy, rounds: int, chance: random.Random) -> None:
    """The power goes while it sleeps, while it is awake, and inside flash operations; the gateway comes and goes."""
    for _ in range(rounds):
        if chance.random() < 0.5:
            proxy.refuse()
        if inside := chance.random() < 0.5:
            board.cut_power_at(chance.randint(1, 40), torn=chance.choice((0.0, 0.4, 1.0)))
        with contextlib.suppress(AssertionError):
            await board.start()
            await until(lambda: not board.running, timeout_s=chance.uniform(0.5, 6) if not inside else 6)
        board.cut_power_at(None)
        await board.power_cut()
        proxy.heal()


@pytest.mark.campaign
@pytest.mark.timeout(200)
def test_power_cuts_at_any_moment_lose_no_more_than_they_own_up_to(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port), contextlib.ExitStack() as stack:
            subscriber = Subscriber(broker.port)
            stack.callback(subscriber.close)
            boards: list[tuple[NamedBoots, FaultProxy, str]] = []
            for number, setting in enumerate(("unsent", "none", "unsent", "none")):
                name = f"{setting}-{number}"
                profile = sleepy_node(tmp_path / setting, power_loss=setting, send_every_s=15)
                proxy = stack.enter_context(FaultProxy(port))
                token = await asyncio.to_thread(add_device, name, profile, gateway.state)
                board = make_board(
                    tmp_path / name, profile, token, proxy.port, device=name, seed=10 + number, files=sleepless(),
                    sleep_factor=40,
                )  # fmt: skip
                boards.append((board, proxy, setting))
            try:
                await asyncio.gather(*(live_dangerously(b, p, 12, random.Random(b.name)) for b, p, _ in boards))
                for board, _, setting in boards:
                    outcome = await end(board, subscriber, setting)
                    kept_its_promise(outcome)
                    assert board.boots > len(board.boot_ids) >= 6, "it slept, and its power was cut"
            finally:
                for board, _, _ in boards:
                    await board.power_cut()

    run(flow(), timeout_s=190)
