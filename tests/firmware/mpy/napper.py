"""A board that sleeps, on a stage: the real Sleeper, sensors that answer at once, the RTC and the chip's sleep in the
hands of a test."""

import sys
from array import array

from device import asleep, port
from device.outbox import Boot, Outbox

SETTINGS = {"device": "greenhouse", "token": "T" * 43, "gateway": {"host": "127.0.0.1", "port": 9, "tls": False, "ca": None}, "wifi": []}
PROFILE = {
    "hash": "5a0f9c3be1d27718",
    "node": "soil-node",
    "buses": {},
    "outputs": [],
    "inputs": [],
    "sensors": [
        {"name": name, "chip": "quick", "period_ms": 600000, "quantities": [{"name": name, "decimals": 2}]}
        for name in ("soil", "ground", "battery")
    ],
    "delivery": {"ram_samples": 128, "power_loss": "unsent", "flash_bytes": 65536},
    "power": {"deep_sleep": True, "send_every_ms": 3600000},
}
BOOT_ID = "00000000000000aa"
HELD = 15  # records: five wakes of three sensors
UPTIME_MS = 3000000


class Quick:
    QUANTITIES = (("soil", 2), ("ground", 2), ("battery", 2))

    class Sensor:
        def __init__(self, bus, config):
            pass

        def read_into(self, values):
            values[0] = values[1] = values[2] = 2150


class Asleep(BaseException):
    """The chip sleeps: no code runs behind it."""

    def __init__(self, ms):
        self.ms = ms


class Stage:
    """What is around the program: `rtc` the RTC's memory, `rtc_ms` its clock, `slept` whether this start is a wake."""

    def __init__(self, folder):
        self.rtc = memory()
        self.rtc_ms = 800_000_600_000
        self.slept = True
        self.wrote = []
        """What was written to the RTC's memory, in order."""
        port.FLASH_ROOT = folder
        port.slept = lambda: self.slept
        port.rtc_ms = lambda: self.rtc_ms
        port.remembered = lambda: self.rtc
        port.remember = self._remember
        port.deep_sleep = self._deep_sleep
        sys.modules["device.sensors.quick"] = Quick
        sys.modules["device.sensors"].quick = Quick

    def _remember(self, data):
        self.rtc = bytes(data)
        self.wrote.append(self.rtc)

    def _deep_sleep(self, ms):
        self.asleep = self.rtc  # what it remembers while it sleeps
        raise Asleep(ms)

    def remembered(self):
        return asleep.unpack(self.asleep, SETTINGS["device"])


def memory(slept_ms=600000, profile=PROFILE, uptime_ms=UPTIME_MS, device=SETTINGS["device"]):
    """Of a board that went to sleep for ten minutes, `slept_ms` ago."""
    box = Outbox(Boot(7, BOOT_ID, profile["hash"]), 128, 1)
    for i in range(HELD):
        box.put_sample(i % 3, i * 200000, array("i", [i]), 1)
    box.running.next = box.next
    found = asleep.Memory(box.running, 200)
    found.written = True
    found.uptime_ms = uptime_ms
    found.rtc_ms = 800_000_600_000 - slept_ms
    found.sleep_ms = 600000
    found.due_ms = 7200000
    found.plans = [(600000, 0, 1000, False)] * 3
    return found.pack(device, box.ring)
