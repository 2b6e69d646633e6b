"""The relay node: what a command or a press switches, seen at the pins and in the samples."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.emulator import EmulatedBoard
from gateway.profile import find_node, load_profile
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import Gateway, running
from tests.firmware.test_node import TOKEN

PATH = find_node("relay-node")


def relay_board(port: int, directory: Path, changes: dict[str, dict[str, Any]] | None = None) -> EmulatedBoard:
    """`changes`: of outputs, by their name."""
    interpreter.command()  # skips the test where there is no interpreter
    profile = load_profile(PATH)
    outputs = {
        name: output.model_copy(update=(changes or {}).get(name, {})) for name, output in profile.outputs.items()
    }
    settings = {
        "device": "relay-1",
        "token": TOKEN,
        "gateway": {"host": "127.0.0.1", "port": port, "tls": False},
        "wifi": [{"ssid": "home"}],
    }
    changed = profile.model_copy(update={"outputs": outputs})
    return EmulatedBoard(changed, PATH.parent, settings, directory=directory, seed=7)


@contextlib.asynccontextmanager
async def connected(tmp_path: Path, **changes: dict[str, Any]) -> AsyncIterator[tuple[Gateway, EmulatedBoard]]:
    async with running() as gateway:
        board = relay_board(gateway.port, tmp_path, changes)
        await board.start()
        try:
            await until(lambda: "lamp" in newest(gateway), timeout_s=25, what="the first sample")
            yield gateway, board
        finally:
            await board.power_cut()


def newest(gateway: Gateway) -> dict[str, Any]:
    return {name: value for _, values in gateway.samples for name, value in values.items()}


async def asked(gateway: Gateway, id: str, name: str, **args: int) -> dict[str, Any]:
    await gateway.command(id, name, **args)
    await until(lambda: id in gateway.results(), what=f"the result of {id}")
    return gateway.results()[id]


async def press(board: EmulatedBoard) -> None:
    await board.press("button")
    await asyncio.sleep(0.1)  # no finger is quicker: what comes at once counts as a bounce


def test_commands_switch_and_what_they_switched_comes_as_a_sample(tmp_path: Path) -> None:
    async def flow() -> None:
        async with connected(tmp_path) as (gateway, board):
            assert newest(gateway) | {"lamp": 0, "dimmer": 0, "pixels": 0, "button": 0} == newest(gateway)
            assert (board.level("lamp"), board.duty("dimmer")) == (False, 0)
            assert board.pixels("pixels") == [(0, 0, 0)] * 8

            assert (await asked(gateway, "a", "lamp", on=1))["data"] == {"lamp": 1}
            assert board.level("lamp")
            await until(lambda: newest(gateway)["lamp"] == 1, timeout_s=5, what="a sample before its period")

            assert (await asked(gateway, "b", "dimmer", percent=25))["data"] == {"dimmer": 25}
            assert (board.frequency_hz("dimmer"), round(board.duty("dimmer"), 3)) == (1000, 0.25)
            await asked(gateway, "c", "pixels", red=255, green=16, blue=1)
            assert board.pixels("pixels") == [(255, 16, 1)] * 8
            await until(lambda: newest(gateway)["pixels"] == 0xFF1001, timeout_s=5, what="the colour in a sample")
            for percent, level in ((100, True), (0, False)):  # a level, without pulses
                await asked(gateway, f"d{percent}", "dimmer", percent=percent)
                assert (board.frequency_hz("dimmer"), board.level("dimmer")) == (0, level)
            await asked(gateway, "e", "lamp")  # left out: on
            assert board.level("lamp")

            for id, name, args in (
                ("f", "lamp", {"on": 2}),
                ("g", "dimmer", {"percent": -1}),
                ("h", "pixels", {"red": 256}),
            ):
                assert (await asked(gateway, id, name, **args))["error"]["code"] == "command.args"
            assert (await asked(gateway, "i", "led", on=1))["error"]["code"] == "command.unknown"
            assert (board.level("lamp"), board.pixels("pixels")[0]) == (True, (255, 16, 1))

            await board.power_cut()
            await board.start()
            await until(lambda: len(gateway.hellos) == 2, timeout_s=25, what="the next boot")
            assert (board.level("lamp"), board.pixels("pixels")) == (False, [(0, 0, 0)] * 8)
            await until(lambda: newest(gateway)["lamp"] == 0, what="a sample that says so")

    run(flow(), timeout_s=58)


def test_a_button_switches_with_and_without_a_gateway_and_all_rests_at_the_end(tmp_path: Path) -> None:
    async def flow() -> None:
        async with connected(tmp_path, lamp={"active": "low"}) as (gateway, board):
            assert board.level("lamp"), "at rest"
            await press(board)
            await until(lambda: not board.level("lamp"), what="the lamp")
            await until(lambda: newest(gateway)["button"] == 1 and newest(gateway)["lamp"] == 1, what="both samples")

            gateway.acks = False
            assert gateway.socket is not None
            gateway.socket.transport.abort()
            await press(board)
            await until(lambda: board.level("lamp"), what="the lamp without a gateway")
            gateway.acks = True
            await until(lambda: newest(gateway)["button"] == 2, timeout_s=20, what="its sample, later")

            await press(board)
            await until(lambda: not board.level("lamp"), what="the lamp")
            assert (await asked(gateway, "a", "restart"))["status"] == "done"
            await until(lambda: board.level("lamp"), timeout_s=20, what="rest before the restart")
            await until(lambda: len(gateway.hellos) == 3, timeout_s=25, what="the next boot")
            assert board.level("lamp")
            samples = len(gateway.samples)
            await board.stop()
            assert samples <= len(gateway.samples) == sum(board.taken().values())

    run(flow(), timeout_s=58)
