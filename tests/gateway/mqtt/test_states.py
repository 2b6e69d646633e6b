"""What is retained: newest values, never going back, at most once a second; and who is online."""

from __future__ import annotations

import json
from typing import Any

from gateway.mqtt.states import Presences, States
from gateway.mqtt.topics import Message, Topics
from tests.gateway.mqtt.test_topics import DECIMALS, batch, sample

TOPICS = Topics("b")


def content(message: Message) -> Any:
    return json.loads(message.payload)


def due(states: States, now_ms: int, most: int = 100) -> list[Any]:
    return [content(message) for message in states.due(now_ms, most)[0]]


def test_state_holds_the_newest_value_of_each_quantity() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20, humidity=40), sample(1, temperature=21)), DECIMALS)
    (state,) = due(states, 0)
    assert (state["temperature"], state["humidity"], state["seq"]) == (21, 40, 1)
    assert state["at"] == 1_790_000_081_000


def test_at_most_once_a_second_and_the_last_one_is_not_forgotten() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    assert len(due(states, 5_000)) == 1
    states.update(batch(sample(1, temperature=21)), DECIMALS)
    states.update(batch(sample(2, temperature=22)), DECIMALS)
    assert states.due(5_400, 100) == ([], 600)
    assert [state["temperature"] for state in due(states, 6_000)] == [22]
    assert states.due(7_000, 100) == ([], None)


def test_samples_that_arrive_late_change_nothing_newer() -> None:
    states = States(TOPICS)
    states.update(batch(sample(50, temperature=25)), DECIMALS)
    states.update(batch(sample(3, temperature=10, humidity=33), boot_id="0" * 16), DECIMALS)
    (state,) = due(states, 0)
    assert (state["temperature"], state["humidity"]) == (25, 33)
    assert (state["seq"], state["at"]) == (50, 1_790_000_130_000)


AHEAD_MS = 1_790_003_600_000
"""Where the gateway's clock puts the start of a board that it is an hour wrong about."""


def test_within_one_boot_the_sequence_decides_even_where_the_clock_was_set_back() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20, humidity=40), offset_ms=AHEAD_MS), DECIMALS)
    states.update(batch(sample(1, temperature=21)), DECIMALS)
    (state,) = due(states, 0)
    assert (state["temperature"], state["humidity"]) == (21, 40)
    assert (state["seq"], state["at"]) == (1, 1_790_000_081_000)


def test_between_boots_the_time_decides() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20), offset_ms=AHEAD_MS), DECIMALS)
    states.update(batch(sample(1, temperature=21), boot_id="0" * 16), DECIMALS)
    (state,) = due(states, 0)
    assert (state["temperature"], state["seq"], state["at"]) == (20, 0, AHEAD_MS + 80_000)


def test_a_clock_set_back_while_we_are_restarted_freezes_nothing() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20, humidity=40), offset_ms=AHEAD_MS), DECIMALS)
    states.update(batch(sample(1, temperature=21)), DECIMALS)
    loaded = States(TOPICS)
    loaded.load(states.save(), ["greenhouse"])
    assert due(loaded, 0) == [content(states.message("greenhouse"))]
    loaded.update(batch(sample(2, temperature=22, humidity=41)), DECIMALS)
    (state,) = due(loaded, 1_000)
    assert (state["temperature"], state["humidity"]) == (22, 41)
    assert (state["seq"], state["at"]) == (2, 1_790_000_082_000)


def test_a_provisional_value_is_still_provisional_after_a_restart() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    states.provisional("greenhouse", 1_790_000_090_000, {"temperature": 23}, DECIMALS)
    loaded = States(TOPICS)
    loaded.load(states.save(), ["greenhouse"])
    assert due(loaded, 0)[0]["provisional"] is True


def test_provisional_values_are_marked_until_a_sample_replaces_them() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20, humidity=40)), DECIMALS)
    states.provisional("greenhouse", 1_790_000_090_000, {"temperature": 23.456}, DECIMALS)
    states.update(batch(sample(1, temperature=21)), DECIMALS)  # of the backlog: older
    (state,) = due(states, 0)
    assert (state["temperature"], state["provisional"], state["seq"]) == (23.46, True, 0)
    states.update(batch(sample(11, temperature=24)), DECIMALS)
    (state,) = due(states, 2_000)
    assert state["temperature"] == 24
    assert "provisional" not in state


def test_what_was_seen_already_changes_nothing() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    due(states, 0)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    assert states.due(10_000, 100) == ([], None)


def test_a_new_session_gets_everything_again() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    due(states, 0)
    states.all_again()
    assert len(due(states, 1)) == 1


def test_no_more_than_asked_for_and_the_rest_next_time() -> None:
    states = States(TOPICS)
    for number in range(5):
        states.update(batch(sample(0, temperature=1), device=f"d{number}"), DECIMALS)
    assert len(due(states, 0, most=3)) == 3
    assert len(due(states, 0, most=3)) == 2


def test_what_waits_for_room_is_not_waited_for_by_time() -> None:
    """A wait of less than nothing would have the bridge ask again at once, and again, until the broker is done."""
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=1)), DECIMALS)
    due(states, 0)
    states.update(batch(sample(1, temperature=2)), DECIMALS)
    assert states.due(400, 0) == ([], 600)
    assert states.due(5_000, 0) == ([], None)
    assert len(due(states, 5_000)) == 1


def test_states_survive_a_restart_for_devices_still_known() -> None:
    states = States(TOPICS)
    states.update(batch(sample(4, temperature=20)), DECIMALS)
    states.update(batch(sample(4, temperature=20), device="gone"), DECIMALS)
    loaded = States(TOPICS)
    loaded.load(states.save(), ["greenhouse"])
    assert due(loaded, 0) == [content(states.message("greenhouse"))]
    loaded.update(batch(sample(2, temperature=5)), DECIMALS)
    assert due(loaded, 5_000) == []


def test_a_quantity_cannot_take_the_place_of_our_own_keys() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, at=5.0, seq=7.0, provisional=1.0)), DECIMALS)
    (state,) = due(states, 0)
    assert (state["at"], state["seq"]) == (1_790_000_080_000, 0)
    assert "provisional" not in state


def test_availability_is_published_on_change_and_after_a_new_session() -> None:
    presences = Presences(TOPICS)
    presences.set("greenhouse", False)
    presences.set("cellar", True)
    presences.set("bridge", True)
    assert {m.topic: m.payload for m in presences.due(10)} == {
        "b/greenhouse/availability": b"offline",
        "b/cellar/availability": b"online",
    }
    presences.set("cellar", True)
    assert presences.due(10) == []
    presences.all_again()
    assert len(presences.due(10)) == 2
    assert all(message.retain for message in (TOPICS.availability("cellar", True), *TOPICS.forgotten("cellar")))
    assert presences.online() == ["cellar"]
