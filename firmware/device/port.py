"""Which board or interpreter is this? The only file that asks; all others are the same everywhere."""

import binascii
import gc
import os
import socket
import time

import machine

from device.bus import free
from device.clock import Clock
from device.sensors import BUS_STUCK, ETIMEDOUT, SensorError

clock = Clock(time.ticks_ms)
urandom = os.urandom
FLASH_ROOT = ""

_S_UNTIL_2000 = 946684800  # from 1970
_EARLIEST_MS = 1767225600000  # 2026
_LATEST_MS = 4102444800000  # 2100
_WATCHDOG_MS = 30000
_DEEP_SLEEP = 4  # reset_cause()
_WATCHDOG_REPL_MS = 24 * 3600 * 1000  # an ESP32's watchdog cannot be stopped, only be given more time
# An RP2's takes no more than it counts in 24 bits (MicroPython, ports/rp2/machine_wdt.c), and can be stopped: bit 30 of
# its CTRL ("RP2040 Datasheet", section 4.7.6; "RP2350 Datasheet", section 12.9).
_WATCHDOG_RP2_MS = 8388
_WATCHDOG_RP2040 = 0x40058000
_WATCHDOG_RP2350 = 0x400D8000
_WATCHDOG_ENABLED = 1 << 30


class _NoWatchdog:
    def feed(self):
        pass


def watchdog():
    """Has a `feed()` that must be called every 30 s (8 s on an RP2), or the board restarts."""
    if not hasattr(machine, "WDT"):
        return _NoWatchdog()
    try:
        return machine.WDT(timeout=_WATCHDOG_MS)
    except ValueError:
        return machine.WDT(timeout=_WATCHDOG_RP2_MS)


def relax_watchdog():
    """Whoever works at the REPL, or copies files, is left alone for a day; on an RP2, for good."""
    if not hasattr(machine, "WDT"):
        return
    try:
        machine.WDT(timeout=_WATCHDOG_REPL_MS)
    except ValueError:
        at = _WATCHDOG_RP2040 if "RP2040" in os.uname()[4] else _WATCHDOG_RP2350
        machine.mem32[at] &= ~_WATCHDOG_ENABLED


def hardware_id():
    """Stays the same for one piece of hardware: 12 hex digits on an ESP32."""
    return binascii.hexlify(machine.unique_id()).decode()


def reset_cause():
    """As `machine.reset_cause()` on an ESP32: 1 power on or reset button, 2 restart or crash, 3 watchdog, 4 deep sleep,
    5 soft reset. An RP2 knows 1 and 3 alone, and restarts by its watchdog."""
    return machine.reset_cause()


def restart():
    machine.reset()


def slept():
    """Whether the board comes out of deep sleep."""
    return machine.reset_cause() == _DEEP_SLEEP


def deep_sleep(ms):
    """Everything off but the RTC. Wakes as a start does, with `slept()`; does not return."""
    machine.deepsleep(ms)


def remembered():
    """What `remember` was given, through every reset but that of a power cut: 2048 bytes on an ESP32."""
    return machine.RTC().memory() if hasattr(machine.RTC, "memory") else b""


def remember(data):
    machine.RTC().memory(data)


def rtc_ms():
    """A clock that goes on in deep sleep, as well as the board can: an ESP32's may be 5 % off. Only spans mean
    something, and those in which nobody calls `set_date`."""
    return time.time_ns() // 1000000


def rest(outputs):
    """Each of the profile's outputs at the level its circuit rests at: a soft reset leaves pins as they were."""
    for output in outputs:
        machine.Pin(output["pin"], machine.Pin.OUT, value=output["active"] == "low")


def led(outputs):
    """A function that switches the first LED among the profile's outputs on (True) or off; a dummy without one."""
    for output in outputs:
        if output["kind"] == "led":
            pin = machine.Pin(output["pin"], machine.Pin.OUT)
            on = output["active"] != "low"
            pin.value(not on)
            return lambda lit: pin.value(lit == on)
    return lambda lit: None


def bus(config):
    """The bus of one entry of the profile's `buses`, made anew: its controller starts afresh, also for who has it
    already, and a line that a chip holds low is freed. SensorError where that does not help."""
    if config["kind"] == "i2c":
        pin = machine.Pin
        scl, sda = pin(config["scl"], pin.IN, pin.PULL_UP), pin(config["sda"], pin.IN, pin.PULL_UP)
        if not sda.value() or not scl.value():
            scl.init(pin.OPEN_DRAIN, value=1)
            sda.init(pin.OPEN_DRAIN, value=1)
            if not free(scl, sda):
                raise SensorError(BUS_STUCK, ETIMEDOUT)
        return machine.I2C(config["id"], scl=scl, sda=sda, freq=config["frequency_hz"])
    if config["kind"] == "onewire":
        import onewire  # most nodes have none

        return onewire.OneWire(machine.Pin(config["data"]))
    raise ValueError("a bus of kind '%s' is not supported" % config["kind"])


def host_of(address):
    """The host in text of what `getaddrinfo` gave: most ports give (host, port), unix bytes. None: no IPv4."""
    if type(address) is tuple:
        return address[0]
    family, host = socket.sockaddr(address)[:2]
    return "%d.%d.%d.%d" % tuple(host) if family == socket.AF_INET else None


def date():
    """What the board's clock says, UTC, as YYYYMMDDhhmmss. It says 2000 after power-up."""
    year, month, day, _, hour, minute, second, _ = machine.RTC().datetime()
    return "%04d%02d%02d%02d%02d%02d" % (year, month, day, hour, minute, second)


def set_date(unix_ms):
    """Sets the board's clock; what is no date of this century since this was written is ignored."""
    if not _EARLIEST_MS <= unix_ms < _LATEST_MS:
        return
    since = _S_UNTIL_2000 if time.gmtime(0)[0] == 2000 else 0  # where the port counts from
    year, month, day, hour, minute, second, weekday = time.gmtime(unix_ms // 1000 - since)[:7]
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, unix_ms % 1000 * 1000))


def tidy():
    """Collects garbage now, and then before a quarter of what is free is used up: small pauses, no fragments."""
    gc.collect()
    gc.threshold(gc.mem_free() // 4 + gc.mem_alloc())
