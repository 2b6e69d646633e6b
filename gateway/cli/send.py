"""`mpy-gateway send`: a command to a device, and its one result."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from gateway.cli import ConfigFile, StateDir, app


@app.command("send")
def send(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="ping, identify, restart ...")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Arguments of the command.")
    ] = None,
    wait: Annotated[
        int, typer.Option(min=1, max=3600, metavar="SECONDS", help="How long it may wait for the device.")
    ] = 10,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Send a command to a device, wait for its result.

    A device that is not connected gets it when it comes, within --wait seconds; after that it has expired and is never
    sent. Exit 0 when it was done, 1 when not.

    Example: mpy-gateway send climate-1 identify seconds=3
    """
    from gateway.cli.common import RunningGateway, read_config

    body = {"name": command, "args": dict(_argument(word) for word in arguments or []), "timeout_s": wait}
    gateway = RunningGateway(read_config(config, state, None).state)
    path = f"/api/devices/{quote(device, safe='')}"
    if not gateway.call("GET", path)["online"]:
        typer.echo(f"queued: {device} is not connected; it has {wait} s")
    result = gateway.call("POST", f"{path}/commands", body, timeout_s=wait + 20)
    if result["status"] == "done":
        details = " ".join(f"{key}={value}" for key, value in (result.get("data") or {}).items())
        typer.echo(f"{device} {command}: done{' ' + details if details else ''}")
        return
    error = result["error"] or {"code": result["status"], "text": "the device gave no reason"}
    typer.echo(f"{device} {command}: {result['status']}: {error['text']} ({error['code']})", err=True)
    raise typer.Exit(1)


def _argument(word: str) -> tuple[str, object]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"'{word}' is not KEY=VALUE", param_hint="ARGUMENTS")
    try:
        value = json.loads(text)
    except ValueError:
        return key, text
    return key, value if isinstance(value, bool | int | float) or value is None else text
