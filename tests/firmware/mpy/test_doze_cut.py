"""The node of a board that sleeps: which memories it goes on with, and what it leaves behind."""

import os
import sys
import time

import check
import napper
import ramflash
from device import asleep, port
from device.doze import Sleeper
from device.net import Net
from napper import BOOT_ID, HELD, PROFILE, SETTINGS, UPTIME_MS, Asleep, Stage

LATE_MS = 300  # the chip's own start


def stage(**options):
    """A flash that knows the boot that slept, and its memory."""
    flash = ramflash.Flash(64)
    ramflash.unmount()
    ramflash.mount(flash, fresh=True)
    made = Stage(ramflash.ROOT)
    from device.bootfile import Boot
    from device.journal import Journal

    journal = Journal(ramflash.ROOT, 65536, 64, False, lambda level, text: None)
    journal.reserve(Boot(7, BOOT_ID, PROFILE["hash"]), 0, False)
    made.rtc = napper.memory(**options)
    made.rtc_ms += LATE_MS
    made.flash = flash
    flash.operations = 0
    return made


def wake(profile=PROFILE):
    """Runs until it sleeps. How long it means to."""
    return check.raises(Asleep, lambda: Sleeper(SETTINGS, profile).run()).ms


def begins_anew(made, profile=PROFILE):
    """Whether another boot begins, with what was held on flash."""
    node = Sleeper(SETTINGS, profile)
    boots = node._outbox.boots()
    check.true(boots[-1].id != BOOT_ID, "another boot_id")
    check.equal(made.rtc, b"")
    return [(boot.id, boot.base, boot.next, boot.below) for boot in boots[:-1]]


def test_a_wake_measures_and_sleeps_until_the_next_sample_without_radio_or_flash():
    made = stage()
    loaded = set(sys.modules)
    slept_ms = wake()
    check.true(600000 - LATE_MS - 500 <= slept_ms <= 600000 - LATE_MS, slept_ms)
    memory = made.remembered()
    check.true(memory.asleep)
    check.equal((memory.boot.id, memory.boot.next, len(memory.records)), (BOOT_ID, HELD + 3, HELD + 3))
    check.true(UPTIME_MS + 600000 <= memory.uptime_ms <= UPTIME_MS + 601000, memory.uptime_ms)
    check.equal(memory.below, 200)
    check.equal(made.flash.operations, 0)
    check.equal([name for name in sys.modules if name not in loaded and name.startswith("device")], [])


def test_before_anything_else_the_memory_is_taken_up():
    made = stage()
    before = made.rtc
    wake()
    check.equal(made.wrote[0], bytes(asleep.taken_up(before)))
    check.true(not asleep.unpack(made.rtc, "greenhouse").asleep, "after Ctrl-C in the last moment, too")


def test_wake_after_wake_counts_on():
    made = stage()
    for wakes in range(1, 6):
        wake()
        memory = made.remembered()
        check.equal((memory.first, memory.boot.next), (0, HELD + 3 * wakes))
        check.true(abs(memory.uptime_ms - UPTIME_MS - LATE_MS - 600000 * wakes) < 1000, memory.uptime_ms)
        made.rtc = made.asleep
        made.rtc_ms += 600000


def test_a_reset_while_it_slept_ends_the_boot_in_order_and_saves_what_it_held():
    made = stage()
    made.slept = False
    check.equal(begins_anew(made), [(BOOT_ID, 0, HELD, 0)])


def test_a_crash_while_it_was_awake_leaves_the_bound_that_was_promised():
    made = stage()
    made.rtc = bytes(asleep.taken_up(made.rtc))
    check.equal(begins_anew(made), [(BOOT_ID, 0, HELD, 64)])


def test_a_wake_under_another_profile_saves_what_was_taken_under_the_old_one():
    made = stage()
    check.equal(begins_anew(made, dict(PROFILE, hash="00000000000000ff")), [(BOOT_ID, 0, HELD, 0)])


def test_a_clock_that_went_back_or_far_too_far_is_not_gone_on_with():
    for slept_ms in (-5000, 3 * 600000):
        made = stage(slept_ms=slept_ms)
        check.equal(begins_anew(made), [(BOOT_ID, 0, HELD, 0)])


def test_another_devices_memory_is_left_alone_and_its_boot_ends_as_after_a_power_cut():
    made = stage(device="other")
    before = made.rtc
    node = Sleeper(SETTINGS, PROFILE)
    check.equal([(boot.next, boot.below) for boot in node._outbox.boots()[:-1]], [(0, 64)])
    check.equal(made.rtc, before)


def test_where_the_flash_was_erased_the_memory_knows_the_boot():
    made = stage()
    made.slept = False
    os.remove(ramflash.ROOT + "/outbox/boots/running")
    check.equal(begins_anew(made), [(BOOT_ID, 0, HELD, 0)])


def test_a_gateway_that_is_away_costs_its_patience_and_then_all_is_on_flash():
    made = stage(uptime_ms=7200000)  # it is due
    began_ms = time.ticks_ms()
    real = Net.wait
    ticks = port.clock._ticks_ms
    skipped = [0]

    def wait(self, ms, sending):
        skipped[0] += ms

    Net.wait = wait
    port.clock._ticks_ms = lambda: time.ticks_add(ticks(), skipped[0])
    try:
        wake()
    finally:
        Net.wait = real
        port.clock._ticks_ms = ticks
    memory = made.remembered()
    check.equal((memory.tries, memory.boot.kept, len(memory.records)), (1, HELD + 3, 0))
    check.true(20000 <= skipped[0] <= 21000, skipped[0])
    check.true(time.ticks_diff(time.ticks_ms(), began_ms) < 5000)


def test_a_wake_that_cannot_end_has_one_errand_after_the_other():
    stage(uptime_ms=7200000)
    ticks = port.clock._ticks_ms
    waits, sets_out = Sleeper._wait, Sleeper._set_out
    skipped = [0]
    begun = []

    def wait(self, ms):
        skipped[0] += ms
        if skipped[0] > 300000:
            raise Asleep(ms)

    def set_out(self, now_ms):
        begun.append(now_ms)
        if len(begun) == 3:
            raise Asleep(0)
        sets_out(self, now_ms)

    Sleeper._wait, Sleeper._set_out = wait, set_out
    port.clock._ticks_ms = lambda: time.ticks_add(ticks(), skipped[0])
    try:
        fast = [dict(sensor, period_ms=1500) for sensor in PROFILE["sensors"]]
        wake(dict(PROFILE, sensors=fast, power={"deep_sleep": True, "send_every_ms": 0}))
    finally:
        Sleeper._wait, Sleeper._set_out = waits, sets_out
        port.clock._ticks_ms = ticks
    check.equal(len(begun), 3)
    check.true(60000 <= begun[1] - begun[0] <= 90000, begun)


check.run(globals())
