"""`mpy-gateway emulate`: emulated boards for a gateway that runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import ConfigFile, Settings, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.emulator.signals import Signal


@app.command("emulate")
def emulate(
    node: Annotated[
        str,
        typer.Option(
            "--node", metavar="NODE", help="Which node: a name from hardware/, or a folder with a profile.toml."
        ),
    ] = "climate-node",
    count: Annotated[int, typer.Option("--devices", metavar="N", min=1, max=200, help="How many boards.")] = 1,
    name: Annotated[
        str | None, typer.Option("--name", metavar="DEVICE", help="The device's id (with one board only).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The boards' signals and identities.")] = 1,
    signal: Annotated[
        list[str] | None,
        typer.Option(
            "--signal",
            metavar="NAME=SIGNAL",
            help="What a quantity is, like climate.temperature=step:20,25,at=10s; may be repeated.",
        ),
    ] = None,
    signals: Annotated[
        Path | None,
        typer.Option("--signals", metavar="FILE", help="The same from a TOML file, which may be changed meanwhile."),
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
    settings: Settings = None,
) -> None:
    """Run emulated boards for a gateway that runs here.

    The real MicroPython runs the very files that are flashed.

    Example: mpy-gateway emulate --node climate-node --devices 3
    """
    from gateway.cli.common import RunningGateway, read_config, run_loop
    from gateway.cli.scripts import signals_of
    from gateway.emulator import find_interpreter

    if name and count > 1:
        raise typer.BadParameter("goes with one board only", param_hint="--name")
    find_interpreter()
    effective = read_config(config, state, settings)
    given = signals_of(signal or [], signals)
    url = RunningGateway(effective.state).run["devices_url"]
    run_loop(_emulate(effective, node, count, name, seed, url, given, signals))


async def _emulate(
    config: Config,
    node: str,
    count: int,
    name: str | None,
    seed: int,
    url: str,
    signals: dict[str, Signal],
    signal_file: Path | None,
) -> None:
    from gateway.cli.boards import Boards, board_names, board_settings
    from gateway.cli.common import stop_on_signal
    from gateway.cli.devices import registry_store
    from gateway.cli.scripts import follow
    from gateway.identity import gateway_id
    from gateway.profile import find_node, load_profile
    from gateway.store.devices import Devices
    from gateway.tls.boards import board_trust

    stop = stop_on_signal()
    path = find_node(node)
    profile = load_profile(path)
    names = [name] if name else board_names(profile, count)
    boards = Boards()
    async with registry_store(config) as store:
        trust = board_trust(config, await gateway_id(config.gateway.id, store)) if url.startswith("wss:") else None
        for number, board in enumerate(names):
            directory = config.state / "boards" / board
            identity = await board_settings(Devices(store), board, profile, directory, url, trust)
            boards.add(
                board,
                profile,
                path.parent,
                identity,
                directory=directory,
                seed=seed + number,
                trust=trust,
                console=printer(board),
                signals=signals,
            )
    try:
        await boards.start()
        typer.echo(f"emulating {', '.join(names)} for {url}; Ctrl-C ends it")
        following = (
            asyncio.create_task(follow(signal_file, boards.boards.values(), typer.echo)) if signal_file else None
        )
        await stop.wait()
        if following is not None:
            following.cancel()
    finally:
        await boards.stop()
    if not boards.boards:
        raise ConfigError("no board was started")


def printer(board: str) -> Callable[[str], None]:
    """Print a board's console, each line with its name before it. Equal lines in a row are counted."""
    from gateway.words import Collapsed

    collapsed = Collapsed()

    def show(line: str) -> None:
        for one in collapsed.told(line):
            typer.echo(f"{board}: {one}")

    return show
