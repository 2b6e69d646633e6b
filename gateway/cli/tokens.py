"""`mpy-gateway tokens`: API tokens for scripts. Works while the gateway runs, and while it does not."""

from __future__ import annotations

import json
import time
from typing import Annotated, Literal

import typer

from gateway.cli import ConfigFile, StateDir, app

group = typer.Typer(help="API tokens for scripts and for dashboards served from elsewhere.", no_args_is_help=True)
app.add_typer(group, name="tokens")


@group.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")] = "",
    scope: Annotated[
        Literal["read", "control", "admin"],
        typer.Option("--scope", help="read: looks. control: sends commands, too. admin: everything."),
    ] = "read",
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, max=3650, help="Valid for so long; else for ever.")
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make a token and print it, once.

    A script says it in a header: `Authorization: Bearer TOKEN`. The gateway keeps only its hash.

    Example: mpy-gateway tokens add grafana --scope read --days 365
    """
    from gateway.cli.office import office

    with office(config, state) as place:
        typer.echo(place.add_token(name, scope, days))
    typer.echo("(shown once: the gateway keeps only its hash)", err=True)


@group.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """All tokens, with their last use.

    Example: mpy-gateway tokens list
    """
    from gateway.cli.office import office
    from gateway.words import span

    with office(config, state) as place:
        tokens = place.tokens()
    if as_json:
        typer.echo(json.dumps({"tokens": tokens}, indent=2))
        return
    now_ms = time.time() * 1000
    for token in tokens:
        used = f"used {span(now_ms - token['used_ms'])} ago" if token["used_ms"] else "never used"
        left_ms = None if token["expires_ms"] is None else token["expires_ms"] - now_ms
        ends = "" if left_ms is None else ", has expired" if left_ms <= 0 else f", expires in {span(left_ms)}"
        whose = f", of {token['account']}" if token["account"] else ""
        typer.echo(f"{token['id']}  {token['scope']:<8} {token['name'] or '-':<24} {used}{ends}{whose}")
    if not tokens:
        typer.echo("no token yet. Add one: mpy-gateway tokens add NAME --scope read")


@group.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `tokens list` shows it.")],
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Take a token back: it opens nothing from now on.

    Example: mpy-gateway tokens revoke 1f0c9b2e
    """
    from gateway.cli.office import office

    with office(config, state) as place:
        place.revoke_token(id)
    typer.echo(f"{id} opens nothing any more")
