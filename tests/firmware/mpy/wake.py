"""What a wake of a board that sleeps costs, without Wi-Fi: from the first import to deep sleep, with a sensor that
answers at once. Prints one JSON object. Run by tests/bench/firmware.py, on the firmware as it is flashed.

    wake.py FOLDER     an empty one, in which the board's flash begins
"""

import sys
import time

began_us = time.ticks_us()

from device import port  # noqa: E402  # what is imported is what is measured
from device.doze import Sleeper  # noqa: E402

imported_us = time.ticks_diff(time.ticks_us(), began_us)

import json  # noqa: E402
import os  # noqa: E402

from device import asleep  # noqa: E402
from device.outbox import Boot, Outbox  # noqa: E402

SETTINGS = {"device": "greenhouse", "token": "T" * 43, "gateway": {"host": "127.0.0.1", "port": 9, "ca": None}, "wifi": []}
PROFILE = {
    "hash": "5a0f9c3be1d27718",
    "node": "soil-node",
    "buses": {},
    "outputs": [],
    "sensors": [
        {"name": name, "chip": "quick", "period_ms": 600000, "quantities": [{"name": name, "decimals": 2}]}
        for name in ("soil", "ground", "battery")
    ],
    "delivery": {"ram_samples": 128, "power_loss": "unsent", "flash_bytes": 65536},
    "power": {"deep_sleep": True, "send_every_ms": 3600000},
}
HELD = 15  # records: five wakes of three sensors


class Quick:
    QUANTITIES = (("soil", 2), ("ground", 2), ("battery", 2))

    class Sensor:
        def __init__(self, bus, config):
            pass

        def read_into(self, values):
            values[0] = values[1] = values[2] = 2150


class Asleep(BaseException):
    pass


def memory():
    """Of a board that went to sleep ten minutes ago."""
    from array import array

    box = Outbox(Boot(7, "00000000000000aa", PROFILE["hash"]), 128, 1)
    for i in range(HELD):
        box.put_sample(i % 3, i * 200000, array("i", [i]), 1)
    box.running.next = box.next
    found = asleep.Memory(box.running, 200)
    found.written = True
    found.uptime_ms = 3000000
    found.rtc_ms = port.rtc_ms()
    found.sleep_ms = 600000
    found.due_ms = 7200000
    found.plans = [(600000, 0, 1000, False)] * 3
    return found.pack(SETTINGS["device"], box.ring)


def deep_sleep(ms):
    raise Asleep


def main(folder):
    port.rtc_ms = lambda: 800_000_000_000
    sys.modules["device.sensors.quick"] = Quick
    sys.modules["device.sensors"].quick = Quick
    kept = [memory()]
    port.rtc_ms = lambda: 800_000_600_000
    port.FLASH_ROOT = folder
    port.slept = lambda: True
    port.remembered = lambda: kept[0]
    port.remember = lambda data: kept.insert(0, data)
    port.deep_sleep = deep_sleep
    before_us = time.ticks_us()
    try:
        Sleeper(SETTINGS, PROFILE).run()
    except Asleep:
        pass
    work_us = time.ticks_diff(time.ticks_us(), before_us)
    records = asleep.unpack(kept[0], SETTINGS["device"]).records
    loop_us = time.ticks_us()
    for _ in range(100000):
        pass
    loop_us = time.ticks_diff(time.ticks_us(), loop_us)
    found = {"import_us": imported_us, "work_us": work_us, "loop_100k_us": loop_us, "records": len(records)}
    found["modules"] = sorted(name for name in sys.modules if name.startswith("device"))
    found["wrote"] = os.listdir(folder)
    print(json.dumps(found))


main(sys.argv[1])
