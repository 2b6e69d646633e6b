"""`mpy-gateway backup` and `mpy-gateway restore`: one file that moves a gateway to another machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.cli.passphrase import known_passphrase, new_passphrase

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File with nothing but the passphrase, on one line."),
]


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it. Only its owner can read it.")],
    passphrase_file: PassphraseFile = None,
    no_secrets: Annotated[
        bool, typer.Option("--no-secrets", help="Data only, not sealed: every board would need a new token.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file if it exists.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Write a backup of everything the gateway knows into one file, sealed with a passphrase.

    The gateway goes on working meanwhile. The file holds all samples, all devices with hashes of their tokens, where
    each outlet stands, accounts and API tokens (as hashes), the authority that boards verify, and the settings file.
    The passphrase is asked for twice, or is the one line of --passphrase-file. With --no-secrets the file holds
    nothing that lets anybody in and needs none: whoever has it can read every sample. Not in it: who is logged in, and
    the files that the settings name (passwords, certificates of your own).

    Example: mpy-gateway backup gateway.backup
    """
    from gateway.cli.common import read_config
    from gateway.config import default_file
    from gateway.store import backup as store_backup

    effective = read_config(config, state, None)
    store_backup.check(effective.state, file.absolute(), replace)  # before anybody is asked
    passphrase = None if no_secrets else new_passphrase(passphrase_file)
    manifest = store_backup.make(
        effective.state,
        file.absolute(),
        now_ms=time.time_ns() // 1_000_000,
        passphrase=passphrase,
        settings_file=config or default_file(os.environ),
        replace=replace,
    )
    parts = ", ".join(f"{part.name} {size(part.bytes)}" for part in manifest.parts)
    kind = "backup" if manifest.secrets else "data (nothing that lets anybody in)"
    typer.echo(f"{file}: {kind} of {manifest.gateway or 'a gateway without id'} ({parts})")


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `mpy-gateway backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of data that is there; it is kept aside.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Make this machine's gateway the one in the backup.

    Stop the gateway first. Where the backup is sealed, its passphrase is asked for. Nothing is changed before the whole
    backup is found to be sound. Devices then go on where they are: what they still hold comes; what the gateway had
    acknowledged after the backup was made is gone and is counted as a gap, `gateway_restored`. On MQTT samples may come
    again, with the same boot_id and seq. The gateway that was backed up must not run any more: both would be the same
    one. Devices that were removed after the backup was made may connect again: remove them again.

    Example: mpy-gateway restore gateway.backup
    """
    from gateway.cli.common import read_config
    from gateway.store import restore as store_restore

    effective = read_config(config, state, None)
    now_ms = time.time_ns() // 1_000_000
    sealed = store_restore.is_sealed(file)
    passphrase = known_passphrase(passphrase_file) if sealed or passphrase_file else None
    done = store_restore.restore(
        effective.state, file.absolute(), now_ms=now_ms, passphrase=passphrase, replace=replace
    )
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(done.manifest.made_ms / 1000))
    typer.echo(f"{effective.state}: restored {done.manifest.gateway} as it was on {made}")
    if not done.manifest.secrets:
        typer.echo("it held nothing that lets anybody in: boards, people and scripts need new tokens and passwords")
    if done.aside:
        typer.echo(f"the data that was there is in {done.aside}")
    if any(part.name == "mpy-gateway.toml" for part in done.manifest.parts):
        typer.echo(
            f"its settings are in {effective.state / 'mpy-gateway.toml'}: look through them, then give them with "
            "--config, or put them where this machine's are"
        )


def size(size_bytes: int) -> str:
    """As people say it: 512 B, 3 kB, 41 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"
