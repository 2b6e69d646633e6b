"""The passphrase of a backup: asked for at the terminal, or read from a file. Never an argument or a variable, which
others on this machine may see."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from gateway.config import read_secret
from gateway.errors import ConfigError


def new_passphrase(file: Path | None) -> str:
    """For a backup that is to be made. Raises ConfigError."""
    from gateway.store.sealed import check_passphrase

    if file is not None:
        passphrase = read_secret(file)
    else:
        _need_terminal("--passphrase-file FILE, or --no-secrets for data only")
        typer.echo("The backup is sealed with a passphrase. Without it nobody can restore it: write it down.", err=True)
        passphrase = typer.prompt("Passphrase", hide_input=True, err=True)
        check_passphrase(passphrase)
        if typer.prompt("The same again", hide_input=True, err=True) != passphrase:
            raise ConfigError("the two passphrases are not the same; nothing was written")
    check_passphrase(passphrase)
    return passphrase


def known_passphrase(file: Path | None) -> str:
    """For a backup that is there. Raises ConfigError."""
    if file is not None:
        return read_secret(file)
    _need_terminal("--passphrase-file FILE")
    return str(typer.prompt("Passphrase of the backup", hide_input=True, err=True))


def _need_terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(f"there is no terminal to ask for the passphrase: give {instead}")
