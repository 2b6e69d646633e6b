from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.device import wire
from gateway.errors import DeviceError
from gateway.intake import check
from gateway.intake.check import Base, Checked, follow
from gateway.model import Refused, Sample
from tests.gateway.device.door import PROFILE

CHECKER = check.compile(PROFILE)


def checked(values: Any, *, times: Any = None, trend: check.Trend | None = None) -> Checked:
    """A frame of samples through wire and check."""
    if times is None:
        times = [1000 * place for place in range(max(len(column) for column in values.values()))]
    text = json.dumps({"type": "samples", "boot": 1, "seq": 10, "t": times, "values": values})
    message = wire.decode(text, CHECKER.decoder)
    assert isinstance(message, wire.Samples | wire.Rough)
    return CHECKER.samples(message, text, trend or {})


def values_of(outcome: Checked) -> list[dict[str, float]]:
    return [record.values for record in outcome.records if isinstance(record, Sample)]


def codes_of(outcome: Checked) -> list[list[str]]:
    return [[r.code for r in record.refused] for record in outcome.records if isinstance(record, Sample)]


def test_good_values_go_on_and_null_is_left_out() -> None:
    outcome = checked({"temperature": [20, None], "humidity": [None, 41.5]})
    assert values_of(outcome) == [{"temperature": 20.0}, {"humidity": 41.5}]
    assert [record.seq for record in outcome.records] == [10, 11]
    assert outcome.error is None


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (85.01, "value.range", "temperature 85.01 is outside -40..85 °C"),
        (-40.01, "value.range", "temperature -40.01 is outside -40..85 °C"),
        (float("nan"), "value.finite", "temperature is nan, which is no number"),
        (float("-inf"), "value.finite", "temperature is -inf, which is no number"),
        ("20", "value.type", "temperature must be a number or null"),
        (True, "value.type", "temperature must be a number or null"),
        ([20], "value.type", "temperature must be a number or null"),
    ],
)
def test_a_bad_value_is_refused_with_its_reason_and_its_neighbours_go_on(value: Any, code: str, text: str) -> None:
    outcome = checked({"temperature": [20, value, 21], "humidity": [40, 41, 42]})
    assert values_of(outcome) == [
        {"temperature": 20.0, "humidity": 40.0},
        {"humidity": 41.0},
        {"temperature": 21.0, "humidity": 42.0},
    ]
    assert codes_of(outcome) == [[], [code], []]
    refusal = outcome.records[1].refused[0]  # type: ignore[union-attr]  # a Sample, as the lines above show
    assert (refusal.quantity, refusal.reason) == ("temperature", text)
    assert json.loads(refusal.value) == value or value != value
    assert outcome.error is not None
    assert (outcome.error.wire_code, outcome.error.boot, outcome.error.seq) == (code, 1, 11)


def test_a_column_that_is_no_quantity_is_refused_once() -> None:
    outcome = checked({"temperature": [20] * 1000, "tempo": [None] + [1] * 999})
    (code,) = [place for place, codes in enumerate(codes_of(outcome)) if codes]
    assert code == 1
    (refusal,) = outcome.records[1].refused  # type: ignore[union-attr]  # a Sample, as `codes_of` shows
    assert (refusal.quantity, refusal.code, refusal.value[:7]) == ("tempo", "value.unknown", "[1, 1, ")
    assert len(refusal.value) == wire.MAX_TEXT


def test_a_frame_of_too_many_columns_is_refused_as_a_whole() -> None:
    most = len(PROFILE.quantities) + check.MORE_COLUMNS
    columns = {f"q{number}": [1] for number in range(most + 1)}
    (record,) = checked(columns).records
    assert isinstance(record, Refused)
    assert record.code == "frame.columns"
    del columns["q0"]
    (sample,) = checked(columns).records
    assert isinstance(sample, Sample)
    assert len(sample.refused) == most
    text = json.dumps({"type": "latest", "boot": 1, "t": 5, "values": dict.fromkeys(range(most + 1), 1)})
    latest = wire.decode(text, CHECKER.decoder)
    assert isinstance(latest, wire.Rough)
    with pytest.raises(DeviceError, match="columns"):
        CHECKER.latest(latest)


def test_an_unknown_quantity_is_refused_at_its_first_value() -> None:
    outcome = checked({"temperature": [20, 21], "tempo\n": [1, None]})
    assert values_of(outcome) == [{"temperature": 20.0}, {"temperature": 21.0}]
    assert codes_of(outcome) == [["value.unknown"], []]
    assert str(outcome.error) == "'tempo\ufffd' is no quantity of the profile"


@pytest.mark.parametrize(
    ("values", "times", "code", "to"),
    [
        ({"temperature": [1, 2, 3]}, [0, 1], "frame.columns", 12),
        ({"temperature": []}, [], "frame.columns", 10),
        ({"temperature": [1] * 1001}, list(range(1001)), "frame.columns", 1010),
        ({"temperature": 1}, [0], "frame.field", 10),
        ({"temperature": [1, 2]}, ["0", "1"], "frame.field", 11),
        ([[1, 2, 3]], [0], "frame.field", 10),
        (None, None, "frame.field", 10),
    ],
)
def test_a_frame_of_no_use_becomes_one_record_as_long_as_its_longest_list(
    values: Any, times: Any, code: str, to: int
) -> None:
    text = json.dumps({"type": "samples", "boot": 1, "seq": 10, "t": times, "values": values})
    message = wire.decode(text, CHECKER.decoder)
    assert isinstance(message, wire.Samples | wire.Rough)
    (record,) = CHECKER.samples(message, text, {}).records
    assert isinstance(record, Refused)
    assert (record.seq, record.to, record.code) == (10, to, code)
    assert record.raw == text[: wire.MAX_RAW]


def test_a_value_that_jumps_is_refused_and_two_that_agree_re_base_it() -> None:
    outcome = checked({"temperature": [20, 60, 21, 60, 61, 62]})
    assert codes_of(outcome) == [[], ["value.rate"], [], ["value.rate"], [], []]
    assert values_of(outcome)[3:] == [{}, {"temperature": 61.0}, {"temperature": 62.0}]
    assert str(outcome.error) == "temperature 60 after 20: it changes by 5 °C per second at most"


def test_the_trend_goes_on_from_frame_to_frame_and_is_never_changed() -> None:
    first = checked({"temperature": [20]})
    second = checked({"temperature": [60]}, times=[1000], trend=first.trend)
    assert codes_of(second) == [["value.rate"]]
    assert first.trend == {"temperature": Base(0, 20.0)}
    third = checked({"temperature": [60]}, times=[2000], trend=second.trend)
    assert codes_of(third) == [[]]


def test_after_a_pause_a_large_change_may_be_true() -> None:
    assert codes_of(checked({"temperature": [20, 40]}, times=[0, 4_000])) == [[], []]
    assert codes_of(checked({"temperature": [20, 41]}, times=[0, 4_000])) == [[], ["value.rate"]]


def test_within_a_second_the_change_of_a_second_is_allowed() -> None:
    assert codes_of(checked({"temperature": [20, 24]}, times=[0, 10])) == [[], []]


def test_a_quantity_without_a_rate_may_do_what_it_likes() -> None:
    assert codes_of(checked({"rssi": [-127, 0, -127]})) == [[], [], []]


def test_a_value_out_of_range_is_no_base_for_the_next() -> None:
    assert codes_of(checked({"temperature": [20, 999, 21]})) == [[], ["value.range"], []]


def test_latest_gives_its_good_values_and_the_first_error() -> None:
    text = '{"type":"latest","boot":1,"t":5,"values":{"temperature":21.5,"humidity":null,"rssi":7,"x":1}}'
    message = wire.decode(text, CHECKER.decoder)
    assert isinstance(message, wire.Rough)
    outcome = CHECKER.latest(message)
    assert outcome.values == {"temperature": 21.5}
    assert outcome.error is not None
    assert outcome.error.wire_code == "value.range"


def test_latest_of_no_use_is_an_error() -> None:
    message = wire.decode('{"type":"latest","boot":1,"t":5,"values":[]}', CHECKER.decoder)
    assert isinstance(message, wire.Rough)
    with pytest.raises(DeviceError):
        CHECKER.latest(message)


def test_a_quantity_may_be_called_as_a_word_of_python() -> None:
    class Word:
        unit, low, high, max_change_per_s = "", 0.0, 1.0, None

    class Words:
        hash, quantities, sensors = "0" * 16, {"class": Word(), "_": Word(), "q1": Word()}, {}
        sleeps = False

    checker = check.compile(Words())
    text = '{"type":"samples","boot":1,"seq":0,"t":[0],"values":{"class":[1],"_":[0.5],"q1":[2]}}'
    message = wire.decode(text, checker.decoder)
    assert isinstance(message, wire.Rough)
    outcome = checker.samples(message, text, {})
    assert values_of(outcome) == [{"class": 1.0, "_": 0.5}]
    assert codes_of(outcome) == [["value.range"]]


@given(st.lists(st.one_of(st.none(), st.floats(-60, 120)), min_size=1, max_size=50), st.integers(1, 10_000))
def test_no_value_is_ever_lost_or_invented(column: list[float | None], step_ms: int) -> None:
    times = [step_ms * place for place in range(len(column))]
    outcome = checked({"temperature": column}, times=times)
    assert len(outcome.records) == len(column)
    for value, record in zip(column, outcome.records, strict=True):
        assert isinstance(record, Sample)
        kept = [*record.values.values(), *(json.loads(refusal.value) for refusal in record.refused)]
        assert kept == ([] if value is None else [value])
        assert all(-40 <= good <= 85 for good in record.values.values())


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.001, 100))
def test_two_values_that_agree_are_always_accepted_in_the_end(first: float, second: float, limit: float) -> None:
    base = follow(follow(follow(None, 0, first, limit), 1000, second, limit), 2000, second, limit)
    assert base == Base(2000, second)
