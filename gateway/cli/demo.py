"""`mpy-gateway demo`: broker, gateway and emulated boards at once, on loopback, leaving nothing behind."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import LogJson, LogLevel, Settings, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.config import Config

DRAIN_S = 5.0
"""How long the end of a demo waits for the last samples to reach both ways out."""


@app.command("demo")
def demo(
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="Stop by itself after this time.")
    ] = None,
    count: Annotated[int, typer.Option("--devices", metavar="N", min=1, max=200, help="How many emulated boards.")] = 1,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write what was taken, committed, published and seen, as JSON."),
    ] = None,
    node: Annotated[
        str,
        typer.Option(
            "--node", metavar="NODE", help="Which node: a name from hardware/, or a folder with a profile.toml."
        ),
    ] = "climate-node",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The emulated boards' signals and identities.")] = 1,
    state: StateDir = None,
    settings: Settings = None,
    log_level: LogLevel = "warning",
    log_json: LogJson = False,
) -> None:
    """Broker, gateway and emulated boards at once.

    Needs no hardware and leaves nothing behind.

    Example: mpy-gateway demo --devices 3 --for 20 --report demo.json
    """
    from gateway.cli.common import read_config, run_loop
    from gateway.emulator import find_interpreter

    if seconds is not None and seconds <= 0:
        raise typer.BadParameter("must be more than 0", param_hint="--for")
    if report:
        _check_writable(report)
    find_interpreter()  # raises one line that says how to get one, before anything is started
    started = time.time()
    with nullcontext(state) if state else tempfile.TemporaryDirectory(prefix="mpy-gateway-demo-") as directory:
        config = read_config(None, Path(directory), _free_ports(settings or []), log_level, log_json)
        code = run_loop(_demo(config, node, count, seed, seconds, report, started))
    raise typer.Exit(code)


async def _demo(
    config: Config, node: str, count: int, seed: int, seconds: float | None, report: Path | None, started: float
) -> int:
    from gateway.app import Gateway
    from gateway.cli.common import stop_on_signal
    from gateway.cli.emulated import Boards, board_names, board_settings
    from gateway.cli.serve import banner, one_time
    from gateway.profile import find_node, load_profile
    from gateway.tls.boards import board_trust

    stop = stop_on_signal()
    path = find_node(node)
    profile = load_profile(path)
    async with AsyncExitStack() as parts:
        gateway = Gateway(config)
        await gateway.start()
        parts.push_async_callback(gateway.stop)
        boards = Boards()
        parts.push_async_callback(boards.stop)
        witness = None
        if seconds is not None or report:
            witness = await Observer.start(gateway)
            parts.push_async_callback(witness.end)
        trust = board_trust(config, gateway.id) if config.devices.uses_tls else None
        for number, name in enumerate(board_names(profile, count)):
            directory = config.state / "boards" / name
            identity = await board_settings(gateway.devices, name, profile, directory, gateway.devices_url, trust)
            boards.add(name, profile, path.parent, identity, directory=directory, seed=seed + number, trust=trust)
        typer.echo(banner(gateway, one_time(gateway)))
        typer.echo(f"  boards   {', '.join(boards.boards)} (emulated)")
        announcement = asyncio.create_task(_announce_first_sample(gateway, started))
        await boards.start()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
        announcement.cancel()
        if witness is None:
            return 0
        await boards.stop()
        figures = await _settle(gateway, boards.taken(), witness)
    _print_figures(figures)
    if report:
        report.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if any(device["lost"] for device in figures["devices"].values()) else 0


async def _announce_first_sample(gateway: Gateway, started: float) -> None:
    async for batch in gateway.store.live():
        typer.echo(f"  first    a sample of {batch.device} is on disk, {time.time() - started:.1f} s after the start")
        return


async def _settle(gateway: Gateway, taken: dict[str, int], witness: Observer) -> dict[str, Any]:
    """Wait until what was taken has come out at both ends, or `DRAIN_S` have passed; then the figures per device."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        observed = await witness.report()
        figures = {device: await _figures(gateway, device, n, observed) for device, n in taken.items()}
        settled = all(f["seen"] >= f["taken"] and f["published"] >= f["taken"] for f in figures.values())
        if settled or time.monotonic() > deadline:
            return {"devices": figures, "repeated": observed["repeated"]}
        await asyncio.sleep(0.1)


async def _figures(gateway: Gateway, device: str, taken: int, observed: dict[str, Any]) -> dict[str, int]:
    counts = await gateway.history.counts(device)
    published = observed["published"].get(device, 0)
    return {
        "taken": taken,
        "committed": counts.samples,
        "published": published,
        "seen": observed["seen"].get(device, 0),
        "quarantined": counts.quarantined,
        "lost": max(0, taken - published),
    }


def _check_writable(report: Path) -> None:
    """Better now than after the run. Raises ConfigError."""
    try:
        report.open("a").close()
    except OSError as error:
        raise ConfigError(f"--report {report}: cannot be written: {error.strerror}") from None


def _print_figures(figures: dict[str, Any]) -> None:
    columns = ("taken", "committed", "published", "seen", "quarantined", "lost")
    typer.echo("\n" + f"{'device':<16}" + "".join(f"{column:>13}" for column in columns))
    for device, row in figures["devices"].items():
        typer.echo(f"{device:<16}" + "".join(f"{row[column]:>13}" for column in columns))


class Observer:
    """The independent witness (witness.py) in its own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, gateway: Gateway) -> Observer:
        bridge = gateway.bridges[0]
        settings = {
            "mqtt_url": bridge.url,
            "base": gateway.mqtt_bases[bridge.name],
            "feed_url": gateway.people.url.replace("http", "ws", 1) + "/api/live",
            "certificate": str(gateway.tls.people.file) if gateway.tls.people else None,
            "token": gateway.people.cli_token,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli.witness",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: it must live to the end
        )
        observer = cls(process)
        if await observer._say(json.dumps(settings)) != "ready":
            raise ConfigError("the witness of the demo could not listen to the broker or the live feed")
        return observer

    async def report(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._say("report"))
        return answer

    async def _say(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the witness was started without pipes")
        self._process.stdin.write(line.encode() + b"\n")
        return (await self._process.stdout.readline()).decode().strip()

    async def end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _free_ports(settings: list[str]) -> list[str]:
    """A demo must start beside whatever runs already: a taken port that was not asked for gives way to a free one."""
    named = {setting.partition("=")[0] for setting in settings}
    usual = {"devices.port": 8765, "people.port": 8080, "broker.port": 1883, "broker.port_v5": 1884}
    moved = [f"{key}=0" for key, port in usual.items() if key not in named and _taken(port)]
    return moved + settings


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
