"""3.1.1 packets as MQTT 5 and back. The bytes are those of the two specifications."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.v311 import (
    CONNACK,
    CONNECT,
    NOT_AUTHORIZED,
    PUBLISH,
    TOO_MANY,
    WRONG_LOGIN,
    WRONG_VERSION,
    Malformed,
    Splitter,
    connect,
    downgraded,
    nowhere,
    packet,
    passed,
    protocol_level,
    published_topic,
    refused_connack,
    upgraded,
)


def split(data: bytes, max_bytes: int = 1 << 20) -> list[tuple[int, bytes]]:
    return list(Splitter(max_bytes).packets(data))


def both_ways(first: int, body: bytes) -> tuple[bytes, bytes]:
    ((_, up),) = split(upgraded(first, body))
    ((_, down),) = split(downgraded(first, up))
    return up, down


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=400)), max_size=8), st.integers(1, 50))
def test_packets_are_found_however_the_stream_is_cut(packets: list[tuple[int, bytes]], step: int) -> None:
    stream = b"".join(packet(first, body) for first, body in packets)
    splitter = Splitter(1_000)
    found = [p for start in range(0, len(stream), step) for p in splitter.packets(stream[start : start + step])]
    assert found == packets


def test_a_packet_larger_than_allowed_is_refused_before_it_has_arrived() -> None:
    with pytest.raises(Malformed, match="more than 1,000"):
        split(packet(0x30, b"x" * 2_000)[:10], 1_000)


def test_a_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(Malformed):
        split(b"\x30\xff\xff\xff\xff\x01")


def test_connect_gets_empty_properties() -> None:
    body = b"\0\4MQTT\4\x02\0\x3c\0\3abc"
    assert protocol_level(CONNECT << 4, body) == 4
    assert connected(body) == b"\0\4MQTT\5\xc2\0\x3c\0\0\3abc" + LOGIN


def test_connect_without_clean_session_keeps_its_session_for_ever() -> None:
    up = connected(b"\0\4MQTT\4\0\0\x3c\0\3abc")
    assert up == b"\0\4MQTT\5\xc0\0\x3c\x05\x11\xff\xff\xff\xff\0\3abc" + LOGIN


def connected(body: bytes) -> bytes:
    ((first, up),) = split(connect(CONNECT << 4, body).rebuilt(b"i", b"s"))
    assert first == 0x10
    return up


LOGIN = b"\0\1i\0\1s"
"""What rumqttd asks for, in place of the client's own."""


def test_an_mqtt_5_connect_stays_as_it_is() -> None:
    body = b"\0\4MQTT\5\x06\0\1\5\x11\0\0\0\1\0\3abc\2\1\0\0\1t\0\1w"
    assert connected(body) == body.replace(b"\5\x06", b"\5\xc6") + LOGIN


def test_a_keepalive_that_is_turned_off_becomes_the_longest() -> None:
    assert connected(b"\0\4MQTT\5\x02\0\0\0\0\3abc") == b"\0\4MQTT\5\xc2\xff\xff\0\0\3abc" + LOGIN
    assert connected(b"\0\4MQTT\4\x02\0\0\0\3abc") == b"\0\4MQTT\5\xc2\xff\xff\0\0\3abc" + LOGIN


def test_client_ids_that_rumqttd_cannot_take_are_escaped_so_that_no_two_meet() -> None:
    assert connected(b"\0\4MQTT\4\x02\0\1\0\3a/b") == b"\0\4MQTT\5\xc2\0\1\0\0\5a%2Fb" + LOGIN
    assert connected(b"\0\4MQTT\5\x02\0\1\0\0\4a%2F") == b"\0\4MQTT\5\xc2\0\1\0\0\6a%252F" + LOGIN


def test_the_will_stays_and_the_login_is_exchanged() -> None:
    body = b"\0\4MQTT\4\xee\0\x3c\0\1c\0\1t\0\2hi\0\1u\0\1p"
    taken = connect(CONNECT << 4, body)
    assert (taken.will_topic, taken.username, taken.password) == (b"t", b"u", b"p")
    assert connected(body) == b"\0\4MQTT\5\xee\0\x3c\0\0\1c\0\0\1t\0\2hi" + LOGIN
    taken = connect(CONNECT << 4, b"\0\4MQTT\4\x82\0\x3c\0\1c\0\1u")
    assert (taken.will_topic, taken.username, taken.password) == (b"", b"u", None)


@pytest.mark.parametrize("flags", [b"\x02", b"\x82", b"\x42", b"\xc2", b"\x06"])
@pytest.mark.parametrize("rest", [b"\0\1u", b"\0\1u\0\2p", b"\0\1u\0\1p\0\1x", b"\0"])
def test_a_connect_that_is_not_what_its_flags_say_is_refused(flags: bytes, rest: bytes) -> None:
    right = {(b"\x82", b"\0\1u"), (b"\x42", b"\0\1u")}
    with contextlib.nullcontext() if (flags, rest) in right else pytest.raises(Malformed):
        connect(CONNECT << 4, b"\0\4MQTT\4" + flags + b"\0\x3c\0\1c" + rest)


@pytest.mark.parametrize(("first", "mid"), [(0x30, b""), (0x33, b"\0\7"), (0x3D, b"\0\7")])
def test_a_publish_to_nowhere_keeps_its_number_and_is_not_retained(first: int, mid: bytes) -> None:
    assert published_topic(b"\0\3t/a" + mid + b"payload") == b"t/a"
    assert nowhere(first, b"\0\3t/a" + mid + b"payload") == (first & 0xFE, b"\0\x08$refused" + mid + b"payload")


@pytest.mark.parametrize("body", [b"", b"\0\4MQTX\4\2\0\0\0\0", b"\0\4MQTT", b"\0\xff", b"\0\4MQTT\4\2\0"])
def test_what_is_no_connect_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        protocol_level(CONNECT << 4, body)


def test_a_connect_that_ends_too_early_is_refused() -> None:
    with pytest.raises(Malformed):
        connect(CONNECT << 4, b"\0\4MQTT\4\2\0\x3c\0\5abc")


def test_another_packet_first_is_refused() -> None:
    with pytest.raises(Malformed):
        protocol_level(PUBLISH << 4, b"\0\4MQTT\4\2\0\0\0\0")


@pytest.mark.parametrize(("first", "mid"), [(0x30, b""), (0x32, b"\0\7"), (0x3D, b"\0\7")])
def test_publish_gains_and_loses_properties(first: int, mid: bytes) -> None:
    body = b"\0\1t" + mid + b"payload"
    up, down = both_ways(first, body)
    assert up == b"\0\1t" + mid + b"\0payload"
    assert down == body


def test_properties_of_any_length_are_taken_out() -> None:
    properties = b"\x26\0\1a\0\1b" * 40
    body = b"\0\1t" + b"\0\7" + b"\x98\x02" + properties + b"rest"
    assert len(properties) == 0x98 - 0x80 + 2 * 0x80
    assert split(downgraded(0x32, body)) == [(0x32, b"\0\1t\0\7rest")]


def test_subscribe_and_unsubscribe_gain_properties() -> None:
    assert split(upgraded(0x82, b"\0\7\0\1#\1")) == [(0x82, b"\0\7\0\0\1#\1")]
    assert split(upgraded(0xA2, b"\0\7\0\1#")) == [(0xA2, b"\0\7\0\0\1#")]


def test_answers_lose_properties_and_reasons() -> None:
    assert split(downgraded(0x90, b"\0\7\0\0\1\2\x87")) == [(0x90, b"\0\7\0\1\2\x80")]
    assert split(downgraded(0xB0, b"\0\7\0\0\x11")) == [(0xB0, b"\0\7")]
    assert split(downgraded(0x40, b"\0\7\x10\0")) == [(0x40, b"\0\7")]


@pytest.mark.parametrize(("reason", "code"), [(0, 0), (0x84, 1), (0x85, 2), (0x88, 3), (0x86, 4), (0x87, 5), (0x9F, 3)])
def test_reasons_of_connack_become_return_codes(reason: int, code: int) -> None:
    assert split(downgraded(CONNACK << 4, bytes((1, reason, 0)))) == [(0x20, bytes((1, code)))]


def test_a_goodbye_of_the_broker_has_no_packet() -> None:
    assert downgraded(0xE0, b"\x8e\0") == b""
    assert refused_connack(3, WRONG_VERSION) == b"\x20\x02\0\1"
    assert refused_connack(4, WRONG_LOGIN) == b"\x20\x02\0\4"
    assert refused_connack(4, NOT_AUTHORIZED) == b"\x20\x02\0\5"
    assert refused_connack(4, TOO_MANY) == b"\x20\x02\0\3"
    assert refused_connack(5, NOT_AUTHORIZED) == b"\x20\x03\0\x87\0"


@pytest.mark.parametrize("kind", [0, CONNECT, CONNACK, 9, 11, 13, 15])
def test_a_client_may_not_send_what_only_brokers_send_nor_connect_twice(kind: int) -> None:
    for translate in (upgraded, passed):
        with pytest.raises(Malformed):
            translate(kind << 4, b"\0\0")


@given(st.integers(0, 255), st.binary(max_size=60))
def test_hostile_packets_are_malformed_and_nothing_worse(first: int, body: bytes) -> None:
    for translate in (upgraded, downgraded, passed, connect, nowhere):
        with contextlib.suppress(Malformed):
            translate(first, body)
