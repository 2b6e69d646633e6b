# `machine.bitstream`, and what hangs on it: WS2812 pixels in a row, which the host sees in the page. A strip has a
# supply of its own: it keeps its colours through resets, and what is not written again stays as it is.

import hardware as _hw
import utime as _unix

_STRIPS = 4
_BYTES = 1024  # per strip in the page: pin + 1 and, in the upper half, how many bytes it holds; then those
_HEAD = 4
_BYTE_US = 10  # 8 bits of 1.25 us


def bitstream(pin, encoding, timing, data):
    try:
        number = pin._id
    except AttributeError:
        raise TypeError("expecting a pin")
    if encoding != 0:
        raise ValueError("encoding")
    if len(timing) != 4:
        raise ValueError("requested length 4 but object has length %d" % len(timing))
    at = _strip(number)
    if at is not None:
        size = min(len(data), _BYTES - _HEAD)
        _hw.page.write(at + _HEAD, memoryview(data)[:size])
        _hw.page.put32(at, number + 1 | max(size, _hw.page.get32(at) >> 16) << 16)
    _unix.sleep_us(len(data) * _BYTE_US)


def _strip(number):
    """Where the strip on this pin stands, or a free place; None: nothing is seen of a fifth."""
    for strip in range(_STRIPS):
        at = _hw.page.at["pixels"] + strip * _BYTES
        taken = _hw.page.get32(at) & 0xFF
        if taken in (0, number + 1):
            return at
    return None
