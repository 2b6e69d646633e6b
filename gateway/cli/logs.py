"""`mpy-gateway logs`: what a board says, on its serial console or over its connection."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import ConfigFile, StateDir, app

LISTEN_S = 0.2


@app.command("logs")
def logs(
    target: Annotated[
        str | None,
        typer.Argument(metavar="DEVICE|PORT", help="A device's id, or a port. Left out: the only board plugged in."),
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Print what a board says, until Ctrl-C.

    Of a port: its console, line by line; the board is not stopped. Of a device: the lines of its log that it sends to
    the gateway, with the time since its boot, and its events.

    Example: mpy-gateway logs greenhouse
    """
    if target is not None and not is_port(target):
        from gateway.cli.common import read_config
        from gateway.cli.tail import follow

        follow(read_config(config, state, None).state, target, kinds=frozenset({"log", "event", "gap"}))
        return
    _console(target)


def is_port(target: str) -> bool:
    """A device's id has no slash."""
    return "/" in target or (target.startswith(("tty", "cu.")) and Path("/dev", target).exists())


def _console(port: str | None) -> None:
    from gateway.logs import clean
    from gateway.provision.ports import choose
    from gateway.provision.usb import Session

    chosen = choose(f"/dev/{port}" if port is not None and "/" not in port else port)
    typer.echo(f"listening at {chosen}; Ctrl-C ends", err=True)
    rest = b""
    with Session(chosen) as session:
        while True:
            *lines, rest = (rest + session.console(LISTEN_S)).split(b"\n")
            rest = rest[-2000:]
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\r")
                typer.echo(f"{datetime.now().strftime('%H:%M:%S.%f')[:-3]} {clean(text, 500)}")
