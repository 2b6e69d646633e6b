"""The count itself must be able to find what it looks for: samples lost, invented, doubled, and bounds not kept."""

from __future__ import annotations

import json
from typing import Any

from tests.reckoning import Delivered, End, Measured, Reckoning, reckon, truth

BOOT = "9f3c11d2c01b6a55"


def value(number: int) -> dict[str, float]:
    return {"temperature": 20 + number % 50 / 100, "humidity": 40 + number / 8, "pressure": 1000.0}


def measured(count: int, *, boot: int = 1, first: int = 0, feeds: int = 0) -> list[Measured]:
    return [
        Measured("climate", boot, 1_000_000 + 100 * number, feeds, value(number))
        for number in range(first, first + count)
    ]


def samples(numbers: range, *, seq: int = 0, boot_id: str = BOOT, boot: int = 1) -> dict[str, Any]:
    values = [value(number) for number in numbers]
    return {
        "boot": boot,
        "boot_id": boot_id,
        "seq": list(range(seq, seq + len(numbers))),
        "at": [1_000_000 + 100 * number for number in numbers],
        "quality": "synced",
        "values": {name: [entry[name] for entry in values] for name in ("temperature", "humidity", "pressure")},
    }


def gap(first: int, to: int | None, count: int | None = None, at_most: int | None = None) -> dict[str, Any]:
    return {"boot": 1, "boot_id": BOOT, "from": first, "to": to, "count": count, "at_most": at_most, "why": "full"}


def outcome(entries: list[Measured], *messages: tuple[str, dict[str, Any]], power_loss: str = "unsent") -> Reckoning:
    got = Delivered()
    for topic, body in messages:
        got.take(topic, body)
    boots = {entry.boot for entry in entries}
    return reckon(entries, [End(boot, 7) for boot in boots], got, power_loss=power_loss, taken=len(entries))


def bad(found: Reckoning) -> tuple[int, int, int]:
    return found.lost, found.invented, found.holes


def test_all_delivered_is_all_well() -> None:
    found = outcome(measured(20), ("samples", samples(range(12))), ("samples", samples(range(12, 20), seq=12)))
    assert (found.taken, found.delivered, bad(found), found.problems) == (20, 20, (0, 0, 0), [])
    assert found.worst_time_ms == 0


def test_a_sample_left_out_in_silence_is_lost_though_the_numbers_close_up() -> None:
    found = outcome(measured(20), ("samples", samples(range(9))), ("samples", samples(range(10, 20), seq=9)))
    assert bad(found) == (1, 0, 0)


def test_a_hole_in_the_numbers_is_a_hole_and_the_sample_in_it_lost() -> None:
    found = outcome(measured(20), ("samples", samples(range(9))), ("samples", samples(range(10, 20), seq=10)))
    assert bad(found) == (1, 0, 1)


def test_what_a_gap_counts_is_not_lost_and_more_than_that_is() -> None:
    first, second = ("samples", samples(range(5))), ("samples", samples(range(9, 20), seq=9))
    assert bad(outcome(measured(20), first, ("gap", gap(5, 8, 4)), second)) == (0, 0, 0)
    assert outcome(measured(20), first, ("gap", gap(5, 8, 4)), second).in_gaps == 4
    assert bad(outcome(measured(20), first, ("gap", gap(5, 8, 3)), second)) == (1, 0, 0)


def test_what_no_chip_measured_is_invented() -> None:
    body = samples(range(5))
    body["values"]["humidity"][3] = 77.7
    found = outcome(measured(5), ("samples", body))
    assert found.invented == 1
    assert outcome([], ("samples", samples(range(3)))).invented == 3


def test_a_repeat_is_counted_and_must_be_the_same() -> None:
    body = samples(range(5))
    found = outcome(measured(5), ("samples", body), ("samples", body))
    assert (found.delivered, found.repeated, found.problems) == (5, 5, [])
    other = samples(range(5))
    other["values"]["humidity"][0] = 1.0
    assert outcome(measured(5), ("samples", body), ("samples", other)).problems
    moved = samples(range(5))
    moved["at"] = [at + 1 for at in moved["at"]]
    assert "synced, and moved" in outcome(measured(5), ("samples", body), ("samples", moved)).problems[0]


def test_a_tail_is_unknown_within_its_bound_and_lost_beyond_it() -> None:
    sent = ("samples", samples(range(15)))
    assert bad(outcome(measured(20), sent)) == (5, 0, 0)
    within = outcome(measured(20), sent, ("gap", gap(15, None, at_most=5)))
    assert (within.unknown_tail, bad(within), within.problems) == (5, (0, 0, 0), [])
    assert bad(outcome(measured(20), sent, ("gap", gap(15, None, at_most=4)))) == (5, 0, 0)


def test_interrupted_is_only_what_was_measured_in_the_last_turn_of_the_loop() -> None:
    written, last = measured(18, feeds=3), measured(2, first=18, feeds=7)
    sent = ("samples", samples(range(18)))
    found = outcome([*written, *last], sent, power_loss="none")
    assert (found.interrupted, bad(found)) == (2, (0, 0, 0))
    found = outcome([*written, *last], sent, power_loss="unsent")
    assert (found.interrupted, found.lost) == (0, 2)
    found = outcome(measured(20, feeds=3), sent, power_loss="none")
    assert (found.interrupted, found.lost) == (0, 2)


def test_a_boot_of_which_nothing_came_is_lost_but_for_its_bound() -> None:
    first, second = measured(10), measured(6, boot=2, first=30)
    sent = ("samples", samples(range(10)))
    assert bad(outcome([*first, *second], sent)) == (6, 0, 0)
    end = gap(0, None, at_most=8) | {"boot": 2, "boot_id": "0c5d9be1f2a34477"}
    found = outcome([*first, *second], sent, ("gap", end))
    assert (found.unknown_tail, bad(found)) == (6, (0, 0, 0))


def test_two_boots_are_told_apart_by_what_was_measured() -> None:
    entries = [*measured(10), *measured(10, boot=2, first=30)]
    late = ("samples", samples(range(30, 40), boot_id="0c5d9be1f2a34477", boot=2))
    assert bad(outcome(entries, late, ("samples", samples(range(10))))) == (0, 0, 0)


def test_the_truth_log_is_read_to_its_torn_end() -> None:
    line = json.dumps({"sensor": "vitals", "boot": 1, "at_ms": 5, "wdt_feeds": 2, "values": {"rssi": -50}})
    assert truth([line, line[:20]]) == [Measured("vitals", 1, 5, 2, {"rssi": -50})]


def test_a_sample_without_values_stands_for_what_was_converted_and_not_read() -> None:
    empty = samples(range(5), seq=10) | {"seq": [10], "at": [5], "values": {}}
    found = outcome(measured(11), ("samples", samples(range(10))), ("samples", empty))
    assert (found.delivered, bad(found), found.problems) == (11, (0, 0, 0), [])
    found = outcome(measured(12), ("samples", samples(range(10))), ("samples", empty))
    assert bad(found) == (1, 0, 0)
    found = outcome(
        measured(12), ("samples", samples(range(10))), ("samples", empty), ("samples", samples(range(10, 12), seq=11))
    )
    assert (bad(found), found.problems) == ((0, 0, 0), [])


def test_a_sensor_that_did_not_answer_loses_nothing_and_hides_no_more_than_its_samples() -> None:
    empty = samples(range(3)) | {"seq": [10, 11, 12], "at": [5, 6, 7], "values": {}}
    sent = ("samples", samples(range(10))), ("samples", empty)
    after = ("samples", samples(range(10, 20), seq=13))
    found = outcome(measured(20), *sent, after)  # nothing was converted meanwhile
    assert (found.delivered, found.not_measured, bad(found), found.problems) == (23, 3, (0, 0, 0), [])
    later = ("samples", samples(range(12, 20), seq=13))  # two conversions could not be read
    found = outcome(measured(20), *sent, later)
    assert (found.not_measured, bad(found), found.problems) == (1, (0, 0, 0), [])
    assert bad(outcome(measured(20), *sent, ("samples", samples(range(14, 20), seq=13)))) == (1, 0, 0)
    assert bad(outcome(measured(14), *sent)) == (1, 0, 0)


def test_a_conversion_that_ctrl_c_kept_from_the_log_is_delivered_and_not_interrupted() -> None:
    body = samples(range(10))
    for column in body["values"].values():
        column[9] = None
    got = Delivered()
    got.take("samples", body)
    found = reckon(measured(9), [End(1, 7)], got, power_loss="unsent", taken=10)
    assert (found.taken, found.delivered, found.interrupted, bad(found)) == (10, 10, 0, (0, 0, 0))
