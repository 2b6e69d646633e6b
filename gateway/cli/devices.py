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
    from gateway.config import Config
    from gateway.profile import Profile
    from gateway.store.devices import DeviceInfo, Devices
    from gateway.store.port import Store
    from gateway.tls.boards import BoardTrust

group = typer.Typer(help="Say which devices may connect.", no_args_is_help=True)
app.add_typer(group, name="devices")


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
        str,
        typer.Option(
            "--node", metavar="NODE", help="What it is: a name from hardware/, or a folder with a profile.toml."
        ),
    ],
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
    from gateway.cli.common import devices_tls, read_config, run_loop
    from gateway.identity import gateway_id
    from gateway.profile import find_node, load_profile
    from gateway.store.devices import Devices
    from gateway.tls.boards import board_trust

    async def work() -> tuple[str, BoardTrust | None]:
        if files:
            files.mkdir(mode=0o700, parents=True)  # before the identity: an error must not leave one behind
        async with registry_store(effective) as store:
            trust = None
            if files and devices_tls(effective):
                trust = board_trust(effective, await gateway_id(effective.gateway.id, store))
            return await Devices(store).add(device, profile), trust

    effective = read_config(config, state, None)
    path = find_node(node)
    profile = load_profile(path)
    try:
        token, trust = run_loop(work())
    except FileExistsError:
        raise ConfigError(f"--files {files}: exists already; name a new directory") from None
    typer.echo(f"device  {device}\ntoken   {token}\n        (shown once: the gateway keeps only its hash)")
    if files:
        write_board_files(files, profile, path.parent, device, token, effective, trust)
        typer.echo(f"files   {files}: set Wi-Fi and the gateway's address in settings.json, then copy them:")
        typer.echo(f"        mpremote cp -r {files}/. : + reset")


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
    from gateway.cli.boards import gateway_settings
    from gateway.config import write_private
    from gateway.profile.firmware import firmware_files, firmware_profile
    from gateway.tls.boards import CA_ON_BOARD
    from gateway.tls.names import reachable

    for name, source in firmware_files(profile, node_dir).items():
        target = directory / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (directory / "profile.json").write_text(json.dumps(firmware_profile(profile)))
    if trust is not None:
        (directory / CA_ON_BOARD.lstrip("/")).write_bytes(trust.ca_der)
    settings = {
        "device": device,
        "token": token,
        "gateway": gateway_settings(reachable(config.devices.host), config.devices.port, trust),
        "wifi": [{"ssid": "your network", "password": "its password"}],
    }
    write_private(directory / "settings.json", json.dumps(settings, indent=2) + "\n")


@group.command("replace")
def replace(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device whose board was exchanged.")],
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Let another board take over a device.

    The next board that connects with the device's token is accepted, whatever its hardware.

    Example: mpy-gateway devices replace greenhouse
    """
    _change(config, state, lambda devices: devices.replace(device))
    typer.echo(f"{device}: the next board with its token takes its place")


@group.command("revoke")
def revoke(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device.")],
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Take a device's token away. Its samples stay.

    Example: mpy-gateway devices revoke greenhouse
    """
    _change(config, state, lambda devices: devices.revoke(device))
    typer.echo(f"{device} may not connect any more")


def _change(config: Path | None, state: Path | None, change: Callable[[Devices], Awaitable[None]]) -> None:
    from gateway.cli.common import read_config, run_loop

    async def work() -> None:
        async with registry(effective) as devices:
            await change(devices)

    effective = read_config(config, state, None)
    run_loop(work())


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

    def seen(device: str, at_ms: int | None) -> str:
        if device in online:
            return "online"
        return f"seen {span(now_ms - at_ms)} ago" if at_ms else "never seen"

    now_ms = time.time() * 1000
    effective = read_config(config, state, None)
    online = set()
    with suppress(ConfigError):  # no gateway runs: nobody is online
        answer = RunningGateway(effective.state).call("GET", "/api/status")
        online = {row["device"] for row in answer["connections"]}
    known = run_loop(work())
    if as_json:
        fields = ("id", "node", "hardware", "added_ms", "last_seen_ms")
        rows = [{name: getattr(info, name) for name in fields} | {"online": info.id in online} for info in known]
        typer.echo(json.dumps({"devices": rows}, indent=2))
        return
    for info in known:
        typer.echo(f"{info.id:<32} {info.node:<20} {seen(info.id, info.last_seen_ms)}")
    if not known:
        typer.echo("no device yet. Add one: mpy-gateway devices add NAME --node climate-node")
