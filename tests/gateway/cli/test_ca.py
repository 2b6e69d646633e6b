"""`mpy-gateway ca`: what browsers import, before and after the first start."""

from __future__ import annotations

import re

from cryptography import x509

from gateway.cli import run
from gateway.tls.files import read_authority


def test_ca_prints_or_writes_the_authority_and_its_fingerprint_never_the_key(tmp_path, capsys) -> None:
    state = ["--state", str(tmp_path / "state")]
    assert run(["ca", *state]) == 0
    printed = capsys.readouterr()
    authority = x509.load_pem_x509_certificate(printed.out.encode())
    assert authority == read_authority(tmp_path / "state").certificate
    assert "PRIVATE" not in printed.out
    assert re.fullmatch(r"SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}\n", printed.err)
    for name, load in (("ca.crt", x509.load_pem_x509_certificate), ("ca.der", x509.load_der_x509_certificate)):
        assert run(["ca", str(tmp_path / name), *state]) == 0
        out, err = capsys.readouterr()
        assert out == ""
        assert f"written {tmp_path / name}\n" in err
        assert load((tmp_path / name).read_bytes()) == authority
    assert run(["ca", str(tmp_path / "nowhere" / "ca.crt"), *state]) == 1
    assert "cannot be written" in capsys.readouterr().err
