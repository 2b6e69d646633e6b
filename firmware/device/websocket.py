"""Pure: the client's side of a WebSocket (RFC 6455). Bytes in, events out; bytes to send lie in a reused buffer.

`Opening` is the handshake, `WebSocket` what follows it. Neither knows a socket: feed them what was received, send what
they have written. Everything received is bounded before it is stored, and checked as the RFC demands.
"""

import binascii
import hashlib
from micropython import const

from device.fast import mask, put, utf8

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEADER_BYTES = const(2048)  # the gateway's whole answer to our request
HEAD = const(14)  # room in front of each payload: 2 bytes, a length of up to 8, a mask of 4

TEXT = const(1)
BINARY = const(2)
CLOSE = const(8)
PING = const(9)
PONG = const(10)


class ProtocolError(Exception):
    """The peer broke the protocol. `code` is what our close frame should say; `status` the HTTP one, where refused."""

    def __init__(self, code, text, status=0):
        super().__init__(text)
        self.code = code
        self.status = status


class Opening:
    """The opening handshake (section 4.1). Send `request`, then `feed` until `done`."""

    def __init__(self, host, port, protocol, urandom, path="/", headers=()):
        """`protocol` is the one subprotocol we speak, or None. `headers` are further (name, value) pairs."""
        key = binascii.b2a_base64(urandom(16)).strip()
        lines = [
            "GET %s HTTP/1.1" % path,
            "Host: %s:%d" % (host, port),
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + key.decode(),
        ]
        if protocol:
            lines.append("Sec-WebSocket-Protocol: " + protocol)
        for name, value in headers:
            lines.append(name + ": " + value)
        self.request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self.done = False
        self._accept = binascii.b2a_base64(hashlib.sha1(key + _GUID).digest()).strip()
        self._protocol = protocol.encode() if protocol else None
        self._header = bytearray()

    def feed(self, data, at, end):
        """Takes data[at:end]; returns the index of the first byte behind the answer. ProtocolError where refused."""
        header = self._header
        while at < end:
            if len(header) == _HEADER_BYTES:
                raise ProtocolError(1002, "the answer's header is longer than %d bytes" % _HEADER_BYTES)
            header.append(data[at])
            at += 1
            if header[-1] == 10 and header[-4:] == b"\r\n\r\n":
                self._check(bytes(header).split(b"\r\n"))
                self._header = None
                self.done = True
                break
        return at

    def _check(self, lines):
        words = lines[0].split(b" ", 2)
        if len(words) < 2 or words[0] != b"HTTP/1.1" or len(words[1]) != 3 or not words[1].isdigit():
            raise ProtocolError(1002, "not an HTTP answer")
        status = int(words[1])
        if status != 101:
            why = ": the gateway does not know this board's token" if status == 401 else ""
            raise ProtocolError(1002, "refused with HTTP %d%s" % (status, why), status)
        found = {}
        for line in lines[1:-2]:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or name != name.strip() or (name in found and name.startswith(b"sec-")):
                raise ProtocolError(1002, "a header line of the answer is malformed or repeated")
            found[name] = value.strip()
        tokens = [token.strip() for token in found.get(b"connection", b"").lower().split(b",")]
        if found.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in tokens:
            raise ProtocolError(1002, "the answer does not upgrade")
        if found.get(b"sec-websocket-accept") != self._accept:
            raise ProtocolError(1002, "wrong accept key")
        if b"sec-websocket-extensions" in found:
            raise ProtocolError(1002, "an extension we did not offer")
        if found.get(b"sec-websocket-protocol") != self._protocol:
            raise ProtocolError(1002, "not the subprotocol we speak")


class WebSocket:
    """An open connection.

    In: `feed` what was received; after it, `event` says what is complete (0: nothing yet; TEXT, BINARY, PING, PONG or
    CLOSE) and `payload()` gives its bytes. Handle it before the next `feed`: the buffer is reused.
    Out: write a payload to tx[HEAD:end] and call `seal`, or hand bytes to `send`; then tx[tx_at:tx_end] is to be sent.
    One frame at a time: only when `idle`.
    """

    def __init__(self, urandom, tx_bytes, max_message=16384, message_bytes=512):
        """`tx_bytes`: the largest payload we send. `max_message`: the largest we take (else 1009). `message_bytes`: the
        room made at start; it grows when a larger message comes."""
        self.tx = bytearray(HEAD + tx_bytes)
        self.tx_at = self.tx_end = 0
        self._urandom = urandom
        self._message = bytearray(message_bytes)
        self._control = bytearray(125)
        self._head = bytearray(10)
        self._key = bytearray(4)
        self._max_message = max_message
        self.reset()

    def reset(self):
        """Ready for a new connection, with the same buffers."""
        self.tx_at = self.tx_end = 0
        self.event = 0
        self.close_code = 0  # what the peer's close frame said; 1005 where it said nothing
        self.close_sent = False
        self._pool = b""  # random bytes for masks, fetched many at a time
        self._pool_at = 0
        self._head_size = 0  # bytes of the frame header that have arrived, and how many it has
        self._head_need = 2
        self._left = 0  # payload bytes of this frame that have not arrived
        self._opcode = 0  # of the frame
        self._kind = 0  # of the message whose fragments are arriving; 0: none
        self._size = 0  # bytes of it so far
        self._control_size = 0
        self._utf8 = 0

    # -- in ------------------------------------------------------------------------------------------------------------

    def feed(self, data, at, end):
        """Takes bytes from data[at:end] until an event is complete; returns the index of the first byte not taken.
        Raises ProtocolError; nothing may be fed after that, nor after CLOSE."""
        self.event = 0
        while True:
            if self._head_size < self._head_need:
                if at == end:
                    return at
                self._head[self._head_size] = data[at]
                self._head_size += 1
                at += 1
                if self._head_size == 2:
                    self._check_head()
                if self._head_size < self._head_need:
                    continue
                self._check_length()
            if self._left:
                if at == end:
                    return at
                at = self._take(data, at, min(end, at + self._left))
            if self._left == 0:
                self._head_size = 0
                self._head_need = 2
                self._complete()
                if self.event:
                    return at

    def payload(self):
        """The bytes of the last event, valid until the next `feed`."""
        if self.event >= CLOSE:
            return memoryview(self._control)[: self._control_size]
        return memoryview(self._message)[: self._size]

    def _check_head(self):
        first, second = self._head[0], self._head[1]
        opcode = first & 15
        if first & 0x70:
            raise ProtocolError(1002, "reserved bits are set")
        if second & 0x80:
            raise ProtocolError(1002, "a server must not mask")
        if opcode > PONG or 2 < opcode < CLOSE:
            raise ProtocolError(1002, "unknown opcode %d" % opcode)
        if opcode >= CLOSE:
            if not first & 0x80 or second > 125:
                raise ProtocolError(1002, "a control frame is fragmented or too long")
        elif opcode and self._kind:
            raise ProtocolError(1002, "a new message began inside another")
        elif not opcode and not self._kind:
            raise ProtocolError(1002, "a continuation of nothing")
        self._opcode = opcode
        if second == 126:
            self._head_need = 4
        elif second == 127:
            self._head_need = 10

    def _check_length(self):
        head = self._head
        length = head[1]
        if length == 126:
            length = head[2] << 8 | head[3]
        elif length == 127:
            if head[2] & 0x80:
                raise ProtocolError(1002, "the length has more than 63 bits")
            length = int.from_bytes(memoryview(head)[2:], "big")
        if self._opcode >= CLOSE:
            self._control_size = 0
        else:
            if self._opcode:
                self._kind = self._opcode
                self._size = self._utf8 = 0
            if self._size + length > self._max_message:
                raise ProtocolError(1009, "a message of more than %d bytes" % self._max_message)
            if self._size + length > len(self._message):
                self._grow(self._size + length)
        self._left = length

    def _grow(self, size):
        size = min(max(size, 2 * len(self._message)), self._max_message)
        try:
            message = bytearray(size)
        except MemoryError:
            raise ProtocolError(1009, "no memory for a message of %d bytes" % size)
        message[: self._size] = memoryview(self._message)[: self._size]
        self._message = message

    def _take(self, data, at, end):
        part = memoryview(data)[at:end]
        size = end - at
        self._left -= size
        if self._opcode >= CLOSE:
            self._control[self._control_size : self._control_size + size] = part
            self._control_size += size
            return end
        self._message[self._size : self._size + size] = part
        if self._kind == TEXT:
            self._utf8 = utf8(self._utf8, self._message, self._size, self._size + size)
            if self._utf8 < 0:
                raise ProtocolError(1007, "text is not UTF-8")
        self._size += size
        return end

    def _complete(self):
        if self._opcode >= CLOSE:
            self.event = self._opcode
            if self.event == CLOSE:
                self._check_close()
        elif self._head[0] & 0x80:
            if self._kind == TEXT and self._utf8:
                raise ProtocolError(1007, "text ends inside a character")
            self.event = self._kind
            self._kind = 0

    def _check_close(self):
        if self._control_size == 0:
            self.close_code = 1005
            return
        if self._control_size == 1:
            raise ProtocolError(1002, "a close frame with half a code")
        code = self._control[0] << 8 | self._control[1]
        if not (3000 <= code < 5000 or 1000 <= code <= 1014 and code not in (1004, 1005, 1006)):
            raise ProtocolError(1002, "close code %d" % code)
        if utf8(0, self._control, 2, self._control_size):
            raise ProtocolError(1007, "the reason for closing is not UTF-8")
        self.close_code = code

    def close_reason(self):
        """What the peer's close frame said, as text for a person."""
        return bytes(self._control[2 : self._control_size]).decode() if self._control_size > 2 else ""

    # -- out -----------------------------------------------------------------------------------------------------------

    def idle(self):
        """Nothing is left to be sent: `seal` and `send` may be called."""
        return self.tx_at == self.tx_end

    def seal(self, opcode, end, fin=True):
        """Makes tx[HEAD:end] one frame, masked in place, to be found at tx[tx_at:tx_end]. Allocates nothing (but random
        bytes, 64 at a time)."""
        tx = self.tx
        length = end - HEAD
        at = HEAD - 6
        if length > 125:
            at = HEAD - 8 if length < 65536 else 0
        tx[at] = opcode | (0x80 if fin else 0)
        if length <= 125:
            tx[at + 1] = 0x80 | length
        elif length < 65536:
            tx[at + 1] = 0x80 | 126
            tx[at + 2] = length >> 8
            tx[at + 3] = length & 255
        else:
            tx[at + 1] = 0x80 | 127
            tx[at + 2 : at + 10] = length.to_bytes(8, "big")
        self._next_key()
        put(tx, HEAD - 4, self._key)
        mask(tx, HEAD, end, self._key)
        self.tx_at = at
        self.tx_end = end

    def send(self, opcode, payload, fin=True):
        """Makes one frame of `payload` (bytes of any kind)."""
        size = len(payload)
        self.tx[HEAD : HEAD + size] = payload
        self.seal(opcode, HEAD + size, fin)

    def send_close(self, code, reason=b""):
        """Makes our close frame: the first of the two, or the answer to theirs. 1005: a frame without a code."""
        self.send(CLOSE, b"" if code == 1005 else bytes((code >> 8, code & 255)) + reason)
        self.close_sent = True

    def _next_key(self):
        if self._pool_at == len(self._pool):
            self._pool = self._urandom(64)
            self._pool_at = 0
        for i in range(4):
            self._key[i] = self._pool[self._pool_at + i]
        self._pool_at += 4
