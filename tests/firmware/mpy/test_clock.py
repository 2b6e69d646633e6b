from time import Hand

import check
from device.clock import Clock, sooner, ticks_add


def test_uptime_goes_on_through_the_wrap_of_the_counter():
    hand = Hand(before_wrap_ms=300)
    clock = Clock(hand)
    check.equal(clock.uptime_ms(), 0)
    hand.turn(299)
    check.equal(clock.uptime_ms(), 299)
    hand.turn(2)
    check.true(clock.ticks() < 10, "the counter has wrapped")
    check.equal(clock.uptime_ms(), 301)


def test_uptime_is_exact_after_a_year():
    hand = Hand()
    clock = Clock(hand)
    days = 0
    while days < 365:
        hand.turn(5 * 86400000)
        clock.ticks()
        days += 5
    check.equal(clock.uptime_ms(), 365 * 86400000)


def test_the_sooner_of_a_wait_and_a_moment_on_the_other_side_of_the_wrap():
    now = (1 << 30) - 5
    check.equal(sooner(1000, ticks_add(now, 20), now), 20)
    check.equal(sooner(10, ticks_add(now, 20), now), 10)
    check.equal(sooner(10, ticks_add(now, -20), now), 0)


check.run(globals())
