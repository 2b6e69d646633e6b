"""What is in a certificate, and when one is made anew: no clock, right or wrong, may lock a board out."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import RELEASED_MS
from gateway.tls.authority import DEVICES, PEOPLE, Authority, Date, Kind, fingerprint, names_of
from tests.gateway.tls.shake import NAME, NOW, NOW_MS, after, issued, serving, shake, strict

OURS = Authority.make("gw-test")
EPOCH = Date(0, trusted=False)
"""A Raspberry Pi at its first start."""


def at(date: Date) -> datetime:
    return datetime.fromtimestamp(date.wall_ms / 1000, UTC)


@pytest.mark.parametrize("kind", [DEVICES, PEOPLE])
def test_a_strict_client_accepts_it_by_each_of_its_names_and_by_no_other(tmp_path: Path, kind: Kind) -> None:
    today = Date(round(datetime.now(UTC).timestamp() * 1000), trusted=True)
    pem, _ = issued(OURS, kind, today, "localhost", "127.0.0.1", "fd00::2")
    server = serving(tmp_path, pem)
    for name in (NAME, "localhost", "127.0.0.1", "fd00::2"):
        shake(server, strict(OURS), name)
    for name in ("gw-other.mpy-gateway", "127.0.0.2", "mpy-gateway"):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            shake(server, strict(OURS), name)
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake(server, strict(Authority.make("gw-test")), NAME)


def test_the_authority_does_not_depend_on_any_clock_and_can_sign_nothing_but_servers() -> None:
    certificate = OURS.certificate
    assert certificate.not_valid_before_utc.year == 1999
    assert certificate.not_valid_after_utc.year == 9999
    extensions = {extension.oid._name: extension for extension in certificate.extensions}
    assert extensions["basicConstraints"].critical
    assert (extensions["basicConstraints"].value.ca, extensions["basicConstraints"].value.path_length) == (True, 0)
    _, server = issued(OURS, DEVICES)
    assert "serverAuth" in str(server.extensions)
    assert server.public_key() != certificate.public_key()


def test_the_devices_certificate_is_valid_for_a_board_that_says_2000_and_for_two_years() -> None:
    _, certificate = issued(OURS, DEVICES)
    assert certificate.not_valid_before_utc < datetime(2000, 1, 1, tzinfo=UTC)
    assert timedelta(days=728) < certificate.not_valid_after_utc - at(NOW) < timedelta(days=731)


def test_the_peoples_certificate_is_no_longer_than_browsers_take() -> None:
    _, certificate = issued(OURS, PEOPLE)
    assert certificate.not_valid_before_utc <= at(NOW) - timedelta(hours=23)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=397)


@pytest.mark.parametrize("kind", [DEVICES, PEOPLE])
def test_it_is_made_anew_when_under_a_third_of_its_life_is_left(kind: Kind) -> None:
    _, certificate = issued(OURS, kind)
    life = kind.lifetime.days
    assert OURS.why_renew(certificate, kind, [NAME], after(life * 2 / 3 - 3)) == ""
    assert "ends on" in OURS.why_renew(certificate, kind, [NAME], after(life * 2 / 3 + 3))
    assert "ends on" in OURS.why_renew(certificate, kind, [NAME], after(life * 3))


def test_it_is_made_anew_for_a_new_name_and_not_because_an_old_one_is_gone() -> None:
    _, certificate = issued(OURS, PEOPLE, NOW, "pi.local", "192.168.1.5")
    assert OURS.why_renew(certificate, PEOPLE, [NAME], NOW) == ""
    assert "192.168.1.6" in OURS.why_renew(certificate, PEOPLE, [NAME, "192.168.1.6"], NOW)


def test_it_is_made_anew_where_another_authority_has_signed_it() -> None:
    _, certificate = issued(Authority.make("gw-test"), PEOPLE)
    assert "another authority" in OURS.why_renew(certificate, PEOPLE, [NAME], NOW)


def test_without_a_date_the_devices_certificate_outlasts_any_clock_that_has_stood_still() -> None:
    _, certificate = issued(OURS, DEVICES, EPOCH)
    assert certificate.not_valid_before_utc.year == 1999
    assert certificate.not_valid_after_utc > datetime.fromtimestamp(RELEASED_MS / 1000, UTC) + timedelta(days=19 * 365)
    assert OURS.why_renew(certificate, DEVICES, [NAME], EPOCH) == ""
    assert OURS.why_renew(certificate, DEVICES, [NAME], NOW) == "", "none is ever made shorter"


@pytest.mark.parametrize("kind", [DEVICES, PEOPLE])
@pytest.mark.parametrize("years", [-60, -1, 1, 60])
def test_a_wrong_clock_is_put_right_as_soon_as_the_date_is_known(kind: Kind, years: int) -> None:
    wrong = after(years * 365, trusted=False)
    _, certificate = issued(OURS, kind, wrong)
    assert certificate.not_valid_after_utc > wrong.earliest
    assert OURS.why_renew(certificate, kind, [NAME], wrong) == ""
    _, renewed = issued(OURS, kind, NOW)
    ends, now = certificate.not_valid_after_utc, at(NOW)
    longest = timedelta.max if kind is DEVICES else kind.lifetime
    right = certificate.not_valid_before_utc <= now and kind.lifetime / 3 <= ends - now <= longest
    assert bool(OURS.why_renew(certificate, kind, [NAME], NOW)) is not right
    assert OURS.why_renew(renewed, kind, [NAME], NOW) == ""


def test_while_the_date_is_not_known_what_was_made_with_one_is_kept_unless_it_has_ended() -> None:
    """At each start of a Raspberry Pi the clock says when it was last stopped."""
    for kind in (DEVICES, PEOPLE):
        _, certificate = issued(OURS, kind)
        assert OURS.why_renew(certificate, kind, [NAME], EPOCH) == ""
        assert OURS.why_renew(certificate, kind, [NAME], after(kind.lifetime.days - 5, trusted=False)) == ""
        assert "ended" in OURS.why_renew(certificate, kind, [NAME], after(kind.lifetime.days + 5, trusted=False))


def test_key_and_certificate_come_back_from_their_pem_and_only_together() -> None:
    again = Authority.from_pem(OURS.pem, OURS.key_pem)
    assert again.certificate == OURS.certificate
    with pytest.raises(ValueError, match="not that of the certificate"):
        Authority.from_pem(OURS.pem, Authority.make("gw-test").key_pem)
    assert "PRIVATE" not in OURS.pem.decode()


def test_the_fingerprint_is_as_browsers_show_it() -> None:
    assert len(fingerprint(OURS.certificate)) == 32 * 3 - 1
    assert fingerprint(OURS.certificate).upper() == fingerprint(OURS.certificate)
    assert names_of(OURS.certificate) == []


def test_two_certificates_share_neither_key_nor_serial() -> None:
    _, one = issued(OURS, DEVICES)
    _, two = issued(OURS, DEVICES)
    assert one.serial_number != two.serial_number
    assert one.public_key() != two.public_key()


def test_a_trusted_date_is_taken_as_it_is() -> None:
    assert Date(NOW_MS, trusted=True).earliest == at(NOW).replace(microsecond=0)
