"""Every node of ours, as it is flashed, on its emulated board."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.emulator import EmulatedBoard
from gateway.profile import Profile, find_node, load_profile, locate
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import Gateway, running
from tests.firmware.test_node import TOKEN


def measured(gateway: Gateway) -> dict[str, float]:
    """The newest value of each quantity that came."""
    return {name: value for _, values in gateway.samples for name, value in values.items()}


async def first_samples(name: str, directory: Path) -> None:
    path = find_node(name)
    profile: Profile = load_profile(path)
    async with running() as gateway:
        settings = {
            "device": name,
            "token": TOKEN,
            "gateway": {"host": "127.0.0.1", "port": gateway.port, "tls": False},
            "wifi": [{"ssid": "home"}],
        }
        board = EmulatedBoard(profile, path.parent, settings, directory=directory, seed=7)
        await board.start()
        try:
            wanted = set(profile.quantities) - {"rssi"}  # the first sample of it comes before there is Wi-Fi
            await until(lambda: wanted <= set(measured(gateway)), timeout_s=40, what=f"all that a {name} measures")
            # On a busy machine a chip may seem to be busy for too long, and is tried again.
            assert gateway.events.count("sensor.failed") == gateway.events.count("sensor.ok"), gateway.frames
            for quantity, value in measured(gateway).items():
                limits = profile.quantities[quantity]
                assert limits.low <= value <= limits.high, (name, quantity)
        finally:
            await board.power_cut()


def test_every_node_measures_all_that_its_profile_says(tmp_path: Path) -> None:
    interpreter.command()  # skips the test where there is no interpreter

    async def flow() -> None:
        async with asyncio.TaskGroup() as boards:
            for name in locate.nodes():
                boards.create_task(first_samples(name, tmp_path / name))

    run(flow(), timeout_s=55)
