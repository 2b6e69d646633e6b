"""`mpy-gateway status`: who is connected now. What people use netstat for."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from gateway.cli import ConfigFile, StateDir, app


@app.command("status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Show who is connected.

    Device, address, since when, frames, rate, last seen, errors; then store and brokers.

    Example: mpy-gateway status --json
    """
    from gateway.cli.common import RunningGateway, read_config

    answer = RunningGateway(read_config(config, state, None).state).call("GET", "/api/status")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        show(answer)


def show(answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    now_ms = time.time() * 1000
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (
        ("device", "left"), ("address", "left"), ("since", "right"), ("frames", "right"),
        ("samples/s", "right"), ("last seen", "right"), ("errors", "right"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # both words are valid
    for row in answer["connections"]:
        table.add_row(
            row["device"],
            row["address"],
            span(now_ms - row["since_ms"]),
            f"{row['frames']:,}",
            f"{row['rate']:.1f}",
            f"{span(now_ms - row['last_seen_ms'])} ago",
            str(sum(row["errors"].values())),
        )
    if answer["connections"]:
        console.print(table)
    else:
        console.print("no device is connected")
    store = answer["store"]
    console.print(f"\nstore  {store['samples']:,} samples since the start {store['trouble']}".rstrip())
    for name, broker in answer["brokers"].items():
        console.print(f"mqtt   {name}: {broker['state']} ({broker['url']}), {broker['published']:,} messages published")


def span(milliseconds: float) -> str:
    """A time span as people say it: 3 s, 12 min, 5 h, 2 d."""
    seconds = max(0, milliseconds / 1000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
