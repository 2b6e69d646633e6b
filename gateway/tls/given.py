"""A certificate of one's own: what can be wrong with its files, and with what it says."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.sections import DevicesConfig, Door
from gateway.errors import ConfigError
from gateway.tls.authority import Date, names_of
from gateway.tls.context import authority_context, server_context
from gateway.tls.names import board_name

if TYPE_CHECKING:
    from collections.abc import Iterator

BOARDS_BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What a board's clock says after power-up."""
SOON: Final = timedelta(days=14)


def mistakes(door: Door) -> Iterator[tuple[str, str]]:
    """Key and sentence of each thing that keeps the configured files from being used."""
    ca_file = door.ca_file if isinstance(door, DevicesConfig) else None
    wanted = {"certificate_file": door.certificate_file, "key_file": door.key_file}
    if isinstance(door, DevicesConfig):
        wanted["ca_file"] = ca_file
    missing = [key for key, path in wanted.items() if path is None]
    if missing:
        yield from ((key, f"is missing: {_WHY[key]}") for key in missing)
    elif sentence := why_unusable(door):
        yield "certificate_file", sentence
    elif ca_file is not None:
        yield from _what_boards_find(door, ca_file)


_WHY: Final = {
    "certificate_file": "a key or an authority alone is of no use",
    "key_file": "the private key of certificate_file, PEM, without a password",
    "ca_file": "the certificate of the authority that signed certificate_file: boards are given it",
}


def _what_boards_find(door: Door, ca_file: Path) -> Iterator[tuple[str, str]]:
    """What would keep every board out."""
    try:
        verify(files_of(door), read_ca(ca_file), verified_name(read_certificate(door), ""))
    except ssl.SSLCertVerificationError as error:
        yield "ca_file", f"boards that pin {ca_file} would refuse certificate_file: {error.verify_message}"
    except ConfigError as error:
        yield "ca_file", str(error)


def why_unusable(door: Door) -> str:
    """What keeps TLS from using certificate and key; empty when nothing does."""
    certificate, key = files_of(door)
    try:
        server_context(certificate, key)
        read_certificate(door)
    except ssl.SSLError as error:
        return f"{certificate} and {key} cannot be used: {error.reason or error}"
    except OSError as error:
        return f"{certificate} and {key} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{certificate} is no certificate: {error}"
    return ""


def read_certificate(door: Door) -> x509.Certificate:
    """Raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(files_of(door)[0].read_bytes())


def read_ca(path: Path) -> x509.Certificate:
    """The one certificate in a PEM file. Raises ConfigError."""
    try:
        (found,) = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{path}: must hold one certificate, as PEM: boards pin one") from None
    return found


def verified_name(certificate: x509.Certificate, gateway_id: str) -> str:
    """The name that boards are told to verify: the gateway's own where the certificate has it. Raises ConfigError."""
    names = _dns_names(certificate)
    if board_name(gateway_id) in names:
        return board_name(gateway_id)
    if not names:
        raise ConfigError("devices.certificate_file is for no DNS name, and boards verify one")
    return names[0]


def verify(files: tuple[Path, Path], ca: x509.Certificate, name: str) -> None:
    """Shake hands in memory, as a board that pins `ca` and verifies `name`. Raises ssl.SSLCertVerificationError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    board = authority_context(ca.public_bytes(Encoding.PEM).decode()).wrap_bio(to_client, to_server, False, name)
    server = server_context(*files).wrap_bio(to_server, to_client, server_side=True)
    for end in (board, server, board):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()


def concern(door: str, certificate: x509.Certificate, date: Date) -> str:
    """What a person should know of a certificate that the door `door` shows; empty where there is nothing."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    about = f"{door}.certificate_file"
    if date.trusted and ends <= date.earliest:
        return f"{about} has ended on {ends:%Y-%m-%d}: put a new one in its place, it is taken without a restart"
    if date.trusted and ends - date.earliest <= SOON:
        return f"{about} ends on {ends:%Y-%m-%d}: put a new one in its place, it is taken without a restart"
    if door == "devices" and begins >= BOARDS_BEGIN:
        return (
            f"{about} begins on {begins:%Y-%m-%d}: a board, whose clock says 2000 after power-up, refuses it; take one "
            "that begins before 2000, or leave it out"
        )
    return ""


def files_of(door: Door) -> tuple[Path, Path]:
    """Certificate and key. Raises ConfigError."""
    if door.certificate_file is None or door.key_file is None:
        raise ConfigError("certificate_file and key_file go together")
    return door.certificate_file, door.key_file


def _dns_names(certificate: x509.Certificate) -> list[str]:
    """Those that are whole names: what `*` stands for, nobody could verify."""
    return [name for name in names_of(certificate) if not name.startswith("*") and not _is_address(name)]


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
