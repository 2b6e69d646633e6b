# `machine` as an ESP32 has it, as far as the circuit goes: pins, PWM, ADC, I2C, watchdog, RTC, resets, sleep. What
# is not here (SPI, UART, Timer) is not emulated, and a program that imports it hears so.

import hardware as _hw
import umachine as _unix
import utime as _time
from adc import ADC as ADC
from pwm import PWM as PWM
from strips import bitstream as bitstream

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

Signal = _unix.Signal
time_pulse_us = _unix.time_pulse_us

_ENODEV = 19
_RTC_MEMORY_BYTES = 2048


class Pin(_unix.PinBase):
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=None, *, value=None):
        if not isinstance(id, int) or not 0 <= id < 64:
            raise ValueError("invalid pin")
        self._id = id
        self._at = _hw.page.at["pins"] + id
        self._driven_at = _hw.page.at["driven"] + id
        self._moved_at = _hw.page.at["driven_moved"] + id
        self._pwm_at = _hw.page.at["pwm"] + id * 8
        self._pull = None
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=None, *, value=None):
        state = _hw.page.get8(self._at)
        if mode != -1:
            state = state & 1 | 4 | (2 if mode & 2 else 0) | (8 if mode & 4 else 0)
            _hw.page.put32(self._pwm_at, 0)  # the pin belongs to its level again
            self._pull = pull
        if value is not None:
            state = state & ~1 | (1 if value else 0)
        _hw.page.put8(self._at, state)

    def value(self, level=None):
        if level is not None:
            _hw.page.put8(self._at, _hw.page.get8(self._at) & ~1 | (1 if level else 0))
            if self._id in _hw.scl_of:
                _hw.scl_of[self._id].drive_scl(level)
            return None
        if self._id in _hw.asked:
            _hw.asked[self._id]()
        return self()

    def _level(self):
        state = _hw.page.get8(self._at)
        if state & 10 == 2 or state & 11 == 10:  # an open drain that is released shows its line
            return state & 1
        if self._id in _hw.sda_of and _hw.sda_of[self._id].sda_is_low():
            return 0
        driven = _hw.page.get8(self._driven_at)  # 0: nothing is connected
        if driven:
            return driven - 1
        return 1 if self._pull == self.PULL_UP or self._id in _hw.scl_of or self._id in _hw.sda_of else 0

    def __call__(self, level=None):
        if level is not None:
            return self.value(level)
        for look in _hw.looks:  # an interrupt is no later than what the program can see itself
            look()
        return self._level()

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not _hw.page.get8(self._at) & 1)

    def irq(self, handler=None, trigger=IRQ_RISING | IRQ_FALLING):
        """The handler runs when the program next asks for the time or sleeps, not between two instructions."""
        last = [self._level(), _hw.page.get8(self._moved_at)]

        def look():
            level, moved = self._level(), _hw.page.get8(self._moved_at)
            there_and_back = level == last[0] and (moved - last[1] & 255) > 1  # quicker than the program looks
            if level != last[0] or there_and_back:
                last[0], last[1] = level, moved
                if there_and_back or trigger & (self.IRQ_RISING if level else self.IRQ_FALLING):
                    handler(self)

        for old in [old for pin, old in _irqs if pin == self._id]:
            _hw.looks.remove(old)
            _irqs.remove((self._id, old))
        if handler is not None:
            _hw.looks.append(look)
            _irqs.append((self._id, look))

    def __repr__(self):
        return "Pin(%d)" % self._id


_irqs = []


def _pin_id(pin):
    if not isinstance(pin, Pin):
        raise TypeError("expecting a pin")
    return pin._id


class I2C:
    """A controller. It reaches the chips that the circuit has on the very pins it was given."""

    _PINS = ((18, 19), (25, 26))  # scl and sda of controllers 0 and 1, when not given

    def __init__(self, id=-1, *, scl=None, sda=None, freq=400000, timeout=50000):
        if not 0 <= id < len(self._PINS):
            raise ValueError("I2C(%d) doesn't exist" % id)
        default_scl, default_sda = self._PINS[id]
        self._wire(
            default_scl if scl is None else _pin_id(scl),
            default_sda if sda is None else _pin_id(sda),
        )

    def _wire(self, scl, sda):
        self._wires = _hw.wires.get((scl, sda))  # None: nothing is there
        self._one = bytearray(1)
        self._two = bytearray(2)

    def _chip(self, address):
        if self._wires is None:
            raise OSError(_ENODEV)
        return self._wires.chip(address)

    def scan(self):
        return [address for address in range(0x08, 0x78) if self._answers(address)]

    def _answers(self, address):
        try:
            return self._chip(address)
        except OSError:
            return None

    def writeto(self, address, data, stop=True):
        self._chip(address).write(data)
        return len(data)

    def writevto(self, address, vector, stop=True):
        return self.writeto(address, b"".join(bytes(part) for part in vector), stop)

    def readfrom_into(self, address, buffer, stop=True):
        chip = self._chip(address)
        chip.read_into(buffer)
        self._wires.spoil(chip, buffer)

    def readfrom(self, address, size, stop=True):
        data = bytearray(size)
        self.readfrom_into(address, data)
        return bytes(data)

    def readfrom_mem_into(self, address, register, buffer, *, addrsize=8):
        chip = self._chip(address)
        chip.write(self._register(register, addrsize))
        chip.read_into(buffer)
        self._wires.spoil(chip, buffer)

    def readfrom_mem(self, address, register, size, *, addrsize=8):
        data = bytearray(size)
        self.readfrom_mem_into(address, register, data, addrsize=addrsize)
        return bytes(data)

    def writeto_mem(self, address, register, data, *, addrsize=8):
        self._chip(address).write(bytes(self._register(register, addrsize)) + bytes(data))

    def _register(self, register, addrsize):
        if addrsize == 16:
            self._two[0] = register >> 8
            self._two[1] = register & 255
            return self._two
        self._one[0] = register
        return self._one

    def deinit(self):
        pass


class SoftI2C(I2C):
    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        self._wire(_pin_id(scl), _pin_id(sda))


class WDT:
    """Cannot be stopped. The host kills a program that does not feed it and starts the board again, cause WDT_RESET."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("WDT(%d) doesn't exist" % id)
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        at = _hw.page.at
        self._deadline_at = at["wdt_deadline_us"]
        self._feeds_at = at["wdt_feeds"]
        self._timeout_us = timeout * 1000
        self.feed()
        _hw.page.put32(at["wdt_timeout_ms"], timeout)
        _hw.tell(b"armed")

    def feed(self):
        _hw.page.put64(self._deadline_at, _time.ticks_us() + self._timeout_us)
        _hw.page.put32(self._feeds_at, _hw.page.get32(self._feeds_at) + 1)


class RTC:
    def datetime(self, when=None):
        """(year, month, day, weekday, hour, minute, second, microsecond)"""
        import time

        if when is None:
            now_us = _hw.rtc_us()
            year, month, day, hour, minute, second, weekday, _ = time.gmtime(now_us // 1000000)
            return year, month, day, weekday, hour, minute, second, now_us % 1000000
        year, month, day, _, hour, minute, second, us = when
        _hw.set_rtc_us(time.mktime((year, month, day, hour, minute, second)) * 1000000 + us)
        return None

    def init(self, when):
        self.datetime(when)

    def memory(self, data=None):
        """2048 bytes that outlive every reset, and no power cut."""
        at = _hw.page.at["rtc_memory"]
        if data is None:
            return _hw.page.read(at + 4, _hw.page.get32(at))
        if len(data) > _RTC_MEMORY_BYTES:
            raise ValueError("buffer too long")
        _hw.page.put32(at, 0)
        _hw.page.write(at + 4, data)
        _hw.page.put32(at, len(data))
        return None


def reset():
    _hw.leave(b"reset")


def soft_reset():
    _hw.leave(b"soft")


def deepsleep(time_ms=0):
    _hw.page.put64(_hw.page.at["sleep_ms"], time_ms)
    _hw.leave(b"sleep")


def lightsleep(time_ms=0):
    if time_ms:
        _time.sleep_ms(time_ms)
    else:
        while True:
            _time.sleep(3600)


def idle():
    _time.sleep_ms(1)


def reset_cause():
    return _hw.page.get32(_hw.page.at["reset_cause"])


def wake_reason():
    return 4 if reset_cause() == DEEPSLEEP_RESET else 0  # 4: TIMER_WAKE


def unique_id():
    return bytes(_hw.circuit["unique_id"])


_freq = [160000000]


def freq(hertz=None):
    if hertz is None:
        return _freq[0]
    if hertz not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80MHz, 160MHz or 240MHz")
    _freq[0] = hertz
    return None


def disable_irq():
    """Nothing interrupts a program here but Ctrl-C, which a board lets through, too."""
    return 0


def enable_irq(state=0):
    pass
