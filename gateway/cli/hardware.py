"""`mpy-gateway hardware`: what a person who builds a node needs, made from its profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import app
from gateway.errors import ConfigError

group = typer.Typer(help="Parts, wiring and power of a node, made from its profile.", no_args_is_help=True)
app.add_typer(group, name="hardware")


@group.command("render")
def render(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="NODE", help="Names from hardware/, or folders with a profile.toml; none: all of ours."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where something is out of date.")
    ] = False,
) -> None:
    """Write README.md, wiring.svg and bom.csv of a node from its profile.

    Of README.md only what stands between its marks is written; a node without one gets a page to begin with.

    Example: mpy-gateway hardware render ./my-node
    """
    from gateway.hardware.render import index_file, node_files
    from gateway.profile import find_node, hardware_dir
    from gateway.profile.locate import nodes as all_nodes

    files: dict[Path, str] = {}
    for name in nodes or all_nodes():
        files |= node_files(find_node(name))
    if not nodes:
        files |= index_file(hardware_dir())
    stale = [file for file, text in files.items() if not file.exists() or file.read_text("utf-8") != text]
    if check and stale:
        raise ConfigError(f"out of date: {', '.join(map(str, stale))}; write them with mpy-gateway hardware render")
    for file in stale:
        try:
            file.write_text(files[file], "utf-8")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from error
        typer.echo(f"written  {file}")
    if not stale:
        typer.echo("all of it is up to date")
