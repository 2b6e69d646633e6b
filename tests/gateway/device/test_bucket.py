from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.device.bucket import Bucket


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    bucket = Bucket(10, seconds=2, now_ms=0)
    assert [bucket.take(0) for _ in range(20)] == [0] * 20
    assert bucket.take(0) == 101  # one is 100 ms
    assert bucket.take(50) == 151


def test_who_waits_as_told_is_never_too_early() -> None:
    bucket, now_ms = Bucket(10, seconds=1, now_ms=0), 0
    for _ in range(50):
        now_ms += bucket.take(now_ms)
    assert 4_000 <= now_ms <= 4_200  # 10 at once, then 40 at 10 a second


def test_what_is_dropped_takes_nothing() -> None:
    bucket = Bucket(10, seconds=1, now_ms=0)
    assert sum(bucket.try_take(0) for _ in range(100)) == 10
    assert bucket.try_take(100)
    assert not bucket.try_take(100)


@given(st.lists(st.integers(0, 300), max_size=100))
def test_no_more_than_the_rate_and_one_burst_get_through(pauses_ms: list[int]) -> None:
    bucket, now_ms, passed = Bucket(10, seconds=1, now_ms=0), 0, 0
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        passed += bucket.try_take(now_ms)
    assert passed <= 10 + now_ms * 10 / 1000 + 1
