"""What differs between boards. What an ESP32 has is tested on the emulated board; here stands what the others have."""

import check
import machine
from device import port


class Mem32:
    """An RP2's registers."""

    def __init__(self):
        self.words = {}

    def __getitem__(self, at):
        return self.words[at]

    def __setitem__(self, at, word):
        self.words[at] = word


class Os:
    machine = ""

    @staticmethod
    def uname():
        return "rp2", "rp2", "1.25.0", "", Os.machine


port.os = Os


class Rp2Watchdog:
    """As MicroPython's ports/rp2/machine_wdt.c on an RP2040."""

    def __init__(self, id=0, timeout=5000):
        if timeout > 8388:
            raise ValueError("timeout exceeds 8388")
        self.timeout = timeout
        machine.mem32[0x40058000] = 0x40000000 | timeout


def as_rp2(chip, watchdog_at):
    machine.mem32 = Mem32()
    machine.mem32[watchdog_at] = 0
    machine.WDT = Rp2Watchdog
    Os.machine = "Raspberry Pi Pico W with " + chip


def test_an_rp2_has_the_longest_watchdog_it_can_have():
    as_rp2("RP2040", 0x40058000)
    check.equal(port.watchdog().timeout, 8388)


def test_at_the_repl_an_rp2s_watchdog_is_stopped_and_nothing_else_of_it_changes():
    for chip, at in (("RP2040", 0x40058000), ("RP2350", 0x400D8000)):
        as_rp2(chip, at)
        machine.mem32[at] = 0x47FFFFFF
        port.relax_watchdog()
        check.equal(machine.mem32[at], 0x07FFFFFF)


def test_without_a_watchdog_or_an_rtcs_memory_nothing_is_missed():
    kept = machine.WDT
    del machine.WDT
    try:
        port.watchdog().feed()
        port.relax_watchdog()
    finally:
        machine.WDT = kept
    check.true(not hasattr(machine.RTC, "memory"))
    check.equal(port.remembered(), b"")


check.run(globals())
