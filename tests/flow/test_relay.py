"""The relay node with broker and gateway: commands over MQTT and by `send`, a button while the gateway is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from paho.mqtt import publish

from gateway.profile import find_node
from tests.aio import run, until
from tests.firmware import interpreter
from tests.flow.commands import mpy_gateway
from tests.rig import BASE, Subscriber, add_device, make_board, system


def test_a_lamp_is_switched_over_mqtt_by_send_and_by_a_button_without_a_gateway(tmp_path: Path) -> None:
    interpreter.command()  # skips the test where there is no interpreter

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, door):
            profile = find_node("relay-node")
            token = await asyncio.to_thread(add_device, "relay-1", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, door, device="relay-1")
            subscriber = Subscriber(broker.port)

            def state() -> dict[str, Any]:
                return subscriber.states.get("relay-1", [{}])[-1]

            try:
                await board.start()
                await until(lambda: state().get("lamp") == 0, timeout_s=25, what="the first state")

                topic = f"{BASE}/relay-1/command/lamp"
                await asyncio.to_thread(
                    publish.single, topic, '{"on":1}', qos=1, port=broker.port, hostname="127.0.0.1"
                )
                await until(lambda: board.level("lamp"), what="the lamp, by MQTT")
                await until(lambda: state().get("lamp") == 1, what="the state, before its period")

                words = ("send", "relay-1", "dimmer", "percent=40", "--state", str(gateway.state))
                sent = await asyncio.to_thread(mpy_gateway, *words)
                assert (sent.stdout, sent.stderr) == ("relay-1 dimmer: done dimmer=40\n", "")
                assert round(board.duty("dimmer"), 2) == 0.4

                gateway.kill()
                await board.press("button")
                await until(lambda: not board.level("lamp"), what="the lamp, without a gateway")
                gateway.start()
                await until(lambda: state().get("button") == 1, timeout_s=20, what="the press, later")
                await until(lambda: (state()["lamp"], state()["dimmer"]) == (0, 40), what="what it switched")

                await board.stop()
                assert not board.running
                taken = sum(board.taken().values())
                await until(lambda: subscriber.of("relay-1").samples >= taken, what="all that was taken")
                assert subscriber.of("relay-1").samples == taken
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=58)
