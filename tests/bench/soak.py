"""The whole system under all faults at once, and the count of every sample at the end.

    python -m tests.bench.soak [--boards N] [--seconds S] [--seed K] [--power-loss none|unsent] [--report FILE]

Real gateway process, real mosquitto, emulated boards with the firmware's own files. Faults come at random moments of
a seeded sequence for S seconds (tests/chaos.py); then they end, everything drains, and the report says what became of
each measurement. `taken` is counted by the emulated chips, `delivered` by a subscriber of its own. The exit code says
whether the promises held: nothing lost, nothing invented, no sequence number unaccounted for; with --power-loss none
no unknown tail.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.aio import until
from tests.chaos import Chaos
from tests.faults import FaultProxy
from tests.programs import free_port
from tests.reckoning import Reckoning
from tests.rig import GatewayProgram, Mosquitto, Subscriber, add_device, hurried, make_board, outcome_of
from tests.rig import quick_node as make_node

DISK_BYTES = 64 << 20
_CLONE_NEWNS = 0x00020000
PERIOD_MS = {"unsent": 200, "none": 400}
"""As often as the profile's check of the flash's wear allows, or nearly."""
ROUNDS, SETTLE_S = 4, 10.0
SUMS = ("taken", "delivered", "repeated", "gaps", "in_gaps", "lost", "invented", "holes", "interrupted", "unknown_tail")


@dataclass(frozen=True)
class Options:
    boards: int
    seconds: float
    seed: int
    power_loss: str
    period_ms: int
    pace: float
    hurried: bool
    drain_s: float
    directory: Path
    dump: bool


async def soak(options: Options, disk: Path | None) -> dict[str, Any]:
    directory = options.directory
    state = (disk or directory) / "state"
    with ExitStack() as stack:
        broker = Mosquitto(directory / "broker", free_port())
        stack.callback(broker.kill)
        broker.start()
        mqtt_link = stack.enter_context(FaultProxy(broker.port))
        door = free_port()
        gateway = GatewayProgram(
            state,
            f"devices.port={door}",
            f"mqtt.home.url=mqtt://127.0.0.1:{mqtt_link.port}",
            log=directory / "gateway.log",
        )
        stack.callback(gateway.kill)
        gateway.start()
        subscriber = Subscriber(broker.port)
        stack.callback(subscriber.close)
        profile = make_node(directory, period_ms=options.period_ms, power_loss=options.power_loss)
        boards = {}
        for number in range(1, options.boards + 1):
            name = f"board-{number}"
            proxy = stack.enter_context(FaultProxy(door))
            token = await asyncio.to_thread(add_device, name, profile, state)
            console = stack.enter_context((directory / f"{name}.log").open("a", buffering=1))
            board = make_board(
                directory / name,
                profile,
                token,
                proxy.port,
                device=name,
                seed=options.seed * 1000 + number,
                files=hurried(10) if options.hurried else {},
                console=lambda line, console=console: print(line, file=console),
            )
            boards[name] = (board, proxy)
        chaos = Chaos(options.seed, broker, gateway, mqtt_link, boards, disk=disk, pace=options.pace)
        try:
            for board, _ in boards.values():
                await board.start()
            began_s = time.monotonic()
            await chaos.run(options.seconds)
            await chaos.end()
            ended_s = time.monotonic()

            def outcomes() -> dict[str, Reckoning]:
                return {name: outcome_of(board, subscriber, options.power_loss) for name, (board, _) in boards.items()}

            for _ in range(ROUNDS):
                # A board sends in order: with three more than what was open there is nothing left of before.
                wanted = {name: found.delivered + _open(found) + 3 for name, found in outcomes().items()}
                running = [name for name, (board, _) in boards.items() if board.running]
                await _wait(
                    lambda running=running, wanted=wanted: all(
                        found.delivered >= wanted[name] for name, found in outcomes().items() if name in running
                    ),
                    options.drain_s,
                )
                for board, _ in boards.values():
                    await board.stop()
                await _wait(lambda: all(_settled(found) for found in outcomes().values()), SETTLE_S)
                late = [name for name, found in outcomes().items() if not _settled(found)]
                if not late:
                    break
                for name in late:  # stopped while its connection was dead unnoticed: its next boot brings the rest
                    await boards[name][0].start()
            found = outcomes()
            if options.dump:
                _dump(directory, subscriber)
        finally:
            for board, _ in boards.values():
                await board.power_cut()
    sums = {key: sum(getattr(outcome, key) for outcome in found.values()) for key in SUMS}
    problems = [f"{name}: {problem}" for name, outcome in found.items() for problem in outcome.problems]
    return sums | {
        "longest_silence_s": round(subscriber.longest_silence_s(), 1),
        "drained_s": round(time.monotonic() - ended_s, 1),
        "seconds": round(ended_s - began_s, 1),
        "boards": options.boards,
        "boots": sum(board.boots for board, _ in boards.values()),
        "seed": options.seed,
        "power_loss": options.power_loss,
        "faults": dict(sorted(chaos.faults.items())),
        "devices": {name: {key: getattr(outcome, key) for key in SUMS} for name, outcome in found.items()},
        "problems": problems[:50],
        "held": held(found.values(), options.power_loss),
    }


def _dump(directory: Path, subscriber: Subscriber) -> None:
    """What was delivered, beside the boards' truth logs: to find out what a report speaks of."""
    for name, got in subscriber.delivered.items():
        boots = {boot_id: vars(boot) | {"events": sorted(boot.events)} for boot_id, boot in got.boots.items()}
        (directory / f"{name}.delivered.json").write_text(json.dumps(boots, indent=1))


def held(outcomes: Any, power_loss: str) -> bool:
    """Whether the promises held."""
    return all(
        not (outcome.lost or outcome.invented or outcome.holes or outcome.problems)
        and (power_loss == "unsent" or not outcome.unknown_tail)
        for outcome in outcomes
    )


def _open(outcome: Reckoning) -> int:
    """Measurements nobody has accounted for yet."""
    accounted = outcome.delivered + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
    return max(outcome.taken - accounted, outcome.holes, outcome.lost)


def _settled(outcome: Reckoning) -> bool:
    return not (_open(outcome) or outcome.lost or outcome.holes)


async def _wait(condition: Any, timeout_s: float) -> None:
    """Until `condition()`; not for ever, as the report says what is missing."""
    with suppress(AssertionError):
        await until(condition, timeout_s=timeout_s, every_s=0.5)


def small_disk(directory: Path) -> Path | None:
    """A file system of its own that can be filled, in a mount name space that ends with this process and what it has
    started. None where that is not allowed (it takes root)."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return None
    disk = directory / "disk"
    disk.mkdir()
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]):
        if subprocess.run(["mount", *words], check=False, capture_output=True).returncode != 0:
            return None
    return disk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="All faults at once.")
    parser.add_argument("--boards", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="how long there are faults")
    parser.add_argument("--seed", type=int, default=1, metavar="K")
    parser.add_argument("--power-loss", choices=("none", "unsent"), default="unsent")
    parser.add_argument("--period-ms", type=int, metavar="MS", help="between two samples of a board")
    parser.add_argument("--pace", type=float, default=1.0, help="2: half as many faults, each twice as long")
    parser.add_argument("--hurried", action="store_true", help="the link's deadlines are a tenth, so that it ends soon")
    parser.add_argument("--drain", type=float, default=120, metavar="S", help="how long the end may take")
    parser.add_argument("--report", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here and leave everything, to look at it")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpy-gateway-soak-") as temporary:
        directory = words.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        options = Options(
            words.boards,
            words.seconds,
            words.seed,
            words.power_loss,
            words.period_ms or PERIOD_MS[words.power_loss],
            words.pace,
            words.hurried,
            words.drain,
            directory,
            words.keep is not None,
        )
        disk = small_disk(directory)
        try:
            report = asyncio.run(soak(options, disk))
        finally:
            if disk is not None:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
    text = json.dumps(report, indent=2)
    if words.report:
        words.report.write_text(text + "\n")
    print(text)
    return 0 if report["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
