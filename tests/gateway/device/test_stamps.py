"""Times with their provenance, whatever the clocks do (WIRE.md, section 7)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.device.boots import most_taken
from gateway.device.session import Noticed
from gateway.device.stamps import BootTime, Now, WallWatch, floor_ms
from gateway.device.timesync import Exchange
from gateway.model import Quality
from gateway.store.port import Committed
from tests.gateway.device.timeworld import TRUE_MS, YEAR_MS, BoardBoot, World

SYNCED, CORRECTED, ESTIMATED = Quality.SYNCED, Quality.CORRECTED, Quality.ESTIMATED
DAY_MS = 86_400_000


def told(world: World) -> list[str]:
    return [output.text for output in world.outputs if isinstance(output, Noticed)]


# ---- synced


@pytest.mark.parametrize("jump_ms", [YEAR_MS * 5, -YEAR_MS * 5, 3_600_000, -3_600_000])
def test_a_jump_of_the_wall_clock_moves_nothing_of_a_boot_that_runs(jump_ms: int) -> None:
    world = World()
    world.connect()
    world.answer()
    for _ in range(3):
        world.take(5)
        world.send(5)
        world.wall_error_ms += jump_ms
        world.answer()
        world.settle()
    world.connect()  # a new connection of the same boot
    world.answer()
    world.take(5)
    world.send(100)
    world.commit()
    assert (len(world.rows()), world.qualities(), world.store.restamps) == (20, {SYNCED}, [])
    assert world.error_ms() <= 6


def test_the_next_boot_takes_the_wall_clock_as_it_is_then() -> None:
    world = World(wall_error_ms=-YEAR_MS)  # wrong, and believed: a PC whose date was set wrong
    world.connect()
    world.answer()
    world.take(3)
    world.send(3)
    world.commit()
    world.wall_error_ms = 0
    world.reboot()
    world.connect()
    world.answer()
    world.take(3)
    world.send(3)
    world.commit()
    assert world.error_ms(1) > YEAR_MS - 10
    assert world.error_ms(2) <= 6


@pytest.mark.parametrize("drift", [50e-6, -50e-6])
def test_a_drift_of_50_ppm_over_a_day_is_followed(drift: float) -> None:
    world = World(drift=drift)
    world.connect()
    world.answer()
    for _ in range(24 * 60):
        world.take(1, every_ms=60_000)
        world.send(1)
        world.commit()
        world.answer()
    assert world.qualities() == {SYNCED}
    assert world.error_ms() <= 15  # without following it would be 4,320
    assert world.in_order(1)


def test_a_laptop_that_sleeps_moves_nothing() -> None:
    """CLOCK_BOOTTIME goes on in its sleep, and so does the board."""
    world = World()
    world.connect()
    world.answer()
    world.take(2)
    world.send(2)
    world.commit()
    world.advance(8 * 3_600_000)
    world.connect()
    world.take(2)
    world.send(2)  # before any new exchange
    world.commit()
    assert world.qualities() == {SYNCED}
    assert world.error_ms() <= 6


def test_a_better_exchange_takes_nothing_back() -> None:
    world = World()
    world.connect()
    world.answer(there_ms=0, back_ms=400)  # believed to be 200 ms later than it was
    world.take(10, every_ms=10)
    world.send(10)
    world.answer()
    world.take(10, every_ms=10)
    world.send(1, frames=10)
    world.commit()
    assert world.in_order(1)
    assert world.rows()[0].offset_ms > world.rows()[-1].offset_ms


def test_what_is_sent_again_after_a_lost_connection_keeps_its_place() -> None:
    world = World()
    world.connect()
    world.answer(there_ms=0, back_ms=400)
    world.take(10, every_ms=10)
    world.send(5, frames=2)
    world.disconnect(committed=1)
    world.connect()
    world.answer()
    world.send(5)
    world.commit()
    assert [row.seq for row in world.rows()] == list(range(10))
    assert world.in_order(1)


def test_what_was_committed_after_its_connection_was_cut_off_counts_for_the_order() -> None:
    """The commit went through, and nobody was there to hear of it: the store alone knows."""
    world = World()
    world.connect()
    world.answer(there_ms=0, back_ms=400)
    world.take(10, every_ms=10)
    world.send(5)
    world.commit()
    world.send(5)
    (unheard,) = world.queue
    world.disconnect()
    world.store.append(unheard)
    world.connect()
    world.answer()
    world.take(10, every_ms=10)
    world.send(1, frames=10)
    world.commit()
    assert [row.seq for row in world.rows()] == list(range(20))
    assert world.in_order(1)


# ---- corrected


def test_what_came_before_the_first_exchange_is_corrected_by_it() -> None:
    world = World()
    world.take(3)
    world.connect()
    world.send(1, frames=2)
    world.advance(3_000)
    world.send(1)
    world.commit()
    assert world.qualities() == {ESTIMATED}
    world.answer()
    world.take(2)
    world.send(2)
    world.commit()
    assert [row.quality for row in world.rows()] == [CORRECTED] * 3 + [SYNCED] * 2
    assert world.error_ms() <= 6
    assert len(world.store.restamps) == 1


@pytest.mark.parametrize("error_ms", [-50 * YEAR_MS, -3 * YEAR_MS, 4 * YEAR_MS, 0])
def test_a_pi_without_a_clock_corrects_all_when_ntp_has_answered(error_ms: int) -> None:
    world = World(trusted=False, wall_error_ms=error_ms)
    world.connect()
    world.answer()
    world.take(10)
    world.send(3, frames=3)
    world.commit()
    assert (world.qualities(), world.timed()) == ({ESTIMATED}, ESTIMATED)
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    assert world.timed() is SYNCED
    world.send(1)  # seq 9 is stamped while the correction is under way
    world.commit()
    for _ in range(5):
        world.settle()
        world.connect()
        world.answer()
        world.commit()
    assert [row.quality for row in world.rows()] == [CORRECTED] * 9 + [SYNCED]
    assert world.error_ms() <= 6
    assert len(world.store.restamps) == 1


def test_a_frame_that_comes_before_the_timer_has_looked_is_not_put_before_the_correction() -> None:
    world = World(trusted=False, wall_error_ms=4 * YEAR_MS)
    world.connect()
    world.answer()
    world.take(4)
    world.send(3)
    world.wall_error_ms, world.trusted = 0, True
    world.send(1)
    world.commit()
    assert [row.quality for row in world.rows()] == [CORRECTED] * 3 + [SYNCED]
    assert world.in_order(1)
    assert world.error_ms() <= 6


def test_a_board_that_is_away_when_the_date_becomes_known_is_corrected_too() -> None:
    world = World(trusted=False, wall_error_ms=-50 * YEAR_MS)
    world.connect()
    world.answer()
    world.take(3)
    world.send(3)
    world.commit()
    world.disconnect()
    world.advance(DAY_MS)
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    assert world.qualities() == {CORRECTED}
    assert world.error_ms() <= 6


def test_a_boot_that_ended_under_an_unknown_date_is_corrected_with_the_boot_behind_it() -> None:
    world = World(trusted=False, wall_error_ms=-50 * YEAR_MS)
    world.take(5)  # never heard live
    world.reboot()
    world.connect()
    world.answer()
    world.send(5)
    world.take(2)
    world.send(2)
    world.commit()
    assert world.qualities(1) == world.qualities(2) == {ESTIMATED}
    world.reboot()  # nothing of the first is held any more
    world.connect()
    world.answer()
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    world.commit()
    assert world.qualities(1) == world.qualities(2) == {CORRECTED}
    assert world.error_ms(2) <= 6
    assert world.error_ms(1) <= 4_100  # it ended by the beginning of the second, which was 4 s later
    assert world.rows(1)[-1].at_ms <= world.rows(2)[0].at_ms
    assert sorted(boot for boot, _ in world.store.restamps) == ["0000000000000001", "0000000000000002"]


def test_a_board_that_answers_no_question_is_corrected_by_arrival_after_a_while() -> None:
    world = World(trusted=False, wall_error_ms=-50 * YEAR_MS)
    world.connect()
    world.take(3)
    world.send(3)
    world.commit()
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    world.commit()
    assert world.qualities() == {ESTIMATED}
    world.advance(31_000)
    world.settle()
    world.take(1)
    world.send(1)
    world.commit()
    assert [row.quality for row in world.rows()] == [CORRECTED] * 3 + [ESTIMATED]
    assert world.error_ms() <= 1_100  # they were sent a second after the last was taken
    assert world.in_order(1)


def test_a_zero_that_was_corrected_by_the_date_alone_makes_nothing_synced() -> None:
    """A boot had ended before it was heard of, and was corrected with the date: that is a bound, not an answer. What
    comes of it on the next connection, or after a restart of the gateway, is estimated by it."""
    world = World(trusted=False, wall_error_ms=-50 * YEAR_MS)
    world.take(20)
    world.reboot(off_ms=600_000)
    world.connect()
    world.send(5)
    world.commit()
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    world.answer()
    world.commit()
    assert world.qualities() == {CORRECTED}
    world.connect()
    world.send(5)
    world.commit()
    world.restart_gateway()
    world.connect()
    world.send(5)
    world.commit()
    assert [row.quality for row in world.rows()] == [CORRECTED] * 5 + [ESTIMATED] * 10
    assert len({row.offset_ms for row in world.rows()}) == 1
    assert world.error_ms() > 500_000


def test_a_correction_that_could_not_be_made_is_made_on_the_next_connection() -> None:
    world = World()
    world.take(3)
    world.connect()
    world.send(3)
    world.commit()
    world.answer()
    assert len(world.queue) == 1
    world.disconnect(committed=0)
    assert world.qualities() == {ESTIMATED}
    world.connect()
    world.commit()
    assert world.qualities() == {CORRECTED}


def test_a_second_correction_puts_nothing_before_what_the_first_one_moved() -> None:
    """A board was silent, was corrected by arrival, a second late as it turns out, and answers a question after all."""
    time, unknown = BootTime(), Now(10_000, 60_000, False)
    time.arrived(1_000, unknown)
    first = time.mark_of(1_000, *time.stamp(1_000, None, unknown))
    assert time.settle(Now(11_000, TRUE_MS + 11_000)) is None  # it may answer yet
    now = Now(42_000, TRUE_MS + 42_000)
    assert time.settle(now) == TRUE_MS + 9_000
    time.corrected()
    assert time.stamp(1_010, first, now) == (TRUE_MS + 9_000, ESTIMATED)
    time.exchange(Exchange(42_000, 42_000, 34_000), now)
    assert time.zero_ms(now) == TRUE_MS + 8_000
    assert time.settle(now) == TRUE_MS + 8_990  # the record of 1,010 where that of 1,000 is


def test_an_estimate_is_left_alone_where_nothing_better_will_ever_be_known() -> None:
    world = World()
    world.take(3)
    world.reboot()
    world.connect()
    world.answer()
    world.send(3)
    world.commit()
    for _ in range(3):
        world.advance(60_000)
        world.settle()
        world.commit()
    assert (world.qualities(1), world.store.restamps) == ({ESTIMATED}, [])


# ---- estimated


def test_boots_of_a_journal_end_where_the_next_one_began() -> None:
    world = World()
    for _ in range(3):
        world.take(100)
        world.reboot(off_ms=60_000)
    world.connect()
    world.answer()
    world.send(50, frames=6)
    world.commit()
    for number in (1, 2, 3):
        assert world.qualities(number) == {ESTIMATED}
        assert world.in_order(number)
    assert world.rows(1)[-1].at_ms <= world.rows(2)[0].at_ms
    assert world.rows(2)[-1].at_ms <= world.rows(3)[0].at_ms
    assert world.rows(3)[-1].at_ms == pytest.approx(world.boots[-1].began_ms + TRUE_MS, abs=10)
    assert world.error_ms(3) == pytest.approx(61_000, abs=10)  # off for a minute after the last second


def test_a_journal_without_the_times_of_its_ends_is_in_order_within_each_boot_all_the_same() -> None:
    """Nobody can know how long a boot will be when its first frame comes: the whole may end after the next began."""
    world = World()
    for _ in range(2):
        world.take(100)
        world.reboot(off_ms=60_000)
    world.connect(tell_t=False)
    world.answer()
    world.send(7, frames=30)
    world.commit()
    assert world.in_order(1)
    assert world.in_order(2)
    assert [len(world.rows(number)) for number in (1, 2)] == [100, 100]


def test_an_old_boot_that_was_synced_goes_on_with_its_own_time() -> None:
    world = World()
    world.connect()
    world.answer()
    world.take(5)
    world.send(3)
    world.commit()
    world.reboot(off_ms=3_600_000)
    world.connect()
    world.answer()
    world.send(5)
    world.commit()
    assert (len(world.rows(1)), world.qualities(1)) == (5, {SYNCED})
    assert world.error_ms(1) <= 6


def test_under_an_unknown_date_nothing_comes_before_what_is_stored() -> None:
    """A Pi without a clock was off: it says 1970, and the boots before are of this year."""
    world = World()
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.reboot()
    world.take(20)
    world.reboot()
    world.restart_gateway()
    world.wall_error_ms, world.trusted = -56 * YEAR_MS, False
    world.connect()
    world.take(5)
    world.send(30, frames=3)
    world.commit()
    assert world.qualities(2) == world.qualities(3) == {ESTIMATED}
    assert world.rows(1)[-1].at_ms <= world.rows(2)[0].at_ms
    assert world.rows(2)[-1].at_ms <= world.rows(3)[0].at_ms


# ---- the gateway restarts


def test_a_gateway_that_restarts_with_a_true_date_goes_on_where_it_was() -> None:
    world = World(drift=20e-6)
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    zero_ms = world.rows()[-1].offset_ms
    world.restart_gateway()
    world.advance(60_000)
    world.connect()
    world.take(2)
    world.send(2)  # before any exchange: the store knows
    world.answer(there_ms=0, back_ms=100)
    world.answer()
    world.take(2)
    world.send(2)
    world.commit()
    assert (world.qualities(), world.store.restamps) == ({SYNCED}, [])
    assert {row.offset_ms for row in world.rows()[5:]} == {zero_ms}
    assert (world.error_ms() <= 12, world.in_order(1), told(world)) == (True, True, [])


def test_a_gateway_that_restarts_without_a_date_goes_on_with_what_is_stored() -> None:
    world = World()
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.restart_gateway()
    world.wall_error_ms, world.trusted = -56 * YEAR_MS, False
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.wall_error_ms, world.trusted = 0, True
    world.settle()
    world.take(5)
    world.send(5)
    world.commit()
    assert (len(world.rows()), world.qualities(), world.store.restamps) == (15, {SYNCED}, [])
    assert world.error_ms() <= 8


def test_a_date_that_was_wrong_before_the_restart_goes_forward_and_never_back() -> None:
    for error_ms, ahead in ((-3_600_000, False), (3_600_000, True)):
        world = World(wall_error_ms=error_ms)
        world.connect()
        world.answer()
        world.take(5)
        world.send(5)
        world.commit()
        world.restart_gateway()
        world.wall_error_ms = 0
        world.connect()
        world.answer()
        world.take(5)
        world.send(5)
        world.commit()
        assert world.in_order(1)
        new = world.rows()[5:]
        wrong_ms = max(abs(row.at_ms - world.taken["0000000000000001", row.seq]) for row in new)
        assert wrong_ms == pytest.approx(3_600_000 if ahead else 0, abs=10)
        (sentence,) = told(world)
        assert ("ahead" in sentence) is ahead
        assert "3600.0 s" in sentence


def test_what_a_process_before_left_estimated_is_corrected_when_the_boot_is_synced() -> None:
    world = World(trusted=False, wall_error_ms=-YEAR_MS)
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.restart_gateway()
    world.wall_error_ms, world.trusted = 0, True
    world.connect()
    world.answer()
    world.commit()
    assert world.qualities() == {CORRECTED}
    assert world.error_ms() <= 6


# ---- latest


def test_a_provisional_value_has_the_time_of_the_running_boot_and_never_goes_back() -> None:
    world = World()
    world.take(10)
    world.reboot()
    world.connect()
    world.answer(there_ms=0, back_ms=400)
    for _ in range(2):
        world.say({"type": "latest", "boot": 2, "t": world.device_ms(), "values": {"temperature": 21}})
        world.answer(there_ms=0, back_ms=0)
    world.say({"type": "latest", "boot": 2, "t": 0, "values": {"temperature": 20}})  # late: older than what was shown
    times = [newest.at_ms for newest in world.newest()]
    assert len(times) == 2
    assert times == sorted(times)
    assert times[-1] <= world.now_ms + TRUE_MS + 200


# ---- what is lost at most


def test_the_bound_of_a_power_cut_is_what_can_have_been_taken_between_two_boots() -> None:
    world = World()
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.reboot(off_ms=2_000)
    world.boots[0].held = [(5, 0)]  # so that the boot is listed: it holds its gap
    world.connect()
    world.answer()
    world.boots[0].held = []
    gap = {"type": "gap", "boot": 1, "from": 5, "to": None, "at_most": 100, "why": "power_loss"}
    for why, expected in (("power_loss", 4 + 2 * (3 + 2) + 1 + 2 * (0 + 2) + 1), ("other", 100)):
        world.queue.clear()
        world.say({**gap, "why": why})
        (batch,) = world.queue
        assert batch.records[0].at_most == expected, why
    world.queue.clear()
    world.say({**gap, "from": 3})  # it says it ended below the 5 that is here by now: the store cuts off what overlaps
    assert world.queue[0].records[0].at_most == 3 + 20


@pytest.mark.parametrize("jump_ms", [60_000, -60_000])
def test_a_bound_stays_where_the_clocks_of_the_gateway_were_not_in_step_between_the_boots(jump_ms: int) -> None:
    """Its wall clock was set; or it slept, and its monotonic clock stood while the board went on."""
    world = World()
    world.connect()
    world.answer()
    world.take(5)
    world.send(5)
    world.commit()
    world.wall_error_ms += jump_ms
    world.reboot(off_ms=2_000)
    world.boots[0].held = [(5, 0)]
    world.connect()
    world.answer()
    world.say({"type": "gap", "boot": 1, "from": 5, "to": None, "at_most": 100, "why": "power_loss"})
    assert world.queue[-1].records[0].at_most == 100


def test_a_bound_that_is_lower_already_stays_and_one_without_exchanges_too() -> None:
    for answers, at_most in ((True, 3), (False, 100)):
        world = World()
        world.connect()
        if answers:
            world.answer()
        world.take(5)
        world.send(5)
        world.commit()
        world.reboot(off_ms=2_000)
        world.boots[0].held = [(5, 0)]
        world.connect()
        if answers:
            world.answer()
        world.say({"type": "gap", "boot": 1, "from": 5, "to": None, "at_most": at_most, "why": "power_loss"})
        assert world.queue[-1].records[0].at_most == at_most


@given(
    st.integers(10, 5_000),
    st.integers(0, 40),
    st.integers(0, 60_000),
    st.integers(0, 9_999),
    st.floats(-40e-6, 40e-6),
    st.integers(0, 400),
)
def test_no_more_can_have_been_taken_than_the_bound_says(
    period_ms: int, count: int, off_ms: int, late_permille: int, drift: float, back_ms: int
) -> None:
    """Samples are read up to nine tenths of a period late; the board dies after `count` that nobody got."""
    late_ms = period_ms * late_permille // 10_000 * 9 // 10
    old, new = BootTime(), BootTime()
    old.next = new
    last_t_ms = 10 * period_ms + late_ms  # the newest record that came was read late, those behind it in time
    died_ms = (10 + count) * period_ms / (1 + drift)
    now = Now(1_000_000, TRUE_MS)
    old.exchange(Exchange(1_000_000, 1_000_000 + back_ms, 0), now)
    began_ms = 1_000_000 + died_ms + off_ms
    new.exchange(Exchange(int(began_ms) + 1, int(began_ms) + 1 + back_ms, 0), now)
    span_ms = old.next_began_after_ms(last_t_ms)
    assert span_ms is not None
    assert most_taken(span_ms, [period_ms]) >= count


def test_a_loose_wire_before_the_power_cut_is_within_the_bound() -> None:
    """Both sensors fail and are well again in turn, as firmware/device/sampler.py tells it; each missed a sample."""
    lost = 0
    for t_ms in range(0, 20_000, 1_000):
        lost += 2 + 2  # a sample of each, and `sensor.failed` or `sensor.ok`
        lost += 2 * (t_ms % 10_000 == 0)  # `samples.missed`
    assert most_taken(20_000, [1_000, 1_000]) >= lost


# ---- what a board may do to the gateway's memory


def say_hello(world: World, *boots: int) -> None:
    """A hello that lists these boots, whatever they hold."""
    world.disconnect()
    known = world.boots
    world.boots = [BoardBoot(number, world.now_ms, held=[(0, 0)]) for number in boots]
    world.connect()
    world.boots = known


def test_a_board_that_restarts_for_ever_makes_no_chain_of_boots_that_grows() -> None:
    """Something of its first boot may still be corrected, and of those behind it nothing ever came."""
    world = World(trusted=False)
    world.connect()
    world.take(2)
    world.send(2)
    world.commit()
    for number in range(1, 1_500):
        say_hello(world, number, number + 1)
        assert len(world.memory.times) <= 128
    world.settle()
    assert all(time.zero_ms(world.now) for time in world.memory.times.values())


def test_boots_that_are_listed_in_another_order_make_no_circle() -> None:
    world = World(trusted=False)
    say_hello(world, 1, 2)
    say_hello(world, 2, 1)
    assert [time.zero_ms(world.now) > 0 for time in world.memory.times.values()] == [True, True]


# ---- small parts


def test_a_floor_is_of_boots_before_and_not_of_those_behind() -> None:
    def known(**fields: Any) -> Committed:
        return Committed("0" * 16, 1, -1, **fields)

    assert floor_ms([(known(), 0)]) is None
    assert floor_ms([(known(floor_ms=500), 0)]) == 500
    assert floor_ms([(known(floor_ms=500), 70), (known(floor_ms=500), 0)]) == 570
    assert floor_ms([(known(zero_ms=900), 70), (known(floor_ms=500), 0)]) == 970
    # 800 may be of the second boot, which is behind the first
    assert floor_ms([(known(floor_ms=800), 70), (known(floor_ms=500, last_at_ms=800), 0)]) == 500


def test_a_clock_that_is_set_is_told_once_with_what_it_means() -> None:
    watch = WallWatch(Now(0, TRUE_MS, False))
    assert watch.look(Now(1_000, TRUE_MS + 1_900, False)) is None
    forward = watch.look(Now(2_000, TRUE_MS + 3_600_000, False))
    assert forward is not None
    assert "stay estimated" in forward
    believed = watch.look(Now(3_000, TRUE_MS + 3_601_000, True))
    assert believed is not None
    assert "are corrected" in believed
    back = watch.look(Now(4_000, TRUE_MS, True))
    assert back is not None
    assert "-3602.0 s" in back
    assert "keep the time they have" in back
    assert watch.look(Now(5_000, TRUE_MS + 1_000, True)) is None


# ---- anything in any order

STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 5), st.sampled_from([10, 100, 1_000, 60_000])),
    st.tuples(st.just("send"), st.integers(1, 4), st.integers(1, 3)),
    st.tuples(st.just("commit"), st.integers(1, 5), st.just(0)),
    st.tuples(st.just("answer"), st.integers(0, 300), st.integers(0, 300)),
    st.tuples(st.just("advance"), st.integers(1, DAY_MS), st.just(0)),
    st.tuples(st.just("wall"), st.integers(-10 * YEAR_MS, 10 * YEAR_MS), st.just(0)),
    st.tuples(st.just("trust"), st.booleans(), st.just(0)),
    st.tuples(st.just("settle"), st.just(0), st.just(0)),
    st.tuples(st.just("connect"), st.booleans(), st.integers(0, 3)),
    st.tuples(st.just("reboot"), st.integers(0, 100_000), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


def play(world: World, step: tuple[str, Any, Any]) -> None:
    name, one, two = step
    if name == "take":
        world.take(one, every_ms=two)
    elif name == "advance":
        world.advance(one)
    elif name == "wall":
        world.wall_error_ms += one
    elif name == "trust":
        world.trusted = one
    elif name == "settle":
        world.settle()
    elif name == "reboot":
        world.reboot(off_ms=one)
    elif name == "restart":
        world.restart_gateway()
    elif name == "connect":
        world.disconnect(committed=two)
        world.connect(tell_t=one)
    elif world.connected:
        if name == "send":
            world.send(one, frames=two)
        elif name == "commit":
            world.commit(one)
        elif name == "answer":
            world.answer(there_ms=one, back_ms=two)


@settings(deadline=None, max_examples=300)
@given(st.lists(STEPS, max_size=60), st.booleans(), st.sampled_from([-50e-6, 0.0, 30e-6]))
@example(
    [
        ("take", 1, 10), ("take", 1, 10), ("send", 1, 1), ("commit", 1, 0), ("restart", 0, 0), ("wall", -22, 0),
        ("reboot", 0, 0),
    ],
    False,
    -50e-6,
)  # fmt: skip
def test_whatever_the_clocks_do_synced_never_moves_nothing_is_corrected_twice_and_order_stays(
    steps: list[tuple[str, Any, Any]], trusted: bool, drift: float
) -> None:
    world = World(trusted=trusted, drift=drift)
    final: dict[tuple[str, int], int] = {}
    for step in [("connect", True, 0), *steps, ("connect", True, 3), ("trust", True, 0), ("answer", 5, 5)]:
        play(world, step)
        for boot_id, rows in world.store.boots.items():
            for row in rows:
                if row.quality is not ESTIMATED:
                    assert final.setdefault((boot_id, row.seq), row.at_ms) == row.at_ms, "moved"
    world.advance(31_000)
    world.settle()
    world.send(1_000, frames=50)
    world.commit()
    assert world.qualities(world.boots[-1].number) <= {SYNCED, CORRECTED}, "the running boot is known"
    for boot in world.boots:
        assert all(row.moves <= 1 for row in world.rows(boot.number))
        assert world.in_order(boot.number), f"boot {boot.number}"
        assert not boot.held
