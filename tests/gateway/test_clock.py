from __future__ import annotations

import time

import pytest

from gateway import clock
from gateway.clock import Clock, HandClock


def test_the_real_clock_tells_unix_milliseconds_and_never_goes_back() -> None:
    real = Clock()
    before = real.monotonic_ms()
    assert abs(real.wall_ms() - time.time() * 1000) < 1_000
    assert real.monotonic_ms() >= before


def test_the_kernel_can_be_asked() -> None:
    assert clock.kernel_is_synchronised() in (True, False)


def test_a_machine_without_a_battery_clock_is_trusted_once_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    now_ms = [0]
    monkeypatch.setattr(clock, "_HAS_BATTERY_CLOCK", False)
    monkeypatch.setattr(clock, "kernel_is_synchronised", lambda: answers.pop(0))
    real = Clock()
    monkeypatch.setattr(real, "monotonic_ms", lambda: now_ms[0])
    assert not real.wall_trusted()
    assert not real.wall_trusted()  # not asked again so soon
    now_ms[0] = Clock.ASK_AGAIN_MS
    assert real.wall_trusted()


def test_a_pc_is_trusted_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_HAS_BATTERY_CLOCK", True)
    monkeypatch.setattr(clock, "kernel_is_synchronised", lambda: False)
    assert Clock().wall_trusted()


def test_a_clock_turned_by_hand_stands_until_it_is_turned() -> None:
    hand = HandClock(monotonic_ms=5, wall_ms=1_000)
    assert (hand.monotonic_ms(), hand.wall_ms(), hand.wall_trusted()) == (5, 1_000, True)
    hand.advance(10)
    assert (hand.monotonic_ms(), hand.wall_ms()) == (15, 1_010)
    hand.set_wall(2_000)
    assert (hand.monotonic_ms(), hand.wall_ms()) == (15, 2_000)
