"""What lies in <state>/tls: the authority, made once and kept for ever, and the certificate of each door.

The directory is 0700 and its files are 0600 from their first moment. It appears with the authority in it or not at all,
whoever else makes one at the same moment, and whenever the power goes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.config import write_private
from gateway.errors import ConfigError
from gateway.tls.authority import Authority, Kind
from gateway.tls.context import server_context

DIRECTORY: Final = "tls"
CERTIFICATE: Final = "ca.pem"
KEY: Final = "ca.key"


def open_authority(state: Path, gateway_id: str) -> Authority:
    """The gateway's authority; a new one where there is none. Raises ConfigError: never is one that boards may have
    pinned replaced in silence."""
    directory = state / DIRECTORY
    if not directory.exists():
        _make(directory, Authority.make(gateway_id))
    return read_authority(state)


def read_authority(state: Path) -> Authority:
    """Raises ConfigError."""
    directory = state / DIRECTORY
    try:
        return Authority.from_pem((directory / CERTIFICATE).read_bytes(), (directory / KEY).read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}; {_WAY_OUT}") from error
    except (ValueError, TypeError) as error:  # TypeError: the key wants a password
        raise ConfigError(f"{directory}: no authority of ours ({error}); {_WAY_OUT}") from error


_WAY_OUT = (
    "put tls/ca.pem and tls/ca.key back from a backup, or remove the whole directory tls to begin a new authority, "
    "and then give every board the new ca.der"
)


def _make(directory: Path, authority: Authority) -> None:
    scratch = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{DIRECTORY}.", dir=directory.parent))  # 0700
        for name, content in ((KEY, authority.key_pem), (CERTIFICATE, authority.pem)):
            _write_new(scratch / name, content)
        _sync(scratch)
        scratch.rename(directory)
        _sync(directory.parent)
    except OSError as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        if not directory.exists():  # else somebody was faster, and theirs is the one
            raise ConfigError(f"cannot make {directory}: {error.strerror or error}") from error


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def door_file(state: Path, kind: Kind) -> Path:
    """Key and certificate of a door, one PEM text: replaced in one go they always belong together."""
    return state / DIRECTORY / f"{kind.name}.pem"


def read_door(state: Path, kind: Kind) -> x509.Certificate | None:
    """The certificate of a door as it was left; None where there is none, or it cannot be used."""
    path = door_file(state, kind)
    try:
        server_context(path)  # a key that is its own
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_door(state: Path, kind: Kind, pem: bytes) -> None:
    """Raises ConfigError."""
    path = door_file(state, kind)
    try:
        write_private(path, pem.decode())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
