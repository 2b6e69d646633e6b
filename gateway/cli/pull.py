"""`mpy-gateway pull-config`: what a board has been told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli import app
from gateway.errors import ConfigError

FILES: Final = ("settings.json", "profile.json")
SECRET: Final = frozenset({"token", "password", "previous"})
HIDDEN: Final = "(hidden)"


@app.command("pull-config")
def pull_config(
    port: Annotated[
        str | None, typer.Argument(metavar="PORT", help="Where the board is. Left out: the one that is plugged in.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Write the files there instead.")] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="With the device's token and the Wi-Fi passwords, which are hidden else.")
    ] = False,
) -> None:
    """Read a board's settings and profile from it.

    Its program is stopped for that, and started again.

    Example: mpy-gateway pull-config --to greenhouse
    """
    from gateway.config import write_private
    from gateway.provision.ports import choose
    from gateway.provision.usb import Session

    chosen = choose(port)
    with Session(chosen) as session:
        session.enter(waiting=lambda: typer.echo(f"stopping what runs on the board at {chosen}", err=True))
        found = {name: session.read(f"/{name}") for name in FILES}
    texts = {name: shown(content, secrets=secrets) for name, content in found.items() if content is not None}
    if not texts:
        raise ConfigError(f"the board at {chosen} has neither {' nor '.join(FILES)}: it was never flashed by us")
    for name, text in texts.items():
        if to is None:
            typer.echo(f"# {name}\n{text}", nl=False)
            continue
        try:
            to.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(to / name, text)
        except OSError as error:
            raise ConfigError(f"{to / name}: cannot be written: {error.strerror}") from error
        typer.echo(f"{to / name}")


def shown(content: bytes, *, secrets: bool) -> str:
    """As JSON for a person. What cannot be read as JSON is only shown with its secrets."""
    from gateway.logs import clean

    try:
        found = json.loads(content)
    except ValueError:
        text = clean(content.decode("utf-8", "replace"), 4000)
        return f"{text}\n" if secrets else "(no JSON: --secrets shows it as it is)\n"
    return json.dumps(found if secrets else hide(found), indent=2) + "\n"


def hide(found: Any) -> Any:
    """Without what opens something."""
    if isinstance(found, dict):
        return {key: HIDDEN if key in SECRET and value else hide(value) for key, value in found.items()}
    return [hide(one) for one in found] if isinstance(found, list) else found
