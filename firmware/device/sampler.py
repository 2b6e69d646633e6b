"""Pure: which sensor is due, what it measured, and what became of it when it could not be read.

Each sensor keeps its own plan. A sample that was due and could not be taken (the interpreter was blocked) is counted as
missed; a sensor that fails gives nulls and is made anew with growing delay; neither ever stops another sensor.
"""

from array import array
from micropython import const

from device.clock import sooner, ticks_add, ticks_diff
from device.columns import Column, event_body
from device.sensors import NULL, why

_IDLE_MS = const(1000)
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
        self.period_ms = config["period_ms"]
        self.due = now
        self.columns = [Column(q["name"], q["decimals"]) for q in config["quantities"]]
        self.values = array("i", [NULL] * len(self.columns))
        self.newest_ms = 0
        self.failed = False
        self.missed = 0
        self.report_missed = now
        self._open_driver = open_driver
        self._driver = None
        self._raw = array("i")
        self._pick = bytearray(len(self.columns))  # per column: where the driver puts it
        self._times = array("i", [1] * len(self.columns))  # per column: from the driver's decimals to ours
        self._over = array("i", [1] * len(self.columns))
        self._retry = now
        self._retry_ms = _FIRST_RETRY_MS

    def read(self, now):
        """Fills `values`. Raises whatever the driver raises; `values` are all NULL then."""
        self.forget()
        if self._driver is None:
            self._open(now)
        driver = self._driver
        self._driver = None  # a driver that fails is made anew
        raw = self._raw
        for i in range(len(raw)):
            raw[i] = NULL
        driver.read_into(raw)
        self._driver = driver
        self._retry_ms = _FIRST_RETRY_MS
        for i in range(len(self.values)):
            self.values[i] = self._scale(raw[self._pick[i]], i)

    def _open(self, now):
        if self.failed and ticks_diff(now, self._retry) < 0:
            raise NotYet
        quantities, self._driver = self._open_driver(self.config)
        names = [name for name, _ in quantities]
        self._raw = array("i", [NULL] * len(names))
        for i, wanted in enumerate(self.config["quantities"]):
            self._pick[i] = names.index(wanted["name"])
            more = wanted["decimals"] - quantities[self._pick[i]][1]
            self._times[i] = 10 ** max(0, more)
            self._over[i] = 10 ** max(0, -more)

    def forget(self):
        """Nothing was measured."""
        for i in range(len(self.values)):
            self.values[i] = NULL

    def fail(self, now):
        """Reading has failed: it is tried again later, with growing delay."""
        self.failed = True
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
        self._before = 0  # the outbox's `next`, before the sample that is being taken went in

    def poll(self, now):
        """Takes what is due. Returns ms until the next is. Allocates nothing unless something goes wrong."""
        wait_ms = _IDLE_MS
        for number in range(len(self.sensors)):
            sensor = self.sensors[number]
            late_ms = ticks_diff(now, sensor.due)
            if late_ms >= 0:
                missed = late_ms // sensor.period_ms
                sensor.missed += missed
                # from the plan, not from now: a slow read must not shift later samples, nor a stall cause a burst
                sensor.due = ticks_add(sensor.due, (missed + 1) * sensor.period_ms)
                self._take(number, sensor, now)
            if ticks_diff(now, sensor.report_missed) >= 0:
                if sensor.missed:
                    self._report_missed(sensor, now)
                else:
                    sensor.report_missed = now  # moves on, or after 6 days the comparison would turn round
            wait_ms = sooner(wait_ms, sensor.due, now)
        return wait_ms

    def due_ms(self, now, wait_ms=0):
        """Milliseconds from `now` until a sample is due, of those that are due `wait_ms` from now and later."""
        soonest_ms = None
        for sensor in self.sensors:
            due_ms = ticks_diff(sensor.due, now)
            if due_ms < wait_ms:
                due_ms += (wait_ms - due_ms + sensor.period_ms - 1) // sensor.period_ms * sensor.period_ms
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
        self._before = -1
        try:
            self._read(sensor, t_ms, now)
            self._put(number, sensor, t_ms)
        except KeyboardInterrupt:  # Ctrl-C, at any place: a measurement that was begun leaves its trace
            if self._before in (-1, self._outbox.next):
                sensor.forget()
                self._put(number, sensor, t_ms)
            raise

    def _read(self, sensor, t_ms, now):
        try:
            sensor.read(now)
            if sensor.failed:
                sensor.failed = False
                self._event(sensor, t_ms, "sensor.ok", None)
        except NotYet:
            pass
        except Exception as error:  # the edge of a driver, which may be anyone's: it must not stop the others
            if not sensor.failed:
                self._event(sensor, t_ms, "sensor.failed", _reason(error, sensor.config))
            sensor.fail(now)

    def _put(self, number, sensor, t_ms):
        sensor.newest_ms = t_ms
        self._before = self._outbox.next  # Ctrl-C may strike behind it, too, while the sample is written to flash
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
