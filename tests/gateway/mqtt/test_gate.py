"""Who may come in by the embedded broker's doors, and what they may publish: without a broker."""

from __future__ import annotations

import hmac

import pytest

from gateway.mqtt import gate as module
from gateway.mqtt.gate import (
    FORGET_MS,
    LONGEST_DELAY_S,
    MAX_ADDRESSES,
    MAX_CLIENTS,
    MAX_PER_ADDRESS,
    MAX_REFUSALS_UNDER_WAY,
    MAX_UNKNOWN,
    MAX_UNKNOWN_PER_ADDRESS,
    RESERVED,
    Gate,
    Login,
    Visit,
    Who,
)

OWN, HOME = Login("gateway-1", "own"), Login("home", "right")
STRANGER = "192.0.2.7"


def gate(login: Login | None = HOME) -> Gate:
    return Gate(OWN, login, "mpy-gateway")


@pytest.mark.parametrize(
    ("username", "password", "who"),
    [
        (b"home", b"right", Who.CLIENT),
        (b"gateway-1", b"own", Who.GATEWAY),
        (b"home", b"wrong", Who.NOBODY),
        (b"home", b"", Who.NOBODY),
        (b"home", None, Who.NOBODY),
        (b"", b"", Who.NOBODY),
        (None, None, Who.NOBODY),
        (b"homer", b"ight", Who.NOBODY),
        (b"gateway-1", b"right", Who.NOBODY),
        (b"\xff\xfe", b"\x00", Who.NOBODY),
    ],
)
def test_a_login_is_right_as_a_whole_or_not_at_all(username: bytes | None, password: bytes | None, who: Who) -> None:
    assert gate().who(username, password) is who


def test_without_a_login_anybody_is_a_client_and_only_the_gateway_the_gateway() -> None:
    assert gate(None).who(None, None) is Who.CLIENT
    assert gate(None).who(b"gateway-1", b"guess") is Who.CLIENT
    assert gate(None).who(b"gateway-1", b"own") is Who.GATEWAY


def test_every_login_is_compared_whole_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, real = [], hmac.compare_digest

    def compare(shown: bytes, known: bytes) -> bool:
        compared.append((len(shown), len(known)))
        return real(shown, known)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    for login in ((b"gateway-1", b"own"), (b"x", b"y"), (None, None)):
        gate().who(*login)
    assert compared == [(32, 32)] * 6


def test_nothing_says_the_password() -> None:
    for text in (repr(HOME), str(HOME), f"{HOME}", repr([HOME])):
        assert "right" not in text


@pytest.mark.parametrize(
    ("topic", "may"),
    [
        (b"mpy-gateway/greenhouse/command/ping", True),
        (b"other/greenhouse/state", True),
        (b"mpy-gatewayx/state", True),
        (b"", True),
        (b"mpy-gateway/greenhouse/state", False),
        (b"mpy-gateway/greenhouse/samples", False),
        (b"mpy-gateway/greenhouse/availability", False),
        (b"mpy-gateway/greenhouse/result", False),
        (b"mpy-gateway/bridge/state", False),
        (b"mpy-gateway/", False),
        (b"mpy-gateway/a/b/command/ping", False),
        (b"mpy-gateway/command/ping", False),
    ],
)
def test_below_the_base_topic_others_publish_commands_and_nothing_else(topic: bytes, may: bool) -> None:
    assert gate().may_publish(Who.CLIENT, topic) is may
    assert gate().may_publish(Who.GATEWAY, topic)


def test_delays_grow_have_an_end_and_are_forgotten() -> None:
    door = gate()

    def wrong(at_ms: int, address: str = STRANGER) -> float:
        delay_s = door.refusing(address, at_ms)
        door.refused(address)
        return delay_s

    assert [wrong(at_ms) for at_ms in range(7)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert max(wrong(10) for _ in range(2_000)) == LONGEST_DELAY_S
    assert wrong(10, "192.0.2.8") == 0.5, "one address has nothing to do with another"
    assert wrong(11 + FORGET_MS) == 0.5
    wrong(20 + FORGET_MS)
    door.welcome(STRANGER)
    assert wrong(30 + FORGET_MS) == 0.5


def test_a_guesser_waits_and_who_stands_beside_it_does_not() -> None:
    door = gate()
    for _ in range(MAX_REFUSALS_UNDER_WAY):
        assert door.may_try(STRANGER)
        door.refusing(STRANGER, 0)
    assert not door.may_try(STRANGER)
    assert door.may_try("192.0.2.8")
    door.refused(STRANGER)
    assert door.may_try(STRANGER)


def test_what_is_remembered_of_guessers_is_bounded() -> None:
    door = gate()
    for number in range(2 * MAX_ADDRESSES):
        door.refusing(f"address-{number}", 0)
        door.refused(f"address-{number}")
    assert len(door._failures) == MAX_ADDRESSES
    assert not door._refusing


def entered(door: Gate, address: str, count: int) -> list[Visit]:
    visits = [door.enter(address) for _ in range(count)]
    assert None not in visits
    return [visit for visit in visits if visit]


def test_connections_are_limited_in_all_from_an_address_and_before_the_login() -> None:
    door = gate()
    entered(door, STRANGER, MAX_UNKNOWN_PER_ADDRESS)
    assert door.enter(STRANGER) is None, "too many that have not logged in"
    entered(door, "127.0.0.1", MAX_UNKNOWN - MAX_UNKNOWN_PER_ADDRESS)
    assert door.enter("192.0.2.9") is None, "too many in all that have not logged in"
    entered(door, "127.0.0.1", RESERVED)
    assert door.enter("127.0.0.1") is None, "too many in all that have not logged in"
    door = gate()
    for _ in range(MAX_PER_ADDRESS):
        entered(door, STRANGER, 1)[0].known()
    assert door.enter(STRANGER) is None, "too many of one address"
    for _ in range(MAX_CLIENTS - MAX_PER_ADDRESS):
        entered(door, "127.0.0.1", 1)[0].known()
    assert door.enter("192.0.2.9") is None, "too many in all"


def test_who_leaves_makes_room_and_nothing_stays_behind() -> None:
    door = gate()
    for _ in range(3 * MAX_CLIENTS):
        (visit,) = entered(door, STRANGER, 1)
        visit.known()
        visit.known()
        visit.leave()
    assert not door._connections
    assert not door._unknown


def test_a_crowd_of_strangers_keeps_neither_the_gateway_nor_this_machine_out() -> None:
    door = gate()
    for number in range(MAX_UNKNOWN):
        assert door.enter(f"192.0.2.{number}")
    assert door.enter("198.51.100.1") is None
    assert door.enter("127.0.0.1"), "the gateway's own connection, and the question whether the broker is alive"
    door = gate()
    for number in range(MAX_CLIENTS):
        if visit := door.enter(f"2001:db8:{number:x}::1"):
            visit.known()
    assert door.enter("198.51.100.1") is None
    assert door.enter("127.0.0.1")


def test_all_addresses_of_an_ipv6_network_are_one() -> None:
    door = gate()
    for number in range(MAX_UNKNOWN_PER_ADDRESS):
        assert door.enter(f"2001:db8::{number:x}")
    assert door.enter("2001:db8::ffff") is None
    delays_s = [door.refusing(f"2001:db8::{number:x}", 0) for number in range(5)]
    assert delays_s == sorted(set(delays_s)), "a new address does not begin anew"
