"""The names in a certificate: what boards verify first, then all that people may type."""

from __future__ import annotations

import socket

import pytest

from gateway.tls.names import certificate_names, own_address, reachable


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch):
    def called(name: str) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: name)

    called("Pi.fritz.box")
    return called


def test_boards_name_comes_first_then_the_machines_names_then_loopback(called) -> None:
    assert certificate_names("gw-1", ["127.0.0.1"]) == [
        "gw-1.mpy-gateway", "pi.fritz.box", "pi", "pi.local", "localhost", "127.0.0.1", "::1",
    ]  # fmt: skip


def test_configured_addresses_and_names_are_there_as_they_would_be_typed(called) -> None:
    names = certificate_names("gw-1", ["192.168.1.5", "[FD00::0:2]", "fe80::1%eth0", "Attic.local"])
    assert names[-4:] == ["192.168.1.5", "fd00::2", "fe80::1", "attic.local"]


def test_a_door_on_all_addresses_has_the_one_it_is_reached_by(called, monkeypatch) -> None:
    monkeypatch.setattr("gateway.tls.names.own_address", lambda: "192.168.1.5")
    for host in ("0.0.0.0", "::", "[::]"):
        assert certificate_names("gw-1", [host])[-1] == "192.168.1.5"
        assert reachable(host) == "192.168.1.5"
    assert reachable("10.0.0.1") == "10.0.0.1"


def test_without_a_network_there_is_no_address_and_no_error(called, monkeypatch) -> None:
    def no_network(*_: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", no_network)
    assert certificate_names("gw-1", ["0.0.0.0", "::"]) == certificate_names("gw-1", [])
    assert reachable("0.0.0.0") == "0.0.0.0"


@pytest.mark.parametrize(("families", "address"), [("46", "192.168.1.5"), ("6", "fd00::2"), ("", "")])
def test_an_ipv6_address_counts_only_where_there_is_no_other(called, monkeypatch, families, address) -> None:
    class Probe:
        def __init__(self, family: socket.AddressFamily, _kind: int) -> None:
            self.which = "4" if family is socket.AF_INET else "6"

        def __enter__(self) -> Probe:
            return self

        def __exit__(self, *_: object) -> None: ...

        def connect(self, _elsewhere: object) -> None:
            if self.which not in families:
                raise OSError("Network is unreachable")

        def getsockname(self) -> tuple[str, int]:
            return {"4": "192.168.1.5", "6": "fd00::2"}[self.which], 9

    monkeypatch.setattr(socket, "socket", Probe)
    assert own_address() == address


@pytest.mark.parametrize("odd", ["", "Küche", "a b", "-" * 300, "x..y", "."])
def test_a_host_name_that_fits_no_certificate_is_left_out(called, odd) -> None:
    called(odd)
    names = certificate_names("gw-1", [])
    assert names[0] == "gw-1.mpy-gateway"
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert all(name.isascii() and 0 < len(name) < 254 and " " not in name for name in names)
