"""`mpy-gateway config`: check, schema, show."""

from __future__ import annotations

import json

import typer

from gateway.cli import ConfigFile, Settings, StateDir, app

group = typer.Typer(help="Check, show or explain the configuration.", no_args_is_help=True)
app.add_typer(group, name="config")


@group.command("check")
def check(config: ConfigFile = None, state: StateDir = None, settings: Settings = None) -> None:
    """Say whether the settings are right.

    Every mistake is named with its file, line and key.

    Example: mpy-gateway config check --config mpy-gateway.toml
    """
    from gateway.cli.common import read_config

    read_config(config, state, settings)
    typer.echo(f"{config or 'configuration'}: right")


@group.command("schema")
def schema() -> None:
    """Explain every setting, as JSON Schema.

    Every key of mpy-gateway.toml, its default and what it means.

    Example: mpy-gateway config schema > mpy-gateway.schema.json
    """
    from gateway.config import schema

    typer.echo(json.dumps(schema(), indent=2))


@group.command("show")
def show(config: ConfigFile = None, state: StateDir = None, settings: Settings = None) -> None:
    """Show every setting in force, with secrets hidden.

    Of the file, then the environment, then the command line, the last one counts.

    Example: mpy-gateway config show --set people.port=8081
    """
    from gateway.cli.common import read_config
    from gateway.config import show

    typer.echo(show(read_config(config, state, settings)), nl=False)
