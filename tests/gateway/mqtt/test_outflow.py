"""The window, the cursor that moves in order, and what is sent again. And the message that kills its session."""

from __future__ import annotations

import random

from gateway.mqtt.outflow import MAX_NOTICES, Item, Outflow
from gateway.mqtt.strikes import ASIDE_AFTER, Strikes
from gateway.mqtt.topics import Message


def message(name: str, *, retain: bool = False) -> Message:
    return Message(name, b"", retain=retain)


def page(outflow: Outflow, cursor: str, count: int = 2) -> None:
    outflow.add([message(f"{cursor}.{n}") for n in range(count)], cursor)


def names(items: list[Item]) -> list[str]:
    return [item.message.topic for item in items]


def test_cursor_moves_only_when_a_page_and_all_before_it_are_acknowledged() -> None:
    outflow = Outflow("0")
    page(outflow, "1")
    page(outflow, "2")
    a, b, c, d = outflow.take()
    for item in (c, d, b):
        outflow.done(item)
        assert outflow.cursor == "0"
    outflow.done(a)
    assert outflow.cursor == "2"
    assert outflow.idle


def test_a_page_without_messages_moves_the_cursor_in_its_turn() -> None:
    outflow = Outflow("0")
    page(outflow, "1", 1)
    page(outflow, "2", 0)
    assert outflow.cursor == "0"
    outflow.done(next(outflow.take()))
    assert outflow.cursor == "2"


def test_no_more_than_the_window_is_under_way() -> None:
    outflow = Outflow("0", window=3)
    page(outflow, "1", 10)
    first = list(outflow.take())
    assert len(first) == 3
    assert list(outflow.take()) == []
    outflow.done(first[1])
    assert names(list(outflow.take())) == ["1.3"]


def test_what_was_not_acknowledged_goes_again_first_and_in_order() -> None:
    outflow = Outflow("0", window=4)
    page(outflow, "1", 6)
    sent = list(outflow.take())
    outflow.done(sent[1])
    outflow.again()
    assert names(list(outflow.take())) == ["1.0", "1.2", "1.3", "1.4"]


def test_acknowledged_twice_counts_once() -> None:
    outflow = Outflow("0")
    page(outflow, "1", 2)
    a, _ = outflow.take()
    outflow.done(a)
    outflow.done(a)
    assert outflow.cursor == "0"


def test_notices_go_first_and_retained_ones_are_not_repeated() -> None:
    outflow = Outflow("0", window=2)
    page(outflow, "1", 2)
    outflow.notice(message("state", retain=True))
    outflow.notice(message("result"))
    assert names(list(outflow.take())) == ["state", "result"]
    outflow.again()
    assert names(list(outflow.take())) == ["result", "1.0"]


def test_without_the_log_only_notices_go() -> None:
    outflow = Outflow("0")
    page(outflow, "1", 1)
    outflow.notice(message("online", retain=True))
    assert names(list(outflow.take(log=False))) == ["online"]


def test_of_too_many_notices_the_oldest_are_dropped_and_counted() -> None:
    outflow = Outflow("0", window=1_000)
    for number in range(MAX_NOTICES + 5):
        outflow.notice(message(str(number)))
    assert outflow.dropped == 5
    assert names(list(outflow.take()))[0] == "5"


def test_starting_over_keeps_the_cursor_and_the_results() -> None:
    outflow = Outflow("0")
    page(outflow, "1", 3)
    outflow.notice(message("result"))
    outflow.start_over()
    assert outflow.generation == 1
    assert names(list(outflow.take())) == ["result"]
    page(outflow, "1", 0)
    assert outflow.cursor == "1"


def test_nothing_is_lost_whatever_happens_in_between() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        outflow = Outflow("0", window=dice.randint(1, 8))
        arrived: set[str] = set()
        wanted: set[str] = set()
        under_way: list[Item] = []
        for number in range(1, 30):
            count = dice.randint(0, 4)
            page(outflow, str(number), count)
            wanted |= {f"{number}.{n}" for n in range(count)}
            under_way += outflow.take()
            dice.shuffle(under_way)
            for _ in range(dice.randint(0, len(under_way))):
                item = under_way.pop()
                arrived.add(item.message.topic)
                outflow.done(item)
            through = int(outflow.cursor)
            assert {name for name in wanted if int(name.partition(".")[0]) <= through} <= arrived
            if dice.random() < 0.2:
                under_way.clear()
                outflow.again()
        while not outflow.idle:
            for item in list(outflow.take()):
                arrived.add(item.message.topic)
                outflow.done(item)
            for item in under_way:
                arrived.add(item.message.topic)
                outflow.done(item)
        assert arrived == wanted
        assert outflow.cursor == "29"


def lost(strikes: Strikes, under_way: list[Item]) -> Item | None:
    strikes.opened()
    strikes.notice_acked()
    return strikes.lost(under_way)


def test_a_message_that_ends_its_session_again_and_again_is_named() -> None:
    strikes, culprit, other = Strikes(), Item(message("culprit")), Item(message("other"))
    assert lost(strikes, [other, culprit]) is None
    assert lost(strikes, [other, culprit]) is None
    assert strikes.one_by_one
    for _ in range(ASIDE_AFTER - 3):
        assert lost(strikes, [culprit]) is None
    assert lost(strikes, [culprit]) is culprit
    assert not strikes.one_by_one


def test_a_broker_that_is_merely_ill_is_not_blamed_on_a_message() -> None:
    strikes, item = Strikes(), Item(message("a"))
    for _ in range(20):
        strikes.opened()
        assert strikes.lost([item]) is None  # nothing at all was acknowledged in that session
    for _ in range(20):
        assert lost(strikes, []) is None  # nothing of the log was under way
    for _ in range(20):
        assert lost(strikes, [item]) is None
        strikes.log_acked()  # progress
