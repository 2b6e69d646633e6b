"""How TLS is spoken: the contexts of our doors, and that of our own command line towards the people's door."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError

_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h), which Python has no name for."""
_END: Final = "-----END CERTIFICATE-----"
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"


def server_context(certificate: Path, key: Path | None = None, *, tickets: bool = True) -> ssl.SSLContext:
    """For a door. TLS 1.2 is the least: MicroPython's mbedTLS speaks it, and nothing older need be served.

    `tickets`: whether a client may come back without a whole handshake; boards cannot. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    if not tickets:
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    load(context, certificate, key)
    return context


def load(context: ssl.SSLContext, certificate: Path, key: Path | None = None) -> None:
    """Show this certificate at all handshakes to come. Raises OSError, ssl.SSLError."""
    context.load_cert_chain(certificate, key, password=_no_password)


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    raise ssl.SSLError("it is locked with a password; the gateway needs one without")


def exact_context(certificate: Path) -> ssl.SSLContext:
    """For our own command line: exactly the certificate in this file, on the gateway's own disk, and no other.

    That says more than any name in it. Raises ConfigError."""
    try:
        context = authority_context(_first_certificate(certificate.read_text("latin-1")))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"{certificate}: the gateway's certificate cannot be read: {error.strerror or error}"
        ) from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def authority_context(pem: str) -> ssl.SSLContext:
    """For a client that trusts one authority alone. Dates are not looked at: the clock may be wrong, and where the
    authority comes from our own disk they say nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(cadata=pem)
    return context


def _first_certificate(pem: str) -> str:
    """The certificate a server shows as its own, of a file that may hold more, and a key."""
    _, begin, rest = pem.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    return f"{begin}{body}{end}\n"
