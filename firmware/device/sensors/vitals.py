"""The chip's own vital signs. What it tells about itself is the first thing to look at when a board misbehaves."""

import gc

import network
from device import port
from device.sensors import NULL

QUANTITIES = (("rssi", 0), ("free_heap", 0), ("uptime", 0), ("reset_cause", 0))


class Sensor:
    def __init__(self, bus, config):
        self._wlan = network.WLAN(network.STA_IF)
        self._reset_cause = port.reset_cause()

    def read_into(self, values):
        """rssi in dBm (NULL without Wi-Fi), free_heap in bytes, uptime in s, reset_cause as the port numbers it."""
        try:
            values[0] = self._wlan.status("rssi")  # exactly once per sample, and nowhere else: emulation counts it
        except OSError:
            values[0] = NULL
        values[1] = gc.mem_free()
        values[2] = port.clock.uptime_ms() // 1000
        values[3] = self._reset_cause
