"""Newest values, never going back, at most once a second; times that are corrected; live values before a backlog."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec

from gateway.model import Batch, Correction, Quality, Sample
from gateway.mqtt.states import Saved, States
from gateway.mqtt.topics import Message, Topics
from tests.gateway.mqtt.test_topics import DECIMALS, batch, sample

TOPICS = Topics("b")


def content(message: Message) -> Any:
    return json.loads(message.payload)


def restarted(states: States, *known: str) -> States:
    """After a restart of ours."""
    kept = msgspec.json.decode(msgspec.json.encode(states.save()), type=dict[str, Saved])
    loaded = States(TOPICS)
    loaded.load(kept, known)
    return loaded


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
    loaded = restarted(states, "greenhouse")
    assert due(loaded, 0) == [content(states.message("greenhouse"))]
    loaded.update(batch(sample(2, temperature=22, humidity=41)), DECIMALS)
    (state,) = due(loaded, 1_000)
    assert (state["temperature"], state["humidity"]) == (22, 41)
    assert (state["seq"], state["at"]) == (2, 1_790_000_082_000)


def test_a_provisional_value_is_still_provisional_after_a_restart() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    states.provisional("greenhouse", 1_790_000_090_000, {"temperature": 23}, DECIMALS)
    loaded = restarted(states, "greenhouse")
    assert due(loaded, 0)[0]["provisional"] is True


def test_provisional_values_are_marked_until_a_sample_replaces_them() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20, humidity=40)), DECIMALS)
    states.provisional("greenhouse", 1_790_000_090_000, {"temperature": 23.456}, DECIMALS)
    states.update(batch(sample(1, temperature=21)), DECIMALS)  # of the backlog: older
    (state,) = due(states, 0)
    assert (state["temperature"], state["provisional"], state["seq"]) == (23.46, True, 1)
    assert state["at"] == 1_790_000_090_000
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
    loaded = restarted(states, "greenhouse")
    assert due(loaded, 0) == [content(states.message("greenhouse"))]
    loaded.update(batch(sample(2, temperature=5)), DECIMALS)
    assert due(loaded, 5_000) == []


def test_a_quantity_cannot_take_the_place_of_our_own_keys() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, at=5.0, seq=7.0, provisional=1.0)), DECIMALS)
    (state,) = due(states, 0)
    assert (state["at"], state["seq"]) == (1_790_000_080_000, 0)
    assert "provisional" not in state


def correction(seq: int, to: int, moved_ms: int, **other: Any) -> Batch:
    stamp = {"offset_ms": 1_790_000_000_000 + moved_ms, "quality": Quality.CORRECTED}
    return batch(Correction(seq, to, moved_ms), **(stamp | other))


def estimated(seq: int, **values: float) -> Batch:
    return batch(sample(seq, **values), quality=Quality.ESTIMATED)


def test_the_time_follows_a_correction_of_the_newest_samples_boot_once() -> None:
    states = States(TOPICS)
    states.update(estimated(3, temperature=20), DECIMALS)
    due(states, 0)
    for again in range(2):  # the live feed and the log bring it
        states.update(correction(0, 3, -5_000), DECIMALS)
        assert [state["at"] for state in due(states, 5_000 * (again + 1))] == [1_790_000_078_000][again:]
    states.update(batch(sample(4, temperature=21), offset_ms=1_789_999_995_000, quality=Quality.CORRECTED), DECIMALS)
    (state,) = due(states, 20_000)
    assert (state["at"], state["seq"], state["temperature"]) == (1_790_000_079_000, 4, 21)


def test_a_correction_is_not_applied_to_another_boot_or_to_what_was_synced_or_is_not_covered() -> None:
    states = States(TOPICS)
    states.update(estimated(3, temperature=20), DECIMALS)
    states.update(batch(sample(0, temperature=1), device="synced"), DECIMALS)
    due(states, 0)
    states.update(correction(0, 3, 7_000, boot_id="0" * 16), DECIMALS)
    states.update(correction(0, 2, 7_000), DECIMALS)
    states.update(correction(0, 2, 7_000, device="synced"), DECIMALS)
    assert states.due(5_000, 100) == ([], None)


def test_a_correction_still_to_come_finds_its_state_after_a_restart() -> None:
    states = States(TOPICS)
    states.update(estimated(3, temperature=20), DECIMALS)
    loaded = restarted(states, "greenhouse")
    loaded.update(correction(0, 3, 3_600_000), DECIMALS)
    assert due(loaded, 0)[0]["at"] == 1_790_003_683_000
    again = restarted(loaded, "greenhouse")
    again.update(correction(0, 3, 3_600_000), DECIMALS)
    assert due(again, 0)[0]["at"] == 1_790_003_683_000


def test_a_clock_that_was_ahead_by_years_freezes_neither_values_nor_live_values() -> None:
    year_ms = 365 * 86_400_000
    states = States(TOPICS)
    states.update(
        batch(sample(0, temperature=20), quality=Quality.ESTIMATED, offset_ms=1_790_000_000_000 + year_ms), DECIMALS
    )
    states.provisional("greenhouse", 1_790_000_090_000 + year_ms, {"temperature": 23.0}, DECIMALS)
    states.update(correction(0, 0, -year_ms, offset_ms=1_790_000_000_000), DECIMALS)
    states.update(batch(sample(1, temperature=21), boot_id="0" * 16), DECIMALS)  # another boot: the time decides
    (state,) = due(states, 0)
    assert (state["temperature"], state["at"]) == (21, 1_790_000_081_000)
    assert "provisional" not in state


def test_an_estimate_cut_off_at_the_time_of_a_newer_boot_does_not_replace_it() -> None:
    states = States(TOPICS)
    states.update(batch(sample(0, temperature=20)), DECIMALS)
    states.update(batch(sample(0, temperature=5), boot_id="0" * 16, quality=Quality.ESTIMATED), DECIMALS)
    assert due(states, 0)[0]["temperature"] == 20


def test_a_live_value_that_its_sample_does_not_have_goes_with_the_next_sample() -> None:
    states = States(TOPICS)
    states.provisional("greenhouse", 1_790_000_080_000, {"temperature": 23.0, "humidity": 99.0}, DECIMALS)
    assert due(states, 0)[0]["seq"] == -1
    states.update(batch(sample(0, temperature=21)), DECIMALS)  # its humidity was refused
    states.update(batch(sample(1, temperature=22)), DECIMALS)
    (state,) = due(states, 2_000)
    assert (state["temperature"], state["seq"]) == (22, 1)
    assert "provisional" not in state
    assert "humidity" not in state


def test_while_a_backlog_drains_the_state_stays_under_two_seconds_old() -> None:
    """An hour of samples drains at ten a second, with one `latest` a second, at any phase between the two."""
    for phase_ms in (0, 1, 250, 500, 999):
        states = States(TOPICS)
        zero_ms, shown_ms, seq = 1_790_000_000_000, None, 0
        published: list[int] = []
        for now_ms in range(3_600_000, 3_700_000, 50):
            if now_ms % 100 == 0:
                states.update(batch(Sample(seq, seq * 1_000, {"temperature": 20.0, f"rare{seq % 50}": 1.0})), DECIMALS)
                seq += 1
            if (now_ms - phase_ms) % 1_000 < 50:
                states.provisional("greenhouse", zero_ms + now_ms, {"temperature": 20 + seq / 100}, DECIMALS)
            for state in due(states, now_ms):
                published.append(now_ms)
                shown_ms = state["at"] - zero_ms
                assert now_ms < 3_602_000 or state["provisional"]
            if now_ms > 3_602_000:
                assert shown_ms is not None
                assert now_ms - shown_ms < 2_000
        assert all(later - earlier >= 1_000 for earlier, later in pairwise(published))
