# `socket` as a board has it. Names that end in .local are asked for on the emulated network (`names` of EmulatedBoard),
# as an ESP32 asks by mDNS; everything else is the host's.

import hardware as _hw
import usocket as _host
import utime as _unix
from usocket import *  # noqa: F403  # all of it is ours, too

_UNKNOWN = -2  # EAI_NONAME


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    if not host or not "0" <= host[-1] <= "9":  # a name: it is looked up, and everything waits for that
        _unix.sleep_ms(_hw.circuit["timing"]["name_ms"])
    if host.endswith(".local"):
        host = _answer(host)
    return _host.getaddrinfo(host, port, af, type, proto, flags)


def _answer(name):
    names = _hw.page.read(_hw.page.at["names"], _hw.page.at["names_end"] - _hw.page.at["names"])
    for line in names.decode().split("\0", 1)[0].split("\n"):
        if line.startswith(name + " "):
            return line[len(name) + 1 :]
    raise OSError(_UNKNOWN)
