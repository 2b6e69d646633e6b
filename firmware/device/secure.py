"""Shell: TLS. A board trusts one CA, the one in /ca.der, and of what that has signed only its gateway's own name,
whatever address it dials. What cannot be verified is refused; there is no way from here to a plain connection.

Each refusal says which it was and what mends it. mbedtls tells them by texts and numbers that are the same on an ESP32
and on the unix port.

Dates: mbedtls compares them with the board's clock, which says 2000 after power-up, so certificates begin before that;
the unix port takes the host's. `check` compares the end of the certificates in use with the board's clock itself: it
refuses one that turns out to have expired when the gateway has told the date, and so does each handshake after that.
"""

import tls
from errno import ENOMEM
from micropython import const

from device.link import Untrusted

_EOF = const(-0x7280)  # MBEDTLS_ERR_SSL_CONN_EOF
_NO_TLS = const(-0x7200)  # MBEDTLS_ERR_SSL_INVALID_RECORD: what came is no TLS
_ALERT = const(-0x7780)  # MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE
_EVERY = const(3)  # handshakes in a row that were just ended: a gateway that stops ends one
_UTC_TIME = const(0x17)
_VERSION = const(0xA0)

_EXPIRED = "its certificate has expired. A gateway renews it while it runs: look at its log and its clock"
_PLAIN = "Correct the port, or switch TLS on there (devices.tls). Nothing was told to it"
_VERDICTS = (  # what mbedtls says of a certificate; of several the first here
    (
        "trusted CA",
        "it is not signed by the CA in /ca.der. Another gateway, or one with a new CA: then write that to /ca.der",
    ),
    ("Common Name", "its certificate is not for %s. Another gateway: correct host, or name, in /settings.json"),
    ("expired", _EXPIRED),
    ("future", "its certificate is not valid yet: look at the clocks of the gateway and of this board"),
)


class Secure:
    def __init__(self, ca, name):
        """`ca`: a certificate (DER), `name`: the one the gateway's must be for. ValueError where `ca` is none."""
        self._context = context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(ca)
        context.verify_callback = self._see
        self._name = name
        self._until = ""  # when the first of the certificates in use ends; as `valid_until`
        self._ends = 0

    def wrap(self, socket):
        """The stream to use from now on. The first `write` that takes something has verified the gateway; before, it
        takes None, or raises what is to be given to `refusal`."""
        self._until = ""
        try:
            return self._context.wrap_socket(socket, server_hostname=self._name, do_handshake_on_connect=False)
        except OSError as error:
            raise self.refusal(error)

    def refusal(self, error):
        """What to raise for what the handshake raised: Untrusted, where only a person can mend it, or OSError."""
        if isinstance(error, ValueError):
            said = str(error)
            for mark, text in _VERDICTS:
                if mark in said:
                    return self._untrusted(text.replace("%s", self._name))
            return self._untrusted(said)
        if error.errno != _EOF:
            self._ends = 0
        if error.errno == _NO_TLS:
            return self._untrusted("it speaks no TLS. " + _PLAIN)
        if error.errno == _ALERT:
            return self._untrusted("it does not want our handshake: TLS 1.2, ECDHE and AES-GCM must be allowed there")
        if error.errno == ENOMEM:
            return OSError("TLS: too little memory: it takes 28 KB beside MicroPython's own")
        if error.errno != _EOF:
            return error if error.errno > 0 else OSError("TLS: %s" % error)
        self._ends += 1
        if self._ends < _EVERY:
            return OSError("TLS: the gateway ended the handshake")
        return self._untrusted("it ends every handshake, so perhaps it speaks no TLS. " + _PLAIN)

    def check(self, date):
        """To be called when the handshake is done, and when the board's clock was set. `date`: YYYYMMDDhhmmss. Raises
        Untrusted where a certificate in use ended before that."""
        self._ends = 0
        if self._until < date:
            raise self._untrusted(_EXPIRED)

    @staticmethod
    def ended(error):
        """Whether an OSError of the stream says that the other side has closed, without the goodbye of TLS."""
        return error.errno == _EOF

    @staticmethod
    def _untrusted(text):
        return Untrusted("TLS: the gateway is refused: " + text)

    def _see(self, certificate, depth):
        """mbedtls calls it with each certificate of the chain that it has parsed. 0: go on."""
        try:
            until = valid_until(certificate)
        except (IndexError, ValueError):  # it must not fly through mbedtls
            return -1
        if not self._until or until < self._until:
            self._until = until
        return 0


def valid_until(certificate):
    """When a certificate (DER) ends (RFC 5280, 4.1), as YYYYMMDDhhmmss: texts that compare as the times do.
    IndexError or ValueError where it is none."""
    at, _ = _inside(certificate, 0)
    at, _ = _inside(certificate, at)  # TBSCertificate
    if certificate[at] == _VERSION:
        at = _behind(certificate, at)
    for _ in range(3):  # serial number, signature, issuer
        at = _behind(certificate, at)
    at, _ = _inside(certificate, at)  # validity
    at = _behind(certificate, at)  # notBefore
    start, end = _inside(certificate, at)
    text = bytes(certificate[start : end - 1]).decode()  # without its Z
    if certificate[at] == _UTC_TIME:  # two digits of the year
        text = ("20" if text < "5" else "19") + text
    if len(text) != 14 or not text.isdigit():
        raise ValueError("not a time")
    return text


def _inside(der, at):
    """(start, end) of the content of the element at `at`."""
    size = der[at + 1]
    at += 2
    if size & 0x80:
        count = size & 0x7F
        size = 0
        for i in range(at, at + count):
            size = size << 8 | der[i]
        at += count
    return at, at + size


def _behind(der, at):
    return _inside(der, at)[1]
