"""How TLS is spoken: not below 1.2, and our own command line accepts one certificate only."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gateway.errors import ConfigError
from gateway.tls.authority import DEVICES, PEOPLE, Authority
from gateway.tls.context import exact_context, server_context
from tests.gateway.tls.shake import after, issued, serving, shake, strict

OURS = Authority.make("gw-test")


def speaking(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")  # else it is the client that refuses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


def test_tls_1_2_and_1_3_are_spoken_and_nothing_older(tmp_path: Path) -> None:
    server = serving(tmp_path, issued(OURS, DEVICES)[0])
    server.set_ciphers("ALL:@SECLEVEL=0")  # what refuses is the version alone
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        shake(server, speaking(strict(OURS), version))
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake(server, speaking(strict(OURS), ssl.TLSVersion.TLSv1_1))


def test_a_key_with_a_password_is_an_error_and_no_question_at_the_terminal(tmp_path: Path) -> None:
    pem, _ = issued(OURS, DEVICES)
    locked = OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + pem[pem.index(b"-----BEGIN CERT") :])
    with pytest.raises(ssl.SSLError, match="without"):
        server_context(path)


def test_our_own_command_line_accepts_exactly_the_certificate_on_disk_at_any_date(tmp_path: Path) -> None:
    pem, _ = issued(OURS, PEOPLE, after(-30_000, trusted=False))  # long ended
    server = serving(tmp_path, pem)
    path = tmp_path / "people.pem"
    path.write_bytes(pem)
    shake(server, exact_context(path), "127.0.0.1")
    for authority in (OURS, Authority.make("gw-test")):
        path.write_bytes(issued(authority, PEOPLE)[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(server, exact_context(path), "127.0.0.1")


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff",
        b"-----BEGIN CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_file_that_holds_no_certificate_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "people.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"people\.pem"):
        exact_context(path)
