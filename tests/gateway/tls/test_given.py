"""Certificates of one's own: every mistake is a sentence at the start, and what would keep boards out is one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config import Config, ConfigError, load_config
from gateway.tls import given
from gateway.tls.boards import board_trust
from tests.gateway.mqtt.certificates import Authority
from tests.gateway.tls.shake import DAY_MS, Date

GATEWAY = "gw-1a2b3c4d"


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def load(folder: Path, text: str) -> Config:
    path = folder / "mpy-gateway.toml"
    path.write_text(text)
    return load_config(path, environ={"HOME": str(folder)}, state=folder)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def files(name: str = "door", ca: str = "authority") -> str:
    return f'certificate_file = "{name}.pem"\nkey_file = "{name}.key"\n' + (f'ca_file = "{ca}.pem"\n' if ca else "")


def test_files_are_found_from_where_the_settings_are_and_boards_get_the_authority(tmp_path, theirs) -> None:
    theirs.issue("door", "gw.example.com", f"{GATEWAY}.mpy-gateway")
    config = load(tmp_path, f"[devices]\ntls = true\n{files()}")
    assert config.devices.certificate_file == tmp_path / "door.pem"
    trust = board_trust(config, GATEWAY)
    assert trust.name == f"{GATEWAY}.mpy-gateway", "a board keeps it whatever else the certificate is for"
    assert trust.ca_der == given.read_ca(tmp_path / "authority.pem").public_bytes(Encoding.DER)
    assert board_trust(config, "gw-other").name == "gw.example.com"
    assert not (tmp_path / "tls").exists(), "no authority is made that nobody needs"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('certificate_file = "door.pem"\n', "key_file"),
        ('key_file = "door.key"\n', "certificate_file"),
        ('ca_file = "authority.pem"\n', "certificate_file"),
        (files(ca=""), "ca_file"),
    ],
)
def test_what_is_missing_is_named(tmp_path, theirs, text, key) -> None:
    theirs.issue("door", "gw.example.com")
    assert any(f"devices.{key}: is missing" in line for line in problems(tmp_path, f"[devices]\n{text}"))


def test_the_peoples_door_needs_no_authority(tmp_path, theirs) -> None:
    theirs.issue("door", "192.168.1.5")
    assert load(tmp_path, f"[people]\n{files(ca='')}").people.key_file == tmp_path / "door.key"


def test_a_key_of_another_certificate_is_refused(tmp_path, theirs) -> None:
    theirs.issue("door", "a.example.com")
    theirs.issue("other", "a.example.com")
    (tmp_path / "door.key").write_bytes((tmp_path / "other.key").read_bytes())
    (line,) = problems(tmp_path, f"[people]\n{files(ca='')}")
    assert "people.certificate_file: " in line
    assert "KEY_VALUES_MISMATCH" in line


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("name", ["door.pem", "door.key", "authority.pem"])
def test_a_file_that_is_not_what_it_should_be_is_one_sentence(tmp_path, theirs, name, content) -> None:
    theirs.issue("door", "a.example.com")
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (line,) = problems(tmp_path, f"[devices]\n{files()}")
    assert name in line


def test_an_authority_that_did_not_sign_it_would_keep_every_board_out(tmp_path, theirs) -> None:
    theirs.issue("door", "gw.example.com")
    Authority(tmp_path, "stranger")
    (line,) = problems(tmp_path, f"[devices]\n{files(ca='stranger')}")
    assert "devices.ca_file: boards that pin" in line
    bundle = (tmp_path / "authority.pem").read_bytes() + (tmp_path / "stranger.pem").read_bytes()
    (tmp_path / "bundle.pem").write_bytes(bundle)
    assert "must hold one certificate" in problems(tmp_path, f"[devices]\n{files(ca='bundle')}")[0]


def test_a_certificate_without_a_whole_dns_name_is_nothing_a_board_can_verify(tmp_path, theirs) -> None:
    for number, hosts in enumerate((["192.168.1.5"], ["*.example.com"], ["::1"])):
        theirs.issue(f"door{number}", *hosts)
        (line,) = problems(tmp_path, f"[devices]\n{files(f'door{number}')}")
        assert "is for no DNS name" in line


@pytest.mark.parametrize(
    ("door", "begins", "ends", "says"),
    [
        ("people", -10, 365, ""),
        ("people", -10, 10, "ends on"),
        ("people", -20, -10, "has ended"),
        ("devices", -10, 365, "2000 after power-up"),
        ("devices", -10_000, 365, ""),
    ],
)
def test_what_a_person_should_know_of_it(tmp_path, theirs, door, begins, ends, says) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    pair = theirs.issue("door", "a.example.com", begins_in_days=begins, ends_in_days=ends)
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    concern = given.concern(door, certificate, Date(now_ms, trusted=True))
    assert says in concern
    assert bool(concern) is bool(says)
    if door == "people":
        assert given.concern(door, certificate, Date(now_ms + 999 * DAY_MS, trusted=False)) == "", "who knows the date?"
