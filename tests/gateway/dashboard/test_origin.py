"""Which page asks, and by which name: what a browser cannot be made to lie about."""

from __future__ import annotations

import pytest

from gateway.dashboard.origin import From, canonical, site_asked, site_of, whence

ALLOWED = {site for site in (site_of("https://dash.example.org"), site_of("http://[2001:db8::1]:3000")) if site}


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "comes_from"),
    [
        ("http://pi.local:8080", "pi.local:8080", "http", From.HERE),
        ("http://pi.local", "pi.local:80", "http", From.HERE),
        ("http://pi.local:80", "pi.local", "http", From.HERE),
        ("http://PI.local:8080", "pi.LOCAL:8080", "http", From.HERE),
        ("http://pi.local.:8080", "pi.local.:8080", "http", From.HERE),
        ("http://[::1]:8080", "[0:0::1]:8080", "http", From.HERE),
        ("https://pi.local", "pi.local", "https", From.HERE),
        ("https://gateway.example.org", "gateway.example.org", "http", From.HERE),  # a proxy before us ends the TLS
        ("http://pi.local", "pi.local", "https", From.ELSEWHERE),  # never from plain to TLS
        ("http://pi.local:8081", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://pi.local", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://evil.example", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://pi.local:8080.evil.example", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://pi.local:8080/", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://user@pi.local:8080", "pi.local:8080", "http", From.ELSEWHERE),
        ("ws://pi.local:8080", "pi.local:8080", "http", From.ELSEWHERE),
        ("null", "pi.local:8080", "http", From.ELSEWHERE),
        ("", "pi.local:8080", "http", From.ELSEWHERE),
        ("file://", "pi.local:8080", "http", From.ELSEWHERE),
        ("chrome-extension://abc", "pi.local:8080", "http", From.ELSEWHERE),
        ("https://dash.example.org", "pi.local:8080", "http", From.ALLOWED),
        ("https://dash.example.org:443", "pi.local:8080", "http", From.ALLOWED),
        ("http://dash.example.org", "pi.local:8080", "http", From.ELSEWHERE),
        ("https://sub.dash.example.org", "pi.local:8080", "http", From.ELSEWHERE),
        ("http://[2001:db8:0::1]:3000", "pi.local:8080", "http", From.ALLOWED),
    ],
)
def test_where_a_request_comes_from(origin: str, host: str, scheme: str, comes_from: From) -> None:
    assert whence([origin], host, scheme, ALLOWED) is comes_from


def test_no_origin_and_two_of_them() -> None:
    assert whence([], "pi.local", "http", ALLOWED) is From.NOWHERE
    assert whence(["http://pi.local", "http://pi.local"], "pi.local", "http", ALLOWED) is From.ELSEWHERE


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Pi.Local:8080", "pi.local"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("[::FFFF:192.168.1.5]", "192.168.1.5"),
        ("localhost.", "localhost"),
        ("", None),
        ("localhost:8080.evil.example", None),
        ("evil@localhost", None),
        ("localhost/x", None),
        ("a b", None),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str | None) -> None:
    site = site_asked(host, "http")
    assert (site and site.name) == name


def test_an_address_has_one_way_of_writing() -> None:
    assert canonical("[FE80::1%25eth0]") == "fe80::1"
    assert canonical("::ffff:10.0.0.1") == "10.0.0.1"
