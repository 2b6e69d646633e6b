"""Builds the parts from settings and profile, and turns them: one loop, no interrupts, no other task.

    sensors -> sampler -> outbox -> link (wire, websocket) -> net -> the gateway
"""

import gc
from micropython import const
from time import ticks_add, ticks_diff

from device import port, wire
from device.commands import Commands
from device.config import ConfigError
from device.executed import Executed
from device.journal import Journal
from device.link import FRAME_BYTES, IDLE, Identity, Link, new_boot_id
from device.log import Log
from device.net import Net
from device.outbox import Outbox
from device.places import Places
from device.sampler import Sampler, Sensor
from device.signs import Signs
from device.tokens import Tokens

_FLUSH_MS = const(3000)  # at a clean end: to send what is held and have it acknowledged
_CLOSE_MS = const(900)  # ... and for the closing handshake
_MINUTE_MS = const(60000)


class Node:
    def __init__(self, settings, profile):
        """`settings` and `profile` as `config.load` gives them. Sensors that do not answer are tried again later."""
        clock = port.clock
        self._log = Log(clock)
        gateway = settings["gateway"]
        tokens = Tokens(port.FLASH_ROOT + "/token.json", settings["token"])
        identity = Identity(
            settings["device"], port.hardware_id(), profile["node"], tokens, gateway["host"], gateway["port"]
        )
        open_driver = Drivers(profile["buses"])
        now = clock.ticks()
        sensors = [Sensor(config, open_driver, now) for config in profile["sensors"]]
        width = max(len(sensor.columns) for sensor in sensors)
        columns = wire.Columns([sensor.columns for sensor in sensors], FRAME_BYTES)
        delivery = profile["delivery"]
        a_minute = sum(_MINUTE_MS // sensor.period_ms for sensor in sensors)
        journal = Journal(
            port.FLASH_ROOT, delivery["flash_bytes"], max(64, a_minute), delivery["power_loss"] == "none", self._log
        )
        boot, held = journal.begin(profile["hash"], new_boot_id(port.urandom), columns.as_lists())
        self._outbox = Outbox(boot, delivery["ram_samples"], width, journal, held, columns)
        self._sampler = Sampler(sensors, self._outbox, clock)
        self._led = port.led(profile["outputs"])
        self._commands = Commands(clock, self._led, Executed(port.FLASH_ROOT + "/executed.bin"))
        self._signs = Signs(self._led)
        places = Places(port.FLASH_ROOT + "/place.json", gateway)
        self._net = Net(settings["wifi"], places, gateway["port"], secure(gateway), self._log)
        self._link = Link(
            identity, self._outbox, self._sampler, self._commands, self._net, clock, port.urandom, self._log
        )
        self._clock = clock
        self._watchdog = None
        self._in_link = False  # whether Ctrl-C, if it comes now, tears the link's work
        self._outbox.put_event(clock.uptime_ms(), wire.event_body("boot", data={"reset_cause": port.reset_cause()}))
        if journal.forgotten:
            boots, records = journal.forgotten
            data = {"boots": boots, "records": records}
            self._outbox.put_event(clock.uptime_ms(), wire.event_body("boots.forgotten", data=data))
        self._log("info", "%s, boot %d (%s)" % (settings["device"], boot.number, boot.id))
        for old in held:
            self._log("info", "boot %d holds %d records" % (old.number, old.next - old.base))

    def run(self):
        """Until a `restart` command, which ends in a restart, or Ctrl-C (KeyboardInterrupt): then call `finish`."""
        port.tidy()
        self._log("info", "%d bytes of memory are free" % gc.mem_free())
        self._watchdog = port.watchdog()
        self._link.start()
        while True:
            now = self._clock.ticks()
            wait_ms = min(self._sampler.poll(now), self._commands.poll(now))
            wait_ms = min(self._poll_link(now), wait_ms)
            if not self._commands.blinking():
                wait_ms = min(self._signs.poll(now, self._link.trouble()), wait_ms)
            self._outbox.poll(now, self._link.online())
            if self._commands.restart_due(now):
                self.finish()
                port.restart()
            self._wait(wait_ms)

    def finish(self):
        """The clean end: no more samples; what is held is sent and acknowledged (3 s at most), or goes to flash; then
        goodbye."""
        self._led(False)
        if self._in_link:
            self._link.again()
        now = self._clock.ticks()
        self._sampler.flush(now)
        self._turn_link(_FLUSH_MS, lambda: self._outbox.backlog() or self._commands.pending())
        self.save()
        self._link.stop()
        self._turn_link(_CLOSE_MS, lambda: self._link.state != IDLE)
        self._net.close()
        self._log("info", "ended; %d records not acknowledged" % self._outbox.backlog())

    def save(self):
        """What the gateway has not acknowledged goes to flash; the next boot sends it."""
        lost = self._outbox.save()
        if lost:
            self._log("warning", "flash: %d records are lost" % lost)

    def _turn_link(self, ms, going):
        """Runs the connection alone while `going()`, for `ms` at most."""
        until = ticks_add(self._clock.ticks(), ms)
        while going():
            now = self._clock.ticks()
            left_ms = ticks_diff(until, now)
            if left_ms <= 0:
                break
            self._wait(min(self._poll_link(now), left_ms))

    def _poll_link(self, now):
        self._in_link = True
        wait_ms = self._link.poll(now)
        self._in_link = False
        return wait_ms

    def _wait(self, ms):
        if self._watchdog:
            self._watchdog.feed()
        self._net.wait(ms, self._link.sending())


def secure(gateway):
    """What TLS of the settings' `gateway` needs, or None where it is to be spoken to without."""
    if gateway["ca"] is None:
        return None
    try:
        from device.secure import Secure

        return Secure(gateway["ca"], gateway["name"])
    except ImportError:
        raise ConfigError("this MicroPython cannot do TLS: flash one that can")
    except ValueError as error:
        raise ConfigError("/ca.der cannot be used (%s): flash the board again (mpy-gateway flash)" % error)


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
