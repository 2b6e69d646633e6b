"""What limits per address count by, at every door. Pure."""

from __future__ import annotations

import ipaddress


def counted_as(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one, since one machine has as many addresses as it likes there."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
