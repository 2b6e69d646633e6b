import check
from device.errand import Errand

HOUR = 3600000


def go(errand, at_ms, online, backlog=5, at_rest=True, until_ms=700000):
    """Sets out; each second the gateway is there or not by `online(s)`, and has `backlog(s)` left. How long it took."""
    errand.begin(at_ms, backlog(0))
    for ms in range(0, until_ms, 50):
        if errand.over(at_ms + ms, online(ms // 1000), backlog(ms // 1000), at_rest):
            return ms
    raise AssertionError("it never ends")


def test_it_ends_when_all_is_acknowledged_and_the_next_is_reckoned_from_its_beginning():
    errand = Errand(HOUR)
    check.true(errand.due(0, False))
    took_ms = go(errand, 1000, lambda s: s >= 2, lambda s: 5 if s < 3 else 0)
    check.true(3000 <= took_ms <= 3300, took_ms)
    check.equal((errand.tries, errand.due_ms), (0, 1000 + HOUR))
    check.true(not errand.due(HOUR - 4500, False))
    check.true(errand.due(HOUR - 500, False), "a wake that is a little early")


def test_at_each_wake_where_nothing_may_wait():
    errand = Errand(0)
    go(errand, 0, lambda s: True, lambda s: 0)
    check.true(errand.due(1, False))


def test_a_gateway_that_is_away_costs_20_s_and_then_less_and_less_often():
    errand = Errand(0)
    waits = []
    at_ms = 0
    for _ in range(9):
        check.equal(go(errand, at_ms, lambda s: False, lambda s: 5), 20000)
        waits.append((errand.due_ms - at_ms) // 60000)
        at_ms = errand.due_ms
    check.equal(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
    go(errand, at_ms, lambda s: True, lambda s: 0)
    check.equal(errand.tries, 0)


def test_a_board_that_sends_once_a_day_does_not_try_more_often_where_that_fails():
    errand = Errand(24 * HOUR)
    go(errand, 0, lambda s: False, lambda s: 5)
    check.equal(errand.due_ms, 24 * HOUR)


def test_a_gateway_that_acknowledges_nothing_is_as_good_as_away():
    errand = Errand(0)
    check.equal(go(errand, 0, lambda s: True, lambda s: 5), 20000)
    check.equal(errand.tries, 1)


def test_a_long_backlog_is_sent_as_long_as_it_gets_shorter_and_ten_minutes_at_most():
    errand = Errand(0)
    took_ms = go(errand, 0, lambda s: True, lambda s: max(0, 100 - s))
    check.true(100000 <= took_ms <= 100300, took_ms)
    took_ms = go(errand, 0, lambda s: True, lambda s: 5000 - s)
    check.equal(took_ms, 600000)
    check.equal(errand.tries, 0)
    check.true(errand.due(600000, False))


def test_what_is_crowded_goes_early_but_not_to_a_gateway_that_is_away():
    errand = Errand(HOUR)
    go(errand, 0, lambda s: True, lambda s: 0)
    check.true(not errand.due(50000, False))
    check.true(errand.due(50000, True))
    go(errand, 50000, lambda s: False, lambda s: 5)
    check.true(not errand.due(80000, True))


def test_what_is_under_way_is_waited_for():
    errand = Errand(0)
    check.equal(go(errand, 0, lambda s: True, lambda s: 0, at_rest=False), 20000)


check.run(globals())
