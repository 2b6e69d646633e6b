"""How long flashing takes: an emulated board behind its serial port, with a gateway beside it that speaks TLS.

    python -m tests.bench.flashing [--times N] [--report FILE]

`blank`, `unchanged`: the whole command, from its start to the first sample on the gateway's disk; `files` of it: all
firmware files on the board and read back. Seconds, the middle one of N.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.emulator import EmulatedBoard
from gateway.provision.firmware import board_files
from gateway.provision.usb import Session
from tests.bench_board import PATH, PROFILE, WIFI, EmulatedBench
from tests.flow.commands import command, running_gateway

FILES = board_files(PROFILE, PATH.parent)


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def write_all(port: str) -> None:
    with Session(port) as session:
        session.enter()
        for path, content in FILES.items():
            session.write(path, content)
        assert len(session.files()) == len(FILES)


def flash(port: str, state: Path) -> None:
    words = ("flash", port, "--node", "climate-node", "--name", "greenhouse", "--state", str(state), "--yes")
    wifi = {"MPY_GATEWAY_WIFI_SSID": WIFI["ssid"], "MPY_GATEWAY_WIFI_PASSWORD": WIFI["password"]}
    ended = subprocess.run(command(*words), capture_output=True, text=True, check=False, env=os.environ | wifi)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def measure(folder: Path, times: int) -> dict[str, Any]:
    board = EmulatedBoard(PROFILE, PATH.parent, {}, directory=folder / "b", seed=7, serial=True, blank=True, air=[WIFI])
    bench = EmulatedBench(board)
    seconds: dict[str, list[float]] = {"files": [], "blank": [], "unchanged": []}
    try:
        with running_gateway(folder / "state", "devices.tls=true") as running:
            for _ in range(times):
                bench.wipe()
                seconds["files"].append(timed(lambda: write_all(bench.port)))
                bench.wipe()
                seconds["blank"].append(timed(lambda: flash(bench.port, running.state)))
                seconds["unchanged"].append(timed(lambda: flash(bench.port, running.state)))
    finally:
        bench.end()
    return {
        "flashed_files": len(FILES),
        "flashed_bytes": sum(map(len, FILES.values())),
        **{f"{name}_s": round(statistics.median(values), 2) for name, values in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), options.times)
    print(json.dumps(report, indent=1))
    if options.report:
        options.report.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
