"""`mpy-gateway boards`: what is plugged in."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from gateway.cli import app


@app.command("boards")
def boards(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which boards are plugged in.

    Port, what it is, and what keeps you from using it. Nothing is sent to a board.

    Example: mpy-gateway boards
    """
    from gateway.provision.ports import boards as find_boards
    from gateway.provision.ports import choose

    found = find_boards()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(board) for board in found], indent=2))
        return
    if not found:
        choose(None, [])  # which says what to look at
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("port", "what it is", "usb", "serial number"):
        table.add_column(heading)
    for board in found:
        table.add_row(board.port, board.what, board.usb, board.serial_number)
    Console().print(table)
    for board in found:
        if board.problem:
            typer.echo(f"{board.port}: {board.problem}")
