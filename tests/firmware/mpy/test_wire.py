import json
from array import array

import check
from device import wire
from device.outbox import Boot, Outbox
from device.sensors import NULL

def boot():
    return Boot(17, "9f3c11d2c01b6a55", "5a0f9c3be1d27718")


def written(write, *arguments, room=4096):
    out = wire.Writer(bytearray(room), 4)
    write(out, *arguments)
    return bytes(out.buf[4 : out.at]).decode()


def scaled(value, decimals):
    return written(lambda out: out.scaled(value, decimals))


def columns(frame_bytes=4096):
    climate = [wire.Column("temperature", 2), wire.Column("humidity", 1)]
    return wire.Columns([climate, [wire.Column("rssi", 0)]], frame_bytes)


def outbox(*samples):
    """Samples as (sensor, t_ms, *values)."""
    box = Outbox(boot(), 64, 2, columns=columns())
    for sensor, t_ms, *values in samples:
        box.put_sample(sensor, t_ms, array("i", values), len(values))
    return box


def frame(box, limit=100):
    box.load(limit)
    text = written(wire.record, box)
    box.mark_sent()
    return json.loads(text)


def test_integers():
    for value in (0, 7, 10, 99, 100, -1, -100, 999999999, 1000000000, 1 << 30, (1 << 53) - 1, 10**18, -(10**18) - 1):
        check.equal(written(lambda out, v=value: out.integer(v)), str(value))


def test_scaled_integers():
    for value, decimals, text in (
        (2150, 2, "21.50"),
        (-2150, 2, "-21.50"),
        (5, 2, "0.05"),
        (-5, 3, "-0.005"),
        (0, 1, "0.0"),
        (42, 0, "42"),
        (-7, 0, "-7"),
        (0x3FFFFFFF, 9, "1.073741823"),
        (-0x3FFFFFFF, 0, "-1073741823"),
        (0x3FFFFFFF, 1, "107374182.3"),
        (NULL, 2, "null"),
    ):
        check.equal(scaled(value, decimals), text)


def test_a_full_buffer_says_so():
    check.raises(IndexError, lambda: written(lambda out: out.raw(b"12345"), room=8))
    check.raises(IndexError, lambda: written(lambda out: out.integer(12345), room=8))
    check.raises(IndexError, lambda: written(lambda out: out.scaled(1234, 2), room=8))


def test_samples_of_several_sensors_share_a_frame():
    box = outbox((0, 1000, 2150, 481), (1, 1001, -61), (0, 2000, 2162, NULL))
    check.equal(
        frame(box),
        {
            "type": "samples",
            "boot": 17,
            "seq": 0,
            "t": [1000, 1001, 2000],
            "values": {"temperature": [21.5, None, 21.62], "humidity": [48.1, None, None], "rssi": [None, -61, None]},
        },
    )


def test_a_column_of_nothing_but_null_is_left_out_but_never_all():
    check.equal(frame(outbox((0, 1, 2150, NULL)))["values"], {"temperature": [21.5]})
    check.equal(frame(outbox((1, 1, NULL), (1, 2, NULL)))["values"], {"rssi": [None, None]})


def test_as_many_samples_as_the_limit_says_always_fit():
    for frame_bytes in (300, 1000, 4096):
        box = Outbox(boot(), 200, 2, columns=columns(frame_bytes))
        for _ in range(200):
            box.put_sample(0, (1 << 53) - 1, array("i", [-0x3FFFFFFF, -0x3FFFFFFF]), 2)
        running, ring = box.running, box.ring
        ring.next += 10**15  # the longest numbers there are
        ring.first += 10**15
        running.next = ring.next
        running.base = running.sent = ring.first
        limit = columns(frame_bytes).limit
        check.true(limit >= 1)
        check.equal(box.load(1000), limit)
        text = written(wire.record, box, room=frame_bytes + 4)
        check.equal(len(json.loads(text)["t"]), limit)


def test_too_many_quantities_for_a_frame_are_noticed_at_start():
    check.raises(ValueError, wire.Columns, [[wire.Column(f"q{i}", 2) for i in range(300)]], 4096)


def test_events_and_gaps():
    box = outbox((0, 5, 1, 1), (0, 6, 1, 1))
    box.put_event(7, wire.event_body("sensor.failed", "climate", {"errno": 19}))
    box.put_event(8, wire.event_body("boot"))
    frame(box)
    box.refuse()
    check.equal(frame(box), {"type": "gap", "boot": 17, "from": 0, "to": 1, "count": 2, "why": "refused"})
    check.equal(
        frame(box),
        {
            "type": "event",
            "boot": 17,
            "seq": 2,
            "t": 7,
            "code": "sensor.failed",
            "sensor": "climate",
            "data": {"errno": 19},
        },
    )
    check.equal(frame(box), {"type": "event", "boot": 17, "seq": 3, "t": 8, "code": "boot"})


def test_latest_has_what_was_measured():
    out = wire.Writer(bytearray(200), 0)
    check.true(columns().latest(out, boot(), 84000, [array("i", [2170, NULL]), array("i", [-60])]))
    check.equal(
        json.loads(bytes(out.buf[: out.at])),
        {"type": "latest", "boot": 17, "t": 84000, "values": {"temperature": 21.7, "rssi": -60}},
    )
    check.true(not columns().latest(out.clear(), boot(), 1, [array("i", [NULL, NULL]), array("i", [NULL])]))


def test_hello_clock_result_settings_log():
    running = boot()
    running.base, running.next = 3, 12
    hello = "greenhouse", "a4cf12b0c3d4", "climate-node", "0.1.0", 5210, ((running, None),)
    check.equal(
        json.loads(written(wire.hello, *hello)),
        {
            "type": "hello",
            "device": "greenhouse",
            "hardware": "a4cf12b0c3d4",
            "node": "climate-node",
            "firmware": "0.1.0",
            "t": 5210,
            "boots": [{"boot": 17, "id": "9f3c11d2c01b6a55", "first": 3, "next": 12, "profile": "5a0f9c3be1d27718"}],
        },
    )
    check.equal(json.loads(written(wire.clock, 3, 81234)), {"type": "clock", "id": 3, "t": 81234})
    check.equal(
        json.loads(wire.result("c4", "failed", error=("command.unknown", 'no "x"'))),
        {"type": "result", "id": "c4", "status": "failed", "error": {"code": "command.unknown", "text": 'no "x"'}},
    )
    check.equal(
        json.loads(wire.result("c4", "done", {"a": 1})),
        {"type": "result", "id": "c4", "status": "done", "data": {"a": 1}},
    )
    check.equal(
        json.loads(written(wire.settings, {"led": "no such setting"})),
        {"type": "settings", "reported": {}, "refused": {"led": "no such setting"}},
    )
    check.equal(len(json.loads(written(wire.log, 5, "error", "x" * 900))["text"]), 500)


def test_incoming_numbers_and_texts_are_bounded():
    for text in (
        '{"type":"ack","boot":17,"seq":1e3}',
        '{"type":"ack","boot":17,"seq":-1}',
        '{"type":"ack","boot":17,"seq":true}',
        '{"type":"ack","boot":17,"seq":9007199254740992}',
        '{"type":"ack","boot":17,"seq":' + "9" * 5000 + "}",
        '{"type":"ack","boot":17,"seq":1,"result":"c4"}',
        '{"type":"ack","boot":17}',
        '{"type":"ack","result":"' + "x" * 33 + '"}',
        '{"type":"ack","result":"../x"}',
        '{"type":"clock","id":1.5}',
        '{"type":"command","id":"c","name":"","args":{},"deadline_ms":1}',
        '{"type":"command","id":"c","name":"ping","args":{"a":{}},"deadline_ms":1}',
        '{"type":"command","id":"c","name":"ping","args":{"a":"' + "x" * 201 + '"},"deadline_ms":1}',
        '{"type":"command","id":"c","name":"ping","args":{1:2},"deadline_ms":1}',
        '{"type":["ack"],"boot":17,"seq":1}',
        '{"type":"welcome","boots":[{"boot":1}],"window":5}',
        '{"type":"welcome","boots":[7],"window":5}',
        "[" * 16000,
        '{"a":' * 3000,
        '{"type":"settings","desired":' + '{"a":' * 9 + "1" + "}" * 9 + "}",
    ):
        check.raises(wire.Refused, wire.decode, memoryview(text.encode()))


def test_a_long_frame_with_brackets_in_its_texts_is_not_deep():
    text = (
        '{"type":"settings","desired":{"a":"' + "[" * 150 + '\\"{", "b":"' + "x" * 190 + '", "c": "' + "]" * 199 + '"}}'
    )
    check.equal(wire.decode(memoryview(text.encode()))[0], "settings")


check.run(globals())
