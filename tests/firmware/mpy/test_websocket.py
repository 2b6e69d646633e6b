import binascii
import hashlib

import check
from device.websocket import BINARY, CLOSE, HEAD, PING, PONG, TEXT, Opening, ProtocolError, WebSocket


def urandom(size):
    return bytes(range(1, size + 1))


def websocket(max_message=1000):
    return WebSocket(urandom, 4096, max_message, message_bytes=16)


def events(ws, data, piece=1000):
    """What `data`, arriving in pieces, amounts to: (event, payload) each."""
    found = []
    for start in range(0, len(data), piece):
        at, end = start, min(len(data), start + piece)
        while at < end:
            at = ws.feed(data, at, end)
            if ws.event:
                found.append((ws.event, bytes(ws.payload())))
    return found


def frame(first, payload=b""):
    size = len(payload)
    head = bytes((size,)) if size < 126 else bytes((126, size >> 8, size & 255))
    return bytes((first,)) + head + payload


def fails(data, ws=None):
    """The close code that `data` leads to."""
    return check.raises(ProtocolError, events, ws or websocket(), data).code


def sent(ws):
    """(first byte, payload) of the frame that is to be sent, unmasked as a server would."""
    tx = bytes(ws.tx[ws.tx_at : ws.tx_end])
    check.true(tx[1] & 0x80, "masked")
    size = tx[1] & 0x7F
    at = 2
    if size == 126:
        size, at = tx[2] << 8 | tx[3], 4
    elif size == 127:
        size, at = int.from_bytes(tx[2:10], "big"), 10
    key, body = tx[at : at + 4], tx[at + 4 :]
    check.equal(len(body), size)
    return tx[0], bytes(body[i] ^ key[i & 3] for i in range(size))


# the opening handshake


def answer(*changes):
    """A good answer with header lines replaced or added."""
    opening = Opening("gw", 8765, "mpy-gateway.v1", urandom, headers=(("Authorization", "Bearer t"),))
    key = next(line[19:] for line in opening.request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
    accept = binascii.b2a_base64(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).strip()
    lines = {
        "first": b"HTTP/1.1 101 Switching Protocols",
        "upgrade": b"Upgrade: websocket",
        "connection": b"Connection: Upgrade",
        "accept": b"Sec-WebSocket-Accept: " + accept,
        "protocol": b"Sec-WebSocket-Protocol: mpy-gateway.v1",
    }
    for name, line in changes:
        lines[name] = line
    order = ["first"] + [name for name in lines if name != "first"]
    return opening, b"\r\n".join([lines[name] for name in order if lines[name] is not None]) + b"\r\n\r\n"


def test_the_request_has_all_a_server_wants():
    opening, _ = answer()
    lines = opening.request.decode().split("\r\n")
    check.equal(lines[0], "GET / HTTP/1.1")
    check.equal(lines[-2:], ["", ""])
    for line in (
        "Host: gw:8765",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mpy-gateway.v1",
        "Authorization: Bearer t",
    ):
        check.true(line in lines, line)


def test_the_accept_key_of_rfc_6455_is_taken():
    opening = Opening("h", 80, None, lambda size: b"the sample nonce")
    check.true(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" in opening.request)
    text = b"HTTP/1.1 101 x\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n"
    text += b"sec-websocket-accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    check.equal(opening.feed(text + b"rest", 0, len(text) + 4), len(text))
    check.true(opening.done)


def test_a_good_answer_in_any_pieces():
    for piece in (1, 7, 1000):
        opening, text = answer()
        for start in range(0, len(text), piece):
            check.true(not opening.done)
            opening.feed(text, start, min(len(text), start + piece))
        check.true(opening.done)


def test_a_wrong_answer_is_refused():
    for change in (
        ("first", b"HTTP/1.0 101 x"),
        ("first", b"SSH-2.0-OpenSSH"),
        ("first", b"HTTP/1.1 200 OK"),
        ("first", b"HTTP/1.1"),
        ("first", b"HTTP/1.1 1e1 x"),
        ("upgrade", None),
        ("upgrade", b"Upgrade: h2c"),
        ("connection", b"Connection: close"),
        ("accept", None),
        ("accept", b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("protocol", None),
        ("protocol", b"Sec-WebSocket-Protocol: mpy-gateway.v2"),
        ("more", b"Sec-WebSocket-Extensions: permessage-deflate"),
        ("more", b"Sec-WebSocket-Protocol: mpy-gateway.v1"),
        ("more", b"no colon"),
        ("more", b" folded: line"),
    ):
        opening, text = answer(change)
        check.raises(ProtocolError, opening.feed, text, 0, len(text))
        check.true(not opening.done)


def test_the_http_status_of_a_refusal_is_told():
    opening, text = answer(("first", b"HTTP/1.1 401 Unauthorized"))
    check.equal(check.raises(ProtocolError, opening.feed, text, 0, len(text)).status, 401)


def test_an_endless_answer_is_cut():
    opening, _ = answer()
    check.raises(ProtocolError, opening.feed, b"x" * 3000, 0, 3000)


# receiving


def test_messages_in_any_pieces():
    data = (
        frame(0x81, b"hello")
        + frame(0x82, b"\x00\xff")
        + frame(0x81, "é".encode() * 100)
        + frame(0x89, b"p")
        + frame(0x8A)
    )
    wanted = [(TEXT, b"hello"), (BINARY, b"\x00\xff"), (TEXT, "é".encode() * 100), (PING, b"p"), (PONG, b"")]
    for piece in (1, 2, 3, 100, 1000):
        check.equal(events(websocket(), data, piece), wanted)


def test_fragments_with_control_frames_between_them():
    data = frame(0x01, b"\xc3") + frame(0x89, b"p") + frame(0x00, b"") + frame(0x80, b"\xa9")
    check.equal(events(websocket(), data, 1), [(PING, b"p"), (TEXT, "é".encode())])


def test_empty_messages():
    check.equal(events(websocket(), frame(0x81) + frame(0x02) + frame(0x80)), [(TEXT, b""), (BINARY, b"")])


def test_what_breaks_the_protocol():
    for data in (
        frame(0xC1, b"x"),
        frame(0x91),
        b"\x81\x81abcdx",  # masked
        frame(0x83),
        frame(0x8B),
        frame(0x09, b"p"),
        frame(0x89, b"x" * 126),
        frame(0x80, b"x"),
        frame(0x01, b"x") + frame(0x81, b"y"),
        b"\x82\x7f\xff" + bytes(7),
        frame(0x88, b"x"),
        frame(0x88, b"\x03\xec"),
        frame(0x88, b"\x00\x00"),
    ):
        check.equal(fails(data), 1002)


def test_text_that_is_not_utf8_fails_at_once():
    check.equal(fails(frame(0x81, b"\xff")), 1007)
    check.equal(fails(frame(0x81, b"\xc3")), 1007)
    check.equal(fails(b"\x81\x05a\xff"), 1007)
    check.equal(fails(frame(0x01, b"\xc3") + frame(0x80, b"x")), 1007)
    check.equal(fails(frame(0x88, b"\x03\xe8\xff")), 1007)


def test_too_large_a_message_is_refused_before_its_bytes_come():
    check.equal(fails(b"\x82\x7e\x03\xe9"), 1009)
    check.equal(fails(b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00"), 1009)
    check.equal(fails(frame(0x02, b"x" * 600) + b"\x80\x7e\x01\x91"), 1009)
    check.equal(events(websocket(), frame(0x82, b"x" * 1000))[0], (BINARY, b"x" * 1000))


def test_close_frames():
    ws = websocket()
    check.equal(events(ws, frame(0x88, b"\x0f\xa9replaced")), [(CLOSE, b"\x0f\xa9replaced")])
    check.equal((ws.close_code, ws.close_reason()), (4009, "replaced"))
    ws = websocket()
    events(ws, frame(0x88))
    check.equal((ws.close_code, ws.close_reason()), (1005, ""))


def test_a_connection_begins_afresh():
    ws = websocket()
    ws.feed(b"\x01\x05ab", 0, 4)
    ws.reset()
    check.equal(events(ws, frame(0x81, b"x")), [(TEXT, b"x")])


# sending


def test_frames_of_every_length_are_masked_and_well_formed():
    ws = websocket()
    for size in (0, 1, 125, 126, 127, 4096):  # longer ones: test_autobahn.py
        payload = bytes(i & 255 for i in range(size))
        ws.send(BINARY, payload)
        check.equal(sent(ws), (0x82, payload))


def test_each_frame_has_a_mask_of_its_own():
    ws = websocket()
    keys = set()
    for _ in range(16):
        ws.send(TEXT, b"x")
        keys.add(bytes(ws.tx[HEAD - 4 : HEAD]))
    check.equal(len(keys), 16)


def test_a_payload_written_in_place():
    ws = websocket()
    ws.tx[HEAD : HEAD + 2] = b"{}"
    ws.seal(TEXT, HEAD + 2)
    check.true(not ws.idle())
    check.equal(sent(ws), (0x81, b"{}"))


def test_close_frames_sent():
    ws = websocket()
    ws.send_close(1000, b"done")
    check.equal(sent(ws), (0x88, b"\x03\xe8done"))
    ws.send_close(1005)
    check.equal(sent(ws), (0x88, b""))


check.run(globals())
