"""Shell: Wi-Fi and the socket. Does what `link` decides. Nothing here waits, but for a name to be looked up, and for
TLS to reckon in its handshake.

Wi-Fi: the networks of the settings in their order, the first one first after each loss; when none could be joined, all
again after a random time of up to 1 s, 2 s, then 4 s ... 30 s, so that a hall full of boards does not hammer an access
point that comes back.
"""

import errno
import select
import socket
from micropython import const
from time import ticks_add, ticks_diff

import network

from device import port, signs
from device.link import wait_before_retry_ms

_JOIN_MS = const(15000)  # to join one network before the next is tried
_SETTLE_MS = const(8000)  # before an unchanged failure counts: an ESP32 goes on naming the last one until it has joined
_WORDS = {
    getattr(network, name, None): words
    for name, words in (
        ("STAT_NO_AP_FOUND", "not in reach"),
        ("STAT_WRONG_PASSWORD", "wrong password"),
        ("STAT_ASSOC_FAIL", "it does not take this board"),
        ("STAT_CONNECT_FAIL", "it does not take this board"),
        ("STAT_HANDSHAKE_TIMEOUT", "wrong password, or too weak a signal"),
    )
}
_PASSWORD = tuple(getattr(network, name, None) for name in ("STAT_WRONG_PASSWORD", "STAT_HANDSHAKE_TIMEOUT"))


class Net:
    def __init__(self, networks, places, port, secure, log):
        """`networks`: {"ssid", "password"} each, the most wanted first. `places`: a `Places`. `secure`: a `Secure`, or
        None for no TLS."""
        self.secure = secure
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._networks = networks
        self._next = 0  # joins since there was Wi-Fi
        self._joined = None  # when the attempt began that is under way
        self._status = None  # what the Wi-Fi said then
        self._rest_until = None  # all networks have failed: nothing is tried before that
        self._wrong_password = False
        self.trouble = signs.NONE
        """What of Wi-Fi does not work."""
        self.places = places
        self._address = None
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
            self._joined = self._rest_until = None
            self._next = 0
            self._wrong_password = False
            self.trouble = signs.NONE
            return True
        if self._rest_until is not None:
            if ticks_diff(now, self._rest_until) < 0:
                return False
            self._rest_until = None
            self._join(now)
        elif self._networks and (self._joined is None or self._failed(now)):
            if self._joined is not None and self._next % len(self._networks) == 0:
                self._rest(now)
            else:
                self._join(now)
        return False

    def _failed(self, now):
        tried_ms = ticks_diff(now, self._joined)
        status = self._wlan.status()
        known = status in _WORDS and status is not None
        if tried_ms < _JOIN_MS and not (known and (status != self._status or tried_ms >= _SETTLE_MS)):
            return False
        ssid = self._networks[(self._next - 1) % len(self._networks)]["ssid"]
        self._log("warning", "wifi: %s: %s" % (ssid, _WORDS[status] if known else "no answer"))
        self._wrong_password = self._wrong_password or status in _PASSWORD
        return True

    def _rest(self, now):
        """All have failed."""
        self.trouble = signs.WRONG_PASSWORD if self._wrong_password else signs.NO_NETWORK
        self._wrong_password = False
        wait_ms = wait_before_retry_ms(self._next // len(self._networks) - 1, port.urandom)
        self._rest_until = ticks_add(now, wait_ms)
        self._log("info", "wifi: trying again in %d.%d s" % (wait_ms // 1000, wait_ms % 1000 // 100))

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
        self.close()
        self._address = None
        found = socket.getaddrinfo(self.places.turn(), self._port, 0, socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[tries % len(found)]
        self._address = address
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

    def proved(self):
        """What is connected is the gateway: where it was found is worth keeping."""
        host = port.host_of(self._address)
        if host:
            self.places.keep(host)

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

    def off(self):
        """Wi-Fi, for good."""
        self.close()
        self._wlan.active(False)

    def close(self):
        if self._socket:
            self._poller.unregister(self._socket)  # the poller has the socket itself: what TLS holds back `link` reads
            if self._stream is not self._socket:
                self._stream.close()  # frees its memory; after a failed handshake it leaves the socket open
            self._socket.close()
            self._socket = self._stream = None
