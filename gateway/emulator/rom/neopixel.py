# `neopixel`, which an ESP32's firmware has frozen in: WS2812 colours in a buffer, sent by machine.bitstream.

from strips import bitstream as _bitstream


class NeoPixel:
    ORDER = (1, 0, 2, 3)  # on the wire: green, red, blue, white

    def __init__(self, pin, n, bpp=3, timing=1):
        self.pin = pin
        self.n = n
        self.bpp = bpp
        self.buf = bytearray(n * bpp)
        if isinstance(timing, int):
            timing = (400, 850, 800, 450) if timing else (800, 1700, 1600, 900)
        self.timing = timing
        pin.init(pin.OUT)

    def __len__(self):
        return self.n

    def __setitem__(self, i, colour):
        for k in range(self.bpp):
            self.buf[i * self.bpp + self.ORDER[k]] = colour[k]

    def __getitem__(self, i):
        return tuple(self.buf[i * self.bpp + self.ORDER[k]] for k in range(self.bpp))

    def fill(self, colour):
        for i in range(self.n):
            self[i] = colour

    def write(self):
        _bitstream(self.pin, 0, self.timing, self.buf)
