"""`mpy-gateway erase`: a board is nobody's again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.provision.usb import Session


@app.command("erase")
def erase(
    port: Annotated[
        str | None, typer.Argument(metavar="PORT", help="Where the board is. Left out: the one that is plugged in.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of its flash, MicroPython and files of your own included (ESP32).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Remove our firmware and the board's identity from it.

    Files of your own and MicroPython stay, but for --all. Samples that the gateway has not got yet are lost. What the
    gateway knows of the device stays: `devices forget` erases that.

    Example: mpy-gateway erase /dev/ttyUSB0
    """
    from gateway.provision.ports import choose
    from gateway.provision.usb import NoRepl, Session, Silent

    chosen = choose(port)
    if everything:
        _erase_all(chosen, yes=yes)
        return
    try:
        with Session(chosen) as session:
            session.enter(waiting=lambda: typer.echo(f"stopping what runs on the board at {chosen}"))
            _erase_ours(session, yes=yes)
    except (NoRepl, Silent) as error:
        raise ConfigError(
            f"the board at {chosen} cannot be asked to remove anything, as it does not come to its prompt. Erase all "
            f"of its flash, MicroPython included: mpy-gateway erase {chosen} --all"
        ) from error


def _erase_ours(session: Session, *, yes: bool) -> None:
    from gateway.logs import clean
    from gateway.provision.identity import read_before
    from gateway.provision.plan import is_of_the_device
    from gateway.words import size

    there = session.files()
    paths = [path for path in there if is_of_the_device(path)]
    if not paths:
        typer.echo("nothing of ours is on the board")
        return
    name = clean(read_before(session.read("/settings.json"), None).device)
    held = sum(file.size for path, file in there.items() if path.startswith("/outbox/"))
    waiting = f", and {size(held)} of samples that the gateway may not have" if held else ""
    _ask(f"Remove {len(paths)} files of {name or 'a device'} from the board{waiting}?", yes=yes)
    session.remove(sorted(paths, key=lambda path: (path != "/main.py", path)))  # cut in between, it starts nothing
    typer.echo(f"erased   {len(paths)} files; {len(there) - len(paths)} that are not ours stay")
    if name:
        typer.echo(f"gateway  still knows {name}; to erase its samples, too: mpy-gateway devices forget {name}")


def _erase_all(port: str, *, yes: bool) -> None:
    from gateway.provision.esptool import erase_flash
    from gateway.provision.ports import boards

    if any(board.port == port and board.usb.startswith("2e8a:") for board in boards()):
        raise ConfigError(
            "a Pico is erased by hand: hold its BOOTSEL button while you plug it in, and copy flash_nuke.uf2 (from "
            "Raspberry Pi's documentation) onto the drive that appears"
        )
    _ask(f"Erase all of the flash of the board at {port}, MicroPython included?", yes=yes)
    erase_flash(port)
    typer.echo("erased   all of its flash: mpy-gateway flash writes MicroPython and the firmware anew")


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question.rstrip('?')}: say --yes if that is meant")
    typer.confirm(question, abort=True)
