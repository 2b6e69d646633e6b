"""The gateway's own certificate authority: what is in a certificate, and when one must be made anew. Pure.

Boards pin the authority, for ever, and verify one name, so nothing in a server certificate is news to them but its
dates. Their clock says 2000 after power-up, and ours may say anything before the date is known: the dates are chosen so
that neither locks a board out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.clock import RELEASED_MS

BEFORE_BOARDS: Final = datetime(1999, 1, 1, tzinfo=UTC)
"""An ESP32's clock begins in 2000: what is to be valid for it must begin earlier."""
NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: the end of what has no end."""
_A_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a door asks of its certificate. `name` is that of its file, too."""

    name: str
    lifetime: timedelta
    undated: timedelta
    """The lifetime of one that is made before the date is known."""
    from_the_start: bool
    """Valid since `BEFORE_BOARDS`."""


DEVICES: Final = Kind("devices", timedelta(days=730), timedelta(days=20 * 365), from_the_start=True)
PEOPLE: Final = Kind("people", timedelta(days=397), timedelta(days=397), from_the_start=False)
"""Browsers take no more than 397 days (Apple's 825 where a person has trusted the authority)."""
BROKER: Final = Kind("broker", timedelta(days=397), timedelta(days=397), from_the_start=False)
"""Of the embedded broker."""


@dataclass(frozen=True, slots=True)
class Date:
    """What the gateway's clock says, and whether it can be believed (`Clock.wall_trusted`)."""

    wall_ms: int
    trusted: bool

    @property
    def earliest(self) -> datetime:
        """It is this, or later: an untrusted clock that has stood still says the date of its last stop."""
        ms = self.wall_ms if self.trusted else max(self.wall_ms, RELEASED_MS)
        return datetime.fromtimestamp(ms / 1000, UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Authority:
    """A key, and the certificate that boards pin and people import."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, gateway_id: str) -> Authority:
        """A new one. Its dates do not depend on the clock: it is valid always."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"mpy-gateway {gateway_id}")
        builder = _builder(name, name, key, BEFORE_BOARDS, NEVER)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Authority:
        """Raises ValueError: this is not a certificate and its key."""
        loaded = load_pem_private_key(key, None)
        parsed = x509.load_pem_x509_certificate(certificate)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or parsed.public_key() != loaded.public_key():
            raise ValueError("the key is not that of the certificate")
        return cls(parsed, loaded)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def issue(self, kind: Kind, names: Sequence[str], date: Date, *, before: x509.Certificate | None = None) -> bytes:
        """Key and certificate of a door, in one PEM text. `names`: the first is what boards verify. It takes the place
        of the one `before`."""
        key = ec.generate_private_key(ec.SECP256R1())
        begins, ends = _dates(kind, date)
        if kind.from_the_start and before is not None:
            ends = max(ends, before.not_valid_after_utc)  # see _why_by_date
        builder = _builder(_name(names[0]), self.certificate.subject, key, begins, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        return _key_pem(key) + builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def why_renew(self, certificate: x509.Certificate, kind: Kind, names: Iterable[str], date: Date) -> str:
        """Why `certificate` must be made anew; empty where it need not be."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, InvalidSignature):
            return "another authority has signed it"
        if missing := set(names) - set(names_of(certificate)):
            return f"it lacks the name {min(missing)}"
        return _why_by_date(certificate, kind, date)


def _dates(kind: Kind, date: Date) -> tuple[datetime, datetime]:
    now = date.earliest
    begins = now - _A_DAY  # other clocks go after ours
    ends = begins + (kind.lifetime if date.trusted else kind.undated)
    return (BEFORE_BOARDS if kind.from_the_start else begins), ends


def _why_by_date(certificate: x509.Certificate, kind: Kind, date: Date) -> str:
    now, ends = date.earliest, certificate.not_valid_after_utc
    if not date.trusted:  # what was made when the date was known is better than what we could make
        return "it has ended" if ends <= now else ""
    # A board has the date that we told it last, which may have been years ahead. It would take a certificate that ends
    # before that for one that has ended, for ever: those for boards are never made shorter.
    if ends > now + kind.lifetime and not kind.from_the_start:  # one that begins later is among these
        return "it was made when the clock was wrong"
    if ends - now < kind.lifetime / 3:
        return f"it ends on {ends:%Y-%m-%d}"
    return ""


def names_of(certificate: x509.Certificate) -> list[str]:
    """The names and addresses it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, as browsers show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begins, ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
