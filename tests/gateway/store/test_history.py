from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.history import Window, thin
from tests.gateway.store.samples import AT_MS, batch, sample

POINTS = st.lists(st.tuples(st.integers(0, 9_999), st.floats(-100, 100)), min_size=1, max_size=200)


@given(POINTS, st.integers(1, 20))
def test_thinning_keeps_the_extremes_of_every_span(points: list[tuple[int, float]], spans: int) -> None:
    kept = thin(points, 0, 9_999, spans)
    assert set(kept) <= set(points)
    for span in range(spans):
        before = [value for at_ms, value in points if at_ms * spans // 10_000 == span]
        after = [value for at_ms, value in kept if at_ms * spans // 10_000 == span]
        assert len(after) <= 2
        if before:
            assert (min(after), max(after)) == (min(before), max(before))


@given(POINTS, POINTS, st.integers(1, 20))
def test_thinning_piece_by_piece_finds_the_same_extremes(
    one: list[tuple[int, float]], two: list[tuple[int, float]], spans: int
) -> None:
    def extremes(points: list[tuple[int, float]]) -> list[float]:
        return sorted(value for _, value in points)

    pieces = thin([*thin(one, 0, 9_999, spans), *two], 0, 9_999, spans)
    assert extremes(pieces) == extremes(thin([*one, *two], 0, 9_999, spans))


def test_few_points_are_left_as_they_are() -> None:
    window = Window(AT_MS, AT_MS + 60_000, 10)
    window.add([batch(*(sample(seq, temperature=20.0) for seq in range(10)))])
    assert window.series()["temperature"]["value"] == [20.0] * 10


def test_memory_is_bounded_by_max_points_not_by_what_there_is() -> None:
    window = Window(AT_MS, AT_MS + 100_000_000, 100)
    for start in range(0, 50_000, 1_000):
        window.add([batch(*(sample(seq) for seq in range(start, start + 1_000)))])
        assert sum(map(len, window._points.values())) <= 100


def test_quantities_not_asked_for_are_left_out() -> None:
    window = Window(AT_MS, AT_MS + 60_000, 10, ["humidity"])
    window.add([batch(sample(0, temperature=20.0, humidity=40.0))])
    assert window.series() == {"humidity": {"at_ms": [AT_MS], "value": [40.0]}}
