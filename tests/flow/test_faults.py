"""What `emulate --fault` does to boards, against a real gateway and broker: nothing is lost but what the README's table
says, counted by the chips and by an independent subscriber."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.emulator.faults import KINDS, schedule
from gateway.emulator.playfaults import play
from tests.aio import run, until
from tests.rig import NamedBoots, Subscriber, add_device, hurried, make_board, quick_node, settle, system

HONEST = ("missing", "stuck", "nack")
"""A BME280 has no checksum: what `crc` and `garbage` make of its answers are values that no chip measured."""


def faults_cost_nothing(tmp_path: Path, seconds: float, pace: float, seed: int) -> None:
    names = ("fault-1", "fault-2")
    said: list[str] = []

    async def scenario() -> None:
        with system(tmp_path) as (broker, gateway, port):
            subscriber = Subscriber(broker.port)
            node = quick_node(tmp_path)
            boards: dict[str, NamedBoots] = {}
            try:
                await until(lambda: subscriber.subscribed, what="the subscription")
                for number, name in enumerate(names):
                    token = await asyncio.to_thread(add_device, name, node, gateway.state)
                    boards[name] = make_board(
                        tmp_path / name, node, token, port, device=name, seed=seed + number, files=hurried(10)
                    )
                    await boards[name].start()
                await until(lambda: all(subscriber.of(name).samples > 5 for name in names), what="samples")
                faults = schedule(KINDS, seed, names, ["climate"], bus_faults=HONEST, pace=pace)
                await play(faults, boards, said.append, seconds=seconds)
                known = {name: subscriber.of(name).samples for name in names}
                await until(
                    lambda: all(subscriber.of(name).samples > known[name] + 5 for name in names), what="samples again"
                )
                for name, board in boards.items():
                    await board.stop()
                    found = await settle(board, subscriber)
                    print(name, found)
                    assert (found.lost, found.invented, found.holes) == (0, 0, 0), "\n".join([*said, *found.problems])
                    assert not found.problems, found.problems
                    assert found.worst_time_ms < 100
                    assert board.faults() == {}
            finally:
                for board in boards.values():
                    await board.power_cut()
                subscriber.close()

    run(scenario(), timeout_s=seconds + 50)
    print("\n".join(said))
    for word in ("Wi-Fi", "brown-out", "power cut", "clock", "climate"):
        assert any(word in line for line in said), f"no {word} in {len(said)} faults"


def test_two_boards_with_faults_lose_nothing_in_silence(tmp_path: Path) -> None:
    faults_cost_nothing(tmp_path, seconds=3, pace=0.1, seed=45)


@pytest.mark.campaign
@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_boards_with_faults_for_a_minute_lose_nothing_in_silence(tmp_path: Path, seed: int) -> None:
    faults_cost_nothing(tmp_path, seconds=45, pace=0.3, seed=seed)
