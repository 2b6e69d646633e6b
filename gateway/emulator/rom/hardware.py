# What the modules of the emulated board share: the hardware page, the line to the host, the circuit. Private to rom/
# and chips/.
#
# All of it runs in the firmware's heap and in the firmware's time, so what is called per sample allocates nothing:
# integers of up to 62 bits, buffers made at power-up. And Ctrl-C can strike at any jump: what must not be torn has
# none.

from array import array

import utime as _unix  # the interpreter's own: rom/time.py takes the name

sleep_us = _unix.sleep_us
US_2000 = 946684800 * 1000000  # from 1970 to 2000, the epoch of a board

page = None
circuit = None
wires = {}  # (scl pin, sda pin) -> the wires of an I2C bus
scl_of = {}  # pin -> the wires it is SCL of
sda_of = {}
scripts = None  # the signals that the host gave (scripted.py)
asked = {}  # pin -> called when the program asks for its level by `value()`
analog = {}  # pin -> the chip whose voltage is at it
onewire_chips = {}  # data pin -> chips on it
radio = None  # what WLAN.status("rssi") asks
looks = []  # functions called whenever the program asks for the time: pins look for edges here

ballast = None  # see power.fill_heap

_control = None
_truth = None


class Page:
    """The hardware page, field by field (gateway/emulator/page.py has the table). Both sides are little-endian."""

    def __init__(self, path, offsets):
        self.at = offsets
        self._file = open(path, "r+b")
        self._seek = self._file.seek
        self._write = self._file.write
        self._read = self._file.readinto
        self._byte = array("B", [0])
        self._word = array("i", [0])
        self._long = array("l", [0])  # 8 bytes; "q" would make an object of each value read

    def put8(self, offset, value):
        self._byte[0] = value
        self._seek(offset)
        self._write(self._byte)

    def put32(self, offset, value):
        self._word[0] = value
        self._seek(offset)
        self._write(self._word)

    def put64(self, offset, value):
        self._long[0] = value
        self._seek(offset)
        self._write(self._long)

    def get8(self, offset):
        self._seek(offset)
        self._read(self._byte)
        return self._byte[0]

    def get32(self, offset):
        self._seek(offset)
        self._read(self._word)
        return self._word[0]

    def get64(self, offset):
        self._seek(offset)
        self._read(self._long)
        return self._long[0]

    def read(self, offset, size):
        self._seek(offset)
        return self._file.read(size)

    def write(self, offset, data):
        self._seek(offset)
        self._write(data)


def open_board(given, control_fd):
    """Take the circuit (a dict, see board.py: circuit) and open what it names."""
    global page, circuit, _control, _truth, _ticks_offset_us, _wall_offset_us
    circuit = given
    _control = open(control_fd, "wb")
    page = Page(given["page"], given["offsets"])
    if given["truth"]:
        _truth = open(given["truth"], "ab")
    # A chip's ticks start at 0 and wrap after 12 days (ms) and 18 minutes (us). Here the milliseconds wrap soon after
    # the start.
    _ticks_offset_us = (1 << 30) * 1000 - given["wrap_in_ms"] * 1000 - _unix.ticks_us()
    _wall_offset_us = int(_unix.time() * 1000) * 1000 - _unix.ticks_us()
    if page.get64(page.at["rtc_offset_us"]) == 0:  # power-up: the clock starts at 2000
        set_rtc_us(0)


# Time. Everything is CLOCK_MONOTONIC plus an offset; the ticks may also run a little too fast or too slow.

_ticks_offset_us = 0
_wall_offset_us = 0
_ppm = 0  # how much too fast, since `_ppm_from_us`
_ppm_from_us = 0


def ticks_us():
    """Microseconds, not wrapped; time.ticks_us() and ticks_ms() are its lower bits."""
    now_us = _unix.ticks_us()
    if page is not None and page.get32(page.at["clock_ppm"]) != _ppm:
        _change_rate(now_us)
    return now_us + _ticks_offset_us + (now_us - _ppm_from_us) * _ppm // 1000000


def _change_rate(now_us):
    """The ticks go on from where they are."""
    global _ticks_offset_us, _ppm, _ppm_from_us
    _ticks_offset_us += (now_us - _ppm_from_us) * _ppm // 1000000
    _ppm = page.get32(page.at["clock_ppm"])
    _ppm_from_us = now_us


def wall_ms():
    """Unix milliseconds of the world the board stands in. The firmware never sees them."""
    return (_unix.ticks_us() + _wall_offset_us) // 1000


def rtc_us():
    """Microseconds since 2000 by the board's own clock."""
    return _unix.ticks_us() + page.get64(page.at["rtc_offset_us"])


def set_rtc_us(value):
    page.put64(page.at["rtc_offset_us"], value - _unix.ticks_us())


# The host.


def tell(line):
    """One line to the supervisor in board.py."""
    _control.write(line + b"\n")


def leave(line):
    """Ends this run of the program: the host kills the process, at once and uncatchably, as a reset ends a program."""
    die(line + b"\n")


def die(line):
    """As `leave`, with the end of the line in `line`. Allocates nothing."""
    _control.write(line)
    while True:
        try:
            _unix.sleep(1)
        except BaseException:  # not even Ctrl-C continues a chip that is being reset
            pass


def wait():
    _unix.sleep(3600)


# Truth.


def count(offset, sensor, values, times):
    """One measurement, or several at once. They count from this write on, whatever ends the program; `values` go to the
    truth log where one is kept."""
    taken = page.get64(offset) + times
    page.put64(offset, taken)
    if _truth is not None:
        _truth.write(_line(sensor, taken, values))


def keeps_truth():
    return _truth is not None


def _line(sensor, taken, values):
    import json

    return (
        json.dumps(
            {
                "sensor": sensor,
                "taken": taken,
                "boot": page.get32(page.at["boots"]),
                "ticks_ms": ticks_us() // 1000 & 0x3FFFFFFF,
                "at_ms": wall_ms(),
                "flash_programs": page.get64(page.at["flash_programs"]),
                "wdt_feeds": page.get32(page.at["wdt_feeds"]),
                "values": values,
            }
        ).encode()
        + b"\n"
    )
