"""The gateway's disk is full, a real one: what is not on it is not acknowledged, and all of it arrives when there is
room again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.aio import run, until
from tests.chaos import fill
from tests.flow.commands import command, environment
from tests.programs import free_port
from tests.rig import ROOT, GatewayProgram, Mosquitto, Subscriber, make_board, quick_node, settle

DISK_BYTES = 48 << 20


class OnSmallDisk(GatewayProgram):
    """A gateway whose state is on a file system of its own, in a mount name space that ends with it."""

    def __init__(self, disk: Path, *settings: str) -> None:
        super().__init__(disk / "state", *settings, log=disk.parent / "gateway.log")
        mount = f"mount --make-rprivate / && mount -t tmpfs -o size={DISK_BYTES} tmpfs {disk}"
        self._words = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *self._words]
        self._there = disk

    @property
    def disk(self) -> Path:
        """That file system, seen from here."""
        return Path(f"/proc/{self.pid}/root{self._there}")

    def is_up(self) -> bool:
        return (self.disk / "state" / "run.json").exists()

    def add_device(self, name: str, profile_file: Path) -> str:
        """As tests.rig.add_device, inside that name space."""
        words = command("devices", "add", name, "--node", str(profile_file), "--state", str(self.state))
        env = environment() | {"PYTHONPATH": str(ROOT)}
        enter = ["nsenter", "-t", str(self.pid), "-m", *words]
        added = subprocess.run(enter, env=env, capture_output=True, text=True, timeout=60, check=False)
        token = re.search(r"token\s+(\S+)", added.stdout)
        assert token, added.stderr
        return token[1]

    def start(self) -> None:
        super(GatewayProgram, self).start()


@pytest.mark.campaign
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a disk that can be filled takes root")
def test_a_full_disk_acknowledges_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async def flow() -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        broker, port = Mosquitto(tmp_path / "broker", free_port()), free_port()
        gateway = OnSmallDisk(disk, f"devices.port={port}", f"mqtt.home.url=mqtt://127.0.0.1:{broker.port}")
        try:
            broker.start()
            gateway.start()
            await until(gateway.is_up, timeout_s=20, what="the gateway")
            profile = quick_node(tmp_path)
            token = gateway.add_device("greenhouse", profile)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            got = subscriber.of()
            try:
                await board.start()
                await until(lambda: got.samples > 10, timeout_s=20, what="the first samples")
                for _ in range(2):
                    fill(gateway.disk / "filler")
                    taken = sum(board.taken().values())
                    await until(lambda taken=taken: sum(board.taken().values()) > taken + 40, timeout_s=20)
                    on_a_full_disk = got.samples
                    assert on_a_full_disk < taken + 20, "samples went out that no disk had"
                    (gateway.disk / "filler").unlink()
                    taken = sum(board.taken().values())
                    await until(lambda taken=taken: got.samples > taken, timeout_s=30, what="all of it, by itself")
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.delivered == outcome.taken
                assert (outcome.problems, outcome.gaps) == ([], 0)
                assert "disk" in gateway.text()
                assert gateway.stop(signal.SIGTERM) == 0
            finally:
                subscriber.close()
                await board.power_cut()
        finally:
            gateway.kill()
            broker.kill()

    run(flow(), timeout_s=55)
