"""The sensor of one's own that firmware/README.md shows, copied from there and run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from gateway.emulator import EmulatedBoard
from gateway.profile import load_profile
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import running

README = interpreter.FIRMWARE / "README.md"


def block(language: str, part: str) -> str:
    """The fenced block of README with `part` in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    return textwrap.dedent(next(text for text in blocks if part in text))


def test_a_sensor_of_ones_own_is_a_driver_a_model_and_a_profile(tmp_path: Path) -> None:
    interpreter.command()
    node = tmp_path / "tank-node"
    for name, text in (
        ("profile.toml", block("toml", "waterlevel")),
        ("sensors/waterlevel.py", block("python", "QUANTITIES")),
        ("models/waterlevel.py", block("python", "I2CChip")),
    ):
        (node / name).parent.mkdir(parents=True, exist_ok=True)
        (node / name).write_text(text)
    profile = load_profile(node / "profile.toml")

    async def flow() -> None:
        async with running() as gateway:
            settings = {
                "device": "tank",
                "token": "T" * 43,
                "gateway": {"host": "127.0.0.1", "port": gateway.port, "tls": False},
                "wifi": [{"ssid": "home", "password": "secret12"}],
            }
            board = EmulatedBoard(profile, node, settings, directory=tmp_path / "board", seed=3)
            await board.start()
            try:
                await until(lambda: len(gateway.samples) >= 4, timeout_s=20, what="four samples")
            finally:
                await board.stop()
            levels = [values["level"] for _, values in gateway.samples]
            assert all(900 < level < 1100 for level in levels)
            assert len(set(levels)) > 1
            assert board.taken() == {"tank": len(levels)}

    run(flow(), timeout_s=50)
