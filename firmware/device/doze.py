"""Shell: a board that sleeps between its samples (`deep_sleep` in the profile). Deep sleep continues the boot: each
wake is a start of the chip, and goes on where the RTC's memory (asleep.py) says that the last one left off.

A wake that only measures loads neither protocol nor journal, and Wi-Fi stays off: `errand` says when it is due.
"""

import time
from micropython import const

from device import asleep, port
from device.errand import LINGER_MS, Errand
from device.node import Node, remembered

_LEAST_SLEEP_MS = const(2000)  # less is not worth a start
_LONGEST_SLEEP_MS = const(43200000)  # 12 hours: ticks of a plan stay below half their period
_FLASH_FIRST_MS = const(900000)  # before a longer sleep all goes to flash: 96 times a day at most
_FIRST_AWAKE_MS = const(10000)  # after power-up or reset, so that mpremote finds it awake
_CROWDED_BYTES = const(1400)  # of 2048, with what is not a record
_LATE_MS = const(60000)  # a wake that comes later than this was no wake of ours
_WAIT_MS = const(1000)
_AGAIN_MS = const(60000)  # between two errands of one wake


class Sleeper(Node):
    def _start(self):
        self._errand = None
        self._out = False  # on an errand: Wi-Fi is on
        self._leaving = False  # ... and it is over
        self._been_ms = None  # when the last one ended: a wake that cannot end, as something is always due, has several
        memory = remembered(self._settings["device"])
        slept_ms = 0 if memory is None else port.rtc_ms() - memory.rtc_ms
        self._fresh = memory is None or not self._is_ours(memory, slept_ms)
        if self._fresh:
            self._new_errand()
            self._load()
            self._begin(memory)
        else:
            self._go_on(memory, slept_ms)

    def _new_errand(self, *before):
        self._errand = Errand(self._profile["power"]["send_every_ms"], *before)

    def _load(self):
        from device import parts

        parts.load(self._settings["gateway"]["ca"])

    # -- waking --------------------------------------------------------------------------------------------------------

    def _is_ours(self, memory, slept_ms):
        """Whether this is the wake that the memory was made for."""
        return (
            memory.asleep
            and port.slept()
            and memory.boot.profile == self._profile["hash"]
            and len(memory.plans) == len(self._sensors)
            and 0 <= slept_ms <= 2 * memory.sleep_ms + _LATE_MS
        )

    def _go_on(self, memory, slept_ms):
        port.remember(asleep.taken_up(port.remembered()))  # first: nobody may go on from there again
        self._clock.go_on(memory.uptime_ms + slept_ms)
        now = self._clock.ticks()
        for i in range(len(memory.plans)):
            self._sensors[i].follow(memory.plans[i], slept_ms, now)
        self._new_errand(memory.tries, memory.due_ms)
        if self._errand.due(memory.uptime_ms + slept_ms, self._crowds(len(memory.records))):
            self._load()
        shut = asleep.Shut(lambda: self._open(memory), memory, self._step() // 2)
        self._collect(memory.boot, shut, [], None)
        self._outbox.go_on(memory)
        if self._profile["delivery"]["power_loss"] == "none":
            shut.open()
        self._log("info", "boot %d (%s) goes on after %d s" % (memory.boot.number, memory.boot.id, slept_ms // 1000))

    def _open(self, memory):
        journal = self._open_journal()
        self._outbox.opened(journal, journal.go_on(memory.boot, memory))
        return journal

    # -- awake ---------------------------------------------------------------------------------------------------------

    def run(self):
        self._watchdog = port.watchdog()
        while True:
            now = self._clock.ticks()
            wait_ms = self._sampler.poll(now)
            self._outbox.poll(now, True)  # also where the gateway is away: before it sleeps all goes to flash
            wait_ms = min(wait_ms, self._poll_errand(now))
            if self._commands:
                wait_ms = min(wait_ms, self._commands.poll(now))
                if self._commands.restart_due(now):
                    self.finish()
                    port.restart()
            if self._may_sleep(now):
                self._sleep(now)
            self._wait(wait_ms)

    def _poll_errand(self, now):
        now_ms = self._clock.uptime_ms()
        if not self._out:
            if self._been_ms is not None and now_ms < self._been_ms + _AGAIN_MS:
                return _WAIT_MS
            if not self._errand.due(now_ms, self._crowded()):
                return _WAIT_MS
            self._set_out(now_ms)
        wait_ms = self._poll_link(now)
        if self._leaving:
            if not self._link.busy():
                self._net.off()
                self._out = self._leaving = False
                self._been_ms = now_ms
        elif self._errand.over(now_ms, self._link.online(), self._outbox.backlog(), self._nothing_else()):
            self._link.stop(1000, self._sampler.due_ms(now, max(0, self._errand.wait_ms(now_ms))))
            self._leaving = True
            return 0
        return min(wait_ms, LINGER_MS)

    def _set_out(self, now_ms):
        self._open_link()
        self._out = True
        self._errand.begin(now_ms, self._outbox.backlog())
        self._link.start()

    def _open_link(self):
        self._outbox.open()
        if self._outbox.own_columns is None:
            self._outbox.speak(self._columns())
        super()._open_link(self._errand.tries)
        port.tidy()

    def _nothing_else(self):
        """Whether nothing but records is to be sent, or waited for."""
        return self._commands.at_rest() and not self._commands.pending() and self._link.said_all()

    def _wait(self, ms):
        if self._out:
            super()._wait(ms)
        else:
            self._watchdog.feed()
            time.sleep_ms(ms)

    def finish(self):
        if self._out:
            super().finish()
        else:
            self._led(False)
            self._sampler.flush(self._clock.ticks())
            self.save()

    # -- going to sleep ------------------------------------------------------------------------------------------------

    def _crowded(self):
        return self._crowds(self._outbox.unsaved())

    def _crowds(self, records):
        """Whether the RTC's memory, with so many, will soon be full."""
        return records * (12 + 4 * self._width) > _CROWDED_BYTES

    def _may_sleep(self, now):
        if self._out or self._commands and not self._commands.at_rest():
            return False
        if self._fresh and self._clock.uptime_ms() < _FIRST_AWAKE_MS:
            return False
        return self._sampler.due_ms(now) >= _LEAST_SLEEP_MS

    def _sleep(self, now):
        """Does not return."""
        self._sampler.flush(now)
        sleep_ms = min(self._sampler.due_ms(self._clock.ticks()), _LONGEST_SLEEP_MS)
        if self._errand.tries or sleep_ms >= _FLASH_FIRST_MS or self._crowded():
            self._outbox.spill()
        data = asleep.remember(self._outbox, self._settings["device"], lambda memory: self._describe(memory, sleep_ms))
        try:
            port.remember(data)
            port.deep_sleep(sleep_ms)
        finally:  # Ctrl-C: what this start does now is in nobody's memory
            port.remember(asleep.taken_up(data))

    def _describe(self, memory, sleep_ms):
        memory.tries = self._errand.tries
        memory.due_ms = self._errand.due_ms
        memory.sleep_ms = sleep_ms
        now = self._clock.ticks()
        memory.plans = [sensor.plan(now) for sensor in self._sensors]
        memory.uptime_ms = self._clock.uptime_ms()
        memory.rtc_ms = port.rtc_ms()
