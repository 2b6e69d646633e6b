"""Commands to emulated boards: queued while the board is away, delivered twice, interrupted by power cuts and kills."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.firmware.gateway import Gateway, running
from tests.firmware.test_node import board as small_board
from tests.flow.commands import command, environment, mpy_gateway, running_gateway
from tests.flow.test_survives import make_board
from tests.programs import free_port


def registry(state: Path) -> list[dict[str, Any]]:
    """The ledger as it is on disk."""
    import sqlite3

    with sqlite3.connect(f"file:{state / 'registry.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT value FROM entries WHERE key LIKE 'command/%' AND value IS NOT NULL")
        return [json.loads(value)["record"] for (value,) in rows]


def send(state: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("send", "greenhouse", *words, "--state", str(state)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_a_command_for_a_board_that_is_away_is_carried_out_when_it_comes(tmp_path: Path) -> None:
    door, state = free_port(), tmp_path / "state"

    async def flow() -> None:
        board = make_board(tmp_path, state, door)
        try:
            with running_gateway(state, f"devices.port={door}"):
                asking = send(state, "identify", "seconds=30", "--wait", "40")
                await until(lambda: [record["state"] for record in registry(state)] == ["queued"], timeout_s=20)
                await board.start()
                await until(lambda: board.led, timeout_s=30, what="the LED")
                told = await asyncio.to_thread(asking.communicate, timeout=20)
                assert told[0].splitlines() == [
                    "queued: greenhouse is not connected; it has 40 s",
                    "greenhouse identify: done",
                ]
                assert [record["state"] for record in registry(state)] == ["done"]
        finally:
            await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
def test_a_command_for_a_board_that_stays_away_expires(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_gateway(state):
        assert (
            mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state)).returncode == 0
        )
        ended = mpy_gateway("send", "greenhouse", "ping", "--wait", "1", "--state", str(state))
    assert (ended.returncode, ended.stdout) == (1, "queued: greenhouse is not connected; it has 1 s\n")
    assert "expired" in ended.stderr


@pytest.mark.campaign
def test_a_gateway_killed_while_a_command_waits_carries_it_out_after_its_restart(tmp_path: Path) -> None:
    door, state = free_port(), tmp_path / "state"

    async def flow() -> None:
        board = make_board(tmp_path, state, door)
        try:
            with running_gateway(state, f"devices.port={door}") as gateway:
                asking = send(state, "identify", "seconds=30", "--wait", "60")
                await until(lambda: [record["state"] for record in registry(state)] == ["queued"], timeout_s=20)
                gateway.stop(signal.SIGKILL)
                asking.kill()
                asking.communicate()
            (state / "run.json").unlink()
            with running_gateway(state, f"devices.port={door}"):
                await board.start()
                await until(lambda: [record["state"] for record in registry(state)] == ["done"], timeout_s=30)
                assert board.led is not None
        finally:
            await board.power_cut()

    run(flow(), timeout_s=55)


class Mute:
    """A device that takes commands and does not answer before it is told to."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"ws://127.0.0.1:{self.port}"
        async with connect(
            url, subprotocols=[Subprotocol("mpy-gateway.v1")], additional_headers=headers, compression=None, proxy=None
        ) as socket:
            boots = [{"boot": 1, "id": "9f3c11d2c01b6a55", "first": 0, "next": 0}]
            await socket.send(json.dumps({"type": "hello", "device": "greenhouse", "hardware": "a1", "boots": boots}))
            yield socket

    @staticmethod
    async def receive(socket: ClientConnection, kind: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


@pytest.mark.parametrize("answers", [True, False])
def test_a_gateway_killed_between_sending_and_the_result_ends_the_command_once(tmp_path: Path, answers: bool) -> None:
    door, state = free_port(), tmp_path / "state"

    async def flow() -> None:
        words = ("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state))
        added = await asyncio.to_thread(mpy_gateway, *words)
        token = re.search(r"token\s+(\S+)", added.stdout)
        assert token, added.stderr
        device = Mute(door, token[1])
        with running_gateway(state, f"devices.port={door}") as gateway:
            async with device.connected() as socket:
                asking = send(state, "identify", "--wait", "50")
                command = await device.receive(socket, "command")
                assert [record["state"] for record in registry(state)] == ["sent"]
                gateway.stop(signal.SIGKILL)
                asking.kill()
                asking.communicate()
        (state / "run.json").unlink()
        with running_gateway(state, f"devices.port={door}"):
            async with device.connected() as socket:
                redelivered = await device.receive(socket, "command")
                assert redelivered["id"] == command["id"]
                assert redelivered["deadline_ms"] < command["deadline_ms"]
                status = "done" if answers else "unknown"
                for _ in range(2):
                    await socket.send(json.dumps({"type": "result", "id": command["id"], "status": status}))
                    while (await device.receive(socket, "ack")).get("result") != command["id"]:
                        pass
                    assert [(record["id"], record["state"]) for record in registry(state)] == [(command["id"], status)]

    run(flow(), timeout_s=55)


async def again(gateway: Gateway, id: str, name: str, **args: Any) -> str:
    """Deliver it once more; the status of the answer to that."""
    have = len([frame for frame in gateway.frames if frame["type"] == "result"])
    await gateway.command(id, name, **args)
    await until(lambda: len([f for f in gateway.frames if f["type"] == "result"]) > have, what=f"a result of {id}")
    return [str(frame["status"]) for frame in gateway.frames if frame["type"] == "result" and frame["id"] == id][-1]


@pytest.mark.parametrize("cut", [False, pytest.param(True, marks=pytest.mark.campaign)])
def test_a_command_delivered_twice_before_and_after_a_reboot_acts_once(tmp_path: Path, cut: bool) -> None:
    async def flow() -> None:
        lines: list[str] = []
        async with running() as gateway:
            one: EmulatedBoard = small_board(gateway.port, tmp_path, lines)
            await one.start()
            try:
                await until(lambda: gateway.samples, timeout_s=25, what="the first sample")
                assert [await again(gateway, "blink", "identify", seconds=1) for _ in range(2)] == ["done", "done"]
                await until(lambda: one.led, what="the LED")
                if cut:
                    await one.power_cut()
                    await one.start()
                else:
                    assert await again(gateway, "again", "restart") == "done"
                await until(lambda: len(gateway.hellos) == 2, timeout_s=25, what="the next boot")
                await until(lambda: gateway.frames[-1]["type"] == "samples", timeout_s=25, what="its samples")
                assert await again(gateway, "blink", "identify", seconds=1) == "done"
                if not cut:
                    assert await again(gateway, "again", "restart") == "done"
                have = len(gateway.samples)
                await until(lambda: len(gateway.samples) > have + 3, timeout_s=25, what="samples for some seconds")
                assert len(gateway.hellos) == 2, "it restarted once"
                assert not one.led, "it blinked once"
            finally:
                await one.stop()

    run(flow(), timeout_s=58)


def test_a_command_that_a_restart_interrupted_is_unknown_and_not_carried_out_again(tmp_path: Path) -> None:
    """On flash it has begun and not ended: as a power cut in the middle leaves it (mpy/test_commands_cut.py)."""

    async def flow() -> None:
        async with running() as gateway:
            one: EmulatedBoard = small_board(gateway.port, tmp_path, [])
            word = hashlib.sha256(b"blink").digest()[:4]
            one.files["/executed.bin"] = bytes((word[0] & 0x7F,)) + word[1:]
            await one.start()
            try:
                await until(lambda: gateway.samples, timeout_s=25, what="the first sample")
                assert [await again(gateway, "blink", "identify") for _ in range(2)] == ["unknown", "unknown"]
                assert gateway.results()["blink"]["error"]["code"] == "command.interrupted"
                assert not one.led
                assert await again(gateway, "other", "identify") == "done"
                await until(lambda: one.led, what="the LED")
            finally:
                await one.stop()

    run(flow(), timeout_s=50)
