"""`mpy-gateway tail`: live samples in the terminal."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.logs import clean
from gateway.words import event_words, gap_words

if TYPE_CHECKING:
    from gateway.cli.common import RunningGateway


@app.command("tail")
def tail(
    device: Annotated[str | None, typer.Argument(metavar="DEVICE", help="Only this device.")] = None,
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
    asyncio.run(_follow(lambda: RunningGateway(directory), device, Shown(as_json=as_json)))


@dataclass(frozen=True, slots=True)
class Shown:
    """Which messages, and how."""

    as_json: bool = False
    kinds: frozenset[str] | None = None
    """None: all but the devices' logs."""

    def has(self, kind: str) -> bool:
        return kind not in {"log", "heartbeat"} if self.kinds is None else kind in self.kinds


def follow(state: Path, device: str, kinds: frozenset[str]) -> None:
    """Print what happens to one device, until Ctrl-C."""
    from gateway.cli.common import RunningGateway

    asyncio.run(_follow(lambda: RunningGateway(state), device, Shown(kinds=kinds)))


async def _follow(gateway: Any, device: str | None, shown: Shown) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    running: RunningGateway = gateway()  # not running at the start is an error; later it is an outage
    # Raises where there is no such device, or where what was there was killed and has left its address behind.
    running.call("GET", f"/api/devices/{quote(device, safe='')}" if device else "/api/devices")
    told = False
    while True:
        try:
            headers = {"Authorization": f"Bearer {running.token}"}
            async with connect(running.feed_url, ssl=running.tls, additional_headers=headers, max_size=None) as feed:
                told = False
                async for text in feed:
                    for message in json.loads(text):
                        _show(message, device, shown)
        except BrokenPipeError:  # who read this has read enough: `mpy-gateway tail | head`
            raise
        except (OSError, WebSocketException):
            if not told:  # once for each outage, however long
                typer.echo("the gateway does not answer: stopped, or starting; trying again until it does", err=True)
            told = True
        await asyncio.sleep(1 + random.random())  # jitter, not a secret
        from gateway.errors import ConfigError

        try:
            running = gateway()
        except ConfigError:
            continue


def _show(message: dict[str, Any], device: str | None, shown: Shown) -> None:
    if not shown.has(message["type"]) or (device and message.get("device", device) != device):
        return
    if shown.as_json:
        typer.echo(json.dumps(message))
    else:
        for line in lines(message):
            typer.echo(line)


def lines(message: dict[str, Any]) -> list[str]:
    """One line per sample, event, gap, correction, refusal and command: local time, device, seq, what it was. Times
    that are not certain are marked. Other messages have none."""
    kind = message["type"]
    if kind == "samples":
        return _samples(message)
    if kind == "gap":
        words = gap_words(message["from"], message["to"], message["count"], message["at_most"], message["why"])
        at_ms = message["before_ms"] or message["after_ms"]
        return [f"{_clock(at_ms):12} {message['device']} #{message['from']} {words}{_between(message)}"]
    if kind == "corrected":
        moved_s = message["moved_ms"] / 1000
        place = f"{message['device']} #{message['from']} to #{message['to']}"
        return [f"{'':12} {place}: times corrected, {abs(moved_s):.3f} s {'later' if moved_s > 0 else 'earlier'}"]
    if kind == "command":
        return [_command(message["device"], message["row"])]
    if kind == "log":
        since = "" if message["uptime_ms"] is None else f" +{message['uptime_ms'] / 1000:.3f}s"
        said = f"{message['level']}: {clean(message['text'], 600)}"
        return [f"{_clock(message['at_ms'])} {message['device']}{since} {said}"]
    if kind == "quarantine":
        return [
            f"{_clock(row['at_ms'])} {message['device']} #{row['seq']} refused: {row['reason']} ({row['code']})"
            for row in message["rows"]
        ]
    if kind == "event":
        return [
            f"{_clock(row['at_ms'])} {message['device']} #{row['seq']} "
            + clean(event_words(row["code"], row["sensor"], row["data"]), 300)
            for row in message["rows"]
        ]
    return []


def _between(gap: dict[str, Any]) -> str:
    """Between which times, as far as they are known."""
    before, after = _clock(gap["before_ms"]), _clock(gap["after_ms"])
    if before and after:
        return f", between {before} and {after}"
    return f", after {before}" if before else f", before {after}" if after else ""


def _command(device: str, row: dict[str, Any]) -> str:
    error = f": {row['error']['text']}" if row["error"] else ""
    return f"{_clock(row['ended_ms'] or row['asked_ms'])} {device} {row['name']}: {row['state']}{error}"


def _clock(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):  # a board may claim any time
        return "??:??:??.???"


def _samples(message: dict[str, Any]) -> list[str]:
    result = []
    for index, (seq, at_ms) in enumerate(zip(message["seq"], message["at_ms"], strict=True)):
        values = " ".join(
            f"{name}={column[index]:.12g}" for name, column in message["values"].items() if column[index] is not None
        )
        unsure = "" if message["quality"] == "synced" else f" (time {message['quality']})"
        result.append(f"{_clock(at_ms)} {message['device']} #{seq} {values or 'nothing measured'}{unsure}")
    return result
