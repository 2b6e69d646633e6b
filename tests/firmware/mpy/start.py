"""What a start of a board costs: from the first import to its first sample. Prints one JSON object. Run on the firmware
as it is flashed, by tests/bench/firmware.py and tests/gateway/provision/test_firmware.py.

    start.py FOLDER     with settings.json, profile.json and ca.der; the board's flash begins in it
"""

import sys
import time

began_us = time.ticks_us()

from device import config, parts, port  # noqa: E402  # what is imported is what is measured

folder = sys.argv[1]
settings, profile = config.load(folder + "/settings.json", folder + "/profile.json", folder + "/ca.der")
parts.load(settings["gateway"]["ca"])

from device.node import Node  # noqa: E402

imported_us = time.ticks_diff(time.ticks_us(), began_us)


class Bus:
    """A BME280 that has just measured; calibration and result are any."""

    def readfrom_mem(self, address, register, size):
        return bytes(range(register & 15, (register & 15) + size))

    def readfrom_mem_into(self, address, register, buf):
        for i in range(len(buf)):
            buf[i] = 0x60 if register == 0xD0 else 0x40 if register == 0xF7 else 0

    def writeto_mem(self, address, register, data):
        pass


slept_us = 0


def sleep_ms(ms):
    """While the chip measures, the board's processor does nothing."""


port.FLASH_ROOT = folder
port.bus = lambda config: Bus()
time.sleep_ms = sleep_ms
node = Node(settings, profile)
while node._sampler.newest[0][0] in (None, -0x40000000):
    node._sampler.poll(port.clock.ticks())
first_us = time.ticks_diff(time.ticks_us(), began_us)

import json  # noqa: E402

loop_us = time.ticks_us()
for _ in range(100000):
    pass
loop_us = time.ticks_diff(time.ticks_us(), loop_us)
modules = sorted(name for name in sys.modules if name.startswith("device"))
print(json.dumps({"import_us": imported_us, "first_us": first_us, "loop_100k_us": loop_us, "modules": modules}))
