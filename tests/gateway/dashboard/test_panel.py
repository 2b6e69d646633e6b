"""What people are told about the gateway itself."""

from __future__ import annotations

from typing import Any

from gateway.dashboard.panel import BROKER_AWAY_MS, panel
from gateway.dashboard.shapes import Notice

from .door import T0_MS

NOW_MS = T0_MS + 3_600_000
HOME: dict[str, Any] = {
    "url": "mqtt://192.168.1.10:1883",
    "state": "connected",
    "why": "",
    "since_ms": T0_MS,
    "published": 7,
    "backlog": 0,
    "aside": 0,
    "last_aside": [],
}


def told(store: dict[str, Any] | None = None, **home: Any) -> list[Notice]:
    return panel({"store": store or {}, "brokers": {"home": HOME | home}}, NOW_MS).notices


def test_when_all_is_well_nothing_is_told() -> None:
    assert told() == []
    assert panel({}, NOW_MS).brokers == []  # parts that say nothing are no trouble


def test_the_stores_own_notices_come_first_and_its_trouble_is_told_once() -> None:
    full = {"level": "error", "text": "The disk is full: nothing is acknowledged.", "since_ms": T0_MS}
    moved = {"level": "warning", "text": "a damaged file was moved aside", "since_ms": None, "id": "samples.db.1"}
    shown = moved | {"text": "A damaged file was moved aside."}
    assert told({"trouble": "disk full", "notices": [moved, full]}) == [Notice(**full), Notice(**shown)]
    (only,) = told({"trouble": "disk full"})
    assert only.level == "error"
    assert "boards keep their samples" in only.text


def test_a_warning_of_the_settings_stands_as_long_as_it_holds_and_cannot_be_dismissed() -> None:
    text = "people.insecure: what passes 0.0.0.0:8080 can be read by anyone on the way"
    assert panel({"warnings": [text]}, NOW_MS).notices == [Notice("warning", f"{text}.", None)]
    assert panel({"warnings": []}, NOW_MS).notices == []


def test_a_broker_that_is_away_is_told_with_what_waits_for_it() -> None:
    away = {"state": "waiting", "why": "connection refused", "backlog": 1204}
    (notice,) = told(**away)
    assert (notice.level, notice.since_ms) == ("warning", T0_MS)
    assert "home is not connected: connection refused" in notice.text
    assert "1,204 samples wait" in notice.text
    assert told(**away, since_ms=NOW_MS - BROKER_AWAY_MS + 1) == []


def test_what_a_broker_refused_is_told_with_the_last_reason() -> None:
    aside = [{"topic": "a", "why": "not allowed"}, {"topic": "b", "why": "packet too large", "seq": "3"}]
    (notice,) = told(aside=12, last_aside=aside)
    assert "12 messages" in notice.text
    assert "packet too large" in notice.text


def test_retained_topics_that_a_broker_refuses_are_told() -> None:
    (notice,) = told(refused={"homeassistant/device/greenhouse/config": "not authorised", "a/b": "not authorised"})
    assert notice.text == ("The broker home refuses homeassistant/device/greenhouse/config and 1 more: not authorised.")


def test_many_failed_logins_are_a_notice_and_a_few_are_not() -> None:
    assert panel({"people": {"failed_logins_hour": 9}}, T0_MS).notices == []
    (notice,) = panel({"people": {"failed_logins_hour": 1200}}, T0_MS).notices
    assert notice.level == "warning"
    assert notice.text.startswith("1,200 logins failed within an hour")


def at_the_door(**figures: Any) -> list[Notice]:
    return panel({"door": figures}, NOW_MS).notices


def test_who_was_refused_at_the_devices_door_is_a_figure() -> None:
    refused = {"token": 3, "tls": 4, "strangers": 20, "shut": 1, "address": 2}
    door = panel({"door": {"connections": 5, "strangers": 7, "refused": refused}}, NOW_MS).door
    assert (door.connections, door.strangers, door.bad_tokens, door.crowded_out) == (5, 7, 3, 23)
    assert door.failed_tls == 4
    assert at_the_door(refused=refused) == []


def test_a_door_that_can_accept_nobody_is_an_error() -> None:
    (notice,) = at_the_door(trouble="no connection can be accepted: Too many open files")
    assert notice.level == "error"
    assert notice.text.startswith("No connection can be accepted: Too many open files: boards cannot connect")


def test_a_board_that_came_as_another_is_told_for_ten_minutes_with_what_to_do() -> None:
    other = {"device": "greenhouse", "hardware": "a4cf", "address": "192.168.1.9", "at_ms": NOW_MS - 599_000}
    (notice,) = at_the_door(other_boards=[other])
    assert "devices replace greenhouse" in notice.text
    assert at_the_door(other_boards=[other | {"at_ms": NOW_MS - 600_000}]) == []


def test_an_address_that_goes_on_with_bad_tokens_is_told() -> None:
    failures = {"address": "192.168.1.9", "count": 19, "last_ms": NOW_MS}
    assert at_the_door(bad_tokens=[failures]) == []
    (notice,) = at_the_door(bad_tokens=[failures | {"count": 1_200}])
    assert notice.text == "1,200 connections from 192.168.1.9 came with a token that is not known."
