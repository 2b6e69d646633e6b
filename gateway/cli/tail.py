"""`mpy-gateway tail`: live samples in the terminal."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli import ConfigFile, StateDir, app

if TYPE_CHECKING:
    from gateway.cli.common import RunningGateway


@app.command("tail")
def tail(
    device: Annotated[str | None, typer.Argument(metavar="[DEVICE]", help="Only this device.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the feed's messages as they are, one a line.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Print live samples until Ctrl-C.

    One a line, as they are committed. Reconnects by itself.

    Example: mpy-gateway tail climate-1
    """
    from gateway.cli.common import RunningGateway, read_config

    directory = read_config(config, state, None).state
    asyncio.run(_follow(lambda: RunningGateway(directory), device, as_json))


async def _follow(gateway: Any, device: str | None, as_json: bool) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    running: RunningGateway = gateway()  # not running at the start is an error; later it is an outage
    if device:
        running.call("GET", f"/api/devices/{quote(device, safe='')}")  # raises where there is no such device
    while True:
        try:
            headers = {"Authorization": f"Bearer {running.token}"}
            async with connect(running.feed_url, additional_headers=headers, max_size=None) as feed:
                async for text in feed:
                    for message in json.loads(text):
                        _show(message, device, as_json)
        except (OSError, WebSocketException) as error:
            typer.echo(f"the gateway does not answer ({error}); trying again", err=True)
        await asyncio.sleep(1 + random.random())  # jitter, not a secret
        from gateway.errors import ConfigError

        try:
            running = gateway()
        except ConfigError:
            continue


def _show(message: dict[str, Any], device: str | None, as_json: bool) -> None:
    if message["type"] == "heartbeat" or (device and message.get("device", device) != device):
        return
    if as_json:
        typer.echo(json.dumps(message))
    else:
        for line in lines(message):
            typer.echo(line)


def lines(message: dict[str, Any]) -> list[str]:
    """One line per sample, event, gap and refusal: local time, device, seq, what it was. Other messages have none."""
    kind = message["type"]
    if kind == "samples":
        return _samples(message)
    if kind == "gap":
        count = f"at most {message['at_most']}" if message["count"] is None else message["count"]
        return [f"{'':12} {message['device']} #{message['from']} gap: {count} samples lost ({message['why']})"]
    if kind == "quarantine":
        return [
            f"{_clock(row['at_ms'])} {message['device']} #{row['seq']} refused: {row['reason']} ({row['code']})"
            for row in message["rows"]
        ]
    if kind == "event":
        return [
            f"{_clock(row['at_ms'])} {message['device']} #{row['seq']} event: {row['code']} {row['sensor'] or ''} "
            + " ".join(f"{key}={value}" for key, value in row["data"].items())
            for row in message["rows"]
        ]
    return []


def _clock(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S.%f")[:-3]


def _samples(message: dict[str, Any]) -> list[str]:
    result = []
    for index, (seq, at_ms) in enumerate(zip(message["seq"], message["at_ms"], strict=True)):
        values = " ".join(
            f"{name}={column[index]:.12g}" for name, column in message["values"].items() if column[index] is not None
        )
        result.append(f"{_clock(at_ms)} {message['device']} #{seq} {values or 'nothing measured'}")
    return result
