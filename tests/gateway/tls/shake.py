"""Handshakes in memory: what a client with a given trust makes of what a server shows."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

from cryptography import x509

from gateway.tls.authority import Authority, Date, Kind
from gateway.tls.context import server_context

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
NOW = Date(NOW_MS, trusted=True)
NAME = "gw-test.mpy-gateway"


def after(days: float, *, trusted: bool = True) -> Date:
    return Date(NOW_MS + round(days * DAY_MS), trusted)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = NAME) -> x509.Certificate:
    """The certificate that the client was shown and has accepted. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (ours, theirs) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    shown = ours.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def strict(authority: Authority) -> ssl.SSLContext:
    """A client that pins `authority` and takes no liberties with RFC 5280: as Python 3.13 by itself, dates included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=authority.pem.decode())
    return context


def serving(directory: Path, pem: bytes) -> ssl.SSLContext:
    """A server that shows the certificate in `pem`, which has its key, too."""
    path = directory / "served.pem"
    path.write_bytes(pem)
    return server_context(path)


def issued(authority: Authority, kind: Kind, date: Date = NOW, *names: str) -> tuple[bytes, x509.Certificate]:
    pem = authority.issue(kind, [NAME, *names], date)
    return pem, x509.load_pem_x509_certificate(pem)
