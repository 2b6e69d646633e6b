"""Less under way to a slow broker, so that no state waits behind a backlog; smaller messages on a slow line."""

from __future__ import annotations

from collections import deque

from gateway.mqtt.outflow import WINDOW, WINDOW_BYTES
from gateway.mqtt.pace import LEAST_BYTES, LEAST_PAYLOAD_BYTES, STALLED_PAYLOAD_BYTES, Pace
from gateway.mqtt.topics import MAX_PAYLOAD_BYTES


def drained(pace: Pace, *, each_ms: int, way_ms: int, until_ms: int) -> tuple[list[int], int]:
    """A broker that takes a message every `each_ms`, `way_ms` away. How long each took, and how many it took."""
    under_way: deque[int] = deque()
    took: list[int] = []
    free_ms = 0
    for now_ms in range(until_ms):
        while len(under_way) < pace.messages:
            under_way.append(now_ms)
        free_ms = max(free_ms, under_way[0] + way_ms)
        if now_ms >= free_ms + way_ms:
            sent_ms = under_way.popleft()
            took.append(now_ms - sent_ms)
            pace.acked(100, sent_ms, now_ms)
            free_ms = now_ms - way_ms + each_ms
    return took, len(took)


def test_behind_a_slow_broker_nothing_waits_for_long() -> None:
    took, count = drained(Pace(), each_ms=100, way_ms=0, until_ms=60_000)
    assert max(took) < 1_000
    assert count > 60_000 / 100 * 0.95  # and the broker is never idle for it


def test_a_long_way_alone_slows_nothing_down() -> None:
    pace = Pace()
    drained(pace, each_ms=0, way_ms=400, until_ms=5_000)
    assert (pace.messages, pace.window_bytes) == (WINDOW, WINDOW_BYTES)


def test_a_way_that_becomes_longer_is_not_taken_for_a_slow_broker_for_long() -> None:
    pace = Pace()
    drained(pace, each_ms=0, way_ms=1, until_ms=1_000)
    drained(pace, each_ms=0, way_ms=200, until_ms=60_000)
    assert pace.messages == WINDOW


def test_it_recovers() -> None:
    pace = Pace()
    drained(pace, each_ms=500, way_ms=0, until_ms=30_000)
    assert pace.messages < 5
    assert pace.window_bytes >= LEAST_BYTES
    pace.opened()
    drained(pace, each_ms=1, way_ms=0, until_ms=2_000)
    assert pace.messages == WINDOW


def test_after_a_stall_messages_are_smaller_until_they_pass_quickly() -> None:
    pace = Pace()
    for _ in range(10):
        pace.stalled()
    assert pace.payload_bytes == STALLED_PAYLOAD_BYTES
    assert pace.messages == 1
    pace.acked(STALLED_PAYLOAD_BYTES, 0, 10_000)
    assert pace.payload_bytes == STALLED_PAYLOAD_BYTES  # it passed, but took its time
    for _ in range(10):
        pace.acked(pace.payload_bytes, 20_000, 20_100)
    assert pace.payload_bytes == MAX_PAYLOAD_BYTES


def test_what_was_too_large_is_never_tried_again() -> None:
    pace = Pace()
    pace.too_large(50_000)
    assert pace.payload_bytes == 25_000
    pace.acked(25_000, 0, 1)
    assert pace.payload_bytes == 25_000
    for _ in range(20):
        pace.too_large(pace.payload_bytes)
    assert pace.payload_bytes == LEAST_PAYLOAD_BYTES
