"""`mpy-gateway flash`: from a board on USB to its first sample."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.common import RunningGateway
    from gateway.config import Config
    from gateway.profile import Profile
    from gateway.provision.identity import Before, Fate
    from gateway.provision.plan import Found, Plan
    from gateway.provision.usb import Facts, Progress, Session
    from gateway.tls.boards import BoardTrust

OLDEST = (1, 25)
"""MicroPython: what the firmware is tested with."""
_A_TOKEN = "t" * 43
"""As long as one: for the plan, before there is one."""


class TooOld(ConfigError):
    """The board's MicroPython cannot run the firmware."""


class NotHere(ConfigError):
    """It is flashed, and does not come to the gateway. The text says what to do."""


@app.command("flash")
def flash(
    node: Annotated[
        str,
        typer.Option("--node", metavar="NODE", help="What it becomes: a name from hardware/, or a folder of your own."),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="DEVICE", help="The device's id: a-z, 0-9, - and _, at most 32.")
    ],
    port: Annotated[
        str | None, typer.Argument(metavar="PORT", help="Where the board is. Left out: the one that is plugged in.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let it take the place of another board.")] = False,
    wifi_file: Annotated[
        Path | None,
        typer.Option("--wifi-file", metavar="FILE", help="Wi-Fi networks, in TOML: [[wifi]] with ssid and password."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="MicroPython for a board without, instead of the official one."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="What the SHA-256 of --image is.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Put the firmware on a board and wait for its first sample.

    Writes only what differs, and checks it. Running it again repairs a board, whatever state it is in, and it stays the
    same device. Wi-Fi is asked for, or read from MPY_GATEWAY_WIFI_SSID and MPY_GATEWAY_WIFI_PASSWORD, or --wifi-file.

    A board without MicroPython, or with one too old, gets it if you like.

    Example: mpy-gateway flash --node climate-node --name greenhouse
    """
    from gateway.cli.common import read_config
    from gateway.cli.micropython import Source, put_micropython
    from gateway.provision.usb import Silent
    from gateway.provision.wifi import read_networks

    if wifi_file:
        read_networks(wifi_file)  # an error in it is better said before a board is stopped
    target = _target(read_config(config, state, None), node, name, port)
    doing = _Doing(replace, wifi_file, dry_run, yes)
    try:
        _bring(target, doing)
    except (Silent, TooOld) as need:
        if dry_run:
            raise
        source = Source(image, sha256, target.config.state / "images")
        put_micropython(
            target.port, target.profile.board.chip, source, why=str(need), erase=isinstance(need, Silent), yes=yes
        )
        _bring(target, doing)


@dataclass(frozen=True, slots=True)
class _Doing:
    """How it is to be done."""

    replace: bool
    wifi_file: Path | None
    dry_run: bool
    yes: bool


def _bring(target: _Target, doing: _Doing) -> None:
    """A board with MicroPython to its first sample."""
    from gateway.provision.wifi import find_networks

    with _stopped_board(target.port) as session:
        board = _look(session, target, replace=doing.replace)
        ask = _ask_wifi if not doing.yes and sys.stdin.isatty() else None
        networks = find_networks(os.environ, doing.wifi_file, board.before.wifi, ask)
        plan = _plan(target, board, networks)
        _show(target, board, plan, networks)
        if doing.dry_run:
            return
        if not doing.yes:
            _confirm(session, target, board)
        _carry_out(session, target, board, plan, networks)
        _wait(session, target, networks)


# What is wanted


@dataclass(frozen=True, slots=True)
class _Target:
    """What the board is to become, and for which gateway."""

    port: str
    name: str
    profile: Profile
    files: dict[str, bytes]
    """All but /settings.json."""
    config: Config
    gateway: dict[str, object]
    """Of /settings.json."""
    running: RunningGateway | None
    gateway_id: str

    def contents(self, token: str, networks: list[dict[str, str]]) -> dict[str, bytes]:
        from gateway.provision.identity import settings_file
        from gateway.provision.plan import SETTINGS

        return self.files | {SETTINGS: settings_file(self.name, token, self.gateway, networks)}


def _target(config: Config, node: str, name: str, port: str | None) -> _Target:
    """Raises ConfigError for all that is wrong before a board is looked at."""
    from gateway.profile import find_node, load_profile
    from gateway.profile.firmware import firmware_profile
    from gateway.provision.firmware import board_files
    from gateway.provision.identity import gateway_settings
    from gateway.provision.plan import PROFILE
    from gateway.provision.ports import choose
    from gateway.store.devices import check_name
    from gateway.tls.boards import CA_ON_BOARD

    check_name(name)
    path = find_node(node)
    profile = load_profile(path)
    files = board_files(profile, path.parent) | {PROFILE: json.dumps(firmware_profile(profile)).encode()}
    running = _running(config)
    found = choose(port)
    host, door = _address(config, running, found)
    trust, gateway_id = _trust(config)
    if trust is not None:
        files[CA_ON_BOARD] = trust.ca_der
    settings = gateway_settings(host, door, trust)
    return _Target(found, name, profile, files, config, settings, running, gateway_id)


def _running(config: Config) -> RunningGateway | None:
    """The gateway, if it answers."""
    from gateway.cli.common import NotRunning, RunningGateway

    try:
        running = RunningGateway(config.state)
        running.call("GET", "/api/session")
    except NotRunning:
        typer.echo("the gateway does not run: the board will be flashed, and connects when it is started", err=True)
        return None
    return running


def _address(config: Config, running: RunningGateway | None, port: str) -> tuple[str, int]:
    """Where the board finds the gateway. Raises ConfigError where it cannot."""
    from gateway.config import is_loopback
    from gateway.provision.ports import is_emulated
    from gateway.tls.names import WILDCARDS, reachable

    if running is not None:
        url = urlsplit(running.run["devices_url"])
        host, door = url.hostname or "", url.port or 0
    else:
        host, door = config.devices.host, config.devices.port
    if door == 0:
        raise ConfigError(
            "the gateway takes another port at each start (devices.port = 0): start it first, mpy-gateway run"
        )
    host = reachable(host)
    if host in WILDCARDS:
        host = "127.0.0.1"  # a machine without a network
    if is_loopback(host) and not is_emulated(port):  # which is on this very machine
        raise ConfigError(
            f'a board cannot reach the gateway at {host}: set devices.host = "0.0.0.0" in mpy-gateway.toml, start the '
            "gateway again, and run the same command"
        )
    return host, door


def _trust(config: Config) -> tuple[BoardTrust | None, str]:
    from gateway.cli.common import devices_tls, run_loop
    from gateway.cli.devices import registry_store
    from gateway.identity import gateway_id
    from gateway.tls.boards import board_trust

    async def work() -> tuple[BoardTrust | None, str]:
        async with registry_store(config) as store:
            identity = await gateway_id(config.gateway.id, store)
            return board_trust(config, identity) if devices_tls(config) else None, identity

    return run_loop(work())


# What is there


@dataclass(frozen=True, slots=True)
class _Board:
    facts: Facts
    there: dict[str, Found]
    before: Before
    fate: Fate


@contextmanager
def _stopped_board(port: str) -> Iterator[Session]:
    """The board at its prompt. However this ends, the board is started again."""
    from gateway.provision.usb import Session

    with Session(port) as session:
        session.enter(waiting=lambda: typer.echo(f"stopping what runs on the board at {port}"))
        yield session


def _look(session: Session, target: _Target, *, replace: bool) -> _Board:
    """Raises ConfigError where this board cannot become that."""
    from gateway.cli.common import run_loop
    from gateway.cli.devices import registry
    from gateway.provision.firmware import MPY_VERSION
    from gateway.provision.identity import fate, known_as, read_before

    facts = session.facts()
    version = ".".join(map(str, facts.version))
    if facts.version < OLDEST or facts.mpy != MPY_VERSION:
        raise TooOld(f"the board has MicroPython {version}, and needs 1.25 or newer that loads .mpy files")
    chip = target.profile.board.chip
    if facts.chip and facts.chip != chip:
        raise ConfigError(
            f"the board at {target.port} is an {facts.chip.upper()} ({facts.machine}), and "
            f"{target.profile.node.name} is for {target.profile.board.title}: choose the node, or the board in its "
            "profile.toml, that fits"
        )
    before = read_before(session.read("/settings.json"), session.read("/token.json"))

    async def ask() -> Fate:
        async with registry(target.config) as devices:
            known, opens = await known_as(devices, target.name, before)
            return fate(target.name, known, hardware=facts.hardware, opens=opens, replace=replace)

    return _Board(facts, session.files(), before, run_loop(ask()))


def _plan(target: _Target, board: _Board, networks: list[dict[str, str]]) -> Plan:
    from gateway.provision.identity import Fate
    from gateway.provision.plan import Found, full_sentence, make_plan

    contents = target.contents(board.before.token if board.fate is Fate.KEEP else _A_TOKEN, networks)
    wanted = {path: Found.of(content) for path, content in contents.items()}
    plan = make_plan(board.there, wanted, board.facts.free_bytes)
    if plan.missing_bytes:
        raise ConfigError(full_sentence(plan, board.there, target.port))
    return plan


# What is said and asked


def _show(target: _Target, board: _Board, plan: Plan, networks: list[dict[str, str]]) -> None:
    from gateway.logs import clean
    from gateway.provision.plan import What
    from gateway.words import size

    facts = board.facts
    version = ".".join(map(str, facts.version))
    typer.echo(f"board    {facts.machine}, MicroPython {version}, {size(facts.free_bytes)} free, chip {facts.hardware}")
    typer.echo(f"device   {target.name} ({target.profile.node.name}): {board.fate}")
    if board.before.device not in ("", target.name):
        typer.echo(f"         it was {clean(board.before.device)}, whose samples so far stay under that name")
    typer.echo(f"gateway  {target.gateway_id} at {target.gateway['host']}:{target.gateway['port']}")
    typer.echo(f"wifi     {', '.join(clean(network['ssid']) for network in networks)}")
    writes, removals = plan.of(What.WRITE), plan.of(What.REMOVE)
    if not plan.steps:
        typer.echo(f"files    all {plan.unchanged} are as they should be")
        return
    removed = f", {len(removals)} to remove" if removals else ""
    typer.echo(f"files    {len(writes)} to write ({size(plan.bytes)}){removed}, {plan.unchanged} as they should be")


def _ask_wifi(known: str) -> dict[str, str]:
    ssid = typer.prompt("Wi-Fi network", default=known or None)
    hint = "Wi-Fi password (Enter: the one that the board has)" if ssid == known else "Wi-Fi password"
    return {"ssid": ssid, "password": typer.prompt(hint, default="", hide_input=True, show_default=False)}


def _confirm(session: Session, target: _Target, board: _Board) -> None:
    """Asks before a program that is not ours is replaced."""
    from gateway.provision.plan import Found, foreign, is_program

    replaced = foreign(board.there, {path: Found.of(content) for path, content in target.files.items()})
    theirs = [path for path in replaced if is_program(session.read(path) or b"")]
    if not theirs:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"the board has a program of its own ({', '.join(theirs)}): say --yes if it may be replaced")
    typer.confirm(f"The board has a program of its own ({', '.join(theirs)}). Replace it?", abort=True)


# What is done


def _carry_out(session: Session, target: _Target, board: _Board, plan: Plan, networks: list[dict[str, str]]) -> None:
    from gateway.cli.common import run_loop
    from gateway.cli.devices import registry
    from gateway.provision.flashing import carry_out
    from gateway.provision.identity import settle
    from gateway.provision.plan import SETTINGS
    from gateway.words import size

    async def identity() -> str:
        async with registry(target.config) as devices:
            return await settle(devices, target.name, target.profile, board.facts.hardware, board.fate, board.before)

    def settings() -> bytes:
        return target.contents(run_loop(identity()), networks)[SETTINGS]

    with _progress(plan) as progress:
        carry_out(session, plan, target.contents(_A_TOKEN, networks), settings, progress)
    if plan.steps:
        typer.echo(f"flashed  {size(plan.bytes)} written, and all of it read back")


@contextmanager
def _progress(plan: Plan) -> Iterator[Progress]:
    """A bar on a terminal, else a line at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    columns = (TextColumn("writing "), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("writing", total=plan.bytes)
        yield lambda count: bar.advance(task, count)


def _wait(session: Session, target: _Target, networks: list[dict[str, str]]) -> None:
    from gateway.cli.arrival import NEXT_NETWORK_S, PATIENCE_S, wait_for_sample

    if target.running is None:
        session.restart()
        typer.echo("start    mpy-gateway run: the board connects by itself")
        return
    typer.echo("waiting  for its first sample")
    sensors = target.profile.sensors.values()
    world = [name for sensor in sensors if sensor.chip != "vitals" for name in sensor.quantities]
    outcome = wait_for_sample(
        session,
        target.running,
        target.name,
        world or [name for sensor in sensors for name in sensor.quantities],
        patience_s=NEXT_NETWORK_S if len(networks) > 1 else PATIENCE_S,
        hello=lambda: typer.echo("hello    it is connected"),
    )
    if outcome.sample:
        typer.echo(f"sample   {outcome.sample}")
        typer.echo(f"page     {target.running.url}/#/device/{target.name}")
        return
    if outcome.reason is not None:
        raise NotHere(f"{target.name} is flashed, but {outcome.reason.sentence}")
    where = "it is connected, but sends no samples" if outcome.said_hello else "it does not come to the gateway"
    last = f" It said last: {outcome.console[-1]}" if outcome.console else " It says nothing on its console."
    raise NotHere(f"{target.name} is flashed, but {where}.{last}")
