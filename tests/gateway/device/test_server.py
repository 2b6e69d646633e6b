"""The whole door: real sockets, real store."""

from __future__ import annotations

from pathlib import Path

from gateway.model import Sample
from tests.aio import run
from tests.gateway.device.door import open_door


def test_a_sample_is_stored_then_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            assert device.welcome["boots"] == [{"boot": 1, "committed": -1}]
            assert device.welcome["window"] == 256
            await device.samples(0, 20, 21)
            await device.acked(1)
            first, second = await door.records("greenhouse")
            assert isinstance(first, Sample)
            assert (first.seq, first.values) == (0, {"temperature": 20.0})
            assert (second.last, door.info().samples) == (1, 2)

    run(scenario())
