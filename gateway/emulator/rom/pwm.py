# `machine.PWM` as an ESP32 has it since MicroPython 1.25 (ports/esp32/machine_pwm.c): 16 channels, 8 timers, each with
# a frequency of its own, and the resolution that a frequency leaves. The host sees frequency and duty in the page.

import hardware as _hw

_CHANNELS = 16
_TIMERS = 8
_FULL = 65536
_DEFAULT_HZ = 5000
_BYTES = 8  # per pin in the page: frequency and duty in 65,536ths, 32 bits each; frequency 0: no PWM
_PINS = 64


def _at(pin):
    return _hw.page.at["pwm"] + pin * _BYTES


class PWM:
    def __init__(self, dest, freq=-1, *, duty=-1, duty_u16=-1, duty_ns=-1, invert=False, lightsleep=False):
        try:
            self._pin = dest._id
        except AttributeError:
            raise TypeError("expecting a pin")
        self._at = _at(self._pin)
        self._hz = 0
        self._scale = None  # which of `duty`, `duty_u16` and `duty_ns` was given last: it is what a new frequency keeps
        self.init(freq, duty=duty, duty_u16=duty_u16, duty_ns=duty_ns, invert=invert)

    def init(self, freq=-1, *, duty=-1, duty_u16=-1, duty_ns=-1, invert=False, lightsleep=False):
        if freq != -1:
            _check_hz(freq)
        used = _hw.page.get32(self._at)
        self._invert = invert
        hz = freq if freq != -1 else used or _DEFAULT_HZ
        self._take(hz)
        if duty_u16 >= 0:
            self._give(_u16(duty_u16))
        elif duty_ns >= 0:
            self._give(self._ns(duty_ns))
        elif duty >= 0:
            self._give(_u10(duty))
        else:
            self._give(self._scale or (_FULL // 2, False))

    def deinit(self):
        _hw.page.put32(self._at, 0)
        level = _hw.page.at["pins"] + self._pin
        _hw.page.put8(level, _hw.page.get8(level) & ~1 | (1 if self._invert else 0))
        self._hz = 0
        self._scale = None

    def freq(self, hz=None):
        self._need()
        if hz is None:
            return self._hz
        _check_hz(hz)
        self._take(hz)
        self._give(self._scale)
        return None

    def duty_u16(self, value=None):
        self._need()
        if value is None:
            return min(self._duty, _FULL - 1)
        self._give(_u16(value))
        return None

    def duty(self, value=None):
        self._need()
        if value is None:
            return self.duty_u16() >> 6
        self._give(_u10(value))
        return None

    def duty_ns(self, value=None):
        self._need()
        if value is None:
            return self._to_ns(self.duty_u16())
        self._give(self._ns(value))
        return None

    def _need(self):
        if not self._hz:
            raise RuntimeError("PWM is inactive")

    def _take(self, hz):
        """A channel, and a timer of this frequency."""
        others = [_hw.page.get32(_at(pin)) for pin in range(_PINS) if pin != self._pin]
        others = [other for other in others if other]
        if len(others) >= _CHANNELS:
            raise RuntimeError("out of PWM channels:%d" % _CHANNELS)
        if hz not in others and len(set(others)) >= _TIMERS:
            raise RuntimeError("out of PWM timers:%d" % _TIMERS)
        self._hz = hz

    def _give(self, wanted):
        """`wanted`: a duty in 65,536ths, or one in nanoseconds and True."""
        self._scale = wanted
        value, in_ns = wanted
        if in_ns:
            value = min((value * _FULL * self._hz + 500000000) // 1000000000 or (1 if value else 0), _FULL)
        drop = 16 - _bits(self._hz)
        self._duty = value >> drop << drop
        _hw.page.put32(self._at + 4, _FULL - self._duty if self._invert else self._duty)
        _hw.page.put32(self._at, self._hz)

    def _ns(self, value):
        longest = self._to_ns(_FULL)
        if not 0 <= value <= longest:
            raise ValueError("duty_ns must be from 0 to %d ns" % longest)
        return value, True

    def _to_ns(self, duty):
        return (duty * 1000000000 + self._hz * (_FULL // 2)) // (self._hz * _FULL)

    def __repr__(self):
        if not self._hz:
            return "PWM(Pin(%d))" % self._pin
        return "PWM(Pin(%d), freq=%d, duty_u16=%d)" % (self._pin, self._hz, self.duty_u16())


def _check_hz(hz):
    if not 0 < hz <= 40000000:
        raise ValueError("frequency must be from 1Hz to 40MHz")


def _u16(value):
    if not 0 <= value < _FULL:
        raise ValueError("duty_u16 must be from 0 to %d" % _FULL)
    return (_FULL if value == _FULL - 1 else value), False


def _u10(value):
    if not 0 <= value < 1024:
        raise ValueError("duty must be from 0 to 1023")
    return (_FULL if value == 1023 else value << 6), False


def _bits(hz):
    """The resolution that the timer's clock leaves: 80 MHz, or 1 MHz below 10 Hz."""
    steps = (80000000 if hz >= 10 else 1000000) // hz
    bits = 0
    while steps > 1 and bits < 16:
        steps >>= 1
        bits += 1
    return bits


for _pin in range(_PINS):  # a start, also after a soft reset: no pin has PWM
    _hw.page.put64(_at(_pin), 0)
