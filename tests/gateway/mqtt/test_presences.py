"""Who is online, after every change and in every new session; and that nothing stays retained of a removed device."""

from __future__ import annotations

from gateway.mqtt.presences import Presences
from gateway.mqtt.topics import Topics

TOPICS = Topics("b")


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


def test_topics_of_a_removed_device_are_cleared_until_the_broker_has_it() -> None:
    presences = Presences(TOPICS)
    presences.set("cellar", True)
    presences.due(10)
    presences.forget("cellar")
    first, second = presences.due(10)
    assert {first.topic, second.topic} == {"b/cellar/availability", "b/cellar/state"}
    assert first.payload == second.payload == b""
    presences.acked(first)
    presences.all_again()  # the connection broke, or the broker has forgotten
    assert presences.due(10) == [second]
    presences.acked(second)
    presences.all_again()
    assert presences.due(10) == []
    assert presences.devices() == []


def test_what_was_removed_while_we_were_away_is_cleared() -> None:
    presences = Presences(TOPICS)
    presences.set("greenhouse", False)
    presences.load(["cellar", "greenhouse"], ["greenhouse"])
    assert presences.devices() == ["cellar", "greenhouse"]
    assert [m.topic for m in presences.due(10) if not m.payload] == ["b/cellar/availability", "b/cellar/state"]


def test_a_new_device_of_a_removed_name_is_told_of_after_the_old_one_is_cleared() -> None:
    presences = Presences(TOPICS)
    presences.set("cellar", True)
    presences.forget("cellar")
    presences.set("cellar", False)
    first, second, third = presences.due(10)
    assert {first.topic, second.topic} == {"b/cellar/availability", "b/cellar/state"}
    assert (first.payload, second.payload, third.payload) == (b"", b"", b"offline")
    presences.all_again()  # the connection broke before the broker had it
    assert [message.payload for message in presences.due(10)] == [b"", b"", b"offline"]
    assert presences.uncleared() == ["cellar"]
    presences.acked(first)
    presences.acked(second)
    assert presences.uncleared() == []
    presences.all_again()
    assert [message.payload for message in presences.due(10)] == [b"offline"]
