"""Room for as many connections as the limits let in."""

from __future__ import annotations

import resource

import pytest

from gateway.descriptors import OTHERS, make_room


class Limit:
    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """The system's limit, as a test sets it."""
    limit = Limit(1_024, 4_096)

    def change(_: int, values: tuple[int, int]) -> None:
        limit.soft, limit.hard = values

    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit.soft, limit.hard))
    monkeypatch.setattr(resource, "setrlimit", change)
    return limit


def test_what_is_enough_is_left_alone(limit: Limit) -> None:
    assert make_room(1_024 - OTHERS) == ""
    assert (limit.soft, limit.hard) == (1_024, 4_096)


def test_the_soft_limit_is_raised_to_what_is_needed_and_no_further(limit: Limit) -> None:
    assert make_room(2_000) == ""
    assert (limit.soft, limit.hard) == (2_000 + OTHERS, 4_096)


def test_what_the_system_does_not_allow_is_said(limit: Limit) -> None:
    assert "5,000 connections are let in, but this process may open 4,096 files" in make_room(5_000)
    assert (limit.soft, limit.hard) == (4_096, 4_096)


def test_without_a_limit_there_is_room(limit: Limit) -> None:
    limit.soft, limit.hard = 10, resource.RLIM_INFINITY
    assert make_room(5_000) == ""
    assert limit.soft == 5_000 + OTHERS
