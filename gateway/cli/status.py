"""`mpy-gateway status`: who is connected now. What people use netstat for."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.words import crowded_out, samples, size, span


@app.command("status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Show who is connected.

    Device, address, since when, frames, rate, last seen, errors; then store, brokers, and what you should know.

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
    for device, until_ms in answer.get("asleep", {}).items():
        console.print(f"{device} is asleep, expected in {span(until_ms - now_ms)}", highlight=False)
    console.print()
    for line in gateway_lines(answer, now_ms):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def gateway_lines(answer: dict[str, Any], now_ms: float) -> list[str]:
    """The gateway itself: its disk, its brokers, and what a person should know."""
    store = answer["store"]
    free = store.get("disk_free_bytes")
    lines = [
        f"store  {samples(store['samples'])} stored in all, {size(store['bytes'])}"
        + ("" if free is None else f", {size(free)} free")
    ]
    if pruned := store.get("pruned_samples"):
        lines.append(f"       {samples(pruned)} deleted by age or size, as the settings say")
    for outlet, many in (store.get("untaken") or {}).items():
        lines.append(f"       {samples(many)} deleted before {outlet} took them")
    door = answer.get("door") or {}
    refused = door.get("refused") or {}
    if door:
        devices = "1 device" if door["connections"] == 1 else f"{door['connections']:,} devices"
        lines.append(
            f"door   {devices}, {door['strangers']:,} not known yet"
            f"; since the start {refused.get('token', 0):,} refused for their token, {refused.get('tls', 0):,} failed"
            f" in TLS, {crowded_out(refused):,} turned away in a crowd"
        )
    for name, broker in answer["brokers"].items():
        since = f" for {span(now_ms - broker['since_ms'])}" if broker.get("since_ms") else ""
        why = f": {broker['why']}" if broker.get("why") and broker["state"] != "connected" else ""
        state = f"{broker['state']}{since}{why}"
        published = f"{broker['published']:,} messages published since the start"
        lines.append(f"mqtt   {name}: {state} ({broker['url']}), {published}")
        if broker.get("backlog"):
            lines.append(f"       {samples(broker['backlog'])} behind")
        for aside in (broker.get("last_aside") or [])[-3:]:
            lines.append(f"       set aside: {aside['topic']}: {aside['why']}")
    for notice in answer.get("notices", []):
        since = f" (for {span(now_ms - notice['since_ms'])})" if notice["since_ms"] else ""
        lines.append(f"{notice['level']}: {notice['text']}{since}")
    return lines
