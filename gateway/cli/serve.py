"""`mpy-gateway run`: the gateway itself, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from gateway import __version__
from gateway.cli import ConfigFile, LogJson, LogLevel, Settings, StateDir, app

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.config import Config


@app.command("run")
def run(
    config: ConfigFile = None,
    state: StateDir = None,
    settings: Settings = None,
    log_level: LogLevel = None,
    log_json: LogJson = False,
) -> None:
    """Run the gateway until Ctrl-C or SIGTERM.

    Example: mpy-gateway run --config mpy-gateway.toml --set people.port=8081
    """
    from gateway.cli.common import read_config, run_loop

    run_loop(_serve(read_config(config, state, settings, log_level, log_json)))


async def _serve(config: Config) -> None:
    from gateway.app import Gateway
    from gateway.cli.common import stop_on_signal

    stop = stop_on_signal()
    gateway = Gateway(config)
    await gateway.start()
    try:
        typer.echo(banner(gateway, first_steps(gateway)))
        await stop.wait()
    finally:
        await gateway.stop()


def _state_option(gateway: Gateway) -> str:
    """What the other commands need to find this gateway."""
    from gateway.config import state_dir

    state = gateway.config.state
    return "" if state == state_dir(None, os.environ) else f" --state {state}"


def first_steps(gateway: Gateway) -> str:
    """The page, and what to do there."""
    if len(gateway.people.people.accounts):
        how = f"no password? mpy-gateway link{_state_option(gateway)}"
    else:
        how = "make the first account there; the link works once"
    return f"{gateway.people.first_link()}\n           ({how})"


def one_time(gateway: Gateway) -> str:
    """A link that opens the page at once."""
    how = f"opens once; another link: mpy-gateway link{_state_option(gateway)}"
    return f"{gateway.people.one_time_link()}\n           ({how})"


def banner(gateway: Gateway, page: str) -> str:
    """Where everything is, for a person at a terminal."""
    embedded = " (embedded)" if gateway.broker else ""
    brokers = "\n".join(f"  mqtt     {url}{embedded}" for url in gateway.mqtt_urls.values())
    return (
        f"mpy-gateway {__version__}, {gateway.id}\n"
        f"  page     {page}\n"
        f"  devices  {gateway.devices_url}\n"
        f"{brokers}\n"
        f"  state    {gateway.config.state}"
    )
