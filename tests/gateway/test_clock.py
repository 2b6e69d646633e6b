from __future__ import annotations

import datetime
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


def test_a_date_before_this_release_is_not_believed_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The battery of a PC is empty: it starts in 2019, and the kernel knows no better."""
    monkeypatch.setattr(clock, "_HAS_BATTERY_CLOCK", True)
    real = Clock()
    dates_ms = [1_546_300_800_000, clock.RELEASED_MS - 1, clock.RELEASED_MS, 1_546_300_800_000]
    believed = []
    for date_ms in dates_ms:
        monkeypatch.setattr(real, "wall_ms", lambda date_ms=date_ms: date_ms)
        believed.append(real.wall_trusted())
    assert believed == [False, False, True, False]


def test_the_date_of_this_release_is_one_that_was() -> None:
    released = datetime.datetime.fromtimestamp(clock.RELEASED_MS / 1000, datetime.UTC)
    assert (released.year >= 2026, released < datetime.datetime.now(datetime.UTC)) == (True, True)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system cannot tell how long it slept")
def test_the_monotonic_clock_counts_the_time_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: asked.append(which) or 5_000_000)
    assert (Clock().monotonic_ms(), asked) == (5, [time.CLOCK_BOOTTIME])


def test_where_sleep_cannot_be_counted_the_plain_monotonic_clock_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    assert abs(Clock().monotonic_ms() - time.monotonic() * 1000) < 1_000


def test_a_clock_turned_by_hand_stands_until_it_is_turned() -> None:
    hand = HandClock(monotonic_ms=5, wall_ms=1_000)
    assert (hand.monotonic_ms(), hand.wall_ms(), hand.wall_trusted()) == (5, 1_000, True)
    hand.advance(10)
    assert (hand.monotonic_ms(), hand.wall_ms()) == (15, 1_010)
    hand.set_wall(2_000)
    assert (hand.monotonic_ms(), hand.wall_ms()) == (15, 2_000)


def test_a_date_that_becomes_known_while_it_is_read_is_not_believed_too_early() -> None:
    class StepsWhenRead(HandClock):
        """NTP answers right behind the first look at the wall clock."""

        def wall_ms(self) -> int:
            wall_ms = super().wall_ms()
            self.trusted = True
            self.set_wall(1_790_000_000_000)
            return wall_ms

    monotonic_ms, wall_ms, trusted = StepsWhenRead(wall_ms=0, trusted=False).both()
    assert (monotonic_ms, wall_ms, trusted) == (1_000_000, 0, False)


def test_the_two_clocks_are_read_together() -> None:
    class Interrupted(HandClock):
        """Another thread has the processor for 20 ms right behind the first look at the monotonic clock."""

        times = 0

        def wall_ms(self) -> int:
            self.times += 1
            if self.times == 1:
                self.advance(20)
            return super().wall_ms()

    clock = Interrupted()
    apart_ms = HandClock().wall_ms() - HandClock().monotonic_ms()
    monotonic_ms, wall_ms, _ = clock.both()
    assert wall_ms - monotonic_ms == apart_ms
