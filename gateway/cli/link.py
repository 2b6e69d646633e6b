"""`mpy-gateway link`: a new one-time link to the page."""

from __future__ import annotations

import typer

from gateway.cli import ConfigFile, StateDir, app


@app.command("link")
def link(config: ConfigFile = None, state: StateDir = None) -> None:
    """Print a new one-time link to the page.

    For another browser, or after the first link was used.

    Example: mpy-gateway link
    """
    from gateway.cli.common import RunningGateway, read_config

    typer.echo(RunningGateway(read_config(config, state, None).state).call("POST", "/api/link")["link"])
