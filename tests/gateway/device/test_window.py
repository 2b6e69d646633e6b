"""Windows: as large as allowed while the store is quick, smaller when it is slow or many boards come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.device.window import LEAST, TOTAL, window_samples


def test_a_quick_store_gives_what_the_limit_allows() -> None:
    assert window_samples(1_000, connections=10, commit_ms=25, trouble=False) == 1_000


def test_a_slow_store_gives_less_the_slower_it_is() -> None:
    windows = [window_samples(1_000, connections=0, commit_ms=ms, trouble=False) for ms in (1_000, 2_000, 10_000)]
    assert windows == [1_000, 500, 100]


def test_many_boards_share_what_memory_there_is() -> None:
    assert window_samples(1_000, connections=999, commit_ms=25, trouble=False) == TOTAL // 1_000


def test_a_store_in_trouble_gives_the_least() -> None:
    assert window_samples(1_000, connections=0, commit_ms=25, trouble=True) == LEAST


@given(
    most=st.integers(1, 10_000),
    connections=st.integers(0, 100_000),
    commit_ms=st.floats(0, 1e9),
    trouble=st.booleans(),
)
def test_a_window_lets_every_board_get_on_and_never_passes_the_limit(
    most: int, connections: int, commit_ms: float, trouble: bool
) -> None:
    window = window_samples(most, connections=connections, commit_ms=commit_ms, trouble=trouble)
    assert min(LEAST, most) <= window <= most
