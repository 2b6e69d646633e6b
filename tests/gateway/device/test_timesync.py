from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.device.timesync import BootClock, Exchange


def test_the_middle_of_an_exchange_is_its_moment() -> None:
    exchange = Exchange(sent_ms=1_000, received_ms=1_040, device_t_ms=500)
    assert (exchange.round_trip_ms, exchange.offset_ms) == (40, 520)
    assert exchange.error_ms(1_040) == 20


def test_the_smallest_round_trip_wins() -> None:
    clock = BootClock()
    clock.exchange(Exchange(0, 100, 10))
    clock.exchange(Exchange(1_000, 1_010, 995))
    clock.exchange(Exchange(2_000, 2_300, 2_000))
    assert clock.offset_ms() == 10


def test_drift_is_followed_when_the_best_exchange_has_aged() -> None:
    clock = BootClock()
    clock.exchange(Exchange(0, 10, 5))
    clock.exchange(Exchange(60_000, 60_014, 60_010))  # 2 ms worse; in a minute the older may have drifted by 3
    assert clock.offset_ms() == -3


def test_after_a_clock_stood_still_the_newer_exchange_counts_however_bad() -> None:
    """The gateway's machine slept for eight hours: its monotonic clock stood, the board's did not."""
    clock, slept_ms = BootClock(), 8 * 3_600_000
    clock.exchange(Exchange(1_000, 1_004, 50_000))
    clock.exchange(Exchange(11_000, 11_200, 60_098 + slept_ms))
    assert clock.offset_ms() == 11_100 - 60_098 - slept_ms


def test_until_an_exchange_the_earliest_possible_moment_counts() -> None:
    clock = BootClock()
    assert clock.offset_ms() is None
    clock.arrived(0, 5_000)
    clock.arrived(4_000, 5_000)
    clock.arrived(2_000, 5_000)
    assert clock.offset_ms() == 1_000
    assert not clock.synced
    clock.exchange(Exchange(5_000, 5_010, 4_505))
    assert (clock.offset_ms(), clock.synced) == (500, True)


@given(
    st.integers(-1_000_000, 1_000_000),
    st.floats(-40e-6, 40e-6),
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30),
)
def test_a_time_is_never_further_off_than_its_error_says(
    zero_ms: int, drift: float, exchanges: list[tuple[int, int, int]]
) -> None:
    """The device's clock runs at 1 + drift; each exchange takes `there` and `back` on the way."""
    clock, now_ms = BootClock(), 2_000_000
    for pause_ms, there_ms, back_ms in exchanges:
        now_ms += pause_ms
        device_t_ms = int((now_ms + there_ms - zero_ms) * (1 + drift))
        if device_t_ms < 0:
            return
        best = clock.exchange(Exchange(now_ms, now_ms + there_ms + back_ms, device_t_ms))
        now_ms += there_ms + back_ms
        device_now_ms = (now_ms - zero_ms) * (1 + drift)
        assert abs(best.offset_ms + device_now_ms - now_ms) <= best.error_ms(now_ms) + 2  # two roundings
