"""Builds the parts from settings and profile, and turns them: one loop, no interrupts, no other task.

    sensors -> sampler -> outbox -> link (wire, websocket) -> net -> the gateway
"""

import gc
from micropython import const
from time import ticks_add, ticks_diff

from device import port
from device.bootfile import new_boot_id
from device.columns import event_body
from device.config import ConfigError
from device.log import Log
from device.outbox import Outbox
from device.sampler import Sampler, Sensor

_FLUSH_MS = const(3000)  # at a clean end: to send what is held and have it acknowledged
_CLOSE_MS = const(900)  # ... and for the closing handshake
_MINUTE_MS = const(60000)
_IDLE_MS = const(1000)


class Node:
    def __init__(self, settings, profile):
        """`settings` and `profile` as `config.load` gives them. Sensors that do not answer are tried again later."""
        clock = port.clock
        self._clock = clock
        self._log = Log(clock)
        self._settings = settings
        self._profile = profile
        now = clock.ticks()
        self._outputs, self._buttons = panel(profile, now)
        open_driver = Drivers(profile["buses"], self._outputs, self._buttons)
        self._sensors = [Sensor(config, open_driver, now) for config in profile["sensors"]]
        self._width = max(len(sensor.columns) for sensor in self._sensors)
        self._led = port.led(profile["outputs"])
        self._outbox = self._sampler = None
        self._commands = self._net = self._link = self._signs = None
        self._watchdog = None
        self._in_link = False  # whether Ctrl-C, if it comes now, tears the link's work
        self._start()

    def _start(self):
        self._begin(remembered(self._settings["device"]))
        self._open_link()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _open_journal(self):
        from device.journal import Journal

        delivery = self._profile["delivery"]
        each = delivery["power_loss"] == "none"
        return Journal(port.FLASH_ROOT, delivery["flash_bytes"], self._step(), each, self._log)

    def _step(self):
        """How many records are promised at a time."""
        return max(64, sum(_MINUTE_MS // sensor.period_ms for sensor in self._sensors))

    def _columns(self):
        from device import link, wire

        return wire.Columns([sensor.columns for sensor in self._sensors], link.FRAME_BYTES)

    def _begin(self, memory):
        """A new boot. `memory`: what the RTC remembers of the one before, or None."""
        clock = self._clock
        journal = self._open_journal()
        columns = self._columns()
        boot, held = journal.begin(self._profile["hash"], new_boot_id(port.urandom), columns.as_lists(), memory)
        if memory:
            port.remember(b"")  # what was in there is on flash
        self._collect(boot, journal, held, columns)
        self._outbox.put_event(clock.uptime_ms(), event_body("boot", data={"reset_cause": port.reset_cause()}))
        if journal.forgotten:
            boots, records = journal.forgotten
            data = {"boots": boots, "records": records}
            self._outbox.put_event(clock.uptime_ms(), event_body("boots.forgotten", data=data))
        self._log("info", "%s, boot %d (%s)" % (self._settings["device"], boot.number, boot.id))
        for old in held:
            self._log("info", "boot %d holds %d records" % (old.number, old.next - old.base))

    def _collect(self, boot, journal, held, columns):
        slots = self._profile["delivery"]["ram_samples"]
        self._outbox = Outbox(boot, slots, self._width, journal, held, columns)
        self._sampler = Sampler(self._sensors, self._outbox, self._clock)

    def _open_link(self, tries=0):
        """What it takes to talk to the gateway. A board that wakes only to measure does without: it is half of all.
        `tries`: so many starts have failed before; where it may be is tried from another end."""
        from device.commands import Commands
        from device.executed import Executed
        from device.link import Identity, Link
        from device.net import Net
        from device.places import Places
        from device.signs import Signs
        from device.tokens import Tokens

        settings = self._settings
        gateway = settings["gateway"]
        tokens = Tokens(port.FLASH_ROOT + "/token.json", settings["token"])
        node = self._profile["node"]
        identity = Identity(settings["device"], port.hardware_id(), node, tokens, gateway["host"], gateway["port"])
        clock = self._clock
        self._commands = Commands(clock, self._led, Executed(port.FLASH_ROOT + "/executed.bin"), self._outputs)
        self._signs = Signs(self._led)
        places = Places(port.FLASH_ROOT + "/place.json", gateway, tries)
        wifi = settings["wifi"]
        first = tries % max(1, len(wifi))
        self._net = Net(wifi[first:] + wifi[:first], places, gateway["port"], secure(gateway), self._log)
        self._link = Link(
            identity, self._outbox, self._sampler, self._commands, self._net, clock, port.urandom, self._log
        )

    # -- turns ---------------------------------------------------------------------------------------------------------

    def run(self):
        """Until a `restart` command, which ends in a restart, or Ctrl-C (KeyboardInterrupt): then call `finish`."""
        port.tidy()
        self._log("info", "%d bytes of memory are free" % gc.mem_free())
        self._watchdog = port.watchdog()
        self._link.start()
        while True:
            now = self._clock.ticks()
            wait_ms = self._buttons.poll(now) if self._buttons else _IDLE_MS
            wait_ms = min(self._sampler.poll(now), self._commands.poll(now), wait_ms)
            wait_ms = min(self._poll_link(now), wait_ms)
            if not self._commands.blinking():
                wait_ms = min(self._signs.poll(now, self._link.trouble()), wait_ms)
            self._outbox.poll(now, self._link.online())
            if self._commands.restart_due(now):
                self.finish()
                port.restart()
            self._wait(0 if self._sampler.eager() else wait_ms)

    def finish(self):
        """The clean end: no more samples; what is held is sent and acknowledged (3 s at most), or goes to flash; then
        goodbye."""
        self._led(False)
        self.rest()
        if self._in_link:
            self._link.again()
        now = self._clock.ticks()
        self._sampler.flush(now)
        self._turn_link(_FLUSH_MS, lambda: self._outbox.backlog() or self._commands.pending())
        self.save()
        self._link.stop()
        self._turn_link(_CLOSE_MS, self._link.busy)
        self._net.close()
        self._log("info", "ended; %d records not acknowledged" % self._outbox.backlog())

    def rest(self):
        """Whatever is switched on is switched off."""
        for output in self._outputs:
            output.set(0)

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


def remembered(device):
    """The `asleep.Memory` of a boot that slept, None where there is none."""
    data = port.remembered()
    if not data:
        return None
    from device import asleep

    return asleep.unpack(data, device)


def panel(profile, now):
    """The profile's outputs, and its buttons or None. Most nodes have neither, and do without the code."""
    outputs, inputs = profile["outputs"], profile.get("inputs")
    made = ()
    if any(output["kind"] != "led" for output in outputs):
        from device.outputs import make

        made = make(outputs)
    if not inputs:
        return made, None
    from device.buttons import Buttons

    return made, Buttons(inputs, made, now)


class Drivers:
    """Finds and starts the driver of a chip, module `device.sensors.<chip>`. Its bus is made anew each time: a chip is
    started again when it has failed, and the bus may be what has."""

    def __init__(self, buses, outputs=(), buttons=None):
        """`outputs` and `buttons`: what the chips of these names, `outputs` and `inputs`, have in place of a bus."""
        self._buses = buses
        self._own = {"outputs": outputs, "inputs": buttons.all if buttons else ()}

    def __call__(self, config):
        """(QUANTITIES, driver) for a sensor of the profile. Raises what the driver raises."""
        module = getattr(__import__("device.sensors." + config["chip"]).sensors, config["chip"])
        if config["chip"] in self._own:
            driver = module.Sensor(self._own[config["chip"]], config)
            return driver.quantities, driver
        bus = config.get("bus")
        return module.QUANTITIES, module.Sensor(port.bus(self._buses[bus]) if bus else None, config)
