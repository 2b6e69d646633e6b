"""Builds the parts from settings and profile, and turns them: one loop, no interrupts, no other task.

    sensors -> sampler -> outbox -> link (wire, websocket) -> net -> the gateway
"""

import gc
from micropython import const
from time import ticks_add, ticks_diff

from device import port, wire
from device.commands import Commands
from device.link import FRAME_BYTES, IDLE, Identity, Link, new_boot_id
from device.log import Log
from device.net import Net
from device.outbox import Boot, Outbox
from device.sampler import Sampler, Sensor

_FLUSH_MS = const(3000)  # at a clean end: to send what is held and have it acknowledged
_CLOSE_MS = const(2500)


class Node:
    def __init__(self, settings, profile):
        """`settings` and `profile` as `config.load` gives them. Sensors that do not answer are tried again later."""
        clock = port.clock
        self._log = Log(clock)
        gateway = settings["gateway"]
        identity = Identity(
            settings["device"], port.hardware_id(), profile["node"], settings["token"], gateway["host"], gateway["port"]
        )
        open_driver = Drivers(profile["buses"])
        now = clock.ticks()
        sensors = [Sensor(config, open_driver, now) for config in profile["sensors"]]
        width = max(len(sensor.columns) for sensor in sensors)
        columns = wire.Columns([sensor.columns for sensor in sensors], FRAME_BYTES)
        boot = Boot(port.next_boot(), new_boot_id(port.urandom), profile["hash"])
        self._outbox = Outbox(boot, profile["delivery"]["ram_samples"], width)
        self._sampler = Sampler(sensors, self._outbox, clock)
        self._led = port.led(profile["outputs"])
        self._commands = Commands(clock, self._led)
        self._net = Net(settings["wifi"], gateway["host"], gateway["port"], self._log)
        self._link = Link(
            identity, self._outbox, self._sampler, self._commands, columns, self._net, clock, port.urandom, self._log
        )
        self._clock = clock
        self._watchdog = None
        self._outbox.put_event(clock.uptime_ms(), wire.event_body("boot", data={"reset_cause": port.reset_cause()}))
        self._log("info", "%s, boot %d (%s)" % (settings["device"], boot.number, boot.id))

    def run(self):
        """Until a `restart` command or Ctrl-C (KeyboardInterrupt)."""
        port.tidy()
        self._log("info", "%d bytes of memory are free" % gc.mem_free())
        self._watchdog = port.watchdog()
        self._link.start()
        while True:
            now = self._clock.ticks()
            wait_ms = min(self._sampler.poll(now), self._link.poll(now), self._commands.poll(now))
            if self._commands.restart_due(now):
                break
            self._wait(wait_ms)
        self._finish_link(ticks_add(self._clock.ticks(), _CLOSE_MS))
        port.restart()

    def finish(self):
        """The clean end: no more samples; what is held is sent and acknowledged (3 s at most); then goodbye."""
        self._led(False)
        now = self._clock.ticks()
        self._sampler.flush(now)
        until = ticks_add(now, _FLUSH_MS)
        while self._outbox.backlog() or self._commands.pending():
            now = self._clock.ticks()
            if ticks_diff(now, until) >= 0 or self._link.state == IDLE:
                break
            self._wait(min(self._link.poll(now), ticks_diff(until, now)))
        self._finish_link(ticks_add(self._clock.ticks(), _CLOSE_MS))
        self._log("info", "ended; %d records not acknowledged" % self._outbox.backlog())
        port.relax_watchdog()

    def _finish_link(self, until):
        self._link.stop()
        while self._link.state != IDLE:
            now = self._clock.ticks()
            if ticks_diff(now, until) >= 0:
                break
            self._wait(min(self._link.poll(now), ticks_diff(until, now)))
        self._net.close()

    def _wait(self, ms):
        if self._watchdog:
            self._watchdog.feed()
        self._net.wait(ms, self._link.sending())


class Drivers:
    """Finds and starts the driver of a chip, module `device.sensors.<chip>`. Buses are made once, when first needed."""

    def __init__(self, buses):
        self._configs = buses
        self._buses = {}

    def __call__(self, config):
        """(QUANTITIES, driver) for a sensor of the profile. Raises what the driver raises."""
        module = getattr(__import__("device.sensors." + config["chip"]).sensors, config["chip"])
        return module.QUANTITIES, module.Sensor(self._bus(config.get("bus")), config)

    def _bus(self, name):
        if name is None:
            return None
        if name not in self._buses:
            self._buses[name] = port.bus(self._configs[name])
        return self._buses[name]
