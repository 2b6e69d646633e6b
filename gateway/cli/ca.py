"""`mpy-gateway ca`: the gateway's own authority, for browsers and programs that are to know it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import ConfigFile, StateDir, app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.tls.authority import Authority


@app.command("ca")
def ca(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Write it here instead: as DER if the name ends in .der, else as PEM."),
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Print the certificate of the gateway's own authority.

    Import it as an authority in a browser or system, once, and the page opens without a warning. Compare the
    fingerprint with the one shown there. It is no secret; the key that goes with it stays on this machine.

    Example: mpy-gateway ca mpy-gateway-ca.crt
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from gateway.cli.common import read_config, run_loop
    from gateway.tls.authority import fingerprint

    authority = run_loop(_authority(read_config(config, state, None)))
    if file is None:
        typer.echo(authority.pem, nl=False)
    else:
        der = authority.certificate.public_bytes(Encoding.DER)
        try:
            file.write_bytes(der if file.suffix == ".der" else authority.pem)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
        typer.echo(f"written {file}", err=True)
    typer.echo(f"SHA-256 {fingerprint(authority.certificate)}", err=True)


async def _authority(config: Config) -> Authority:
    from gateway.cli.devices import registry_store
    from gateway.identity import gateway_id
    from gateway.tls.files import open_authority

    async with registry_store(config) as store:
        return open_authority(config.state, await gateway_id(config.gateway.id, store))
