"""Who the board is: which device of the gateway's it becomes, and the files that make it that.

A board keeps its identity for as long as the gateway lets it in. What is decided here can be cut at any moment and done
again: the gateway knows by the chip's own id that it is the same board, which then gets a new token.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import ConfigError
from gateway.profile import Profile
from gateway.store.devices import DeviceInfo, Devices
from gateway.tls.boards import BoardTrust


class NameTaken(ConfigError):
    """Another board has this name."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the board's own files say of it, as far as they can be read."""

    device: str = ""
    token: str = ""
    """Of /settings.json."""
    tokens: tuple[str, ...] = ()
    """That one, and those that the gateway has given it since."""
    wifi: tuple[dict[str, str], ...] = ()


class Fate(enum.StrEnum):
    """What flashing makes of the board."""

    NEW = "a new device"
    KEEP = "the same device as before"
    RENEW = "the same device, with a new token"
    REPLACE = "takes the place of another board"


def read_before(settings: bytes | None, token: bytes | None) -> Before:
    """`settings`: /settings.json, `token`: /token.json; None where there is none. Nothing in them is relied on."""
    found, rotated = _object(settings), _object(token)
    first = _text(found.get("token"))
    tokens = (first, _text(rotated.get("token")), _text(rotated.get("previous")))
    networks = found.get("wifi")
    wifi = [_network(one) for one in networks] if isinstance(networks, list) else []
    return Before(
        _text(found.get("device")),
        first,
        tuple(one for one in tokens if one),
        tuple(one for one in wifi if one is not None),
    )


def fate(name: str, known: DeviceInfo | None, *, hardware: str, opens: bool, replace: bool) -> Fate:
    """What becomes of a board with the chip's id `hardware` that is to be device `name`.

    `known`: the gateway's device of that name; `opens`: whether a token that is on the board opens it. Raises
    NameTaken where it is another board's, unless that is to be replaced."""
    if known is None:
        return Fate.NEW
    if known.hardware not in (None, hardware):
        if replace:
            return Fate.REPLACE
        raise NameTaken(
            f'"{name}" is another board (its chip is {known.hardware}, this one {hardware}). Choose another --name, or '
            "say --replace if this board takes its place: the other one will not be let in any more"
        )
    return Fate.KEEP if opens else Fate.RENEW


async def known_as(devices: Devices, name: str, before: Before) -> tuple[DeviceInfo | None, bool]:
    """The gateway's device `name`, and whether the board has a token that opens it. (The one of /settings.json may be
    out of date: the board goes through those it has.)"""
    opened = (
        [await devices.by_token(token) for token in before.tokens] if before.device == name and before.token else []
    )
    return await devices.get(name), any(one is not None and one.id == name for one in opened)


async def settle(devices: Devices, name: str, profile: Profile, hardware: str, decided: Fate, before: Before) -> str:
    """Make it so at the gateway; returns the token for /settings.json.

    The chip's id is kept at once, and not when the board first connects: if flashing is cut before that, the next try
    knows that it is the same board. Raises ConfigError."""
    if decided is Fate.NEW:
        token = await devices.add(name, profile)
    elif decided is Fate.KEEP:
        token = before.token
        await devices.describe(name, profile)
    else:
        token = await devices.renew(name, profile)
    await devices.set_hardware(name, hardware)
    return token


def settings_file(name: str, token: str, gateway: Mapping[str, object], wifi: Sequence[Mapping[str, str]]) -> bytes:
    """/settings.json."""
    settings = {"device": name, "token": token, "gateway": dict(gateway), "wifi": [dict(one) for one in wifi]}
    return json.dumps(settings).encode()


def gateway_settings(host: str, port: int, trust: BoardTrust | None) -> dict[str, object]:
    """`gateway` in a board's settings. With TLS the board verifies the authority in /ca.der and `name`, and may look it
    up as `mdns`."""
    settings: dict[str, object] = {"host": host, "port": port, "tls": trust is not None}
    if trust is not None:
        settings |= {"name": trust.name} | ({"mdns": trust.mdns} if trust.mdns else {})
    return settings


def _object(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _network(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict) or not _text(value.get("ssid")):
        return None
    return {key: _text(value.get(key)) for key in ("ssid", "password") if _text(value.get(key))}
