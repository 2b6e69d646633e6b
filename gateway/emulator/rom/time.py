# `time` as an ESP32 has it: ticks of 30 bits, whole seconds since 2000, and after power-up it is 2000.
# (The unix port has ticks of 62 bits, which never wrap, and floating seconds since 1970.)

import utime as _unix
from hardware import US_2000 as _US_2000
from hardware import looks as _looks
from hardware import rtc_us as _rtc_us
from hardware import ticks_us as _ticks_us

_PERIOD = 1 << 30
_MASK = _PERIOD - 1
_HALF = _PERIOD >> 1
_DAY_S = 86400


def ticks_us():
    return _ticks_us() & _MASK


def ticks_ms():
    if _looks:
        for look in _looks:
            look()
    return _ticks_us() // 1000 & _MASK


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return ticks + delta & _MASK


def ticks_diff(end, start):
    return (end - start + _HALF & _MASK) - _HALF


sleep_us = _unix.sleep_us


def sleep_ms(ms):
    end_us = _ticks_us() + ms * 1000
    if not _looks:
        _unix.sleep_ms(ms)  # counts whole milliseconds: it may come back one too early, and a board never does
    while (left_us := end_us - _ticks_us()) > 0:
        for look in _looks:
            look()
        _unix.sleep_us(min(left_us, 10000))


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


def time():
    return _rtc_us() // 1000000


def time_ns():
    return _rtc_us() * 1000


def gmtime(seconds=None):
    """(year, month, day, hour, minute, second, weekday, day of the year)"""
    return _unix.gmtime((time() if seconds is None else seconds) + _US_2000 // 1000000)[:8]


localtime = gmtime  # a board knows no time zone


def mktime(when):
    """Seconds since 2000. Fields may be out of range: the 32nd of January is the 1st of February."""
    year, month, day, hour, minute, second = when[:6]
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if month < 3:  # the year starts in March, so that the leap day is its last
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 730426
    return ((days * 24 + hour) * 60 + minute) * 60 + second
