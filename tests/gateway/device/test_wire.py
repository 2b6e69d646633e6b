from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.device import wire
from gateway.errors import DeviceError
from gateway.intake import check
from tests.gateway.device.door import PROFILE

VECTORS = Path(__file__).parents[2] / "vectors"
CHECKER = check.compile(PROFILE)


NEEDS_A_HELLO = {
    "samples, boot not of this hello",
    "gap, boot not of this hello",
    "gap, of the running boot without an end",
}
"""Judged in test_session.py and test_bad_input.py."""


def vectors(file: str) -> list[Any]:
    found = json.loads((VECTORS / file).read_text())
    return [pytest.param(v, id=v["name"]) for v in found if "text" in v and v["name"] not in NEEDS_A_HELLO]


def code_of(text: str) -> str | None:
    """The error code of a frame that is judged without a connection; None where it is good."""
    try:
        message = wire.decode(text, CHECKER.decoder)
        kind = message.type if isinstance(message, wire.Rough) else type(message)
        if kind in (wire.Samples, "samples"):
            error = CHECKER.samples(message, text, {}).error  # type: ignore[arg-type]  # looked at in the line above
        elif kind in (wire.Latest, "latest"):
            error = CHECKER.latest(message).error  # type: ignore[arg-type]  # the same
        else:
            error = message.error if isinstance(message, wire.Rough) else None
    except DeviceError as raised:
        error = raised
    return error.wire_code if error else None


@pytest.mark.parametrize("vector", vectors("device_to_gateway.json"))
def test_device_frames_are_judged_as_the_vectors_say(vector: dict[str, Any]) -> None:
    assert code_of(vector["text"]) == vector.get("code")


@pytest.mark.parametrize("vector", vectors("gateway_to_device.json"))
def test_our_own_messages_are_written_as_the_vectors_say(vector: dict[str, Any]) -> None:
    if not vector["ok"] or vector["name"] == "unknown field":
        return
    message = msgspec.json.Decoder(wire.Outgoing).decode(vector["text"])
    assert json.loads(wire.encode(message)) == json.loads(vector["text"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
"""Any JSON value, NaN and infinity included."""
KNOWN_FIELDS = st.sampled_from(
    [
        "boot",
        "seq",
        "t",
        "values",
        "from",
        "to",
        "why",
        "count",
        "at_most",
        "code",
        "sensor",
        "data",
        "id",
        "status",
        "error",
        "level",
        "text",
        "device",
        "hardware",
        "boots",
    ]
)
FRAMES = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    st.sampled_from(sorted(wire.INCOMING)),
    st.dictionaries(KNOWN_FIELDS, JSON, max_size=8),
)


@given(st.text() | JSON.map(json.dumps) | FRAMES)
@example('{"type":"samples","boot":1,"seq":0,"t":[0],"values":{"temperature":[1e308]}}')
@example('{"type":"latest","boot":1,"t":0,"values":{"\\ud800":1}}')
@example('{"type":"samples","boot":1,"seq":9007199254740991,"t":[0,1],"values":{}}')
def test_nothing_but_an_error_of_the_protocol_ever_comes_of_a_text(text: str) -> None:
    code = code_of(text)
    assert code is None or code.partition(".")[0] in ("frame", "value", "hello")


@given(st.text() | FRAMES)
def test_a_frame_with_an_unknown_field_means_the_same_as_without(text: str) -> None:
    try:
        body = json.loads(text)
    except ValueError:
        return
    if isinstance(body, dict) and "zzz" not in body:
        assert code_of(json.dumps({**body, "zzz": [{}]})) == code_of(json.dumps(body))


def test_a_fast_frame_and_a_slow_one_give_the_same_records() -> None:
    fast = '{"type":"samples","boot":1,"seq":7,"t":[0,1],"values":{"temperature":[20,null],"humidity":[40.5,41]}}'
    slow = fast.replace('"boot"', '"extra":[],"boot"')
    messages = [wire.decode(text, CHECKER.decoder) for text in (fast, slow)]
    assert [type(message) for message in messages] == [wire.Samples, wire.Rough]
    first, second = (CHECKER.samples(message, "", {}) for message in messages)  # type: ignore[arg-type]  # as above
    assert first == second


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_cleaned_text_is_one_printable_line_within_its_limit(text: str, limit: int) -> None:
    cleaned = wire.clean(text, limit)
    assert len(cleaned) <= limit
    assert not set(cleaned) & set("\n\r\x00\x1b\u2028")
    cleaned.encode()


@pytest.mark.parametrize("character", [*"\x00\x1b\x7f\x85\x9b\u061c\u200e\u2028\u2029\u202e\u2066\u2069"])
def test_what_could_deceive_a_terminal_is_neither_a_name_nor_left_in_a_text(character: str) -> None:
    boots = [{"boot": 0, "id": "0" * 16, "first": 0, "next": 0}]
    for field in ("hardware", "node", "firmware"):
        text = json.dumps({"type": "hello", "device": "a", "hardware": "1", "boots": boots, field: f"a{character}b"})
        assert code_of(text) == "hello.invalid"
        assert code_of(text.replace(json.dumps(character)[1:-1], "ä\u4f60\U0001f600 -")) is None
    assert wire.clean(f"a{character}b", 9) == "a\ufffdb"


def test_every_close_code_has_a_reason_that_fits_into_its_frame() -> None:
    assert set(wire.CLOSE_REASONS) == set(wire.CloseCode)
    assert all(len(reason) <= 123 for reason in wire.CLOSE_REASONS.values())


WIRE_MD = (Path(wire.__file__).parent / "WIRE.md").read_text()


def test_the_page_lists_every_close_code_with_the_reason_we_send() -> None:
    table = {int(code): reason for code, reason in re.findall(r"^\| (\d{4}) \| ([^|]+) \|", WIRE_MD, re.MULTILINE)}
    assert table == {code: reason for code, reason in wire.CLOSE_REASONS.items() if code >= 4000}


def test_the_page_lists_every_error_code_we_send_and_no_other() -> None:
    listed = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", WIRE_MD, re.MULTILINE))
    parts = (Path(wire.__file__).parents[1] / name for name in ("device", "intake", "store"))
    source = "".join(path.read_text() for part in parts for path in part.glob("*.py"))
    sent = set(re.findall(r'"((?:frame|value|hello|boot)\.[a-z]+|store\.unavailable)"', source))
    assert sent == listed


def test_every_example_on_the_page_is_understood() -> None:
    from_device, to_device = WIRE_MD.split("## 5. Gateway to device")
    for text in re.findall(r"```json\n(.*?)```", from_device, re.DOTALL):
        for frame in re.split(r"\n(?=\{)", text.strip()):
            assert code_of(frame) is None, frame
    for frame in re.findall(r"^\|[^|]*\| `(\{.*?\})` \|", to_device, re.MULTILINE):
        msgspec.json.Decoder(wire.Outgoing).decode(frame)
