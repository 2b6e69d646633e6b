"""Batches to messages and messages to commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.mqtt
from gateway.model import Batch, Correction, Event, Gap, Quality, Record, Refusal, Refused, Result, Sample, Status
from gateway.mqtt.states import States
from gateway.mqtt.topics import (
    MAX_COMMAND_BYTES,
    BadRequest,
    Message,
    Samples,
    Topics,
    answer,
    publishable,
    refusal,
    runs,
)

BOOT_ID = "9f3c11d2c01b6a55"
TOPICS = Topics("mpy-gateway")
DECIMALS = {"temperature": 2, "humidity": 1, "rssi": 0}


def batch(*records: Record, device: str = "greenhouse", boot_id: str = BOOT_ID, **other: Any) -> Batch:
    rest = {"boot": 17, "offset_ms": 1_790_000_000_000, "quality": Quality.SYNCED, "received_ms": 0, "cursor": "1"}
    return Batch(device=device, boot_id=boot_id, records=records, **(rest | other))


def sample(seq: int, /, **values: float) -> Sample:
    return Sample(seq, 80_000 + seq * 1_000, values)


def messages(*batches: Batch, max_bytes: int = 500_000) -> list[Message]:
    return [message for run in runs(batches) for message in TOPICS.messages(run, DECIMALS, max_bytes)]


def payload(message: Message) -> Any:
    return json.loads(message.payload)


def test_samples_of_one_batch_are_one_message_of_columns() -> None:
    first = Sample(3, 1_000, {"temperature": 21.5, "humidity": 48.0})
    (message,) = messages(batch(first, Sample(4, 2_000, {"temperature": 21.6}), Sample(5, 3_000, {"rssi": -60.0})))
    assert message.topic == "mpy-gateway/greenhouse/samples"
    assert (message.qos, message.retain) == (1, False)
    assert payload(message) == {
        "device": "greenhouse",
        "boot": 17,
        "boot_id": BOOT_ID,
        "seq": [3, 4, 5],
        "at": [1_790_000_001_000, 1_790_000_002_000, 1_790_000_003_000],
        "quality": "synced",
        "values": {"temperature": [21.5, 21.6, None], "humidity": [48.0, None, None], "rssi": [None, None, -60]},
    }


def test_numbers_have_the_decimals_of_the_profile() -> None:
    (message,) = messages(batch(Sample(0, 0, {"temperature": 21.540000000000003, "rssi": -61.0, "other": 1.2345678})))
    assert b'"temperature":[21.54],"rssi":[-61],"other":[1.2345678]' in message.payload


def test_each_kind_of_record_has_its_topic() -> None:
    records = (sample(0, temperature=1), Event(1, 0, "boot"), Gap(2, 4, 3, None, "full"), Refused(5, 6, "x", "c", "r"))
    assert [m.topic.rpartition("/")[2] for m in messages(batch(*records))] == ["samples", "event", "gap", "quarantine"]


def test_user_properties_name_schema_boot_and_numbers() -> None:
    sent = messages(batch(sample(7, temperature=1), sample(8, temperature=1), Gap(9, 12, 4, None, "full")))
    assert sent[0].properties == (("schema", "1"), ("boot_id", BOOT_ID), ("seq", "7"), ("through", "8"))
    assert sent[1].properties[2:] == (("seq", "9"), ("through", "12"))


def test_batches_of_one_boot_side_by_side_go_out_together() -> None:
    other = batch(sample(0, temperature=1), device="cellar")
    sent = messages(batch(sample(0, temperature=1)), other, batch(sample(1, temperature=2)))
    assert [(m.topic.split("/")[1], payload(m)["seq"]) for m in sent] == [("greenhouse", [0, 1]), ("cellar", [0])]


def test_batches_stamped_otherwise_stay_apart_and_in_order() -> None:
    a, b = batch(sample(0, temperature=1)), batch(sample(1, temperature=1), offset_ms=5)
    sent = messages(a, b, batch(sample(2, temperature=1)), batch(sample(0, temperature=1), boot_id="0" * 16))
    assert [payload(m)["seq"] for m in sent] == [[0], [1], [2], [0]]


def test_corrections_come_in_their_place_between_the_samples() -> None:
    stamp = {"offset_ms": 5, "quality": Quality.CORRECTED}
    moved = batch(Correction(0, 1, 5), Correction(2, 2, 9), **stamp)
    sent = messages(batch(sample(2, temperature=1), **stamp), moved, batch(sample(3, temperature=1), **stamp))
    assert [m.topic.rpartition("/")[2] for m in sent] == ["samples", "corrected", "corrected", "samples"]
    assert [(payload(m)["from"], payload(m)["to"], payload(m)["moved_ms"]) for m in sent[1:3]] == [(0, 1, 5), (2, 2, 9)]
    assert sent[1].properties[2:] == (("seq", "0"), ("through", "1"))


def test_a_message_that_would_be_too_large_is_split_in_order() -> None:
    sent = messages(batch(*(sample(seq, temperature=seq) for seq in range(1_000))), max_bytes=3_000)
    assert all(len(message.payload) <= 3_000 for message in sent)
    assert [seq for message in sent for seq in payload(message)["seq"]] == list(range(1_000))


def test_one_sample_that_is_larger_than_allowed_still_goes_out() -> None:
    assert len(messages(batch(sample(0, temperature=1)), max_bytes=10)) == 1


def test_halves_of_a_message_are_what_would_have_been_made_of_half_the_samples() -> None:
    refused = Refusal("humidity", "300", "value.range", "humidity 300 is outside 0..100 %")
    rows = [sample(0, temperature=1.5), sample(1, temperature=2, rssi=-60), Sample(2, 0, {"rssi": -61.0}, (refused,))]
    (whole,) = messages(batch(*rows))
    assert TOPICS.halves(whole) == [*messages(batch(rows[0])), *messages(batch(*rows[1:]))]
    assert TOPICS.halves(messages(batch(rows[0]))[0]) == []
    assert TOPICS.halves(messages(batch(Event(0, 0, "x")))[0]) == []


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["temperature", "humidity", "rssi"]), st.floats(-1e6, 1e6), max_size=3),
        min_size=1,
        max_size=60,
    ),
    st.integers(400, 5_000),
)
def test_no_sample_is_lost_or_doubled_by_splitting(rows: list[dict[str, float]], max_bytes: int) -> None:
    sent = messages(batch(*(Sample(seq, seq, row) for seq, row in enumerate(rows))), max_bytes=max_bytes)
    found = [msgspec.json.decode(message.payload, type=Samples) for message in sent]
    assert [seq for part in found for seq in part.seq] == list(range(len(rows)))
    for part in found:
        assert {len(column) for column in (part.seq, part.at, *part.values.values())} == {len(part.seq)}
        for place, seq in enumerate(part.seq):
            values = {quantity: column[place] for quantity, column in part.values.items()}
            assert {q for q, value in values.items() if value is not None} == set(rows[seq])


@pytest.mark.parametrize("name", ["a+b", "a#", "a/b", "", "A", "x" * 33, "a\0", "bridge", "-a"])
def test_names_that_are_no_level_of_a_topic_are_refused(name: str) -> None:
    assert not publishable(name)
    with pytest.raises(ValueError, match="cannot be a level"):
        TOPICS.of(name, "state")


@pytest.mark.parametrize("base", ["", "a+", "#", "a//b", "/a", "a\0"])
def test_bases_that_are_no_topic_are_refused(base: str) -> None:
    with pytest.raises(ValueError, match="base"):
        Topics(base)


def test_a_command_is_device_name_and_arguments() -> None:
    request = TOPICS.request("mpy-gateway/greenhouse/command/identify", b'{"seconds": 5, "transaction": "t1"}')
    assert (request.device, request.name, request.args, request.transaction) == (
        "greenhouse",
        "identify",
        {"seconds": 5},
        "t1",
    )
    assert TOPICS.request("mpy-gateway/greenhouse/command/ping", b"").args == {}


def test_bases_may_have_several_levels() -> None:
    topics = Topics("home/garden")
    assert topics.commands == "home/garden/+/command/+"
    assert topics.request("home/garden/greenhouse/command/ping", b"").device == "greenhouse"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("identify", b"not json", "command.payload"),
        ("identify", b"[1]", "command.payload"),
        ("identify", b'{"a": {"b": 1}}', "command.payload"),
        ("identify", b'{"transaction": 5}', "command.payload"),
        ("identify", b"\xff", "command.payload"),
        ("identify", b'{"a": "' + b"x" * MAX_COMMAND_BYTES + b'"}', "command.payload"),
        ("identify", json.dumps({f"a{i}": i for i in range(17)}).encode(), "command.payload"),
        ("Identify!", b"", "command.unknown"),
    ],
)
def test_a_bad_command_is_answered_with_a_code(name: str, text: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        TOPICS.request(f"mpy-gateway/greenhouse/command/{name}", text)
    answer = caught.value.answer
    assert answer.error is not None
    assert (answer.device, answer.status, answer.error.code) == ("greenhouse", Status.FAILED, code)


@pytest.mark.parametrize("topic", ["mpy-gateway/Bad/command/x", "mpy-gateway/bridge/command/x", "other/a/command/x"])
def test_a_command_that_names_no_device_has_nobody_to_answer_for(topic: str) -> None:
    with pytest.raises(ValueError, match=r"level|command topic"):
        TOPICS.request(topic, b"")


@given(st.text(max_size=60), st.binary(max_size=60))
def test_nothing_that_comes_in_is_a_surprise(name: str, text: bytes) -> None:
    try:
        request = TOPICS.request(f"mpy-gateway/{name}", text)
    except ValueError:
        return
    assert publishable(request.device)


# TOPICS.md is what people build on: every example in it is what the code really makes
def documented() -> dict[str, list[bytes]]:
    """The examples of TOPICS.md by the topic in their heading."""
    assert gateway.mqtt.__file__ is not None
    text = (Path(gateway.mqtt.__file__).parent / "TOPICS.md").read_text()
    found: dict[str, list[bytes]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0].strip("` ").rpartition("/")[2]
        found[heading] = [example.encode() for example in re.findall(r"```json\n(.*?)\n```", section, re.DOTALL)]
    return found


def made() -> dict[str, list[bytes]]:
    """The same, by the code."""
    samples = [
        Sample(1_203, 81_200, {"temperature": 21.5, "humidity": 48.1}),
        Sample(1_204, 82_200, {"temperature": 21.62}),
    ]
    refused = Refusal("temperature", "185.2", "value.range", "temperature 185.2 is outside -40..85 °C")
    failure = {"errno": 19, "why": "missing", "bus": "i2c0", "address": 0x76}
    event = Event(1_206, 83_500, "sensor.failed", "climate", failure)
    log = [
        batch(*samples),
        batch(Sample(1_205, 83_200, {"humidity": 48.2}, (refused,)), offset_ms=1_790_000_000_000, profile="other"),
        batch(event),
        batch(Gap(900, 949, 50, None, "full"), boot=16, boot_id="0c5d9be1f2a34477"),
        batch(Gap(1_203, None, None, 12, "power_loss"), boot=16, boot_id="0c5d9be1f2a34477"),
        batch(Refused(1_207, 1_209, "", "frame.columns", "lists of different length")),
        batch(Correction(0, 1_204, 86_400_250), quality=Quality.CORRECTED),
    ]
    found: dict[str, list[bytes]] = {}
    for message in messages(*log):
        found.setdefault(message.topic.rpartition("/")[2], []).append(message.payload)
    states = States(TOPICS)
    states.update(log[0], DECIMALS)
    found["state"] = [states.message("greenhouse").payload]
    states.provisional("greenhouse", 1_790_000_084_000, {"temperature": 21.7}, DECIMALS)
    found["state"].append(states.message("greenhouse").payload)
    command = b'{"seconds":5,"transaction":"kitchen-7"}'
    identify = TOPICS.request("mpy-gateway/greenhouse/command/identify", command)
    dance = TOPICS.request("mpy-gateway/greenhouse/command/dance", b"")
    done = answer(identify, Result("c4a1", Status.DONE, {"uptime_ms": 81_234}))
    failed = answer(dance, Result("c4a2", Status.FAILED, {}, "command.unknown", "no command 'dance'"))
    found["Commands"] = [command, TOPICS.result(done).payload, TOPICS.result(failed).payload]
    return found


def test_every_example_in_topics_md_is_what_the_code_makes() -> None:
    examples = {heading: found for heading, found in documented().items() if found}
    assert examples == made()


def test_topics_md_names_every_topic_and_limit() -> None:
    assert gateway.mqtt.__file__ is not None
    text = (Path(gateway.mqtt.__file__).parent / "TOPICS.md").read_text()
    for leaf in (
        "availability",
        "state",
        "samples",
        "event",
        "gap",
        "quarantine",
        "corrected",
        "result",
        "command/<name>",
    ):
        assert f"`<base>/<device>/{leaf}`" in text
    assert "`<base>/bridge/state`" in text
    assert f"{MAX_COMMAND_BYTES:,} bytes" in text
    for code in ("command.payload", "command.unknown", "command.retained", "command.busy", "device.unknown"):
        assert f"`{code}`" in text


def test_a_refusal_keeps_the_transaction() -> None:
    request = TOPICS.request("mpy-gateway/greenhouse/command/ping", b'{"transaction": "t"}')
    assert payload(TOPICS.result(refusal(request, "device.unknown", "there is no such device"))) == {
        "device": "greenhouse",
        "name": "ping",
        "id": "",
        "status": "failed",
        "error": {"code": "device.unknown", "text": "there is no such device"},
        "transaction": "t",
    }
