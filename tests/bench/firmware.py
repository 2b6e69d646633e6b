"""What the firmware costs on MicroPython: memory per sample and at rest, time per sample, masking.

    python -m tests.bench.firmware [--report FILE]

Memory in bytes of the 64-bit interpreter: pointers are twice as wide as a board's, so a board needs about half. Times
are this machine's; the ratio of plain to fast (machine code where the port has it) is what carries over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from gateway.emulator import EmulatedBoard
from gateway.profile import find_node, load_profile
from tests.aio import until
from tests.firmware import flashed, interpreter
from tests.firmware.certificates import NAME, Authority
from tests.firmware.gateway import running

_LOOP_ESP32_MS = 90
"""What 100,000 turns of an empty loop take on an ESP32 at 240 MHz: assumed, not measured."""


async def at_rest(tls: bool) -> dict[str, int]:
    """Free heap of an emulated board when its parts are built, and online after some samples (lowest seen)."""
    node = find_node("climate-node")
    lines: list[str] = []
    authority = Authority()
    with tempfile.TemporaryDirectory() as folder:
        async with running(authority.server(Path(folder)) if tls else None) as gateway:
            settings = {
                "device": "bench",
                "token": "T" * 43,
                "gateway": {"host": "127.0.0.1", "port": gateway.port, "tls": tls, "name": NAME},
                "wifi": [],
            }
            board = EmulatedBoard(
                load_profile(node), node.parent, settings, directory=Path(folder), seed=1, console=lines.append,
                files={"/ca.der": authority.der},
            )  # fmt: skip
            board.settings["wifi"] = board.air = [{"ssid": "home", "password": "secret12"}]
            await board.start()
            await until(lambda: len(gateway.samples) >= 15, timeout_s=60, what="15 samples")
            await board.stop()
            online = [values["free_heap"] for _, values in gateway.samples if "free_heap" in values]
    start = next(int(found[1]) for line in lines if (found := re.search(r"(\d+) bytes of memory are free", line)))
    return {f"{'tls_' * tls}free_at_start": start, f"{'tls_' * tls}free_online": min(online)}


async def handshakes(count: int) -> dict[str, float]:
    """How long one holds up everything else, in its longest call: the middle and the longest of `count`."""
    authority = Authority()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ca.der").write_bytes(authority.der)
        async with running(authority.server(Path(folder))) as gateway:
            printed = await asyncio.to_thread(
                interpreter.run_script, "tls_link.py", f"{folder}/ca.der", NAME, *[f"good:{gateway.port}"] * count
            )
    held_ms = [max(json.loads(line)["held_us"]) / 1000 for line in printed.splitlines()]
    return {"tls_handshake_held_ms": statistics.median(held_ms), "tls_handshake_held_most_ms": max(held_ms)}


def wake(times: int) -> dict[str, Any]:
    """A wake without Wi-Fi of a board that sleeps, on the compiled firmware: the quickest of `times`, and how much it
    loads. An ESP32 takes longer by what a loop of 100,000 turns takes there (`_LOOP_ESP32_MS`) and here."""
    with tempfile.TemporaryDirectory() as folder:
        files = flashed.write_flashed(Path(folder) / "firmware")
        (Path(folder) / "flash").mkdir()
        environment = interpreter.environment(Path(folder) / "firmware")
        words = [*interpreter.command(), str(interpreter.SCRIPTS / "wake.py"), f"{folder}/flash"]
        ran = [subprocess.run(words, env=environment, capture_output=True, text=True, check=True) for _ in range(times)]
    runs = [json.loads(one.stdout.splitlines()[-1]) for one in ran]
    best = min(runs, key=lambda run: int(run["import_us"]) + int(run["work_us"]))
    scale = _LOOP_ESP32_MS * 1000 / min(run["loop_100k_us"] for run in runs)
    return {
        "wake_ms": (best["import_us"] + best["work_us"]) / 1000,
        "wake_esp32_ms": (best["import_us"] + best["work_us"]) / 1000 * scale,
        "wake_import_esp32_ms": best["import_us"] / 1000 * scale,
        "wake_scale": scale,
        "wake_modules": len(best["modules"]),
        "wake_loaded_bytes": flashed.loaded_bytes(files, best["modules"]),
        "wake_wrote": len(best["wrote"]),
    }


def start(times: int) -> dict[str, Any]:
    """A start with TLS, from the first import to the first sample, likewise: what a board computes, without the time
    in which its chip measures."""
    with tempfile.TemporaryDirectory() as folder:
        files = flashed.write_flashed(Path(folder))
        runs = [flashed.start(Path(folder), files) for _ in range(times)]
    best = min(runs, key=lambda run: int(run["first_us"]))
    scale = _LOOP_ESP32_MS * 1000 / min(run["loop_100k_us"] for run in runs)
    return {
        "start_import_esp32_ms": best["import_us"] / 1000 * scale,
        "start_first_sample_ms": best["first_us"] / 1000,
        "start_first_sample_esp32_ms": best["first_us"] / 1000 * scale,
        "start_modules": len(best["modules"]),
        "start_loaded_bytes": best["loaded_bytes"],
        "flashed_bytes": sum(map(len, files.values())),
    }


def measure() -> dict[str, Any]:
    inside = json.loads(interpreter.run_script("bench.py").splitlines()[-1])
    report: dict[str, Any] = {key: round(value, 1) for key, value in inside.items()}
    for loop in ("mask", "utf8"):
        report[f"{loop}_plain_to_fast"] = round(inside[f"{loop}_us_per_kb_plain"] / inside[f"{loop}_us_per_kb_fast"], 1)
    report["heap_bytes"] = 2 * load_profile(find_node("climate-node")).board.heap_bytes
    for tls in (False, True):
        report.update(asyncio.run(at_rest(tls)))
    report.update(asyncio.run(handshakes(20)))
    report.update(wake(20))
    report.update(start(20))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    report = measure()
    print(json.dumps(report, indent=1))
    if options.report:
        options.report.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
