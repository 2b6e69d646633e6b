"""What this machine is called, and under which addresses it is reached: the names in the gateway's certificates."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_ELSEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation: nothing is sent there, but the kernel says which of ours it would send from."""


def board_name(gateway_id: str) -> str:
    """What boards verify, whatever address they dial."""
    return f"{gateway_id}.mpy-gateway"


def is_board_name(name: str) -> bool:
    return name.endswith(".mpy-gateway")


def certificate_names(gateway_id: str, hosts: Iterable[str]) -> list[str]:
    """All names for a certificate, what boards verify first. `hosts`: where the door listens, and what else the
    settings call it."""
    found = [board_name(gateway_id), *_host_names(), *_LOOPBACK, *map(reachable, hosts)]
    return list(dict.fromkeys(filter(None, map(_name, found))))


def reachable(host: str) -> str:
    """Where others find what listens on `host`: an address of this machine where it listens on all."""
    return (own_address() or host) if host.strip("[]") in WILDCARDS else host


def own_address() -> str:
    """The address others reach this machine by: the one it would use itself. Empty without a network.

    An IPv6 address only where there is no other: those change by the day, and each change is a new certificate, which a
    browser asks about again where it does not know the authority."""
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue  # none of this family
    return ""


def _host_names() -> list[str]:
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return [name, short, f"{short}.local"]


def _name(text: str) -> str:
    """An address or a DNS name as a certificate holds it; empty where it is neither."""
    text = text.strip("[]").partition("%")[0].lower()
    if text in WILDCARDS:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text if re.fullmatch(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", text) else ""
