"""A program that stands still: what a FIFO holds meanwhile is not lost, and what it could not hold is counted."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from gateway.profile import find_node, load_profile
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import running

WIFI = {"ssid": "home", "password": "secret12"}
SETTLED_MS = 3000
"""After that the chip's clock is known."""


@pytest.mark.campaign
def test_a_stall_as_long_as_the_fifo_holds_loses_nothing_and_a_longer_one_is_counted(tmp_path: Path) -> None:
    interpreter.command()
    node = find_node("motion-node")

    async def scenario() -> None:
        async with running() as gateway:
            settings = {
                "device": "motion",
                "token": "T" * 43,
                "gateway": {"host": "127.0.0.1", "port": gateway.port, "tls": False},
                "wifi": [WIFI],
            }
            board = EmulatedBoard(load_profile(node), node.parent, settings, directory=tmp_path / "board", seed=11)

            async def stall(seconds: float) -> None:
                assert board.pid is not None
                os.killpg(board.pid, signal.SIGSTOP)
                await asyncio.sleep(seconds)  # nothing else is to be awaited: it is the time itself
                os.killpg(board.pid, signal.SIGCONT)

            async def more(samples: int) -> None:
                end = board.taken()["motion"] + samples
                await until(lambda: board.taken()["motion"] >= end, timeout_s=30, what=f"{samples} samples more")

            try:
                await board.start()
                await more(200)
                await stall(1.3)
                await more(100)
                await stall(4)
                await more(100)
            finally:
                await board.stop()
            samples = sorted((t_ms, values) for t_ms, values in gateway.samples if "accel_z" in values)
            assert len(samples) == board.taken()["motion"]
            assert None not in [values["gyro_x"] for _, values in samples]
            missed = [frame["data"]["count"] for frame in gateway.frames if frame.get("code") == "samples.missed"]
            times_ms = [t_ms for t_ms, _ in samples if t_ms > SETTLED_MS]
            apart_ms = sorted(later - before for before, later in pairwise(times_ms))
            period_ms = (times_ms[-1] - times_ms[0]) / (len(times_ms) - 1 + sum(missed))
            print(f"{len(samples)} samples each {period_ms:.2f} ms, {missed} missed, {apart_ms[-3:]} ms apart")
            assert len(missed) == 1
            assert apart_ms[-1] == pytest.approx((missed[0] + 1) * period_ms, abs=1.5 * period_ms)
            assert 4000 - 100 < apart_ms[-1] < 4000 + 200
            assert all(abs(found - period_ms) < 6 for found in apart_ms[:-1])

    run(scenario(), timeout_s=58)
