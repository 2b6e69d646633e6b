import check
from device import signs
from device.clock import ticks_add
from device.signs import Signs


class Led:
    """Notes when it was switched."""

    def __init__(self):
        self.now = 0
        self.switched = []

    def __call__(self, lit):
        self.switched.append((self.now, lit))


def shown(trouble, from_ms, to_ms, step_ms=50):
    """(when, lit) of an LED under `trouble` from 0 on; polled every `step_ms`."""
    led = Led()
    sign = Signs(led)
    start = (1 << 30) - 30000  # the ticks wrap meanwhile
    for ms in range(from_ms, to_ms, step_ms):
        led.now = ms
        sign.poll(ticks_add(start, ms), trouble)
    return led.switched


def test_a_minute_is_not_told():
    check.equal(shown(signs.NO_GATEWAY, 0, 60000), [])


def test_then_as_many_flashes_as_the_trouble_has_and_a_pause():
    for trouble in (signs.NO_NETWORK, signs.WRONG_PASSWORD, signs.NO_GATEWAY, signs.UNTRUSTED, signs.REFUSED):
        switched = shown(trouble, 0, 60000 + trouble * 500 + 2000)
        lit = [when for when, on in switched if on]
        check.equal(lit, [60000 + 500 * number for number in range(trouble)])
        again = shown(trouble, 0, 60000 + trouble * 500 + 2100)
        check.equal([when for when, on in again if on][-1], 60000 + trouble * 500 + 2000)


def test_it_ends_dark_when_the_trouble_does_and_counts_the_minute_anew():
    led = Led()
    sign = Signs(led)
    sign.poll(0, signs.NO_NETWORK)
    sign.poll(60000, signs.NO_NETWORK)
    check.equal((led.switched[-1][1], sign.showing), (True, True))
    sign.poll(60100, signs.NONE)
    check.equal((led.switched[-1][1], sign.showing), (False, False))
    sign.poll(60200, signs.NO_NETWORK)
    sign.poll(120100, signs.NO_NETWORK)
    check.equal(sign.showing, False)


def test_weeks_of_trouble_are_still_shown():
    led = Led()
    sign = Signs(led)
    now = 0
    for _ in range(60):
        sign.poll(now, signs.NO_NETWORK)
        now = ticks_add(now, 0x8000000)  # 1.5 days
    check.equal(sign.showing, True)


check.run(globals())
