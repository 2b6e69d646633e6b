"""`mpy-gateway devices`: who may connect. Works while the gateway runs, and while it does not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.common import RunningGateway
    from gateway.config import Config
    from gateway.profile import Profile
    from gateway.store.devices import DeviceInfo, Devices
    from gateway.store.port import Store
    from gateway.tls.boards import BoardTrust

group = typer.Typer(help="Say which devices may connect.", no_args_is_help=True)
app.add_typer(group, name="devices")

FORGET_S = 3600
"""A device of years has gigabytes; some 10 s each."""


@asynccontextmanager
async def registry(config: Config) -> AsyncIterator[Devices]:
    """The identities alone, beside a gateway that may be running."""
    from gateway.store.devices import Devices

    async with registry_store(config) as store:
        yield Devices(store, devices=config.limits.devices)


@asynccontextmanager
async def registry_store(config: Config) -> AsyncIterator[Store]:
    """The registry alone, beside a gateway that may be running."""
    from gateway.store.sqlite import SqliteStore

    store = SqliteStore(config.state)
    await store.open_registry_only()
    try:
        yield store
    finally:
        await store.close()


@group.command("add")
def add(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id: a-z, 0-9, - and _, at most 32.")],
    node: Annotated[
        str | None,
        typer.Option(
            "--node", metavar="NODE", help="What it is: a name from hardware/, or a folder with a profile.toml."
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Give a device that there is a new token, to be put on a board by hand: one that was erased, "
            "exchanged or revoked. The old one opens nothing any more, and its samples stay.",
        ),
    ] = False,
    files: Annotated[
        Path | None, typer.Option("--files", metavar="DIR", help="Write all files of the board here, to be copied.")
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make an identity and print its token, once.

    The gateway keeps only a hash of the token. With --files, everything that goes onto the board is written to a
    new directory, ready for `mpremote cp -r DIR/. :`, except Wi-Fi and the gateway's address in settings.json.

    Example: mpy-gateway devices add greenhouse --node climate-node
    """
    from gateway.cli.common import devices_port, devices_tls, read_config, run_loop
    from gateway.identity import gateway_id
    from gateway.profile import find_node, load_profile
    from gateway.store.devices import Devices, check_name
    from gateway.tls.boards import board_trust

    async def work() -> tuple[str, BoardTrust | None]:
        if files:
            files.mkdir(mode=0o700, parents=True)  # before the identity: an error must not leave one behind
        async with registry_store(effective) as store:
            trust = None
            if files and devices_tls(effective):
                trust = board_trust(effective, await gateway_id(effective.gateway.id, store))
            devices = Devices(store, devices=effective.limits.devices)
            if again:
                return await devices.renew(device, profile), trust
            assert profile is not None  # noqa: S101  for mypy: asked for below
            return await devices.add(device, profile), trust

    effective = read_config(config, state, None)
    check_name(device)
    if not again:
        run_loop(_must_be_free(effective, device))  # before more is asked for
    if node is None and (files or not again):
        raise typer.BadParameter("say what it is, such as climate-node", param_hint="--node")
    path = find_node(node) if node is not None else None
    profile = load_profile(path) if path is not None else None
    if files:
        devices_port(effective)  # an error must not leave an identity behind
    try:
        token, trust = run_loop(work())
    except FileExistsError:
        raise ConfigError(f"--files {files}: exists already; name a new directory") from None
    typer.echo(f"device  {device}\ntoken   {token}\n        (shown once: the gateway keeps only its hash)")
    if files and profile is not None and path is not None:
        write_board_files(files, profile, path.parent, device, token, effective, trust)
        typer.echo(f"files   {files}: set Wi-Fi and the gateway's address in settings.json, then copy them:")
        typer.echo(f"        mpremote cp -r {files}/. : + reset")


async def _must_be_free(config: Config, device: str) -> None:
    from gateway.store.devices import taken

    async with registry(config) as devices:
        if await devices.get(device) is not None:
            raise taken(device)


def write_board_files(
    directory: Path,
    profile: Profile,
    node_dir: Path,
    device: str,
    token: str,
    config: Config,
    trust: BoardTrust | None,
) -> None:
    """What goes onto the board, as it lies there. `settings.json` holds the token: only its owner may read it."""
    from gateway.cli.common import devices_port
    from gateway.config import write_private
    from gateway.profile.firmware import firmware_profile
    from gateway.provision.firmware import board_files
    from gateway.provision.identity import gateway_settings
    from gateway.tls.boards import CA_ON_BOARD
    from gateway.tls.names import reachable

    for name, content in board_files(profile, node_dir).items():
        target = directory / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (directory / "profile.json").write_text(json.dumps(firmware_profile(profile)))
    if trust is not None:
        (directory / CA_ON_BOARD.lstrip("/")).write_bytes(trust.ca_der)
    settings = {
        "device": device,
        "token": token,
        "gateway": gateway_settings(reachable(config.devices.host), devices_port(config), trust),
        "wifi": [{"ssid": "your network", "password": "its password"}],
    }
    write_private(directory / "settings.json", json.dumps(settings, indent=2) + "\n")


Name = Annotated[str, typer.Argument(metavar="DEVICE", help="The device.")]


@group.command("rotate")
def rotate(device: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Give a device a new token over its own connection.

    Nothing is to be done at the board. The old token is valid until the new one was used once. A device that is not
    connected gets its new token when it comes.

    Example: mpy-gateway devices rotate greenhouse
    """
    from gateway.words import rotation_words

    async def at_rest(devices: Devices) -> str:
        await devices.rotate(device)
        info = await devices.get(device)
        return rotation_words(device, info.rotation if info else "", connected=False)

    _change(config, state, "POST", f"{device}/rotate", at_rest)


@group.command("revoke")
def revoke(device: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Take a device's token away. Its name and its samples stay.

    Its connection is closed within a second. `devices add DEVICE --again` gives it a new token, `devices forget DEVICE`
    erases it.

    Example: mpy-gateway devices revoke greenhouse
    """

    async def at_rest(devices: Devices) -> str:
        await devices.revoke(device)
        return f"{device} may not connect any more; its samples stay"

    _change(config, state, "POST", f"{device}/revoke", at_rest)


@group.command("replace")
def replace(device: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Let another board take over a device.

    The next board that connects with the device's token is accepted, whatever its hardware.

    Example: mpy-gateway devices replace greenhouse
    """

    async def at_rest(devices: Devices) -> str:
        await devices.replace(device)
        return f"{device}: the next board with its token takes its place"

    _change(config, state, "POST", f"{device}/replace", at_rest)


@group.command("forget")
def forget(
    device: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Erase everything of a device: samples, gaps, events, what was refused, commands, and its identity.

    What brokers retain of it is cleared, too, and its name can be used again. It cannot be undone. Backups are not
    touched.

    Example: mpy-gateway devices forget greenhouse
    """
    from gateway.cli.common import NotRunning, RunningGateway, read_config, run_loop

    effective = read_config(config, state, None)
    if not yes:
        run_loop(_must_be_there(effective, device))  # before anybody is asked
        typer.confirm(f"Erase all samples of {device}, for ever?", abort=True)
    try:
        said = _ask(RunningGateway(effective.state), "DELETE", device, timeout_s=FORGET_S)
    except NotRunning:
        said = run_loop(_forget_at_rest(effective, device))
    typer.echo(said)


async def _must_be_there(config: Config, device: str) -> None:
    from gateway.store.devices import no_such

    async with registry(config) as devices:
        if await devices.get(device) is None:
            raise no_such(device)


async def _forget_at_rest(config: Config, device: str) -> str:
    """With no gateway running."""
    from gateway.forget import forget
    from gateway.store.devices import Devices
    from gateway.store.sqlite import SqliteStore
    from gateway.words import forgotten_words

    store = SqliteStore(config.state)
    await store.open()
    try:
        outlets = [f"mqtt.{name}" for name in config.mqtt]  # the embedded broker remembers nothing
        is_clean = await forget(device, store, Devices(store), configured=outlets)
    finally:
        await store.close()
    return forgotten_words(device, is_clean=is_clean)


def _change(
    config: Path | None, state: Path | None, method: str, path: str, at_rest: Callable[[Devices], Awaitable[str]]
) -> None:
    """Ask the running gateway for a change, which is in force at once; where none runs, make it in its files."""
    from gateway.cli.common import NotRunning, RunningGateway, read_config, run_loop

    async def work() -> str:
        async with registry(effective) as devices:
            return await at_rest(devices)

    effective = read_config(config, state, None)
    try:
        said = _ask(RunningGateway(effective.state), method, path)
    except NotRunning:
        said = run_loop(work())
    typer.echo(said)


def _ask(gateway: RunningGateway, method: str, path: str, *, timeout_s: float = 15) -> str:
    from urllib.parse import quote

    return str(gateway.call(method, f"/api/devices/{quote(path)}", timeout_s=timeout_s)["text"])


@group.command("list")
def list_devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """All devices this gateway knows.

    Example: mpy-gateway devices list
    """
    from gateway.cli.common import RunningGateway, read_config, run_loop
    from gateway.words import span

    async def work() -> list[DeviceInfo]:
        async with registry(effective) as devices:
            return await devices.list()

    def seen(info: DeviceInfo) -> str:
        if info.id in online:
            return "online"
        if info.id in asleep:
            return f"asleep, expected in {span(asleep[info.id] - now_ms)}"
        return f"seen {span(now_ms - info.last_seen_ms)} ago" if info.last_seen_ms else "never seen"

    def token(info: DeviceInfo) -> str:
        if info.revoked:
            return ", revoked"
        return ", has not used its new token yet" if info.rotation else ""

    now_ms = time.time() * 1000
    effective = read_config(config, state, None)
    online, asleep = set(), dict[str, int]()
    with suppress(ConfigError):  # no gateway runs: nobody is online
        answer = RunningGateway(effective.state).call("GET", "/api/status")
        online, asleep = {row["device"] for row in answer["connections"]}, answer["asleep"]
    known = run_loop(work())
    if as_json:
        fields = ("id", "node", "hardware", "added_ms", "last_seen_ms", "revoked", "rotation")
        rows = [{name: getattr(info, name) for name in fields} | {"online": info.id in online} for info in known]
        typer.echo(json.dumps({"devices": rows}, indent=2))
        return
    for info in known:
        typer.echo(f"{info.id:<32} {info.node:<20} {seen(info)}{token(info)}")
    if not known:
        typer.echo("no device yet. Add one: mpy-gateway devices add NAME --node climate-node")
