# `tls` of a chip that takes its time: the handshake stands still once, where mbedtls reckons on the server's answer.
# Everything else is the interpreter's own.

import hardware as _hw
import tls as _tls
import utime as _unix
from tls import *  # noqa: F403  # all of it is ours, too


class SSLContext:
    def __init__(self, protocol):
        self._context = _tls.SSLContext(protocol)
        self.load_verify_locations = self._context.load_verify_locations

    @property
    def verify_mode(self):
        return self._context.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._context.verify_mode = mode

    @property
    def verify_callback(self):
        return self._context.verify_callback

    @verify_callback.setter
    def verify_callback(self, callback):
        self._context.verify_callback = callback

    def wrap_socket(self, socket, **how):
        return _Stream(self._context.wrap_socket(socket, **how))


class _Stream:
    def __init__(self, stream):
        self._stream = stream
        self._shaken = False
        self.readinto = stream.readinto
        self.read = stream.read
        self.close = stream.close

    def write(self, *what):
        taken = self._stream.write(*what)
        if taken and not self._shaken:
            self._shaken = True
            _unix.sleep_ms(_hw.circuit["timing"]["tls_ms"])
        return taken
