"""The windows, the cursor that moves in order, and what is sent again."""

from __future__ import annotations

import random

from gateway.mqtt.outflow import MAX_NOTICES, MAX_PAGES, WAITING_BYTES, WINDOW, WINDOW_BYTES, Item, Outflow
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
    outflow = Outflow("0", window=4)
    page(outflow, "1", 10)
    first = list(outflow.take())
    assert len(first) == 3  # one place is kept free for a notice
    assert list(outflow.take()) == []
    outflow.done(first[1])
    assert names(list(outflow.take())) == ["1.3"]


def test_what_was_not_acknowledged_goes_again_first_and_in_order() -> None:
    outflow = Outflow("0", window=6)
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
    outflow = Outflow("0", window=6)
    page(outflow, "1", 2)
    outflow.notice(message("state", retain=True))
    outflow.notice(message("result"))
    assert names(list(outflow.take())) == ["state", "result", "1.0", "1.1"]
    outflow.again()
    assert names(list(outflow.take())) == ["result", "1.0", "1.1"]


def test_without_the_log_only_notices_go() -> None:
    outflow = Outflow("0")
    page(outflow, "1", 1)
    outflow.notice(message("online", retain=True))
    assert names(list(outflow.take(log=False))) == ["online"]


def test_of_too_many_notices_the_oldest_are_dropped_and_counted() -> None:
    outflow = Outflow("0", window=3_000)
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
                if dice.random() < 0.1:
                    outflow.retry(item)
                    continue
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


def test_neither_the_log_nor_notices_hold_up_the_other() -> None:
    outflow = Outflow("0", window=9)
    page(outflow, "1", 100)
    for number in range(100):
        outflow.notice(message(f"n{number}"))
    under_way = list(outflow.take())
    assert sum(item.page is None for item in under_way) == 3
    assert sum(item.page is not None for item in under_way) == 6
    for item in under_way:
        outflow.done(item)
    assert {item.page is None for item in outflow.take()} == {True, False}


def test_one_by_one_they_take_turns() -> None:
    outflow = Outflow("0", window=1)
    page(outflow, "1", 3)
    outflow.notice(message("a"))
    outflow.notice(message("b"))
    sent = []
    while not outflow.idle:
        (item,) = outflow.take()
        sent.append(item)
        outflow.done(item)
    assert names(sent) == ["a", "1.0", "b", "1.1", "1.2"]


def test_no_more_bytes_of_the_log_than_allowed_are_under_way_but_one_message() -> None:
    outflow = Outflow("0")
    outflow.log_bytes = 1_000
    outflow.add([Message("large", b"x" * 5_000), *(Message("small", b"x" * 400) for _ in range(4))], "1")
    (large,) = outflow.take()
    assert large.size_bytes == 5_000
    outflow.done(large)
    assert len(list(outflow.take())) == 2
    outflow.notice(Message("state", b"x" * 5_000))
    assert names(list(outflow.take())) == ["state"]  # notices are not of the log


def test_what_is_held_is_bounded_however_slow_the_broker_is() -> None:
    """The reader asks `hungry` before every page, whose messages have at most 100,000 bytes each."""
    outflow = Outflow("0")
    pages = 0
    while outflow.hungry:
        outflow.add([Message("t", b"x" * 100_000)] * 10, str(pages))
        pages += 1
        list(outflow.take())
    assert outflow.waiting_bytes <= WAITING_BYTES + 1_000_000 + WINDOW_BYTES
    small = Outflow("0")
    while small.hungry:
        small.add([Message("t", b"x")] * 100, "1")
        list(small.take())
    assert small.waiting + small.under_way <= WINDOW + 100 + WINDOW
    silent_about_one = Outflow("0")
    page(silent_about_one, "1", 1)
    (kept, *_) = silent_about_one.take()
    taken = 1
    while silent_about_one.hungry:
        page(silent_about_one, "2", 1)
        for item in list(silent_about_one.take()):
            silent_about_one.done(item)
        taken += 1
    assert taken == MAX_PAGES
    assert silent_about_one.cursor == "0"
    silent_about_one.done(kept)
    assert silent_about_one.cursor == "2"


def test_what_the_broker_does_not_take_now_waits_in_its_old_place() -> None:
    outflow = Outflow("0", window=6)
    page(outflow, "1", 6)
    a, b, c, d = outflow.take()
    outflow.done(a)
    for item in (d, b, c):
        outflow.retry(item)
    assert names(list(outflow.take())) == ["1.1", "1.2", "1.3", "1.4"]
    assert outflow.cursor == "0"


def test_parts_of_a_message_take_its_place_and_the_cursor_waits_for_all_of_them() -> None:
    outflow = Outflow("0", window=1)
    page(outflow, "1", 2)
    (whole,) = outflow.take()
    first, second = outflow.replace(whole, [message("a"), message("b")])
    assert outflow.replace(whole, [message("c")]) == []
    (taken,) = outflow.take()
    assert taken is first
    outflow.replace(first, [message("a1"), message("a2")])
    sent = []
    while not outflow.idle:
        assert outflow.cursor == "0"
        (item,) = outflow.take()
        sent.append(item)
        outflow.done(item)
    assert names(sent) == ["a1", "a2", "b", "1.1"]
    assert sent[2] is second
    assert outflow.cursor == "1"


def test_what_must_go_alone_waits_for_the_others_and_they_for_it() -> None:
    outflow = Outflow("0", must_go_alone=lambda item: item.message.topic == "1.1")
    page(outflow, "1", 3)
    (first,) = outflow.take()
    assert names([first]) == ["1.0"]
    outflow.done(first)
    assert list(outflow.take(alone=False)) == []
    (suspect,) = outflow.take()
    assert list(outflow.take()) == []
    outflow.done(suspect)
    assert names(list(outflow.take())) == ["1.2"]


def test_nothing_that_waits_of_a_forgotten_device_is_sent_and_the_cursor_does_not_wait_for_it() -> None:
    outflow = Outflow("0", window=3)
    for cursor, topics in (("1", ["old", "other"]), ("2", ["old"]), ("3", ["other"])):
        outflow.add([message(topic) for topic in topics], cursor)
    outflow.notice(message("old"))
    outflow.forget(lambda one: one.topic == "old")
    sent = list(outflow.take())
    assert names(sent) == ["other", "other"]
    for item in sent:
        outflow.done(item)
    assert outflow.cursor == "3"
    assert outflow.idle
    assert outflow.waiting_bytes == 0


def test_what_is_under_way_of_a_forgotten_device_is_not_sent_again() -> None:
    """After a broken connection, and where the broker asks for it once more."""
    outflow = Outflow("0")
    outflow.add([message("old"), message("other")], "1")
    outflow.notice(message("old"))
    under_way = list(outflow.take())
    assert len(under_way) == 3
    outflow.forget(lambda one: one.topic == "old")
    outflow.retry(next(item for item in under_way if item.page and item.message.topic == "old"))
    outflow.again()
    sent = list(outflow.take())
    assert names(sent) == ["other"]
    outflow.add([message("old")], "2")  # of a new device of that name
    outflow.done(sent[0])
    assert outflow.cursor == "1"
    assert names(list(outflow.take())) == ["old"]
