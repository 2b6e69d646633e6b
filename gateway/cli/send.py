"""`mpy-gateway send`: a command to a device, and its one result."""

from __future__ import annotations

import json
import time
from typing import Annotated
from urllib.parse import quote

import typer

from gateway.cli import ConfigFile, StateDir, app

_USUAL_S = 10
_LONGEST_S = 3600


@app.command("send")
def send(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="ping, identify, restart ...")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Arguments of the command.")
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="How long it may wait for the device: 10 s, or as long as a device sleeps.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Send a command to a device, wait for its result.

    A device that is not connected gets it when it comes, within --wait seconds; after that it has expired and is never
    sent. Exit 0 when it was done, 1 when not.

    Example: mpy-gateway send climate-1 identify seconds=3
    """
    from gateway.cli.common import RunningGateway, read_config

    args = dict(_argument(word) for word in arguments or [])
    gateway = RunningGateway(read_config(config, state, None).state)
    path = f"/api/devices/{quote(device, safe='')}"
    known = gateway.call("GET", path)
    until_ms = known["asleep_until_ms"]
    wait = wait or (_USUAL_S if until_ms is None else _patience_s(until_ms / 1000 - time.time()))
    if not known["online"]:
        where = "not connected" if until_ms is None else "asleep"
        typer.echo(f"queued: {device} is {where}; it has {wait} s")
    body = {"name": command, "args": args, "timeout_s": wait}
    result = gateway.call("POST", f"{path}/commands", body, timeout_s=wait + 20)
    if result["status"] == "done":
        details = " ".join(f"{key}={value}" for key, value in (result.get("data") or {}).items())
        typer.echo(f"{device} {command}: done{' ' + details if details else ''}")
        return
    error = result["error"] or {"code": result["status"], "text": "the device gave no reason"}
    typer.echo(f"{device} {command}: {result['status']}: {error['text']} ({error['code']})", err=True)
    raise typer.Exit(1)


def _patience_s(asleep_s: float) -> int:
    """A device that sleeps is late when it is back a tenth of its sleep and a minute after it wanted to be."""
    return min(_LONGEST_S, round(1.1 * max(0.0, asleep_s)) + 60)


def _argument(word: str) -> tuple[str, object]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"'{word}' is not KEY=VALUE", param_hint="ARGUMENTS")
    try:
        value = json.loads(text)
    except ValueError:
        return key, text
    return key, value if isinstance(value, bool | int | float) or value is None else text
