"""`mpy-gateway emulate`: emulated boards for a gateway that runs already."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import ConfigFile, Settings, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.emulated import Boards
    from gateway.config import Config
    from gateway.emulator import EmulatedBoard
    from gateway.emulator.signals import Signal
    from gateway.emulator.timing import Timing

FILES_A_BOARD: Final = 8
"""Pipes, pages and the port; measured 7."""


@app.command("emulate")
def emulate(
    node: Annotated[
        str,
        typer.Option(
            "--node", metavar="NODE", help="Which node: a name from hardware/, or a folder with a profile.toml."
        ),
    ] = "climate-node",
    count: Annotated[int, typer.Option("--devices", metavar="N", min=1, max=1000, help="How many boards.")] = 1,
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
    fault: Annotated[
        str | None,
        typer.Option(
            "--fault",
            metavar="KINDS",
            help="What goes wrong now and then, by the seed: wifi, power, clock, bus; several with commas.",
        ),
    ] = None,
    serial: Annotated[
        bool, typer.Option("--serial", help="Give each a serial port that mpremote and flash use as a USB port.")
    ] = False,
    blank: Annotated[
        bool, typer.Option("--blank", help="Boards without any file, to be flashed through their ports.")
    ] = False,
    timing: Annotated[
        str,
        typer.Option("--timing", metavar="WHAT", help='"chip": stand still where a chip does; "fast": nowhere.'),
    ] = "fast",
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Write which board is at which port, as JSON, for as long as they run."
        ),
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
    settings: Settings = None,
) -> None:
    """Run emulated boards for a gateway that runs here.

    The real MicroPython runs the very files that are flashed.

    Example: mpy-gateway emulate --node climate-node --devices 3

    Example: mpy-gateway emulate --node climate-node --blank
    """
    from gateway.cli.common import RunningGateway, read_config, run_loop
    from gateway.cli.scripts import signals_of
    from gateway.emulator import find_interpreter
    from gateway.emulator.faults import kinds_of
    from gateway.emulator.interpreter import need_raw_repl
    from gateway.emulator.timing import TIMINGS

    if name and count > 1:
        raise typer.BadParameter("goes with one board only", param_hint="--name")
    if name and blank:
        raise typer.BadParameter("a blank board is called by whoever flashes it", param_hint="--name")
    if timing not in TIMINGS:
        raise typer.BadParameter(f"there are: {', '.join(TIMINGS)}", param_hint="--timing")
    interpreter = find_interpreter()
    if report is not None:
        _remove_old(report)
    if serial or blank:
        need_raw_repl(interpreter)
    make_room(count)
    effective = read_config(config, state, settings)
    wanted = Wanted(
        node,
        count,
        name,
        seed,
        signals_of(signal or [], signals),
        signals,
        kinds_of(fault) if fault else (),
        serial or blank,
        blank,
        report,
        TIMINGS[timing],
    )
    url = None if blank else RunningGateway(effective.state).run["devices_url"]
    run_loop(_emulate(effective, wanted, url))


def make_room(boards: int) -> None:
    """Raises ConfigError where so many boards need more open files than the system allows."""
    from gateway.descriptors import OTHERS, allow

    if (allowed := allow(needed := boards * FILES_A_BOARD + OTHERS)) < needed:
        raise ConfigError(
            f"{boards} boards take {needed:,} open files, and this process may have {allowed:,}: raise `ulimit -Hn`, "
            "or use a smaller --devices"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for."""

    node: str
    count: int
    name: str | None
    seed: int
    signals: dict[str, Signal]
    signal_file: Path | None
    faults: tuple[str, ...]
    serial: bool
    blank: bool
    report: Path | None
    timing: Timing


async def _emulate(config: Config, wanted: Wanted, url: str | None) -> None:
    """`url`: of the gateway whose devices the boards are; None with blank boards, which are nobody's yet."""
    from gateway.cli.common import stop_on_signal
    from gateway.cli.emulated import Boards
    from gateway.config import write_private

    stop = stop_on_signal()
    boards = Boards(wanted.timing)
    if url is None:
        _add_blank(boards, config, wanted)
    else:
        await _add_devices(boards, config, wanted, url)
    following: list[asyncio.Task[None]] = []
    try:
        await boards.start()
        if wanted.report is not None:
            write_private(wanted.report, json.dumps(boards.report(), indent=1))
        typer.echo(f"emulating {', '.join(boards.boards)}{f' for {url}' if url else ''}; Ctrl-C ends it")
        if wanted.serial:
            for name, board in boards.boards.items():
                typer.echo(f"  {name:<32} {board.port}")
        following = [asyncio.create_task(work) for work in _beside(boards, wanted)]
        await stop.wait()
    finally:
        for task in following:
            task.cancel()
        ended = await asyncio.gather(*following, return_exceptions=True)
        if wanted.report is not None:  # its ports are gone
            wanted.report.unlink(missing_ok=True)
        await boards.stop()
    for fault in ended:  # of ours, in what went on beside
        if isinstance(fault, Exception):
            raise fault


async def _add_devices(boards: Boards, config: Config, wanted: Wanted, url: str) -> None:
    from gateway.cli.devices import registry_store
    from gateway.cli.emulated import board_names, board_settings
    from gateway.identity import gateway_id
    from gateway.profile import find_node, load_profile
    from gateway.store.devices import Devices
    from gateway.tls.boards import board_trust

    path = find_node(wanted.node)
    profile = load_profile(path)
    async with registry_store(config) as store:
        trust = board_trust(config, await gateway_id(config.gateway.id, store)) if url.startswith("wss:") else None
        for number, name in enumerate([wanted.name] if wanted.name else board_names(profile, wanted.count)):
            directory = config.state / "boards" / name
            identity = await board_settings(Devices(store), name, profile, directory, url, trust)
            boards.add(
                name,
                profile,
                path.parent,
                identity,
                directory=directory,
                seed=wanted.seed + number,
                trust=trust,
                console=printer(name),
                signals=wanted.signals,
                serial=wanted.serial,
            )


def _add_blank(boards: Boards, config: Config, wanted: Wanted) -> None:
    from gateway.profile import find_node, load_profile

    path = find_node(wanted.node)
    profile = load_profile(path)
    for number in range(wanted.count):
        boards.add_blank(
            profile,
            path.parent,
            config.state / "boards",
            seed=wanted.seed + number,
            console=printer,
            signals=wanted.signals,
        )


def _beside(boards: Boards, wanted: Wanted) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on while the boards run."""
    from gateway.cli.scripts import follow

    if wanted.signal_file:
        yield follow(wanted.signal_file, boards.boards.values(), typer.echo)
    if wanted.faults:
        yield _play_faults(boards, wanted)
    if "power" not in wanted.faults:  # which switches boards off and on again
        for name, board in boards.boards.items():
            yield _say_end(name, board)


async def _play_faults(boards: Boards, wanted: Wanted) -> None:
    from gateway.emulator.faults import schedule
    from gateway.emulator.playfaults import play

    profile = next(iter(boards.boards.values())).profile
    on_a_bus = [name for name, sensor in profile.sensors.items() if sensor.bus]
    if "bus" in wanted.faults and not on_a_bus:
        typer.echo(f"{profile.node.name} has no sensor on a bus: nothing goes wrong there")
    await play(schedule(wanted.faults, wanted.seed, list(boards.boards), on_a_bus), boards.boards, typer.echo)


async def _say_end(name: str, board: EmulatedBoard) -> None:
    """A board that runs no more is said: the others go on."""
    await board.off()
    typer.echo(f"{name}: the emulated board is off and does not start again; Ctrl-C, and the command again, starts it")


def _remove_old(report: Path) -> None:
    """Whoever waits for the report must not find an earlier one. Raises ConfigError, now rather than later."""
    try:
        report.unlink(missing_ok=True)
        report.with_name(report.name + ".new").touch()
        report.with_name(report.name + ".new").unlink()
    except OSError as error:
        raise ConfigError(f"--report {report}: cannot be written: {error.strerror}") from None


def printer(board: str) -> Callable[[str], None]:
    """Print a board's console, each line with its name before it. Equal lines in a row are counted."""
    from gateway.words import Collapsed

    collapsed = Collapsed()

    def show(line: str) -> None:
        for one in collapsed.told(line):
            typer.echo(f"{board}: {one}")

    return show
