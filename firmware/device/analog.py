"""Shell: a voltage at a pin, in millivolts. One reading of an ESP32's ADC is off by tens of millivolts now and then, so
the middle one of several counts."""

from array import array

import machine
from micropython import const

_READINGS = const(9)
_FULL_MV = const(3300)  # of a port that gives nothing but a share of its supply


class Analog:
    def __init__(self, pin, readings=None):
        adc = machine.ADC(machine.Pin(pin))
        if hasattr(adc, "atten"):  # an ESP32: up to 2.45 V as it is calibrated (ESP32-C3 2.5, S3 2.9)
            adc.atten(machine.ADC.ATTN_11DB)
        self._adc = adc
        self._calibrated = hasattr(adc, "read_uv")  # by fuses that the maker has burnt
        self._found = array("i", [0] * max(1, readings or _READINGS))

    def read_mv(self):
        found = self._found
        for count in range(len(found)):
            mv = self._adc.read_uv() // 1000 if self._calibrated else self._adc.read_u16() * _FULL_MV // 65535
            at = count
            while at and found[at - 1] > mv:  # they are few, and sorted so far
                found[at] = found[at - 1]
                at -= 1
            found[at] = mv
        return found[len(found) // 2]
