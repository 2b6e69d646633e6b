"""Failed logins wait longer and longer, per account and per address, and nobody waits for ever."""

from __future__ import annotations

import pytest

from gateway.addresses import counted_as
from gateway.dashboard.throttle import (
    ADDRESSES,
    FORGET_MS,
    FREE,
    KNOWN,
    NEWCOMER_MS,
    FailedLogins,
    Throttle,
)

HOME, AWAY = "192.168.1.5", "203.0.113.9"


def fail(throttle: Throttle, account: str, address: str, now_ms: int, times: int = 1) -> None:
    for _ in range(times):
        assert throttle.begin(account, address, now_ms) == 0


def test_waits_grow_and_are_capped() -> None:
    throttle, now_ms, waits = Throttle(b"the same accounts share a counter in every run"), 0, []
    fail(throttle, "anna", AWAY, now_ms, FREE)
    for _ in range(9):
        wait_ms = throttle.begin("anna", AWAY, now_ms)
        waits.append(wait_ms // 1000)
        assert throttle.begin("anna", AWAY, now_ms + wait_ms - 1) == 1, "too early changes nothing"
        now_ms += wait_ms
        fail(throttle, "anna", AWAY, now_ms)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_an_account_waits_whatever_address_tries() -> None:
    throttle = Throttle(b"the same accounts share a counter in every run")
    for n in range(FREE):
        fail(throttle, "anna", f"203.0.113.{n}", 0)
    assert throttle.begin("anna", "203.0.113.99", 0) == 1000
    assert throttle.begin("berta", "203.0.113.99", 0) == 0


def test_an_address_waits_whatever_account_it_tries() -> None:
    throttle = Throttle(b"the same accounts share a counter in every run")
    for n in range(FREE):
        fail(throttle, f"name{n}", AWAY, 0)
    assert throttle.begin("anna", AWAY, 0) == 1000
    assert throttle.begin("anna", HOME, 0) == 0


def test_a_stranger_who_keeps_guessing_does_not_keep_the_owner_out() -> None:
    throttle = Throttle(b"the same accounts share a counter in every run")
    fail(throttle, "anna", HOME, 0)
    throttle.succeeded("anna", HOME)
    now_ms = 0
    for n in range(200):
        wait_ms = throttle.begin("anna", f"203.0.113.{n}", now_ms)
        if wait_ms:
            now_ms += wait_ms
            fail(throttle, "anna", f"203.0.113.{n}", now_ms)
    assert throttle.begin("anna", "203.0.113.250", now_ms) == NEWCOMER_MS, "all others wait"
    assert throttle.begin("anna", HOME, now_ms) == 0


def test_logging_in_to_an_account_of_ones_own_does_not_clear_the_way_to_another() -> None:
    """At an address where both accounts log in."""
    throttle = Throttle(b"the same accounts share a counter in every run")
    for account in ("admin", "guest"):
        fail(throttle, account, HOME, 0)
        throttle.succeeded(account, HOME)
    for _ in range(FREE):
        fail(throttle, "admin", HOME, 0)
        fail(throttle, "guest", HOME, 0)
        throttle.succeeded("guest", HOME)
    assert throttle.begin("admin", HOME, 0) > 0


def test_success_and_an_hour_without_failure_begin_anew() -> None:
    throttle = Throttle(b"the same accounts share a counter in every run")
    fail(throttle, "anna", AWAY, 0, FREE - 1)
    fail(throttle, "anna", AWAY, 0)
    assert throttle.begin("anna", AWAY, 0) > 0
    fail(throttle, "anna", AWAY, FORGET_MS, FREE)
    throttle.succeeded("anna", AWAY)
    fail(throttle, "anna", AWAY, FORGET_MS, FREE)


def test_made_up_names_and_addresses_push_nobodys_counter_out() -> None:
    throttle = Throttle(b"the same accounts share a counter in every run")
    fail(throttle, "anna", AWAY, 0, FREE)
    for n in range(ADDRESSES + KNOWN):
        throttle.begin(f"name{n}", f"2001:db8:{n:x}::1", 0)
    assert throttle.begin("anna", "198.51.100.1", 0) > 0
    assert len(throttle._addresses) == ADDRESSES
    for n in range(KNOWN + 5):
        throttle.succeeded("anna", f"2001:db8:{n:x}::1")
    assert len(throttle._known) == KNOWN


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.168.1.5", "192.168.1.5", True),
        ("192.168.1.5", "192.168.1.6", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("no address", "no address", True),
    ],
)
def test_whom_an_address_stands_for(one: str, other: str, same: bool) -> None:
    assert (counted_as(one) == counted_as(other)) is same


def test_failed_logins_are_counted_for_an_hour_and_said_every_ten_seconds() -> None:
    failures = FailedLogins()
    assert [failures.add(now_ms) for now_ms in (0, 1, 2, 9_999, 10_000, 10_001)] == [1, 0, 0, 0, 4, 0]
    assert failures.last_hour(10_001) == 6
    assert failures.last_hour(3_600_000 + 60_000) == 0
    for minute in range(200):
        failures.add(minute * 60_000)
    assert len(failures._minutes) <= 60


def test_one_guest_who_never_stops_guessing_does_not_keep_the_owner_out() -> None:
    """Also where nobody is known: after a restart, or with a new telephone. The guest takes every turn there is."""
    throttle, tries = Throttle(), 0
    for now_ms in range(0, 3_600_000, 1000):
        tries += throttle.begin("admin", "192.0.2.9", now_ms) == 0
    assert tries < 100
    assert throttle.begin("admin", "192.0.2.5", now_ms) == 0


def test_many_addresses_are_no_way_around_the_wait_of_an_account() -> None:
    throttle, tries = Throttle(), 0
    for now_ms in range(0, 3_600_000, 500):
        tries += throttle.begin("admin", f"192.0.{now_ms // 100_000}.{now_ms // 500 % 200}", now_ms) == 0
    assert tries < 3_600_000 // NEWCOMER_MS + 100
