"""What a board must be given to know its gateway over TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config import is_loopback
from gateway.mdns import local_name
from gateway.tls import given
from gateway.tls.files import open_authority
from gateway.tls.names import board_name

if TYPE_CHECKING:
    from gateway.config import Config

CA_ON_BOARD: Final = "/ca.der"
"""Where the firmware looks for the authority."""


@dataclass(frozen=True, slots=True)
class BoardTrust:
    """The authority that a board pins, and the name that it verifies, whatever address it dials."""

    name: str
    ca_der: bytes
    mdns: str | None = None
    """Its name on the local network; None where it tells none."""


def board_trust(config: Config, gateway_id: str) -> BoardTrust:
    """For the devices' door when it speaks TLS. Makes the gateway's authority where it does not exist yet. Raises
    ConfigError."""
    door = config.devices
    mdns = local_name(gateway_id) if config.gateway.announce and not is_loopback(door.host) else None
    if door.certificate_file is None or door.ca_file is None:
        authority = open_authority(config.state, gateway_id)
        return BoardTrust(board_name(gateway_id), authority.certificate.public_bytes(Encoding.DER), mdns)
    name = given.verified_name(given.read_certificate(door), gateway_id)
    return BoardTrust(name, given.read_ca(door.ca_file).public_bytes(Encoding.DER), mdns)
