"""Where files are: settings, state, cache, secrets. By option, environment, systemd and the XDG base directories."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import ConfigError

FILE_NAME = "mpy-gateway.toml"
PREFIX = "MPY_GATEWAY_"
"""Of every variable of ours."""


def default_file(environ: Mapping[str, str]) -> Path | None:
    """The settings file that is read when none is named."""
    if named := environ.get(f"{PREFIX}CONFIG"):
        return Path(os.path.expanduser(named))
    config_home = _absolute(environ.get("XDG_CONFIG_HOME")) or _home(environ) / ".config"
    for candidate in (Path(FILE_NAME), config_home / "mpy-gateway" / FILE_NAME):
        if candidate.is_file():
            return candidate
    return None


def state_dir(named: Path | None, environ: Mapping[str, str]) -> Path:
    """The state directory: `named` (--state), $MPY_GATEWAY_STATE, $STATE_DIRECTORY (systemd), or by XDG."""
    if named is None and (variable := environ.get(f"{PREFIX}STATE")):
        named = Path(variable)
    if named is None and (by_systemd := environ.get("STATE_DIRECTORY")):
        named = Path(by_systemd.split(":")[0])
    if named is None:
        named = (_absolute(environ.get("XDG_STATE_HOME")) or _home(environ) / ".local" / "state") / "mpy-gateway"
    return Path(os.path.expanduser(named)).absolute()


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Where to keep what can be made again: $CACHE_DIRECTORY (systemd), or by XDG. It may not exist yet."""
    if by_systemd := environ.get("CACHE_DIRECTORY"):
        return Path(by_systemd.split(":")[0])
    return (_absolute(environ.get("XDG_CACHE_HOME")) or _home(environ) / ".cache") / "mpy-gateway"


def _absolute(text: str | None) -> Path | None:
    """The XDG specification: a path that is not absolute is to be ignored."""
    return Path(text) if text and Path(text).is_absolute() else None


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def read_secret(path: Path) -> str:
    """The text in the file, without the line's end. Raises ConfigError, which never holds the text."""
    try:
        text = path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"{path}: the file with the password cannot be read: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"{path}: the file with the password is not UTF-8 text, or its name is none") from None
    if not text or "\n" in text:
        raise ConfigError(f"{path}: must hold the password and nothing else, on one line")
    return text


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically by a file that only its owner can read, from its first moment on. Raises OSError, and
    leaves nothing then: who tries again every minute must not fill what is left of a disk."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def private_opener(path: str, flags: int) -> int:
    """For `open(..., opener=private_opener)`: a file that is new is its owner's alone, from its first moment on."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
