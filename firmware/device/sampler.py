"""Pure: which sensor is due, what it measured, and what became of it when it could not be read.

Each sensor keeps its own plan. A sample that was due and could not be taken (the interpreter was blocked) is counted as
missed; a sensor that fails gives nulls and is made anew with growing delay; neither ever stops another sensor.

A chip that measures by itself keeps its samples in a FIFO: its driver has `fetch` (sensors/__init__.py), to be called
ten times a second, or each `fetch_ms`. Such samples are stamped by their number (beat.py), not by when they were read,
and only what the FIFO could not hold is missed.

A chip that is slow to measure has a driver with `begin`, which is called `lead_ms` before a sample is due.
A driver that knows when there is something new has `changed`: then a sample is taken at once, and the plan goes on from
there.
"""

from array import array
from micropython import const

from device.beat import Beat
from device.clock import sooner, ticks_add, ticks_diff
from device.columns import Column, event_body
from device.sensors import NULL, why

_IDLE_MS = const(1000)
_FETCH_MS = const(100)  # a FIFO is emptied so often
_FAILED_MS = const(1000)  # a sensor that has failed says so no more often
_FIRST_RETRY_MS = const(1000)
_LAST_RETRY_MS = const(60000)
_REPORT_MISSED_MS = const(10000)  # one event for all that were missed meanwhile
_LARGEST = const(0x3FFFFFFF)


class Sensor:
    """One sensor of the profile: its driver, its plan and where its values go."""

    def __init__(self, config, open_driver, now):
        """`config` is its entry in profile.json; `open_driver(config)` gives (driver's QUANTITIES, driver), and raises
        OSError where the chip does not answer. The first sample is due `now`."""
        self.config = config
        self.name = config["name"]
        self.every_ms = self.period_ms = config["period_ms"]
        self.due = now
        self.fifo = None  # the driver, if its chip has one
        self.lead_ms = 0  # so long before it is due, the driver begins; 0: nothing is to be begun, or it has been
        self.changed = None  # the driver's, if it has that
        self.columns = [Column(q["name"], q["decimals"]) for q in config["quantities"]]
        self.values = array("i", [NULL] * len(self.columns))
        self.newest_ms = 0
        self.failed = False
        self.missed = 0
        self.report_missed = now
        self._beat = None
        self._open_driver = open_driver
        self._driver = None
        self._raw = array("i")
        self._pick = bytearray(len(self.columns))  # per column: where the driver puts it
        self._times = array("i", [1] * len(self.columns))  # per column: from the driver's decimals to ours
        self._over = array("i", [1] * len(self.columns))
        self._retry = now
        self._retry_ms = _FIRST_RETRY_MS

    def begin(self):
        """The chip begins what `read` fetches when it is due."""
        self.lead_ms = 0
        try:
            self._driver.begin()
        except Exception:  # the edge of a driver
            pass  # reading fails then, and says it

    def read(self, clock, now):
        """Measures, and fills `values`; of a FIFO, fetches what there is, and `next_ms` takes one after the other.
        Raises whatever the driver raises; `values` are all NULL then."""
        self.forget()
        self.lead_ms = 0
        if self._driver is None:
            self._open(clock, now)
        driver = self._driver
        self._driver = None  # a driver that fails is made anew
        if self.fifo is None:
            self._fill(driver)
        else:
            self._fetch(driver, clock.uptime_ms())
        self._driver = driver
        self.lead_ms = getattr(driver, "lead_ms", 0)
        if self.measures():
            self._retry_ms = _FIRST_RETRY_MS

    def _fetch(self, driver, uptime_ms):
        if driver.fetch():
            self.missed += self._beat.skip(uptime_ms)
        elif driver.left:
            self.missed += self._beat.burst(uptime_ms, driver.left)

    def measures(self):
        """Whether the chip gives anything. One whose FIFO is empty may never fill it."""
        return self.fifo is None or self.fifo.left > 0

    def next_ms(self):
        """Takes the next sample that was fetched into `values`. When it was taken."""
        self._fill(self.fifo)
        return self._beat.next_ms()

    def skip_ms(self):
        """The next sample that was fetched is not measured. When it was taken."""
        self.forget()
        return self._beat.next_ms()

    def _fill(self, driver):
        raw = self._raw
        for i in range(len(raw)):
            raw[i] = NULL
        driver.read_into(raw)
        for i in range(len(self.values)):
            self.values[i] = self._scale(raw[self._pick[i]], i)

    def _open(self, clock, now):
        if self.failed and ticks_diff(now, self._retry) < 0:
            raise NotYet
        self.fifo = None
        quantities, self._driver = self._open_driver(self.config)
        names = [name for name, _ in quantities]
        self._raw = array("i", [NULL] * len(names))
        for i, wanted in enumerate(self.config["quantities"]):
            self._pick[i] = names.index(wanted.get("measures") or wanted["name"])
            more = wanted["decimals"] - quantities[self._pick[i]][1]
            self._times[i] = 10 ** max(0, more)
            self._over[i] = 10 ** max(0, -more)
        self.every_ms = self.period_ms
        self.changed = getattr(self._driver, "changed", None)
        if hasattr(self._driver, "fetch"):
            self.fifo = self._driver
            self.every_ms = getattr(self._driver, "fetch_ms", max(_FETCH_MS, self.period_ms))
            self._beat = Beat(self.period_ms, clock.uptime_ms(), self.every_ms)

    def forget(self):
        """Nothing was measured."""
        for i in range(len(self.values)):
            self.values[i] = NULL

    def fail(self, now):
        """Reading has failed: it is tried again later, with growing delay."""
        self.failed = True
        self.fifo = self.changed = self._driver = None
        every_ms = max(self.period_ms, _FAILED_MS)
        if self.every_ms != every_ms:  # also of a FIFO that is fetched more often than it has something
            self.every_ms = every_ms
            self.due = ticks_add(now, every_ms)
        self._retry = ticks_add(now, self._retry_ms)
        self._retry_ms = min(2 * self._retry_ms, _LAST_RETRY_MS)

    def plan(self, now):
        """What `follow` goes on with after deep sleep: ms until it is due, ms until it is tried again after a failure,
        the wait behind that, whether it has failed."""
        retry_ms = ticks_diff(self._retry, now) if self.failed else 0
        return ticks_diff(self.due, now), retry_ms, self._retry_ms, self.failed

    def follow(self, plan, slept_ms, now):
        """Goes on with its plan of `slept_ms` ago."""
        due_ms, retry_ms, self._retry_ms, failed = plan
        self.failed = bool(failed)
        self.due = ticks_add(now, due_ms - slept_ms)
        self._retry = ticks_add(now, max(0, retry_ms - slept_ms))

    def _scale(self, value, i):
        if value == NULL:
            return NULL
        over = self._over[i]
        if over > 1:  # rounds half away from zero
            return (value + over // 2) // over if value >= 0 else -((over // 2 - value) // over)
        value *= self._times[i]
        return value if -_LARGEST <= value <= _LARGEST else NULL


class NotYet(Exception):
    """The sensor has failed and the time to try again has not come."""


class Sampler:
    def __init__(self, sensors, outbox, clock):
        self.sensors = sensors
        self.newest = [sensor.values for sensor in sensors]
        """Per sensor, what it measured last."""
        self._outbox = outbox
        self._clock = clock
        self._begun = 1  # samples that are being put, and the outbox's `next` before the first of them; -1: not yet
        self._first = -1

    def poll(self, now):
        """Takes what is due. Returns ms until the next is. Allocates nothing unless something goes wrong."""
        for number in range(len(self.sensors)):  # what lies in a FIFO is older than what is measured now
            if self.sensors[number].fifo is not None:
                self._poll(number, now)
        wait_ms = _IDLE_MS
        for number in range(len(self.sensors)):
            self._poll(number, now)
            sensor = self.sensors[number]
            if ticks_diff(now, sensor.report_missed) >= 0:
                if sensor.missed:
                    self._report_missed(sensor, now)
                else:
                    sensor.report_missed = now  # moves on, or after 6 days the comparison would turn round
            wait_ms = sooner(wait_ms, ticks_add(sensor.due, -sensor.lead_ms), now)
        return wait_ms

    def eager(self):
        """Whether something has changed that is to be sampled at once."""
        for sensor in self.sensors:
            try:
                if sensor.changed is not None and sensor.changed():
                    return True
            except Exception:  # the edge of a driver: `poll` says it
                return True
        return False

    def _poll(self, number, now):
        sensor = self.sensors[number]
        if sensor.changed is not None and ticks_diff(now, sensor.due) < 0 and self._has_changed(sensor, now):
            sensor.due = now
        late_ms = ticks_diff(now, sensor.due)
        if late_ms < 0:
            if sensor.lead_ms and late_ms >= -sensor.lead_ms:
                sensor.begin()
            return
        turns = late_ms // sensor.every_ms
        # from the plan, not from now: a slow read must not shift later samples, nor a stall cause a burst
        sensor.due = ticks_add(sensor.due, (turns + 1) * sensor.every_ms)
        self._take(number, sensor, now)
        if sensor.fifo is None:  # which nobody knew before the first time
            sensor.missed += turns

    def _has_changed(self, sensor, now):
        try:
            return sensor.changed()
        except Exception as error:  # the edge of a driver
            self._fail(sensor, error, self._clock.uptime_ms(), now)
            return False

    def due_ms(self, now, wait_ms=0):
        """Milliseconds from `now` until a sample is due, of those that are due `wait_ms` from now and later."""
        soonest_ms = None
        for sensor in self.sensors:
            due_ms = ticks_diff(sensor.due, now)
            if due_ms < wait_ms:
                due_ms += (wait_ms - due_ms + sensor.every_ms - 1) // sensor.every_ms * sensor.every_ms
            soonest_ms = due_ms if soonest_ms is None else min(soonest_ms, due_ms)
        return soonest_ms

    def flush(self, now):
        """The end: what was missed and not reported yet is reported now."""
        for sensor in self.sensors:
            if sensor.missed:
                self._report_missed(sensor, now)

    def newest_ms(self):
        """When the newest sample was taken."""
        return max(sensor.newest_ms for sensor in self.sensors)

    def _take(self, number, sensor, now):
        t_ms = self._clock.uptime_ms()
        self._first = -1
        try:
            self._read(sensor, t_ms, now)
            fifo = sensor.fifo
            if fifo is None:
                self._begin(1)
                self._put(number, sensor, t_ms)
            else:
                self._begin(fifo.left)
                for _ in range(self._begun):
                    self._put(number, sensor, self._next_ms(sensor, now))
        except KeyboardInterrupt:  # Ctrl-C, at any place: a measurement that was begun leaves its trace
            for _ in range(self._left_to_put(sensor)):
                sensor.forget()
                self._put(number, sensor, t_ms if sensor.fifo is None else sensor.skip_ms())
            raise

    def _next_ms(self, sensor, now):
        if sensor.fifo is None:  # it has failed in the middle of what was fetched
            return sensor.skip_ms()
        try:
            return sensor.next_ms()
        except Exception as error:
            before = self._outbox.next
            self._fail(sensor, error, self._clock.uptime_ms(), now)
            self._first += self._outbox.next - before  # an event is none of the samples
            return sensor.skip_ms()

    def _begin(self, count):
        self._begun = count
        self._first = self._outbox.next

    def _left_to_put(self, sensor):
        """Samples that were measured, or begun to be, and are not in the outbox."""
        if self._first >= 0:
            return self._begun - (self._outbox.next - self._first)
        return 1 if sensor.fifo is None else sensor.fifo.left

    def _read(self, sensor, t_ms, now):
        try:
            sensor.read(self._clock, now)
            if sensor.failed and sensor.measures():
                sensor.failed = False
                self._event(sensor, t_ms, "sensor.ok", None)
        except NotYet:
            pass
        except Exception as error:  # the edge of a driver, which may be anyone's: it must not stop the others
            if sensor.fifo is not None:
                sensor.missed += sensor.fifo.left  # what was being fetched
            self._fail(sensor, error, t_ms, now)

    def _fail(self, sensor, error, t_ms, now):
        if not sensor.failed:
            self._event(sensor, t_ms, "sensor.failed", _reason(error, sensor.config))
        sensor.fail(now)

    def _put(self, number, sensor, t_ms):
        sensor.newest_ms = t_ms
        self._outbox.put_sample(number, t_ms, sensor.values, len(sensor.values))

    def _event(self, sensor, t_ms, code, data):
        self._outbox.put_event(t_ms, event_body(code, sensor.name, data))

    def _report_missed(self, sensor, now):
        self._event(sensor, self._clock.uptime_ms(), "samples.missed", {"count": sensor.missed})
        sensor.missed = 0
        sensor.report_missed = ticks_add(now, _REPORT_MISSED_MS)


def _reason(error, config):
    """What an event says about `error`: why and where, or its name and text."""
    if not isinstance(error, OSError) or error.errno is None:
        return {"error": ("%s: %s" % (type(error).__name__, error))[:100]}
    told = {"errno": error.errno}
    reason = why(error)
    if reason:
        told["why"] = reason
    for key in ("bus", "address", "pin"):
        if config.get(key) is not None:
            told[key] = config[key]
    return told
