"""`mpy-gateway users`: who may log in to the page. Works while the gateway runs, and while it does not."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.office import Office

group = typer.Typer(help="Say who may log in to the page.", no_args_is_help=True)
app.add_typer(group, name="users")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
RoleWord = Literal["viewer", "admin"]


@group.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: a-z, 0-9, ., _ and -, at most 32.")],
    role: Annotated[
        RoleWord, typer.Option("--role", help="viewer: looks. admin: sends commands, lets others in.")
    ] = "viewer",
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make an account.

    The password is asked for, or read from standard input where that is no terminal.

    Example: mpy-gateway users add anna --role viewer
    """
    from gateway.cli.office import office
    from gateway.dashboard.accounts import check_new

    with office(config, state) as place:
        check_new(name, names(place))  # before anybody is asked
        place.add_user(name, ask_password(), role)
    typer.echo(f"{name} may log in: {role}")


@group.command("list")
def list_users(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """All accounts.

    Example: mpy-gateway users list
    """
    from gateway.cli.office import office
    from gateway.words import span

    with office(config, state) as place:
        users = place.users()
    if as_json:
        typer.echo(json.dumps({"users": users}, indent=2))
        return
    now_ms = time.time() * 1000
    for user in users:
        age = span(now_ms - user["changed_ms"])
        browsers = "1 browser" if user["sessions"] == 1 else f"{user['sessions']} browsers"
        typer.echo(f"{user['name']:<32} {user['role']:<8} password {age} old, logged in with {browsers}")
    if not users:
        typer.echo("no account yet. Add one: mpy-gateway users add NAME --role admin")


@group.command("password")
def password(name: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Set the password of an account. Its browsers have to log in again.

    Example: mpy-gateway users password anna
    """
    from gateway.cli.common import with_hint
    from gateway.cli.office import office
    from gateway.dashboard.accounts import unknown

    with office(config, state) as place:
        if name not in names(place):  # before anybody is asked
            raise ConfigError(with_hint(str(unknown(name)), "user.unknown"))
        place.set_password(name, ask_password())
    typer.echo(f"{name} has a new password")


@group.command("role")
def role(
    name: Name,
    new: Annotated[RoleWord, typer.Argument(metavar="ROLE", help="viewer or admin.")],
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make an account a viewer or an admin, at once.

    Example: mpy-gateway users role anna admin
    """
    from gateway.cli.office import office

    with office(config, state) as place:
        place.set_role(name, new)
    typer.echo(f"{name} is {new} now")


@group.command("remove")
def remove(name: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Remove an account, with its sessions and API tokens, at once.

    Example: mpy-gateway users remove anna
    """
    from gateway.cli.office import office

    with office(config, state) as place:
        place.remove_user(name)
    typer.echo(f"{name} may not log in any more")


@group.command("logout")
def logout(name: Name, config: ConfigFile = None, state: StateDir = None) -> None:
    """Log an account out of all browsers, at once.

    Example: mpy-gateway users logout anna
    """
    from gateway.cli.office import office

    with office(config, state) as place:
        place.log_out(name)
    typer.echo(f"{name} is logged out everywhere")


def names(place: Office) -> list[str]:
    """Of all accounts."""
    return [user["name"] for user in place.users()]


def ask_password() -> str:
    """Typed twice and not shown; one line where nobody is at the terminal. Never an option: others would see it in the
    list of processes."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if not line:
            raise ConfigError("there is no password on standard input: run it in a terminal, which asks, or pipe it in")
        return line.rstrip("\r\n")
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt="The same again")
    return typed
