"""Who may stand at the door, without a door: counts, who goes where there is no room, and bad tokens."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.addresses import counted_as
from gateway.config import Limits
from gateway.device.gate import ADDRESSES, Complaints, Gate, Guest


class Street:
    """A gate, and who came to it."""

    def __init__(self, **limits: Any) -> None:
        self.gate = Gate(Limits(**limits))
        self.dropped: list[str] = []

    def come(self, name: str, address: str = "192.0.2.1", *, known: bool = False, now_ms: int = 0) -> Guest | None:
        guest = self.gate.enter(address, lambda: self.dropped.append(name), now_ms)
        if known and guest is not None:
            self.gate.let_in(guest)
        return guest

    @property
    def inside(self) -> tuple[int, int]:
        """(devices, strangers)"""
        stats = self.gate.stats()
        return stats["connections"], stats["strangers"]


def test_of_too_many_strangers_the_oldest_goes_and_never_a_device() -> None:
    street = Street(strangers=3)
    for name in ("a", "b"):
        assert street.come(name, known=True)
    for name in ("1", "2", "3", "4", "5"):
        assert street.come(name)
    assert street.dropped == ["1", "2"]
    assert street.inside == (2, 3)
    assert street.gate.refused == {"strangers": 2}


def test_a_crowd_from_one_address_pushes_out_its_own_and_not_the_one_from_elsewhere() -> None:
    street = Street(strangers=3)
    board = street.come("board", "192.0.2.77")
    for number in range(100):
        assert street.come(str(number))
    assert board is not None
    assert "board" not in street.dropped
    street.gate.let_in(board)
    assert street.inside == (1, 2)


def test_one_address_has_a_limit_of_its_own() -> None:
    street = Street(connections_per_address=2, strangers=100)
    assert street.come("device", known=True)
    assert street.come("stranger")
    assert street.come("second", known=True)
    assert street.dropped == ["stranger"]
    assert street.come("third") is None
    assert street.come("from elsewhere", "192.0.2.2")
    assert street.inside == (2, 1)


def test_who_leaves_makes_room_and_leaving_twice_does_no_harm() -> None:
    street = Street(connections_per_address=1)
    for _ in range(3):
        guest = street.come("one", known=True)
        assert guest is not None
        assert street.come("two") is None
        for _ in range(2):
            street.gate.leave(guest)
        street.gate.let_in(guest)  # too late
        assert street.inside == (0, 0)
    stranger = street.come("stranger")
    assert stranger is not None
    street.gate.leave(stranger)
    assert street.inside == (0, 0)
    assert street.gate._addresses == {}


def test_an_address_with_too_many_bad_tokens_is_shut_for_a_while() -> None:
    street = Street(bad_tokens_per_min=60)
    for _ in range(60):
        guest = street.come("guessing")
        assert guest is not None
        street.gate.failed(guest, 0, 1_790_000_000_000)
        street.gate.leave(guest)
    last = street.come("guessing")
    assert last is not None
    street.gate.failed(last, 0, 1_790_000_000_000)
    assert street.come("guessing", now_ms=500) is None
    assert street.come("from elsewhere", "192.0.2.2", now_ms=500)
    assert street.come("a board of that address", now_ms=1_100)  # one a second
    stats = street.gate.stats()
    assert stats["refused"] == {"token": 61, "shut": 1}
    assert stats["bad_tokens"] == [{"address": "192.0.2.1", "count": 61, "last_ms": 1_790_000_000_000}]


def test_nobody_is_shut_out_for_long_however_much_he_tried() -> None:
    street = Street(bad_tokens_per_min=60, strangers=10_000, connections_per_address=10_000)
    guests = [street.come("guessing") for _ in range(5_000)]
    for guest in guests:
        assert guest is not None
        street.gate.failed(guest, 0, 0)
    assert street.come("guessing", now_ms=9_999) is None
    assert street.come("guessing", now_ms=10_001)


def test_addresses_with_bad_tokens_are_remembered_up_to_a_number() -> None:
    street = Street()
    for number in range(ADDRESSES + 500):
        guest = street.come("guessing", f"198.51.{number // 250}.{number % 250}")
        assert guest is not None
        street.gate.failed(guest, 0, 0)
        street.gate.leave(guest)
    assert len(street.gate._failures) == ADDRESSES
    assert len(street.gate.stats()["bad_tokens"]) == 5


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_what_an_address_counts_as(address: str, counted: str) -> None:
    assert counted_as(address) == counted


def test_complaints_are_made_at_once_then_seldom_with_their_count() -> None:
    complaints = Complaints(0)
    assert complaints.say("its token is not known", "192.0.2.1", 0) == ""
    assert [complaints.say("its token is not known", "192.0.2.1", ms) for ms in range(100)] == [None] * 100
    assert complaints.say("its token is not known", "192.0.2.2", 100) == ""
    said = complaints.say("its token is not known", "192.0.2.1", 60_001)
    assert said == " (100 more since the last time this was said)"


def test_a_crowd_of_addresses_cannot_fill_the_log_nor_the_memory() -> None:
    complaints = Complaints(0)
    lines = [complaints.say("refused", str(number), 0) for number in range(5_000)]
    assert sum(line is not None for line in lines) == 10
    lines = [complaints.say("refused", str(number), 60_000) for number in range(5_000)]
    assert sum(line is not None for line in lines) == 10
    assert len(complaints._said) <= ADDRESSES


def test_of_many_addresses_with_as_many_strangers_the_one_that_came_first_goes_also_where_devices_come_from() -> None:
    """An address with devices inside has been here for long: that must not make it the first to be pushed out."""
    street = Street(strangers=3)
    assert street.come("inside", "192.0.2.77", known=True)
    for number in range(3):
        assert street.come(str(number), f"198.51.100.{number}")
    board = street.come("board", "192.0.2.77")
    assert street.come("3", "198.51.100.3")
    assert board is not None
    assert street.dropped == ["0", "1"]


def test_an_address_that_devices_come_from_is_not_shut_for_the_bad_tokens_of_a_neighbour() -> None:
    """Behind one router all have one address, and so have all in one IPv6 network."""
    street = Street(bad_tokens_per_min=1)
    device = street.come("device", known=True)
    assert device is not None
    street.gate.leave(device)
    for _ in range(3):
        thief = street.come("thief")
        assert thief is not None
        street.gate.failed(thief, 0, 0)
        street.gate.leave(thief)
    assert street.come("device again", known=True)
    assert street.gate.stats()["bad_tokens"][0]["count"] == 3


def test_addresses_that_devices_come_from_are_remembered_up_to_a_number() -> None:
    street = Street()
    for number in range(ADDRESSES + 500):
        guest = street.come("device", f"198.51.{number // 250}.{number % 250}", known=True)
        assert guest is not None
        street.gate.leave(guest)
    assert len(street.gate._good) == ADDRESSES
