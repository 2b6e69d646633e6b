"""The bench the emulated boards of these tests stand on: a board with one program, and a bare interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.emulator import EmulatedBoard, Interpreter
from gateway.emulator import board as board_module
from gateway.profile import find_node, load_profile
from tests.aio import run, until
from tests.nodes import plain_profile

NODE = find_node("climate-node")
WIFI = {"ssid": "home", "password": "sesame-sesame"}
SETTINGS = {"device": "bench-1", "wifi": [WIFI]}
ROM = Path(board_module.__file__).with_name("rom")


def make_board(tmp_path: Path, interpreter: Interpreter, program: str, **options: Any) -> EmulatedBoard:
    """A climate node with `program` as its /main.py in place of the firmware, not yet started."""
    options = {"seed": 7, "firmware": False, "directory": tmp_path / "board", "node_dir": NODE.parent} | options
    files = {"/main.py": program} | options.pop("files", {})
    profile = options.pop("profile", None) or plain_profile()
    node_dir = options.pop("node_dir")
    settings = options.pop("settings", SETTINGS)
    return EmulatedBoard(profile, node_dir, settings, interpreter=interpreter, files=files, **options)


def node_with(folder: Path, sensors: str) -> Path:
    """The profile.toml of a node in `folder` with these sensors, on an I2C bus called i2c0 where they want one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "profile.toml"
    path.write_text(
        '[node]\nname = "bench-node"\ntitle = "Bench"\nboard = "esp32-devkitc"\n'
        '[buses.i2c0]\nkind = "i2c"\nscl = "GPIO22"\nsda = "GPIO21"\n' + sensors,
        "utf-8",
    )
    return path


def read_by_driver(
    tmp_path: Path, interpreter: Interpreter, sensor: str, times: int
) -> list[tuple[list[int], dict[str, float]]]:
    """A board whose profile has this one I2C sensor: what its driver reads `times`, and for each reading what the chip
    knows a perfect driver would make of it."""
    path = node_with(tmp_path / "node", sensor)
    profile = load_profile(path)
    (name,) = profile.sensors
    program = f"""
import json, machine
from array import array
from device.sensors import {profile.sensors[name].chip} as driver
with open("/profile.json") as file:
    config = json.load(file)["sensors"][0]
bus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
sensor = driver.Sensor(bus, config)
for _ in range({times}):
    values = array("i", [0] * len(driver.QUANTITIES))
    sensor.read_into(values)
    print(json.dumps(list(values)))
"""

    async def scenario() -> list[tuple[list[int], dict[str, float]]]:
        options = {"profile": profile, "node_dir": path.parent, "firmware": True, "truth": True}
        board = make_board(tmp_path, interpreter, program, **options)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        assert board.ended == "done", "\n".join(board.console_tail)
        truth = [json.loads(line) for line in board.truth_log.read_text().splitlines()]
        assert [entry["taken"] for entry in truth] == list(range(1, times + 1))
        return [(json.loads(line), entry["values"]) for line, entry in zip(board.console_tail, truth, strict=True)]

    return run(scenario())


@asynccontextmanager
async def powered(board: EmulatedBoard) -> AsyncIterator[EmulatedBoard]:
    await board.start()
    try:
        yield board
    finally:
        await board.power_cut()


async def printed(board: EmulatedBoard, text: str, *, times: int = 1) -> None:
    """Wait until the board has printed a line that holds `text`, `times` times."""
    lines = board.console_tail

    def enough() -> bool:
        return sum(text in line for line in lines) >= times

    try:
        await until(enough, what=f"{text!r} on the console")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *lines])) from None


def output(tmp_path: Path, interpreter: Interpreter, program: str, **options: Any) -> list[str]:
    """What `program` prints until it ends, on a board that is switched off then."""

    async def scenario() -> list[str]:
        board = make_board(tmp_path, interpreter, program, **options)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()  # which reads the console to its end
            assert board.ended == "done", "\n".join(board.console_tail)
            return list(board.console_tail)

    return run(scenario())


def micropython(interpreter: Interpreter, program: str) -> str:
    """What the bare interpreter prints for `program`, with the emulator's modules on its path."""
    lifeline, ours = os.pipe()
    try:
        ran = subprocess.run(
            interpreter.command("-c", program, lifeline=lifeline),
            pass_fds=(lifeline,),
            cwd=ROM,
            env={"MICROPYPATH": f"{ROM}:{ROM.with_name('chips')}", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        os.close(lifeline)
        os.close(ours)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def exists(pid: int) -> bool:
    """Whether a process of the process group `pid` is left."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
