"""The message that ends its session again and again, told apart from a broker or a line that is merely ill."""

from __future__ import annotations

from gateway.mqtt.outflow import Item, Outflow
from gateway.mqtt.strikes import ALONE_AFTER, ASIDE_AFTER, SHUT_AFTER, SHUT_MS, Strikes
from gateway.mqtt.topics import Message


def notice(name: str) -> Item:
    return Item(Message(name, b""))


def record(name: str, seq: int = 0) -> Item:
    outflow = Outflow("")
    outflow.add([Message(name, b"", properties=(("seq", str(seq)),))], "1")
    return next(outflow.take())


def lost(strikes: Strikes, under_way: list[Item]) -> Item | None:
    """A session that took something, and ended so."""
    strikes.opened()
    strikes.acked(notice("bridge"))
    return strikes.lost(under_way)


def test_a_message_that_ends_its_session_again_and_again_is_named() -> None:
    strikes, culprit, other = Strikes(), record("culprit"), record("other")
    for _ in range(ALONE_AFTER):
        assert not strikes.must_go_alone(culprit)
        assert lost(strikes, [other, culprit]) is None
    assert strikes.must_go_alone(culprit)
    assert strikes.must_go_alone(other)
    strikes.acked(other)
    assert not strikes.must_go_alone(other)
    for _ in range(ASIDE_AFTER - ALONE_AFTER - 1):
        assert lost(strikes, [culprit]) is None
    assert lost(strikes, [culprit]) is culprit
    assert not strikes.has_suspects


def test_a_notice_too_is_named_while_the_log_makes_progress() -> None:
    strikes = Strikes()
    for _ in range(ASIDE_AFTER - 1):
        assert lost(strikes, [notice("state")]) is None
        strikes.acked(record("samples"))
    culprit = notice("state")  # made anew in every session
    assert lost(strikes, [culprit]) is culprit


def test_a_broker_that_is_merely_ill_is_not_blamed_on_a_message() -> None:
    strikes, item = Strikes(), record("a")
    for _ in range(20):
        strikes.opened()
        assert strikes.lost([item]) is None  # nothing at all was acknowledged in that session
    for _ in range(20):
        assert lost(strikes, []) is None  # nothing was under way
    for _ in range(20):
        assert lost(strikes, [item]) is None
        strikes.acked(item)  # progress
    for _ in range(20):
        assert lost(strikes, [item, record("b")]) is None  # it was not alone


def test_parts_of_a_culprit_are_found_sooner() -> None:
    strikes, part = Strikes(), record("part")
    strikes.split([part, record("other part")])
    assert strikes.must_go_alone(part)
    assert lost(strikes, [part]) is None
    assert lost(strikes, [part]) is part


def test_a_topic_to_blame_again_and_again_is_shut_and_tried_once_in_a_while() -> None:
    strikes = Strikes()
    for seq in range(SHUT_AFTER):
        assert not strikes.is_shut(record("samples", seq), 0)
        strikes.blame(record("samples", seq), 0)
    assert strikes.is_shut(record("samples", 9), SHUT_MS - 1)
    assert not strikes.is_shut(record("other"), SHUT_MS - 1)
    probe = record("samples", 10)
    assert not strikes.is_shut(probe, SHUT_MS)
    assert strikes.must_go_alone(probe)
    assert lost(strikes, [probe]) is probe  # one session is enough
    strikes.blame(probe, SHUT_MS)
    assert strikes.is_shut(record("samples", 11), SHUT_MS + 1)
    assert not strikes.is_shut(probe, 2 * SHUT_MS)
    strikes.acked(probe)  # it is allowed again
    assert not strikes.is_shut(record("samples", 12), 2 * SHUT_MS)


def test_one_notice_shuts_its_topic() -> None:
    strikes = Strikes()
    strikes.blame(notice("state"), 0)
    assert strikes.is_shut(notice("state"), 1)
