"""Fifty samples a second, by a chip with a clock of its own: from its FIFO to an independent subscriber, over
a link that is cut. Counted by the chip, and each held to what it measured."""

from __future__ import annotations

import statistics
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.profile import find_node
from tests.aio import run, until
from tests.faults import FaultProxy
from tests.reckoning import truth
from tests.rig import Subscriber, add_device, hurried, make_board, system

SETTLED = 100
"""Samples after which the chip's clock is known: 2 s."""


def test_every_sample_of_a_fast_chip_arrives_once_evenly_spaced_over_a_cut(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port), FaultProxy(port) as proxy:
            profile = find_node("motion-node")
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, proxy.port, files=hurried(10))
            subscriber = Subscriber(broker.port)

            def delivered() -> list[tuple[int, str, dict[str, float]]]:
                """Of the motion sensor, in the order of their numbers."""
                boots = subscriber.of().boots.values()
                found = [sample for boot in boots for _, sample in sorted(boot.samples.items())]
                return [sample for sample in found if "accel_z" in sample[2]]

            def taken() -> int:
                return board.taken()["motion"]

            try:
                await board.start()
                await until(lambda: len(delivered()) > 20, timeout_s=20, what="the first samples")
                proxy.refuse()
                cut_at = taken()
                await until(lambda: taken() > cut_at + 130, timeout_s=20, what="2.6 s alone: some go to flash")
                proxy.heal()
                await until(lambda: taken() - len(delivered()) < 20, timeout_s=20, what="the backlog to drain")
                end = taken() + 20
                await until(lambda: taken() > end, timeout_s=20, what="some more")
                await board.stop()
                await until(lambda: len(delivered()) == taken(), timeout_s=10, what=f"all of {taken()} samples")
                assert [*subscriber.of().contradictions] == []
                assert not any(boot.gaps for boot in subscriber.of().boots.values())
                measured = [e.values for e in truth(board.truth_log.read_text().splitlines()) if e.sensor == "motion"]
                for (_, _, values), wanted in zip(delivered(), measured, strict=True):
                    assert values == pytest.approx(wanted, abs=0.012)
                times_ms = [at_ms for at_ms, _, _ in delivered()]
                apart_ms = [later - before for before, later in pairwise(times_ms)]
                assert all(after > before for before, after in pairwise(times_ms))
                steady = apart_ms[SETTLED:]
                period_ms = statistics.mean(steady)
                print(f"{len(times_ms)} samples, {period_ms:.3f} ms apart, {min(steady)} to {max(steady)}")
                assert 19.3 < period_ms < 20.7  # the chip's clock is up to 3 % off
                assert max(abs(found - period_ms) for found in steady) < 4
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=58)
