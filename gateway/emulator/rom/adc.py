# `machine.ADC` as an ESP32 has it, over what is soldered to the pin. Without anything it floats.

import hardware as _hw

_FULL_UV = (1100000, 1500000, 2200000, 3100000)  # by attenuation: what its largest number means
_LEAST_UV = 128000  # below, an ESP32 measures nothing (ESP-IDF, "ADC calibration", 11 dB: 150 to 2450 mV)
_FLOATS_UV = 142000


class ADC:
    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    WIDTH_9BIT = 9
    WIDTH_10BIT = 10
    WIDTH_11BIT = 11
    WIDTH_12BIT = 12

    def __init__(self, pin, *, atten=None):
        self._chip = _hw.analog.get(pin._id)
        self._atten = 0 if atten is None else atten

    def atten(self, atten):
        if not 0 <= atten <= 3:
            raise ValueError("atten")
        self._atten = atten

    def width(self, bits):
        if not 9 <= bits <= 12:
            raise ValueError("width")

    def read_uv(self):
        uv = _FLOATS_UV if self._chip is None else self._chip.read_uv()
        return min(max(uv, _LEAST_UV), _FULL_UV[self._atten])

    def read_u16(self):
        """Not calibrated: what the converter gives for it, 12 bits wide."""
        step = self.read_uv() * 4095 // 3100000
        return step << 4 | step >> 8

    def read(self):
        return self.read_u16() >> 4
