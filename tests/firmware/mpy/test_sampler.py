import json
from time import Hand

import check
from device.clock import Clock
from device.outbox import EVENT, Boot, Outbox
from device.sampler import Sampler, Sensor
from device.sensors import NULL, SensorError, fixed, why


class Driver:
    """Gives what the test says: a list of integers, or an exception."""

    def __init__(self):
        self.gives = [2150, 4800]
        self.reads = 0
        self.opened = 0
        self.broken = False
        self.quantities = (("temperature", 2), ("humidity", 2))

    def __call__(self, config):
        self.opened += 1
        if self.broken:
            raise OSError(19)
        return self.quantities, self

    def read_into(self, values):
        self.reads += 1
        if isinstance(self.gives, BaseException):
            raise self.gives
        for i, value in enumerate(self.gives):
            values[i] = value


def config(name="climate", period_ms=1000, quantities=(("temperature", 2), ("humidity", 2))):
    return {"name": name, "period_ms": period_ms, "quantities": [{"name": n, "decimals": d} for n, d in quantities]}


class Bench:
    def __init__(self, *configs):
        self.hand = Hand(before_wrap_ms=2500)
        self.clock = Clock(self.hand)
        self.outbox = Outbox(Boot(1, "aa", ""), 64, 4)
        self.drivers = [Driver() for _ in configs]
        sensors = [Sensor(c, d, self.hand.now) for c, d in zip(configs, self.drivers)]  # noqa: B905 - MicroPython has no strict
        self.sampler = Sampler(sensors, self.outbox, self.clock)
        self.seen = 0

    def poll(self, turn_ms=0):
        self.hand.turn(turn_ms)
        return self.sampler.poll(self.clock.ticks())

    def new(self):
        """What came into the outbox since: (t_ms, values) or an event's text."""
        found = []
        box = self.outbox
        while self.seen < box.next:
            if box.ring.kind(self.seen) == EVENT:
                found.append(box.ring.event(self.seen).decode())
            else:
                width = len(self.sampler.sensors[box.ring.sensor(self.seen)].columns)
                found.append((box.ring.t_ms(self.seen), [box.ring.value(self.seen, i) for i in range(width)]))
            self.seen += 1
        return found


def test_a_sample_at_once_and_then_by_the_plan_through_the_wrap():
    bench = Bench(config())
    times = []
    bench.poll()
    for _ in range(50):
        bench.poll(100)
        times += [t_ms for t_ms, _ in bench.new()]
    check.equal(times, [0, 1000, 2000, 3000, 4000, 5000])


def test_it_says_how_long_nothing_is_due():
    bench = Bench(config(period_ms=700), config("other", period_ms=500))
    check.equal(bench.poll(), 500)
    check.equal(bench.poll(450), 50)
    check.equal(bench.poll(50), 200)


def test_a_slow_read_shifts_no_later_sample():
    bench = Bench(config())
    bench.poll()
    bench.poll(1030)
    bench.poll(970)
    check.equal([t_ms for t_ms, _ in bench.new()], [0, 1030, 2000])


def test_a_stall_makes_no_burst_and_what_was_missed_is_counted_and_reported():
    bench = Bench(config())
    bench.poll()
    bench.poll(4500)
    check.equal(
        bench.new(),
        [(0, [2150, 4800]), (4500, [2150, 4800]), '"code":"samples.missed","sensor":"climate","data":{"count": 3}'],
    )
    bench.poll(500)
    check.equal(bench.new(), [(5000, [2150, 4800])])


class Slow(Driver):
    """Takes 300 ms to measure."""

    lead_ms = 300

    def __init__(self):
        super().__init__()
        self.begun = []

    def begin(self):
        self.begun.append(self.reads)
        if self.broken:
            raise OSError(19)


def with_slow(period_ms):
    bench = Bench(config(period_ms=period_ms), config("other", period_ms=1000))
    slow = bench.drivers[0] = Slow()
    bench.sampler.sensors[0]._open_driver = slow
    return bench, slow


def test_a_slow_chip_begins_before_its_sample_is_due_and_once():
    bench, slow = with_slow(5000)
    check.equal(bench.poll(), 1000)
    bench.poll(3900)
    check.equal(bench.poll(400), 400)  # its lead of 300 ms
    check.equal((bench.poll(100), slow.begun), (300, []))
    check.equal((bench.poll(300), slow.begun), (300, [1]))
    check.equal((bench.poll(100), slow.begun), (200, [1]))
    check.equal((bench.poll(200), slow.begun, slow.reads), (1000, [1], 2))


def test_a_slow_chip_that_cannot_begin_fails_when_it_is_read_and_begins_no_more():
    bench, slow = with_slow(2000)
    bench.poll()
    slow.gives, slow.broken = OSError(19), True
    bench.poll(1800)
    bench.poll(200)
    check.equal(slow.begun, [1])
    check.true(any('"code":"sensor.failed","sensor":"climate"' in found for found in bench.new() if isinstance(found, str)))
    bench.poll(1800)
    check.equal(slow.begun, [1])
    slow.gives, slow.broken = [1, 2], False
    bench.poll(200)
    bench.poll(1800)
    check.equal(slow.begun, [1, 3])


def test_a_slow_chip_with_a_period_shorter_than_its_lead_begins_at_once():
    bench, slow = with_slow(200)
    check.equal(bench.poll(), 0)
    check.equal((bench.poll(), slow.begun), (200, [1]))


def test_missed_samples_are_reported_at_most_every_10_s():
    bench = Bench(config())
    events = []
    for _ in range(10):
        bench.poll(2000)
        events += [found for found in bench.new() if isinstance(found, str)]
    check.equal(len(events), 2)
    check.true('"count": 2}' in events[0])
    check.true('"count": 5}' in events[1])


def test_missed_samples_are_reported_after_weeks_without_any():
    bench = Bench(config(period_ms=3600000))
    for _ in range(24 * 10):
        bench.poll(3600000)
    bench.new()
    bench.poll(2 * 3600000)
    check.true(any('"samples.missed"' in found for found in bench.new() if isinstance(found, str)))


def test_a_failing_sensor_gives_nulls_one_event_and_another_when_it_is_back():
    bench = Bench(config(), config("other"))
    bench.poll()
    bench.new()
    bench.drivers[0].gives = OSError(5)
    bench.poll(1000)
    check.equal(
        bench.new(),
        ['"code":"sensor.failed","sensor":"climate","data":{"errno": 5}', (1000, [NULL, NULL]), (1000, [2150, 4800])],
    )
    bench.poll(1000)
    check.equal(bench.new(), [(2000, [NULL, NULL]), (2000, [2150, 4800])])
    bench.drivers[0].gives = [1, 2]
    bench.poll(1000)
    bench.poll(1000)
    found = bench.new()
    check.true('"code":"sensor.ok","sensor":"climate"' in found)
    check.equal(found[-2], (4000, [1, 2]))


def test_a_dead_chip_is_tried_again_with_growing_delay_up_to_a_minute():
    bench = Bench(config())
    driver = bench.drivers[0]
    driver.broken = True
    tries = []
    for second in range(300):
        before = driver.opened
        bench.poll(1000)
        if driver.opened > before:
            tries.append(second)
    check.equal(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243])
    driver.broken = False
    for _ in range(60):
        bench.poll(1000)
    check.equal(bench.new()[-1][1], [2150, 4800])


def test_a_chip_that_fails_after_weeks_is_tried_again_soon():
    bench = Bench(config(period_ms=3600000))
    for _ in range(24 * 10):
        bench.poll(3600000)
    bench.drivers[0].gives = OSError(5)
    bench.poll(3600000)
    bench.drivers[0].gives = [3, 4]
    bench.poll(3600000)
    check.equal(bench.new()[-1][1], [3, 4])


def test_a_failure_says_why_and_where():
    where = {"bus": "i2c0", "address": 0x76}
    bench = Bench(dict(config(), **where), dict(config("soil"), pin=34), config("other"))
    bench.drivers[0].gives = OSError(19)
    bench.drivers[1].gives = SensorError("range")
    bench.drivers[2].gives = SensorError("crc", 116)
    bench.poll()
    told = [json.loads("{%s}" % found)["data"] for found in bench.new() if isinstance(found, str)]
    check.equal(told[0], {"errno": 19, "why": "missing", "bus": "i2c0", "address": 0x76})
    check.equal(told[1], {"errno": 5, "why": "range", "pin": 34})
    check.equal(told[2], {"errno": 116, "why": "crc"})


def test_a_plain_error_of_a_bus_has_a_reason_too():
    check.equal([why(OSError(errno)) for errno in (19, 116, 110, 5)], ["missing", "bus_stuck", "bus_stuck", None])
    check.equal(why(ValueError(19)), None)


def test_a_driver_of_a_user_may_raise_anything():
    bench = Bench(config())
    bench.drivers[0].gives = ZeroDivisionError("divide by zero")
    bench.poll()
    check.equal(
        bench.new(),
        [
            '"code":"sensor.failed","sensor":"climate","data":{"error": "ZeroDivisionError: divide by zero"}',
            (0, [NULL, NULL]),
        ],
    )


def test_ctrl_c_in_the_middle_of_a_reading_leaves_its_sample():
    bench = Bench(config())
    bench.drivers[0].gives = KeyboardInterrupt()
    check.raises(KeyboardInterrupt, bench.poll)
    check.equal(bench.new(), [(0, [NULL, NULL])])


def test_ctrl_c_while_a_sample_is_put_leaves_it_once():
    bench = Bench(config())
    put = bench.outbox.put_sample

    def torn_before(*arguments):
        bench.outbox.put_sample = put
        raise KeyboardInterrupt

    bench.outbox.put_sample = torn_before
    check.raises(KeyboardInterrupt, bench.poll)
    check.equal(bench.new(), [(0, [NULL, NULL])])


def test_values_are_picked_by_name_and_brought_to_the_decimals_of_the_profile():
    bench = Bench(config(quantities=(("c", 1), ("a", 4), ("b", 0))))
    driver = bench.drivers[0]
    driver.quantities = (("a", 2), ("b", 2), ("unused", 0), ("c", 3))
    for given, wanted in (
        ([2150, 2150, 9, 21549], [215, 215000, 22]),
        ([-1, -2150, 9, -21550], [-216, -100, -22]),
        ([0, 49, 9, -49], [0, 0, 0]),
        ([NULL, NULL, 9, NULL], [NULL, NULL, NULL]),
        ([0x3FFFFFFF, 0, 9, 0], [0, NULL, 0]),
    ):
        driver.gives = given
        bench.poll()
        check.equal(bench.new()[-1][1], wanted)
        bench.hand.turn(1000)


def test_a_quantity_the_driver_does_not_have_fails_that_sensor_only():
    bench = Bench(config(quantities=(("lux", 0),)), config("other"))
    bench.poll()
    found = bench.new()
    check.true("sensor.failed" in found[0])
    check.equal(found[1:], [(0, [NULL]), (0, [2150, 4800])])


def test_floats_become_integers_and_what_is_no_number_is_not_measured():
    check.equal(fixed(21.5, 2), 2150)
    check.equal(fixed(-0.016, 2), -2)
    check.equal(fixed(float("nan"), 2), NULL)
    check.equal(fixed(float("inf"), 0), NULL)
    check.equal(fixed(1e9, 2), NULL)


class Fifo:
    """A chip that measures each `period_us` by itself, and keeps 85 samples."""

    def __init__(self, hand, period_us=20000):
        self.quantities = (("number", 0),)
        self.opened = 0
        self.left = 0
        self.fails = None
        self.fetching = 0  # samples that it was about to fetch when it failed
        self.breaks = None  # reading fails for good when so many are left
        self._hand = hand
        self._period_us = period_us
        self._start = None
        self.read = 0  # samples that were fetched, or that an overflow took
        self.lost = 0
        self.interrupts = None  # strikes when so many are left

    def __call__(self, config):
        self.opened += 1
        if self.fails:
            raise self.fails
        self._start, self.read = self._hand.now, 0
        return self.quantities, self

    def fetch(self):
        if self.fails:
            self.left = self.fetching
            raise self.fails
        ms = self._hand.now - self._start & 0x3FFFFFFF
        there = ms * 1000 // self._period_us - self.read
        self.read += there
        if there > 85:
            self.lost += there
            return True
        self.left = there
        self._strike()
        return False

    def read_into(self, values):
        self._strike()
        if self.left == self.breaks:
            raise ValueError("a mistake in a driver")
        self.left -= 1
        values[0] = self.read - self.left - 1

    def _strike(self):
        if self.left == self.interrupts:
            self.interrupts = None
            raise KeyboardInterrupt


class FifoBench(Bench):
    def __init__(self, *others, period_us=20000):
        self.hand = Hand(before_wrap_ms=2500)
        self.clock = Clock(self.hand)
        self.outbox = Outbox(Boot(1, "aa", ""), 400, 2)
        self.fifo = Fifo(self.hand, period_us)
        self.drivers = [self.fifo] + [Driver() for _ in others]
        configs = (config("motion", 20, (("number", 0),)),) + others
        sensors = [Sensor(c, d, self.hand.now) for c, d in zip(configs, self.drivers)]  # noqa: B905
        self.sampler = Sampler(sensors, self.outbox, self.clock)
        self.seen = 0

    def run(self, ms):
        """Turns the loop as the node does, and says what came."""
        found = []
        until = self.clock.uptime_ms() + ms
        while self.clock.uptime_ms() < until:
            self.poll(self.sampler.poll(self.clock.ticks()))
            found += self.new()
        return found


def test_a_fifo_is_emptied_ten_times_a_second_and_every_sample_has_its_own_time():
    bench = FifoBench()
    found = bench.run(3000)
    check.equal([values[0] for _, values in found], list(range(len(found))))
    check.true(149 <= len(found) <= 151, len(found))
    apart = [found[i + 1][0] - found[i][0] for i in range(len(found) - 1)]
    check.true(min(apart) >= 17 and max(apart) <= 23, apart)
    check.equal(bench.poll(), 100)


def test_what_was_not_taken_before_the_chip_was_started_is_not_missed():
    bench = FifoBench()
    bench.hand.turn(5000)
    check.equal([found for found in bench.run(1000) if isinstance(found, str)], [])


def test_a_stall_within_what_the_fifo_holds_loses_nothing():
    bench = FifoBench(period_us=20400)
    bench.run(4000)
    bench.hand.turn(1700)
    found = bench.run(1000)
    apart = [found[i + 1][0] - found[i][0] for i in range(len(found) - 1)]
    check.true(min(apart) >= 19 and max(apart) <= 22, apart)
    check.equal(found[-1][1], [bench.fifo.read - 1])
    check.equal(bench.fifo.lost, 0)


def test_what_a_fifo_could_not_hold_is_missed_and_reported_once():
    bench = FifoBench()
    bench.run(4000)
    bench.hand.turn(3000)
    events = [json.loads("{%s}" % found) for found in bench.run(11000) if isinstance(found, str)]
    check.equal([(event["code"], event["sensor"]) for event in events], [("samples.missed", "motion")])
    check.true(abs(events[0]["data"]["count"] - bench.fifo.lost) <= 1, events)


def test_what_lies_in_a_fifo_goes_before_what_is_measured_now():
    bench = FifoBench(config(period_ms=500))
    bench.run(2000)
    bench.hand.turn(777)
    newest_ms = 0
    for t_ms, _ in bench.run(2000):
        check.true(t_ms > newest_ms - 100, (t_ms, newest_ms))  # or it would be as old as the stall was long
        newest_ms = max(newest_ms, t_ms)


def test_a_chip_with_a_fifo_that_fails_says_so_once_a_second_and_comes_back():
    bench = FifoBench()
    bench.run(1000)
    bench.fifo.fails = SensorError("busy", 116)
    found = bench.run(3500)
    check.true('"code":"sensor.failed"' in found[0] and '"busy"' in found[0], found[0])
    first_ms = found[1][0]
    check.equal(found[1:], [(first_ms + 1000 * i, [NULL]) for i in range(len(found) - 1)])
    bench.fifo.fails = None
    found = bench.run(6000)
    check.equal(len([1 for event in found if isinstance(event, str)]), 1)
    check.true(any("sensor.ok" in event for event in found if isinstance(event, str)))
    check.true(len(found) > 80, len(found))
    check.equal(found[-1][1], [bench.fifo.read - 1])


def test_a_chip_with_a_fifo_that_fails_gives_no_more_nulls_than_it_gave_samples():
    bench = FifoBench()
    sensor = bench.sampler.sensors[0]
    sensor.period_ms = 5000
    bench.fifo.fetch_ms = 1000
    bench.run(3000)
    bench.fifo.fails = SensorError("crc", 5)
    found = [one for one in bench.run(60000) if not isinstance(one, str)]
    check.true(11 <= len(found) <= 13, found)


def test_a_driver_that_fails_has_no_news_until_it_is_made_anew():
    bench = Bench(config(), config("other", 5000))
    driver, other = bench.drivers
    other.news = False
    other.changed = lambda: other.news
    bench.poll()
    bench.new()
    other.gives, other.news = OSError(19), True
    check.true(bench.sampler.eager())
    found = []
    for _ in range(50):
        bench.poll(1)
        found += bench.new()
    check.equal(len(found), 2)  # that it failed, and one NULL
    check.true(not bench.sampler.eager())
    other.gives, other.news = [1, 2], False
    bench.poll(6000)
    other.news = True
    check.true(bench.sampler.eager())


def test_a_driver_that_raises_when_it_is_asked_for_news_stops_nobody():
    bench = Bench(config(), config("other", 5000))
    other = bench.drivers[1]

    def changed():
        raise KeyError("a mistake in a driver")

    other.changed = changed
    bench.poll()
    bench.new()
    check.true(bench.sampler.eager())
    bench.poll(10)
    found = bench.new()
    check.true(len(found) == 1 and "a mistake in a driver" in found[0], found)
    check.true(not bench.sampler.eager())
    bench.poll(990)
    check.equal([one[1] for one in bench.new()], [[2150, 4800]])


def test_a_fifo_driver_with_a_mistake_stops_nobody_and_hides_nothing():
    bench = FifoBench(config())
    bench.run(2000)
    bench.fifo.breaks = 3
    found = bench.run(150)
    told = [event for event in found if isinstance(event, str)]
    check.true(len(told) == 1 and "a mistake in a driver" in told[0], told)
    numbers = [one[1] for one in found if not isinstance(one, str) and len(one[1]) == 1]
    check.equal(numbers.count([NULL]), 3)
    check.true([2150, 4800] in [one[1] for one in bench.run(1000) if not isinstance(one, str)])


def test_what_was_being_fetched_when_a_chip_failed_is_missed():
    bench = FifoBench()
    bench.run(2000)
    bench.fifo.fails = OSError(116)
    bench.fifo.fetching = 5
    events = [json.loads("{%s}" % found) for found in bench.run(1000) if isinstance(found, str)]
    told = [(event["code"], event["data"].get("count")) for event in events]
    check.equal(told, [("sensor.failed", None), ("samples.missed", 5)])


def test_a_fifo_that_never_fills_is_not_well_again():
    bench = FifoBench(period_us=1 << 40)
    tries = []

    def fetch():
        tries.append(bench.clock.uptime_ms())
        if len(tries) % 3 == 0:
            raise SensorError("busy", 116)
        return False

    bench.fifo.fetch = fetch
    found = bench.run(20000)
    check.equal([event for event in found if isinstance(event, str) and "sensor.ok" in event], [])
    check.true(bench.fifo.opened <= 6, bench.fifo.opened)


def test_ctrl_c_in_the_middle_of_a_burst_leaves_all_that_was_fetched():
    for left in (5, 3, 1):
        bench = FifoBench()
        bench.run(1000)
        bench.fifo.interrupts = left
        check.raises(KeyboardInterrupt, bench.run, 1000)
        found = bench.new()
        check.equal([values[0] for _, values in found][-left:], [NULL] * left)
        check.equal(bench.outbox.next, bench.fifo.read)


class Steady:
    """As a driver should be: it allocates nothing."""

    def __call__(self, config):
        return (("temperature", 3), ("humidity", 2)), self

    def read_into(self, values):
        values[0] = 21500
        values[1] = 4800


def test_the_steady_path_allocates_nothing():
    import gc

    bench = Bench(config(), config("other"))
    for sensor in bench.sampler.sensors:
        sensor._open_driver = Steady()
    bench.poll()
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(10):
        bench.poll(1000)
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
