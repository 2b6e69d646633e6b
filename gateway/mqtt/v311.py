"""What stands between clients and rumqttd: MQTT 3.1.1 is translated to 5, and CONNECTs are made acceptable. Pure.

rumqttd has a 3.1.1 listener of its own, and it cannot be used: one MQTT 5 publish with any property, ours or another's,
ends the connection of every 3.1.1 subscriber of that topic with a panic, and the first of them that comes back under
its old client id poisons a lock, after which the listener serves nobody. MQTT 5 is 3.1.1 plus properties and reason
codes, so these are put in empty and taken out again. Its MQTT 5 listener falls to the same lock when a client id holds
one of `+ $ # /` and comes twice, which old mosquitto clients do; so ids are escaped. And it panics at packets that only
brokers send; so they end here. (All measured, rumqttd 0.20.0.)

Section numbers: MQTT Version 5.0, OASIS Standard (2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

_V311, _V5 = 4, 5
_FROM_CLIENT = frozenset({PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT})
"""What a client may send after its one CONNECT. AUTH of MQTT 5 only where a broker has asked for it: ours does not."""
_NEVER_EXPIRES = b"\x05\x11\xff\xff\xff\xff"
"""Properties of CONNECT: session expiry interval, the longest there is. 3.1.1 keeps a session until it is cleaned."""
_RETURN_CODES = {0x84: 1, 0x85: 2, 0x86: 4, 0x87: 5, 0x8A: 5, 0x8C: 5}
"""Reason codes of CONNACK (3.2.2.2) as 3.1.1's return codes. All others: 3, server unavailable."""
WRONG_VERSION, WRONG_LOGIN, NOT_AUTHORIZED, TOO_MANY = 0x84, 0x86, 0x87, 0x9F
_REFUSED = 0x80
_LONGEST_KEEPALIVE = b"\xff\xff"
_ESCAPED = (b"%", b"+", b"$", b"#", b"/")
"""The first is the escape itself."""
_RESERVED = b"%own-"
"""In the ids of others a percent sign is followed by two digits."""
_CLEAN, _HAS_WILL, _HAS_PASSWORD, _HAS_USERNAME = 0x02, 0x04, 0x40, 0x80
"""Flags of CONNECT (3.1.2.3)."""
_RETAIN = 0x01
NOWHERE = b"$refused"
"""No filter with a wildcard at its beginning takes a topic that begins with `$` (4.7.2)."""


class Malformed(ValueError):
    """What arrived is not MQTT, or more than is allowed. The connection must end."""


class Splitter:
    """Cuts a stream of bytes into packets of at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def packets(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(first byte, body) of every packet that `data` completes. Raises Malformed."""
        self._buffer += data
        start = 0
        try:
            while (bounds := self._bounds(start)) is not None:
                body, end = bounds
                yield self._buffer[start], bytes(self._buffer[body:end])
                start = end
        finally:
            del self._buffer[:start]

    def rest(self) -> bytes:
        """What has arrived of the next packet."""
        return bytes(self._buffer)

    def _bounds(self, start: int) -> tuple[int, int] | None:
        """Where the body of the packet at `start` begins and ends; None while it is not complete."""
        length = 0
        for index in range(4):
            if start + 1 + index >= len(self._buffer):
                return None
            byte = self._buffer[start + 1 + index]
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                body = start + 2 + index
                if length > self._max_bytes:
                    raise Malformed(f"a packet of {length:,} bytes is more than {self._max_bytes:,}")
                return (body, body + length) if body + length <= len(self._buffer) else None
        raise Malformed("a length of more than four bytes")


def packet(first: int, *parts: bytes) -> bytes:
    """A packet from its first byte and the pieces of its body."""
    return b"".join((bytes((first,)), _length(sum(map(len, parts))), *parts))


def protocol_level(first: int, body: bytes) -> int:
    """3, 4 or 5 of the CONNECT that begins a connection. Raises Malformed."""
    name = _text_end(body, 0)
    if first >> 4 != CONNECT or len(body) < name + 4 or body[2:name] not in (b"MQTT", b"MQIsdp"):
        raise Malformed("the first packet is no CONNECT")
    return body[name]


@dataclass(frozen=True, slots=True)
class Connect:
    """A client's CONNECT of either version, taken apart. `head` is protocol name and its length; `will` is everything
    of it as rumqttd wants it, and `will_topic` what it names (empty: no will)."""

    head: bytes
    level: int
    flags: int
    keepalive: bytes
    properties: bytes
    client_id: bytes
    will: bytes
    will_topic: bytes
    username: bytes | None
    password: bytes | None

    def rebuilt(self, username: bytes, password: bytes, *, reserved: bool = False) -> bytes:
        """As MQTT 5, as rumqttd takes it, and with another login. `reserved`: with a client id that nobody else's can
        become, since whoever comes with the same one ends the connection of the one before.

        It refuses clients that turn the keepalive off, which MQTT allows (3.1.2.10) and MicroPython's umqtt does: they
        get the longest there is, 18 hours. And it refuses client ids with `+ $ # /`: they are escaped, so that no two
        meet."""
        client_id = self.client_id
        for forbidden in _ESCAPED:
            client_id = client_id.replace(forbidden, b"%%%02X" % forbidden[0])
        if reserved and client_id:
            client_id = _RESERVED + client_id
        return packet(
            CONNECT << 4,
            self.head,
            bytes((_V5, self.flags | _HAS_USERNAME | _HAS_PASSWORD)),
            self.keepalive if any(self.keepalive) else _LONGEST_KEEPALIVE,
            self.properties,
            _text(client_id),
            self.will,
            _text(username),
            _text(password),
        )


def connect(first: int, body: bytes) -> Connect:
    """Take a CONNECT apart. Raises Malformed."""
    level, name = protocol_level(first, body), _text_end(body, 0)
    flags, keepalive = body[name + 1], body[name + 2 : name + 4]
    at = name + 4 if level == _V311 else _properties_end(body, name + 4)
    properties = body[name + 4 : at]
    if level == _V311:
        properties = b"\0" if flags & _CLEAN else _NEVER_EXPIRES
    client_id, at = _text_at(body, at)
    will, will_topic = b"", b""
    if flags & _HAS_WILL:
        begin = at
        at = at if level == _V311 else _properties_end(body, at)
        will_topic, at = _text_at(body, at)
        _, at = _text_at(body, at)
        will = (b"\0" if level == _V311 else b"") + body[begin:at]  # its properties are right behind the client id
    username = password = None
    if flags & _HAS_USERNAME:
        username, at = _text_at(body, at)
    if flags & _HAS_PASSWORD:
        password, at = _text_at(body, at)
    if at != len(body):
        raise Malformed("a CONNECT that goes on behind its end")
    return Connect(body[:name], level, flags, keepalive, properties, client_id, will, will_topic, username, password)


def published_topic(body: bytes) -> bytes:
    """Where a client's PUBLISH goes. Raises Malformed."""
    return _text_at(body, 0)[0]


def nowhere(first: int, body: bytes) -> tuple[int, bytes]:
    """The PUBLISH of either version, to be sent where nobody hears it: acknowledged like any other, and not retained.
    MQTT 3.1.1 has no other way to refuse one but to end the connection, and most clients would then try for ever."""
    _, end = _text_at(body, 0)
    return first & ~_RETAIN, _text(NOWHERE) + body[end:]


def passed(first: int, body: bytes) -> bytes:
    """A client's MQTT 5 packet, unchanged. Raises Malformed for what a client does not send."""
    _check_kind(first >> 4)
    return packet(first, body)


def refused_connack(level: int, reason: int) -> bytes:
    """The answer to a CONNECT that is not acceptable. `reason` as in MQTT 5 (3.2.2.2)."""
    if level == _V5:
        return packet(CONNACK << 4, bytes((0, reason, 0)))
    return packet(CONNACK << 4, bytes((0, _RETURN_CODES.get(reason, 3))))


def upgraded(first: int, body: bytes) -> bytes:
    """A client's 3.1.1 packet as MQTT 5. Raises Malformed."""
    kind = first >> 4
    _check_kind(kind)
    if kind == PUBLISH:
        cut = _text_end(body, 0) + (2 if first & 0x06 else 0)
        _need(body, cut)
        return packet(first, body[:cut], b"\0", body[cut:])
    if kind in (SUBSCRIBE, UNSUBSCRIBE):
        _need(body, 2)
        return packet(first, body[:2], b"\0", body[2:])
    return packet(first, body)


def downgraded(first: int, body: bytes) -> bytes:
    """The broker's MQTT 5 packet as 3.1.1; empty for what 3.1.1 has no packet for. Raises Malformed."""
    kind = first >> 4
    if kind == PUBLISH:
        cut = _text_end(body, 0) + (2 if first & 0x06 else 0)
        return packet(first, body[:cut], body[_properties_end(body, cut) :])
    if kind == CONNACK:
        _need(body, 2)
        return packet(first, bytes((body[0], _RETURN_CODES.get(body[1], 3) if body[1] >= _REFUSED else 0)))
    if kind == SUBACK:
        codes = body[_properties_end(body, 2) :]
        return packet(first, body[:2], bytes(min(code, _REFUSED) for code in codes))
    if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK):
        _need(body, 2)
        return packet(first, body[:2])
    return packet(first, body) if kind == PINGRESP else b""


def _check_kind(kind: int) -> None:
    if kind not in _FROM_CLIENT:
        raise Malformed(f"a client does not send packets of type {kind} here")


def _text(data: bytes) -> bytes:
    """`data` with its length before it."""
    return len(data).to_bytes(2, "big") + data


def _text_at(body: bytes, start: int) -> tuple[bytes, int]:
    """The length-prefixed text at `start`, and where it ends."""
    end = _text_end(body, start)
    return body[start + 2 : end], end


def _text_end(body: bytes, start: int) -> int:
    """Where the length-prefixed text at `start` ends."""
    _need(body, start + 2)
    end = start + 2 + (body[start] << 8 | body[start + 1])
    _need(body, end)
    return end


def _properties_end(body: bytes, start: int) -> int:
    """Where the properties at `start` end."""
    length = 0
    for index in range(4):
        _need(body, start + index + 1)
        byte = body[start + index]
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            end = start + index + 1 + length
            _need(body, end)
            return end
    raise Malformed("properties with a length of more than four bytes")


def _need(body: bytes, length: int) -> None:
    if len(body) < length:
        raise Malformed("a packet ends too early")


def _length(size: int) -> bytes:
    """The variable byte integer (1.5.5)."""
    out = bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)
