"""What the board writes is what the gateway reads, and the other way round: both wire.py against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.device import wire
from gateway.intake import check
from gateway.profile import find_node, load_profile
from tests.firmware import interpreter

VECTORS = Path(__file__).parents[1] / "vectors" / "gateway_to_device.json"

SENSORS = [
    [["temperature", 2], ["humidity", 2], ["pressure", 2]],
    [["rssi", 0], ["free_heap", 0], ["uptime", 0], ["reset_cause", 0]],
]
value = st.none() | st.integers(-0x3FFFFFFF, 0x3FFFFFFF)
sample = st.integers(0, 1).flatmap(
    lambda sensor: st.tuples(
        st.just(sensor),
        st.integers(0, 2**53 - 1),
        st.lists(value, min_size=len(SENSORS[sensor]), max_size=len(SENSORS[sensor])),
    )
)
name = st.text("abcdefghij", min_size=1)
event = st.tuples(
    st.sampled_from(["boot", "sensor.failed", "samples.missed"]),
    st.dictionaries(
        name, st.integers(-(2**30), 2**30) | st.text(st.characters(codec="utf-8"), max_size=50), max_size=16
    ),
)
case = st.fixed_dictionaries(
    {
        "sensors": st.just(SENSORS),
        "records": st.lists(sample | event, min_size=1, max_size=60),
        "slots": st.integers(1, 80),
        "limit": st.integers(1, 256),
    }
)


def written(case: dict[str, Any]) -> list[str]:
    """The frames that the board's own code writes."""
    return interpreter.run_script("encode.py", stdin=json.dumps(case, ensure_ascii=False), heap="4m").split("\n")[:-1]


@pytest.fixture(scope="module")
def decoder() -> wire.Decoder:
    return check.compile(load_profile(find_node("climate-node"))).decoder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case)
def test_every_record_arrives_as_it_was_taken(case: dict[str, Any]) -> None:
    arrived: list[Any] = []
    lost = 0
    for frame in map(json.loads, written(case)):
        assert frame["boot"] == 17
        if frame["type"] == "gap":
            assert frame["from"] == len(arrived)
            taken = case["records"][frame["from"] : frame["to"] + 1]
            assert frame["count"] == sum(len(record) == 3 for record in taken)
            arrived += taken
            lost += len(taken)
            continue
        assert frame["seq"] == len(arrived)
        arrived += [(frame["code"], frame.get("data", {}))] if frame["type"] == "event" else rows(frame)
    assert lost == max(0, len(case["records"]) - case["slots"])
    assert [normal(record) for record in arrived] == [normal(record) for record in case["records"]]


def rows(frame: dict[str, Any]) -> list[tuple[int, int, list[int | None]]]:
    """A samples frame back to (sensor, t, values); which sensor is not said, so all its quantities tell."""
    found = []
    for i, t in enumerate(frame["t"]):
        row = [
            [
                None if (v := frame["values"].get(name, [None] * (i + 1))[i]) is None else round(v * 10**d)
                for name, d in sensor
            ]
            for sensor in SENSORS
        ]
        assert not any(v is not None for v in row[0]) or not any(v is not None for v in row[1])
        sensor = int(any(v is not None for v in row[1]))
        found.append((sensor, t, row[sensor]))
    return found


def normal(record: Any) -> Any:
    """Without the sensor's number where nothing was measured."""
    if len(record) == 3 and all(value is None for value in record[2]):
        return (record[1], None)
    return tuple(record)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=case)
def test_the_gateway_understands_every_frame(decoder: wire.Decoder, case: dict[str, Any]) -> None:
    for frame in written(case):
        assert len(frame.encode()) <= 4096
        message = wire.decode(frame, decoder)
        if isinstance(message, wire.Rough):  # a value out of the profile's range; every other error would be ours
            assert message.type == "samples"
            assert any(out_of_range(name, column) for name, column in message.body["values"].items())


def out_of_range(name: str, column: list[float | None]) -> bool:
    quantity = load_profile(find_node("climate-node")).quantities[name]
    return any(value is not None and not quantity.low <= value <= quantity.high for value in column)


def test_the_device_takes_what_is_good_and_ignores_what_is_hostile() -> None:
    vectors = json.loads(VECTORS.read_text())
    made = interpreter.run_script("vectors.py", str(VECTORS)).splitlines()
    assert len(made) == len(vectors)
    for vector, result in zip(vectors, made, strict=True):
        assert result.startswith("refused") != vector["ok"], (vector["name"], result)
