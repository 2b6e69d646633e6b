"""MicroPython onto a board: asked for, fetched, checked, written. For `flash`, where there is none or it is too old."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from gateway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Source:
    """Where MicroPython comes from."""

    image: Path | None
    """A file of the user's; None: the official one."""
    sha256: str | None
    """What the user says that file has."""
    kept: Path
    """Where what was fetched is kept."""


def put_micropython(port: str, chip: str, source: Source, *, why: str, erase: bool, yes: bool) -> None:
    """Write MicroPython onto the board at `port`, which is to have that chip. `why` is said first, then it is asked for
    unless `yes`; `erase`: all of the flash first. Raises ConfigError with what to do."""
    from gateway.provision.esptool import read_chip, wait_for_port, write_micropython
    from gateway.provision.micropython import RELEASES, check_image

    release = RELEASES.get(chip)
    if chip.startswith("rp2"):
        file = f": {release.url}" if release and source.image is None else ""
        raise ConfigError(
            f"{why}. Hold the BOOTSEL button while you plug the board in, copy the .uf2 file onto the drive that "
            f"appears (RPI-RP2){file}, then run the same command again"
        )
    if release is None and source.image is None:
        raise ConfigError(f"{why}. There is no image for an {chip} here: name one with --image FILE")
    found = read_chip(port)
    if found.name != chip:
        raise ConfigError(
            f"{why}; and it is an {found.description}, where an {chip} is wanted: choose the node, or the board in its "
            "profile.toml, that fits"
        )
    image = str(source.image) if source.image or release is None else f"MicroPython {release.version}, {release.url}"
    typer.echo(f"board    {found.description}, {found.flash_bytes >> 20} MB of flash, chip {found.mac}")
    typer.echo(f"write    {image}{' (all that is on its flash goes)' if erase else ' (files on it stay)'}")
    _confirm(why, yes=yes)
    path = _image(source, chip)
    content = path.read_bytes()
    check_image(content, chip, found.flash_bytes, path.name)
    with _bar("writing ") as progress:
        write_micropython(port, path, chip, erase=erase, progress=progress)
    wait_for_port(port)
    typer.echo("written  MicroPython, and its MD5 compared; now it starts")


def _confirm(why: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{why}. Say --yes if it may be written")
    typer.confirm(f"{why[0].upper()}{why[1:]}. Write it now?", abort=True)


def _image(source: Source, chip: str) -> Path:
    from gateway.provision.esptool import fetch
    from gateway.provision.micropython import RELEASES, check_hash

    if source.image is None:
        with _bar("fetching") as progress:
            return fetch(RELEASES[chip], source.kept, progress)
    try:
        content = source.image.read_bytes()
    except OSError as error:
        raise ConfigError(f"{source.image} cannot be read: {error.strerror}") from error
    if source.sha256:
        check_hash(content, source.sha256, str(source.image))
    return source.image


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float], None]]:
    """On a terminal; else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console()
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda part: bar.update(task, completed=part)
