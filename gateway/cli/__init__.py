"""The command line: one file per command, loaded only when it is used.

Three kinds of failure, as the user sees them: wrong use is one line and exit 2; something of ours in the way
(`ConfigError`: port in use, bad file, no gateway running) is one line and exit 1; anything else is a fault of ours,
with a traceback.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from gateway import __version__
from gateway.errors import ConfigError, GatewayError

app = typer.Typer(
    name="mpy-gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS = (
    "backup", "boards", "ca", "config", "demo", "devices", "doctor", "emulate", "erase", "flash", "hardware", "link",
    "logs", "pull", "send", "serve", "status", "tail", "tokens", "users",
)  # fmt: skip

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (mpy-gateway.toml).")
]
StateDir = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Where the gateway keeps its data and identities.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one configuration key; may be repeated."),
]
LogLevel = Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log JSON lines instead of text.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mpy-gateway {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From a MicroPython board's sensor to MQTT and a browser, nothing lost in silence."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    os.umask(0o077)  # whatever we write is for its owner alone, from its first moment on
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    for module in _COMMANDS:
        importlib.import_module(f"gateway.cli.{module}")  # it registers its commands

    try:
        code = app(arguments, standalone_mode=False, prog_name="mpy-gateway")
        return code if isinstance(code, int) else 0
    except GatewayError as error:
        return fail(str(error), error.exit_code if isinstance(error, ConfigError) else 1)
    except TyperException as error:
        sentence = error.format_message()
        if sentence.startswith("Usage: "):  # a group without a command: its help
            print(sentence, file=sys.stderr)
            return error.exit_code
        ending = "" if sentence.endswith("?") else "."
        return fail(f"{sentence.rstrip('.')}{ending} See: mpy-gateway {_command_of(arguments)}--help", error.exit_code)
    except (KeyboardInterrupt, Abort, asyncio.CancelledError):
        return 130
    except BrokenPipeError:  # `mpy-gateway tail | head`
        sys.stderr.close()
        return 0


def fail(sentence: str, code: int) -> int:
    """One line on standard error."""
    print(f"mpy-gateway: {sentence}", file=sys.stderr)
    return code


def _command_of(arguments: list[str]) -> str:
    """The words of the command, to point at the right help."""
    words = []
    for word in arguments[:2]:
        if word.startswith("-"):
            break
        words.append(word)
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    if not words or words[0] not in known:
        return ""
    groups = {group.name for group in app.registered_groups}
    return " ".join(words if words[0] in groups else words[:1]) + " "
