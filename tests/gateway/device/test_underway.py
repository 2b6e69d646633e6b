from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.device.session import Restamp
from gateway.device.underway import MERGED_RECORDS, UnderWay, halves
from gateway.model import Batch, Gap, Quality, Sample


def batch(first: int, count: int = 1, **changes: Any) -> Batch:
    records = tuple(Sample(seq=first + place, t_ms=0, values={}) for place in range(count))
    fields: dict[str, Any] = {
        "device": "d",
        "boot": 1,
        "boot_id": "b",
        "records": records,
        "offset_ms": 10,
        "quality": Quality.SYNCED,
        "received_ms": 5,
        "profile": "p",
    }
    return Batch(**{**fields, **changes})


def filled(*batches: Batch) -> UnderWay:
    way = UnderWay(frames=64, size_bytes=1_000_000)
    for each in batches:
        way.put(each, 100)
    return way


def test_what_continues_becomes_one_batch() -> None:
    way = filled(batch(0, 2), batch(2), batch(3, 3))
    assert [record.seq for record in way.next().records] == [0, 1, 2, 3, 4, 5]
    assert not way.empty
    way.done()
    assert way.empty


def test_a_hole_a_boot_a_profile_or_a_time_ends_a_batch() -> None:
    others = [
        batch(2),
        batch(1, boot=2, boot_id="c"),
        batch(1, profile="q"),
        batch(1, offset_ms=11),
        batch(1, quality=Quality.ESTIMATED),
    ]
    for other in others:
        way = filled(batch(0), other)
        assert (way.next(), way.waiting) == (batch(0), True)
        way.done()
        assert way.next() == other


def test_a_gap_is_a_place_like_any_other() -> None:
    gap = batch(1, records=(Gap(seq=1, to=4, count=4, at_most=None, why="full"),))
    assert filled(batch(0), gap, batch(5)).next().last == 5


def test_estimates_share_the_smallest_offset() -> None:
    estimates = [batch(seq, offset_ms=100 - seq, quality=Quality.ESTIMATED) for seq in range(3)]
    merged = filled(*estimates).next()
    assert (merged.offset_ms, merged.last) == (98, 2)


def test_estimates_across_a_step_of_the_wall_clock_stay_apart() -> None:
    before, after = batch(0, offset_ms=5_000), batch(1, offset_ms=1_790_000_000_000)
    way = filled(*(replace(each, quality=Quality.ESTIMATED) for each in (before, after)))
    assert way.next().offset_ms == 5_000
    way.done()
    assert way.next().offset_ms == 1_790_000_000_000


def test_an_offset_that_shrinks_for_all_brings_none_of_them_before_what_went_out() -> None:
    """The first was stamped with 100; the frames behind it agree on 10, which is 90 ms earlier."""

    def at(seq: int, t_ms: int, offset_ms: int) -> Batch:
        return batch(
            seq, records=(Sample(seq=seq, t_ms=t_ms, values={}),), offset_ms=offset_ms, quality=Quality.ESTIMATED
        )

    way = filled(at(0, 0, 100), at(1, 5, 100), at(2, 200, 10))
    assert way.next().offset_ms == 10  # nothing went out before: the smallest is best for all
    way = filled(at(0, 0, 100))
    way.next()
    way.done()
    way.put(at(1, 5, 100), 1)
    way.put(at(2, 200, 10), 1)
    merged = way.next()
    assert (merged.offset_ms, merged.last) == (95, 2)


def test_a_correction_goes_out_behind_all_that_was_put_before_it_and_nothing_overtakes_it() -> None:
    way = filled(batch(0), batch(1))
    way.correct(Restamp("b", 50))
    way.put(batch(2), 100)
    assert not way.empty
    gone = []
    while way.waiting:
        item = way.next()
        gone.append(item if isinstance(item, Restamp) else (item.first, item.last))
        assert not way.empty
        way.done()
    assert gone == [(0, 1), Restamp("b", 50), (2, 2)]
    assert way.empty


def test_it_is_full_by_frames_and_by_bytes() -> None:
    way = UnderWay(frames=2, size_bytes=1_000)
    way.put(batch(0), 1)
    assert not way.full
    way.put(batch(5), 1)
    assert way.full
    way.next()
    assert way.full  # with the store is under way too
    way.done()
    assert not way.full
    way.put(batch(6), 1_000)
    assert way.full


def test_no_batch_grows_beyond_what_a_frame_may_hold() -> None:
    way = filled(*[batch(400 * number, 400) for number in range(4)])
    assert len(way.next().records) == 800
    assert MERGED_RECORDS == 1_000


def test_halves_are_the_whole() -> None:
    first, second = halves(batch(0, 5))
    assert (first.last, second.first, second.last) == (1, 2, 4)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300), st.integers(0, 1)), max_size=40))
def test_nothing_is_lost_and_nothing_changes_place(frames: list[tuple[int, int, int]]) -> None:
    way, expected, seq = UnderWay(frames=64, size_bytes=10_000), [], 0
    for hole, count, offset_ms in frames:
        seq += hole
        way.put(batch(seq, count, offset_ms=offset_ms), 10)
        expected += [(number, offset_ms) for number in range(seq, seq + count)]
        seq += count
    seen = []
    while way.waiting:
        merged = way.next()
        seen += [(record.seq, merged.offset_ms) for record in merged.records]
        way.done()
    assert seen == expected
    assert way.empty
