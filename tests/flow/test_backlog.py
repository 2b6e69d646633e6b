"""A board comes back with a backlog: it drains in order, while the board's own state stays fresh, and says that it is
provisional. Counted and timed by a subscriber that shares nothing with the gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.aio import run, until
from tests.faults import FaultProxy
from tests.rig import Subscriber, add_device, hurried, make_board, quick_node, settle, system

BACKLOG = 300
SLOW_STORE = ("limits.window_samples=32", "store.commit_ms=500")
"""Some 60 samples a second, of which the board takes 22 anew."""


@pytest.mark.campaign
def test_while_a_backlog_drains_the_boards_own_state_is_under_two_seconds_old(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path, *SLOW_STORE) as (broker, gateway, port), FaultProxy(port) as proxy:
            profile = quick_node(tmp_path, period_ms=50)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, proxy.port, files=hurried(10))
            subscriber = Subscriber(broker.port)
            states = subscriber.states.setdefault("greenhouse", [])
            ages_ms: list[float] = []

            def behind() -> int:
                return sum(board.taken().values()) - subscriber.of().samples

            try:
                proxy.refuse()
                await board.start()
                await until(lambda: behind() > BACKLOG, timeout_s=30, what="the backlog")
                proxy.heal()
                await until(lambda: states, timeout_s=15, what="the first state")
                while behind() > 100:  # a window, and what a commit and the way to us hold
                    ages_ms.append(time.time_ns() // 1_000_000 - states[-1]["at"])
                    await asyncio.sleep(0.05)
                print(f"{len(ages_ms)} looks: the state was {max(ages_ms)} ms old at most")
                assert len(ages_ms) > 20, "it drained too quickly to show anything"
                assert max(ages_ms) < 2_000
                assert all(state["provisional"] for state in states)
                await until(lambda: "provisional" not in states[-1], timeout_s=30, what="a state that is stored")
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.delivered == outcome.taken > BACKLOG
                assert (outcome.problems, outcome.gaps) == ([], 0)
                assert [state["at"] for state in states] == sorted(state["at"] for state in states)
                (boot,) = subscriber.of().boots.values()
                assert list(boot.samples) == sorted(boot.samples), "it came in another order than it was taken"
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=58)
