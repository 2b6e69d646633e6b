"""Which name a request was made by, and which site it comes from. Pure.

A browser tells the truth in `Host` and `Origin`, whatever page made it ask; nothing else is believed
(`X-Forwarded-*` are not looked at).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

_ORIGIN = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}


class Site(NamedTuple):
    """Scheme, name and port, each in one way of writing."""

    scheme: str
    name: str
    port: int


class From(Enum):
    """Where a request comes from."""

    NOWHERE = "no Origin"
    """A program, or a browser that follows a link."""
    HERE = "a page of ours"
    ALLOWED = "a page of `people.allowed_origins`"
    ELSEWHERE = "any other page, or one that hides where it is"


def site_of(origin: str) -> Site | None:
    """An `Origin`; None where it is none (`null`, other schemes, a path behind it)."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme = match[1]
    return Site(scheme, canonical(match[2]), int(match[3] or _PORTS[scheme]))


def site_asked(host: str, scheme: str) -> Site | None:
    """What a `Host` header names; None where it names nothing."""
    match = _HOST.fullmatch(host.strip())
    return Site(scheme, canonical(match[1]), int(match[2] or _PORTS[scheme])) if match else None


def canonical(name: str) -> str:
    """A host name or address in one way of writing: small letters, no brackets, no final dot; IPv6 as short as it goes,
    IPv4 inside IPv6 as IPv4."""
    name = name.lower().removeprefix("[").removesuffix("]").removesuffix(".").partition("%")[0]
    ip = address(name)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return name if ip is None else str(ip)


def address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name that is no address."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def whence(origins: Collection[str], host: str, scheme: str, allowed: Collection[Site]) -> From:
    """`origins`: what the request says in `Origin`; `scheme`: `http` or `https`, of our own connection.

    A page of ours may be at `https` while we speak `http`: then a proxy before us ends its TLS."""
    if not origins:
        return From.NOWHERE
    if len(origins) > 1:
        return From.ELSEWHERE
    site = site_of(next(iter(origins)))
    if site is None:
        return From.ELSEWHERE
    if site in {site_asked(host, scheme), site_asked(host, "https")}:
        return From.HERE
    return From.ALLOWED if site in allowed else From.ELSEWHERE
