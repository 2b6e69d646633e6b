import check
from device.beat import Beat


class Chip:
    """Takes a sample each `period_us`, the first at `phase_us`; a program follows it with a Beat."""

    def __init__(self, period_us, phase_us=0):
        self.period_us = period_us
        self.next_us = phase_us
        self.beat = Beat(20, 0, 100)
        self.now_us = 0
        self.chance = 12345
        self.pairs = 0
        self.start()

    def start(self):
        """Forget what was seen: the distance of one stamp to the next, and of a stamp to the true time."""
        self.apart = [1000, 0]
        self.off = [1000, -1000]
        self.last_ms = None

    def below(self, limit):
        self.chance = (self.chance * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self.chance >> 8) * limit >> 24

    def count(self):
        return max(0, (self.now_us - self.next_us) // self.period_us + 1)

    def read(self):
        """What is there gets its stamps. Returns how many are said to be missing."""
        count = self.count()
        if not count:
            return 0
        missing = self.beat.burst(self.now_us // 1000, count)
        for _ in range(count):
            ms = self.beat.next_ms()
            off = ms - self.next_us / 1000
            self.off = [min(self.off[0], off), max(self.off[1], off)]
            if self.last_ms is not None:
                apart = ms - self.last_ms
                self.apart = [min(self.apart[0], apart), max(self.apart[1], apart)]
            self.last_ms = ms
            self.next_us += self.period_us
        check.true(ms <= self.now_us // 1000, "a stamp of the past")
        return missing

    def follow(self, seconds, late_ms=0):
        """Reads every 100 ms, up to `late_ms` late."""
        plan_us = self.now_us
        end_us = plan_us + seconds * 1000000
        while plan_us < end_us:
            plan_us += 100000
            self.now_us = plan_us + self.below(late_ms * 1000 + 1)
            check.equal(self.read(), 0)
        return self

    def stall(self, ms):
        self.now_us += ms * 1000

    def steady(self, most_apart_ms, most_off_ms):
        low, high = self.apart
        period_ms = self.period_us / 1000
        check.true(period_ms - low < most_apart_ms and high - period_ms < most_apart_ms, self.apart)
        check.true(-most_off_ms < self.off[0] and self.off[1] < most_off_ms, self.off)


def test_a_clock_that_is_off_is_met_within_seconds_and_stays_met():
    for percent in (-5, -2, 0, 2, 5):
        for phase_us in (0, 7000, 19000):
            chip = Chip(20000 + 200 * percent, phase_us).follow(3, late_ms=20)
            chip.steady(6, 20)
            chip.start()
            chip.follow(30, late_ms=20).steady(2, 10)


def test_reads_that_keep_step_with_the_chip_are_no_worse():
    """The newest sample's age creeps through its whole period then, and starts again."""
    for period_us in (20000, 20010, 19990, 20100):
        chip = Chip(period_us, 3000).follow(3)
        chip.start()
        chip.follow(100).steady(2, 20)


def test_hours_do_not_add_up():
    chip = Chip(20613).follow(5, late_ms=10)
    chip.start()
    chip.follow(3600, late_ms=10).steady(2, 10)


def test_a_stall_of_the_program_tears_nothing():
    chip = Chip(20600, 5000).follow(5, late_ms=5)
    chip.start()
    for _ in range(5):
        chip.stall(1500)
        check.equal(chip.read(), 0)
        chip.follow(2, late_ms=5)
    chip.steady(2, 12)


def test_what_an_overflow_takes_is_counted_and_leaves_a_hole():
    for percent in (-4, 4):
        chip = Chip(20000 + 200 * percent).follow(10, late_ms=10)
        chip.stall(4000)
        lost = chip.count()
        chip.next_us += lost * chip.period_us
        check.true(abs(chip.beat.skip(chip.now_us // 1000) - lost) <= 1)
        chip.start()
        chip.follow(10, late_ms=10).steady(6, 20)


def test_an_overflow_before_the_first_burst_is_counted_by_what_the_data_sheet_says():
    check.equal(Beat(20, 500, 100).skip(2510), 100)


def test_samples_that_a_chip_leaves_out_are_missing_not_smeared():
    chip = Chip(20000).follow(5)
    chip.next_us += 30 * 20000
    chip.stall(800)
    check.true(abs(chip.read() - 30) <= 1)
    chip.start()
    chip.follow(5).steady(3, 21)


def test_a_chip_beyond_belief_is_followed_without_ever_stamping_the_future():
    chip = Chip(15000)
    chip.follow(10)
    check.true(chip.apart[0] >= 1, chip.apart)


def test_the_first_burst_is_placed_before_now():
    beat = Beat(20, 1000, 100)
    beat.burst(1100, 4)
    check.equal([beat.next_ms() for _ in range(4)], [1030, 1050, 1070, 1090])


def test_one_that_is_looked_for_more_often_than_it_comes_is_younger():
    for period_ms in (4800, 4980, 5000, 5020, 5200):
        beat = Beat(5000, 0, 1000)
        for number in range(200):
            came_ms = period_ms * (number + 1)  # and is found up to a second later
            check.equal(beat.burst((came_ms + 999) // 1000 * 1000, 1), 0)
            off_ms = beat.next_ms() - came_ms
            check.true(-800 <= off_ms <= 800, off_ms)


def test_nothing_is_allocated():
    import gc

    beat = Beat(250, 0, 1000)
    beat.burst(1000, 3)
    gc.collect()
    before = gc.mem_alloc()
    for now_ms in range(2000, 60000, 1000):
        beat.burst(now_ms, 4)
        for _ in range(4):
            beat.next_ms()
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
