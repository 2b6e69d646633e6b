"""Times of boards that sleep: their clock is percents off in deep sleep, and their samples get their true times."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from gateway.device.slept import Known, drifted_ms, goes_forward
from gateway.intake import check
from gateway.model import Gap, Quality
from tests.gateway.device.door import PROFILE
from tests.gateway.device.timeworld import World

SLEEPS = check.compile(PROFILE.model_copy(update={"power": PROFILE.power.model_copy(update={"deep_sleep": True})}))
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class Sleeper(World):
    """Its board samples every ten minutes and sleeps between; `rate()` says how fast its clock goes in each sleep."""

    def __init__(self, rate: Callable[[], float], *, trusted: bool = True) -> None:
        self.rate = rate
        self.asleep = False
        self.device_clock_ms = 0.0
        super().__init__(trusted=trusted, checker=SLEEPS)

    def device_ms(self) -> int:
        return round(self.device_clock_ms)

    def advance(self, ms: float) -> None:
        super().advance(ms)
        self.device_clock_ms += ms * (self.rate() if self.asleep else 1)

    def reboot(self, *, off_ms: int = 3_000) -> None:
        super().reboot(off_ms=off_ms)
        self.device_clock_ms = 0

    def sleep(self, samples: int, every_ms: int = 10 * MINUTE_MS) -> None:
        self.disconnect(committed=1_000_000)
        for _ in range(samples):
            self.asleep = True
            self.advance(every_ms)
            self.asleep = False
            self.take(every_ms=300)

    def deliver(self, limit: int = 10) -> None:
        self.connect()
        self.answer()
        while any(seq > self.sent.get(boot.id, -1) for boot in self.boots for seq, _ in boot.held):
            self.send(limit)
            self.advance(20)
        self.commit()


@pytest.mark.parametrize("rate", [0.95, 0.98, 1.0, 1.02, 1.05])
def test_a_clock_that_is_evenly_wrong_is_made_up_for(rate: float) -> None:
    world = Sleeper(lambda: rate)
    world.take()
    world.deliver()
    for _ in range(8):
        world.sleep(6)
        world.deliver(limit=4)
    assert len(world.rows()) == 49
    assert world.error_ms() <= 50  # without, the first of each hour would be up to 180 s off
    assert world.qualities() == {Quality.SYNCED}
    assert world.in_order(1)


def test_what_is_left_is_how_unevenly_it_was_wrong() -> None:
    chance = random.Random(5)
    world = Sleeper(lambda: chance.uniform(1.00, 1.02))
    world.take()
    world.deliver()
    for _ in range(20):
        world.sleep(6)
        world.deliver()
    assert 500 < world.error_ms() < 0.02 * HOUR_MS / 2
    assert world.in_order(1)


def test_a_gateway_that_was_restarted_goes_on_from_what_it_has_stored() -> None:
    world = Sleeper(lambda: 1.03)
    world.take()
    world.deliver()
    for _ in range(3):
        world.sleep(6)
        world.restart_gateway()
        world.deliver(limit=4)
    assert world.error_ms() <= 50
    assert world.qualities() == {Quality.SYNCED}


def test_without_a_date_it_is_estimated_and_corrected_once() -> None:
    world = Sleeper(lambda: 0.97, trusted=False)
    world.wall_error_ms = -50 * HOUR_MS
    world.take()
    world.deliver()
    world.sleep(3)
    world.deliver()
    assert world.qualities() == {Quality.ESTIMATED}
    world.trusted, world.wall_error_ms = True, 0
    world.settle()
    world.commit()
    assert world.qualities() == {Quality.CORRECTED}
    world.sleep(3)
    world.deliver()
    rows = world.rows()
    assert rows[-1].quality is Quality.SYNCED
    assert max(row.moves for row in rows) == 1
    assert world.in_order(1)
    newest = rows[-1]
    assert abs(newest.at_ms - world.taken[world.boots[0].id, newest.seq]) <= 500


def test_what_was_taken_behind_the_last_exchange_of_a_boot_that_ended_is_an_estimate_before_the_next_one_began() -> (
    None
):
    world = Sleeper(lambda: 1.05)
    world.take()
    world.deliver()
    world.sleep(12)
    world.reboot()
    began_ms = world.now.wall_ms
    world.take()
    world.deliver()
    tail = world.rows()[1:]
    assert {row.quality for row in tail} == {Quality.ESTIMATED}
    assert tail[-1].at_ms <= began_ms
    assert world.error_ms() <= 0.05 * 2 * HOUR_MS
    for _ in range(3):
        world.settle()
        world.sleep(1)
        world.deliver()
    assert {row.moves for row in world.rows()} == {0}
    assert world.qualities(2) == {Quality.SYNCED}


def test_what_was_taken_long_before_the_first_exchange_is_an_estimate() -> None:
    world = Sleeper(lambda: 1.05)
    world.sleep(18)  # three hours without a gateway
    world.deliver(limit=4)
    qualities = [row.quality for row in world.rows()]
    assert qualities[:16] == [Quality.ESTIMATED] * 16
    assert world.error_ms() <= 0.05 * 3 * HOUR_MS
    assert world.in_order(1)
    for _ in range(2):
        world.settle()
        world.sleep(6)
        world.deliver()
    assert {row.moves for row in world.rows()} == {0}
    assert {row.quality for row in world.rows()[18:]} == {Quality.SYNCED}
    later = [row for row in world.rows() if row.seq >= 18]
    assert max(abs(row.at_ms - world.taken[world.boots[0].id, row.seq]) for row in later) <= 50


def test_the_bound_of_a_power_cut_reckons_with_the_boards_clock() -> None:
    """One that is fast says that its newest record is later than it was: what was lost then fits in no less."""
    world = Sleeper(lambda: 1.05)
    world.take()
    world.deliver()
    world.sleep(30)  # 5 hours: 15 minutes fast
    world.boots[0].held = world.boots[0].held[:-1]  # in memory when the power goes
    lost_from = world.boots[0].next - 1
    world.reboot()
    world.take()
    world.deliver()
    world.say({"type": "gap", "boot": 1, "from": lost_from, "to": None, "at_most": 64, "why": "power_loss"})
    gaps = [record for batch in world.queue if hasattr(batch, "records") for record in batch.records]
    assert isinstance(gaps[0], Gap)
    assert gaps[0].at_most is not None
    assert gaps[0].at_most >= 2 * 2 + 1  # at least what 15 minutes and a period hold


def test_between_two_known_times_the_drift_is_spread_evenly() -> None:
    since, until = Known(1_000, 500), Known(11_000, 400)
    assert [drifted_ms(t_ms, since, until) for t_ms in (0, 1_000, 6_000, 11_000, 20_000)] == [500, 500, 450, 400, 400]
    assert goes_forward(since, until)
    assert not goes_forward(until, since)
    assert not goes_forward(Known(0, 20_000), Known(10_000, 5_000))
