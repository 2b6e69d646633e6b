# `sys` as an ESP32 has it. With a serial port, `sys.stdout.buffer` sends bytes as they are, while print() sends "\r\n"
# for a newline: the interpreter prints to a pipe, and gateway/emulator/console.py makes both.

import io as _io
from collections import namedtuple as _namedtuple

import hardware as _hw
import usys as _unix

argv = _unix.argv
byteorder = _unix.byteorder
exit = _unix.exit
maxsize = _unix.maxsize
modules = _unix.modules
path = _unix.path
platform = "esp32"
print_exception = _unix.print_exception
stderr = _unix.stderr
stdin = _unix.stdin
stdout = _unix.stdout
version = _unix.version
version_info = _unix.version_info

_write = _unix.stdout.write


def _implementation():
    given = _unix.implementation
    names = ("name", "version", "_machine", "_mpy", "_build")
    return _namedtuple("implementation", names)(
        given.name, given.version, _hw.circuit["machine"], given._mpy, "ESP32_GENERIC"
    )


implementation = _implementation()


class _Bytes(_io.IOBase):
    def write(self, data, *part):  # the part: how many bytes, or from where and how many
        if part:
            start = part[0] if len(part) > 1 else 0
            data = memoryview(data)[start : start + part[-1]]
        _write(b"\x1b_mpy:%08x" % len(data))
        return _write(data)


class _Text(_io.IOBase):
    buffer = _Bytes()

    def write(self, data, *part):
        return _write(data, *part)


if _hw.circuit["repl"]:
    stdout = _Text()


def skip_greeting():
    """The friendly REPL greets before it can be told to be the raw one: nobody shall see that."""
    _write(b"\x1b_mpy:ffffffff")
