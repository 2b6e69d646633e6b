"""`mpy-gateway devices`: who may connect. Works while the gateway runs, and while it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import ConfigFile, StateDir, app

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.store.devices import Devices

group = typer.Typer(help="Add or list the devices that may connect.", no_args_is_help=True)
app.add_typer(group, name="devices")


@asynccontextmanager
async def registry(config: Config) -> AsyncIterator[Devices]:
    """The identities alone, beside a gateway that may be running."""
    from gateway.store.devices import Devices
    from gateway.store.sqlite import SqliteStore

    store = SqliteStore(config.state)
    await store.open_registry_only()
    try:
        yield Devices(store)
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
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make an identity for a device and print its token, once: the gateway keeps only a hash.

    Example: mpy-gateway devices add greenhouse --node climate-node
    """
    from gateway.cli.common import read_config, run_loop
    from gateway.profile import find_node, load_profile

    async def work() -> str:
        profile = load_profile(find_node(node))
        async with registry(effective) as devices:
            return await devices.add(device, profile)

    effective = read_config(config, state, None)
    token = run_loop(work())
    typer.echo(f"device  {device}\ntoken   {token}\n        (shown once: the gateway keeps only its hash)")


@group.command("list")
def list_devices(config: ConfigFile = None, state: StateDir = None) -> None:
    """All devices this gateway knows.

    Example: mpy-gateway devices list
    """
    from gateway.cli.common import read_config, run_loop
    from gateway.cli.status import span

    async def work() -> list[str]:
        async with registry(effective) as devices:
            return [
                f"{info.id:<32} {info.node:<20} "
                + (f"seen {span(now_ms - info.last_seen_ms)} ago" if info.last_seen_ms else "never seen")
                for info in await devices.list()
            ]

    import time

    now_ms = time.time() * 1000
    effective = read_config(config, state, None)
    for line in run_loop(work()) or ["no device yet. Add one: mpy-gateway devices add NAME --node climate-node"]:
        typer.echo(line)
