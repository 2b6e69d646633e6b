"""A board is given new tokens over the live link, restarts, and meets gateways that know other ones."""

from __future__ import annotations

import json
from pathlib import Path

from tests.aio import run, until
from tests.firmware.gateway import Gateway, running
from tests.firmware.test_node import TOKEN, board

NEW, NEWER, WRITTEN = "n" * 43, "r" * 43, "w" * 43


async def rotated(gateway: Gateway, token: str) -> None:
    """The gateway gives a new token and knows both until the new one was used."""
    assert gateway.knows is not None
    gateway.knows.add(token)
    hellos = len(gateway.hellos)
    await gateway.say({"type": "token", "token": token})
    await until(lambda: len(gateway.hellos) > hellos, timeout_s=15, what="the board with its new token")
    assert gateway.shown[-1] == token
    assert gateway.closed[-1] == (1000, "")
    gateway.knows = {token}


def test_new_tokens_outlive_restarts_old_gateways_are_let_in_and_written_settings_win(tmp_path: Path) -> None:
    async def flow() -> None:
        lines: list[str] = []
        async with running() as gateway:
            gateway.knows = {TOKEN}
            one = board(gateway.port, tmp_path, lines, climate=100, vitals=1000)
            await one.start()
            try:
                await until(lambda: len(gateway.samples) > 3, timeout_s=25, what="samples")
                await rotated(gateway, NEW)
                await rotated(gateway, NEWER)
                assert len({hello["boots"][-1]["id"] for hello in gateway.hellos}) == 1, "nothing but the link ended"
                await one.power_cut()
                kept = json.loads(one.flash.read("/token.json"))
                assert (kept["token"], kept["previous"]) == (NEWER, NEW)

                gateway.knows = {NEW}  # restored from a backup that was made before the second
                gateway.shown.clear()
                await one.start()
                hellos = len(gateway.hellos)
                await until(
                    lambda: len(gateway.hellos) > hellos, timeout_s=25, what="the board with its previous token"
                )
                assert gateway.shown == [NEWER, NEW]

                await one.power_cut()
                one.settings["token"] = WRITTEN
                gateway.knows = {WRITTEN}
                gateway.shown.clear()
                await one.start()
                hellos = len(gateway.hellos)
                await until(lambda: len(gateway.hellos) > hellos, timeout_s=25, what="the board with what was written")
                assert gateway.shown == [WRITTEN]
                assert not any(token in line for line in lines for token in (TOKEN, NEW, NEWER, WRITTEN))
            finally:
                await one.stop()

    run(flow(), timeout_s=58)
