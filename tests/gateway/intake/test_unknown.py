from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.device import wire
from gateway.intake.unknown import UnknownProfile
from gateway.model import Refused

HASH = "0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({}, 2),
        ({"values": {}}, 2),
        ({"values": {"colour": [1, 2]}}, 2),
        ({"t": "never", "values": {"temperature": [1, 2, 3]}}, 3),
        ({"t": [], "values": None}, 1),
    ],
)
def test_a_frame_is_kept_as_it_came_and_covers_its_place(changes: dict[str, Any], covers: int) -> None:
    frame = {"type": "samples", "boot": 3, "seq": 7, "t": [1, 2], "values": {"temperature": [20, 21]}, **changes}
    text = json.dumps(frame)
    checker = UnknownProfile(HASH)
    message = wire.decode(text, checker.decoder)
    assert isinstance(message, wire.Samples | wire.Rough)
    checked = checker.samples(message, text, {})
    (record,) = checked.records
    assert isinstance(record, Refused)
    assert (record.seq, record.to, record.raw, record.code) == (7, 6 + covers, text, "boot.profile")
    assert checked.error is not None
    assert (checked.error.boot, checked.error.seq, checked.error.retry) == (3, 7, False)
    assert HASH in str(checked.error)


def test_a_live_value_nobody_can_judge_is_not_shown() -> None:
    checker = UnknownProfile(HASH)
    message = wire.decode('{"type":"latest","boot":3,"t":1,"values":{"temperature":20}}', checker.decoder)
    assert isinstance(message, wire.Latest | wire.Rough)
    assert checker.latest(message) == ({}, None)
