"""The program as its user runs it: a process of its own, with a state directory and free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FREE_PORTS = ("devices.port=0", "people.port=0", "broker.port=0", "broker.port_v5=0")


def environment() -> dict[str, str]:
    """As a user's, without settings of ours that happen to be in this one."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MPY_GATEWAY_")}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words]


def mpy_gateway(*words: str, timeout_s: float = 60, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=timeout_s, check=False, env=environment(), cwd=cwd
    )


def set_options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


class Running:
    """A gateway in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], state: Path) -> None:
        self.process, self.state = process, state

    @property
    def run(self) -> dict[str, object]:
        return json.loads((self.state / "run.json").read_text())

    @property
    def token(self) -> str:
        return (self.state / "cli.token").read_text().strip()

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 10) -> tuple[int, float]:
        """Send a signal; returns exit code and seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        return code, time.monotonic() - began


@contextmanager
def running_gateway(state: Path, *settings: str, extra: tuple[str, ...] = ()) -> Iterator[Running]:
    """`mpy-gateway run` on free ports, until the end of the block. Its log is in <state>/../gateway.log."""
    log = state.parent / f"{state.name}.log"
    with log.open("a") as output:
        process = subprocess.Popen(
            command("run", "--state", str(state), *set_options(*FREE_PORTS, *settings), *extra),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        try:
            deadline = time.monotonic() + 20
            while not (state / "run.json").exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the gateway did not start:\n{log.read_text()}")
                time.sleep(0.02)
            yield Running(process, state)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
