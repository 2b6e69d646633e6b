"""Shell: Wi-Fi and the socket. Does what `link` decides. Nothing here waits, but for a name to be looked up, and for
TLS to reckon in its handshake."""

import errno
import select
import socket
from micropython import const
from time import ticks_diff

import network

from device import port

_JOIN_MS = const(15000)  # to join one network before the next is tried
_SETTLE_MS = const(8000)  # before an unchanged failure counts: an ESP32 goes on naming the last one until it has joined
_FAILURES = tuple(
    getattr(network, name, None)
    for name in ("STAT_NO_AP_FOUND", "STAT_WRONG_PASSWORD", "STAT_ASSOC_FAIL", "STAT_HANDSHAKE_TIMEOUT")
)


class Net:
    def __init__(self, networks, host, port, secure, log):
        """`networks`: {"ssid", "password"} each, tried in this order. `secure`: a `Secure`, or None for no TLS."""
        self.secure = secure
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._networks = networks
        self._next = 0
        self._joined = None  # when the attempt began that is under way
        self._status = None  # what the Wi-Fi said then
        self._host = host
        self._port = port
        self._log = log
        self._socket = None
        self._stream = None  # what is read and written: the socket, or TLS on it
        self._poller = select.poll()
        self._flags = 0

    def wait(self, ms, sending):
        """Returns after `ms`, or sooner when the socket is ready (to send, or else to receive)."""
        if self._socket:
            self._poller.modify(self._socket, select.POLLOUT if sending else select.POLLIN)
        self._flags = 0
        for _, self._flags in self._poller.ipoll(ms):
            pass

    # -- what link asks for --------------------------------------------------------------------------------------------

    def wifi(self, now):
        if self._wlan.isconnected():
            self._joined = None
            self._next = 0
            return True
        if self._networks and (self._joined is None or self._failed(ticks_diff(now, self._joined))):
            self._join(now)
        return False

    def _failed(self, tried_ms):
        if tried_ms >= _JOIN_MS:
            return True
        status = self._wlan.status()
        return status in _FAILURES and (status != self._status or tried_ms >= _SETTLE_MS)

    def _join(self, now):
        chosen = self._networks[self._next % len(self._networks)]
        self._next += 1
        self._joined = now
        self._log("info", "wifi: joining %s" % chosen["ssid"])
        try:
            self._wlan.disconnect()
            self._wlan.connect(chosen["ssid"], chosen.get("password") or None)
        except (OSError, RuntimeError) as error:  # busy with the one before; RuntimeError: what has no errno
            self._log("info", "wifi: %s" % error)
        self._status = self._wlan.status()

    def connect(self, tries):
        found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[tries % len(found)]
        self.close()
        self._socket = self._stream = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        try:
            self._socket.connect(address)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        self._poller.register(self._socket, select.POLLOUT)

    def connected(self):
        if self._flags & (select.POLLERR | select.POLLHUP):
            raise OSError(errno.ECONNREFUSED)
        if not self._flags & select.POLLOUT:
            return False
        if self.secure:
            self._stream = self.secure.wrap(self._socket)
        return True

    def shake(self, buf):
        try:
            taken = self._stream.write(buf)
        except (OSError, ValueError) as error:
            raise self.secure.refusal(error)
        if not taken:
            return 0
        self.secure.check(port.date())
        return taken

    def set_date(self, unix_ms):
        port.set_date(unix_ms)
        if self.secure:
            self.secure.check(port.date())

    def read_into(self, buf):
        try:
            return self._stream.readinto(buf)
        except OSError as error:
            if self.secure and self.secure.ended(error):
                return 0
            raise

    def write(self, buf, at, size):
        return self._stream.write(buf, at, size)

    def close(self):
        if self._socket:
            self._poller.unregister(self._socket)  # the poller has the socket itself: what TLS holds back `link` reads
            if self._stream is not self._socket:
                self._stream.close()  # frees its memory; after a failed handshake it leaves the socket open
            self._socket.close()
            self._socket = self._stream = None
