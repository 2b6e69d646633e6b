"""An authority and what it signs, as a test wants them: right, of another, for another name, or out of date."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "gw-1a2b3c4d.mpy-gateway"
BEGAN = datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC)  # a board's clock says 2000 after power-up
ENDS = datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC)


class Authority:
    def __init__(self, title: str = "test", ends: datetime.datetime = ENDS) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed(title, self._key, self._key, BEGAN, ends, None)

    @property
    def der(self) -> bytes:
        """What goes to /ca.der."""
        return self.certificate.public_bytes(Encoding.DER)

    def server(
        self,
        folder: Path,
        name: str = NAME,
        *,
        began: datetime.datetime = BEGAN,
        ends: datetime.datetime = ENDS,
    ) -> ssl.SSLContext:
        """What a server needs that is called `name`. `folder` gets the key for a moment: Python loads files only."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed("server", key, self._key, began, ends, name)
        file = folder / "server.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        file.unlink()
        return context

    def _signed(
        self,
        title: str,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        began: datetime.datetime,
        ends: datetime.datetime,
        name: str | None,
    ) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(named(title))
            .issuer_name(named(title) if name is None else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
        )
        if name is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(signer, hashes.SHA256())
