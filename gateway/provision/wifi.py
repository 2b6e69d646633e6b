"""Which Wi-Fi networks a board is told: from the environment, a file, a person, or what it knows already. Never from
the command line, which every user of the machine can read."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigError

SSID_VARIABLE: Final = "MPY_GATEWAY_WIFI_SSID"
PASSWORD_VARIABLE: Final = "MPY_GATEWAY_WIFI_PASSWORD"  # noqa: S105 - the name of a variable
_EXAMPLE: Final = '[[wifi]]\nssid = "home"\npassword = "secret"'
_MOST: Final = 8

Network = dict[str, str]


def find_networks(
    environ: Mapping[str, str],
    file: Path | None,
    on_board: Sequence[Network],
    ask: Callable[[str], Network] | None,
) -> list[Network]:
    """The networks for the board, the most wanted first.

    `on_board`: what it knows; `ask`: asks a person, given the name of a network that the board knows or ""; None:
    nobody is to be asked. Raises ConfigError."""
    if file is not None:
        return read_networks(file)
    if environ.get(SSID_VARIABLE):
        return [
            checked({"ssid": environ[SSID_VARIABLE], "password": environ.get(PASSWORD_VARIABLE, "")}, SSID_VARIABLE)
        ]
    if ask is not None:
        known = on_board[0] if on_board else None
        said = ask(known["ssid"] if known else "")
        if known and said.get("ssid") == known["ssid"] and not said.get("password"):
            return list(on_board)
        return [checked(said, "Wi-Fi"), *(one for one in on_board if one["ssid"] != said["ssid"])][:_MOST]
    if on_board:
        return list(on_board)
    raise ConfigError(
        f"no Wi-Fi is known: set {SSID_VARIABLE} and {PASSWORD_VARIABLE}, or name a file with --wifi-file"
    )


def read_networks(file: Path) -> list[Network]:
    """A TOML file with a `[[wifi]]` per network. Raises ConfigError, which never holds a password."""
    try:
        found: Any = tomllib.loads(file.read_text("utf-8")).get("wifi")
    except OSError as error:
        raise ConfigError(f"--wifi-file {file}: cannot be read: {error.strerror or error}") from None
    except ValueError:  # UnicodeDecodeError and TOMLDecodeError
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ConfigError(f"--wifi-file {file}: must look like this, once for each network:\n{_EXAMPLE}")
    if len(found) > _MOST:
        raise ConfigError(f"--wifi-file {file}: at most {_MOST} networks")
    return [checked(one, f"--wifi-file {file}") for one in found]


def checked(network: Mapping[str, Any], where: str) -> Network:
    """A network that a board can be told. Raises ConfigError."""
    if unknown := sorted(network.keys() - {"ssid", "password"}):
        raise ConfigError(f'{where}: "{unknown[0]}" is unknown; a network has ssid and password')
    ssid, password = network.get("ssid"), network.get("password", "")
    if not isinstance(ssid, str) or not isinstance(password, str):
        raise ConfigError(f"{where}: ssid and password are texts")
    if not 1 <= len(ssid.encode()) <= 32:
        raise ConfigError(f"{where}: the name of a network has 1 to 32 bytes")
    if password and not 8 <= len(password.encode()) <= 64:
        raise ConfigError(f"{where}: the password of a network has 8 to 63 characters; none at all for an open one")
    return {"ssid": ssid} | ({"password": password} if password else {})
