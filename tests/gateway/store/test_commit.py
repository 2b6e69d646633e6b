from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Batch, Event, Gap, Record, Refusal, Refused, Sample
from gateway.store.commit import ROW_RECORDS, ROW_SPAN_MS, Boot, Commit
from tests.gateway.store.samples import batch, sample, samples


def new_boot() -> Boot:
    return Boot(1, 1, "9f3c11d2c01b6a55", 17)


def committed(*batches: Batch) -> tuple[Commit, Boot]:
    commit, boot = Commit(), new_boot()
    for one in batches:
        commit.add(one, boot)
    return commit, boot


def stored(commit: Commit) -> list[Record]:
    return [record for row in commit.rows for record in row.records]


def test_frames_of_one_are_joined_into_one_row() -> None:
    commit, boot = committed(*(batch(sample(seq)) for seq in range(100)))
    (row,) = commit.rows
    assert row.records == list(samples(0, 99))
    assert (row.t_first, row.t_last, row.notable) == (0, 99_000, 0)
    assert (boot.through, boot.samples, boot.changed) == (99, 100, True)


def test_rows_are_bounded() -> None:
    commit, _ = committed(batch(*(Sample(seq, seq, {"x": 1.0}) for seq in range(2 * ROW_RECORDS + 1))))
    assert [len(row.records) for row in commit.rows] == [ROW_RECORDS, ROW_RECORDS, 1]


def test_records_that_carry_text_fill_a_row_sooner() -> None:
    refused = (Refused(seq, seq, "x" * 4096, "frame.field", "") for seq in range(100))
    commit, _ = committed(batch(*refused))
    assert max(len(row.records) for row in commit.rows) <= ROW_RECORDS // 50


def test_times_of_a_row_lie_near_each_other() -> None:
    far = (Sample(seq, seq * ROW_SPAN_MS // 2, {"x": 1.0}) for seq in range(10))
    commit, _ = committed(batch(*far))
    for row in commit.rows:
        assert row.t_first is not None
        assert row.t_last is not None
        assert row.t_last - row.t_first <= ROW_SPAN_MS
    assert [len(row.records) for row in commit.rows] == [3, 3, 3, 1]


def test_a_repeat_leaves_the_boot_unchanged() -> None:
    boot = new_boot()
    Commit().add(batch(*samples(0, 9)), boot)
    boot.changed = False
    before = msgspec.structs.replace(boot)
    commit = Commit()
    commit.add(batch(*samples(0, 9)), boot)
    assert commit.rows == []
    assert boot == before


def test_only_the_newest_row_of_a_device_grows_so_that_boots_keep_their_order() -> None:
    commit, one, two = Commit(), new_boot(), Boot(2, 1, "0c5d9be1f2a34477", 18)
    commit.add(batch(sample(0)), one)
    commit.add(batch(sample(0), boot=18, boot_id=two.boot_id), two)
    commit.add(batch(sample(1)), one)
    assert [(row.boot.id, len(row.records)) for row in commit.rows] == [(1, 1), (2, 1), (1, 1)]


def test_refused_values_and_frames_go_to_quarantine() -> None:
    hot = Sample(0, 500, {"humidity": 40.0}, (Refusal("temperature", "140", "value.range", "too hot"),))
    commit, boot = committed(batch(hot, Refused(1, 3, "raw", "frame.field", "wrong")))
    assert [(q.seq, q.quantity, q.value, q.code) for q in commit.quarantined] == [
        (0, "temperature", "140", "value.range"),
        (1, None, "raw", "frame.field"),
    ]
    assert (boot.through, boot.quarantined, boot.samples) == (3, 2, 1)


@st.composite
def some_records(draw: st.DrawFn) -> tuple[Record, ...]:
    """Records of one batch as a device may send them, in order, perhaps with holes."""
    seq = draw(st.integers(0, 30))
    found: list[Record] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from("sssegrh"))
        length = draw(st.integers(1, 5))
        match kind:
            case "s":
                found.append(sample(seq))
            case "e":
                found.append(Event(seq, seq * 1000, "boot"))
            case "g":
                found.append(Gap(seq, seq + length - 1, draw(st.none() | st.integers(0, length)), None, "full"))
            case "r":
                found.append(Refused(seq, seq + length - 1, "raw", "frame.field", "wrong"))
        seq = seq + length if kind == "h" else (found[-1].last + 1)
    if draw(st.integers(0, 9)) == 0:
        found.append(Gap(seq, None, None, draw(st.none() | st.integers(0, 9)), "power_loss"))
    return tuple(found)


@given(st.lists(some_records(), max_size=8))
def test_whatever_comes_is_stored_without_hole_or_overlap(many: list[tuple[Record, ...]]) -> None:
    commit, boot = committed(*(batch(*records) for records in many if records))
    expected = 0
    for record in stored(commit):
        assert record.seq == expected
        assert record.last >= record.seq
        expected = record.last + 1
    late = [q for q in commit.quarantined if q.code == "boot.ended"]
    assert boot.through >= expected - 1 if late else boot.through == expected - 1
    endings = [record for record in stored(commit) if isinstance(record, Gap) and record.to is None]
    assert endings == stored(commit)[-1:] if boot.ended else not endings
    assert sum(isinstance(record, Sample) for record in stored(commit)) == boot.samples


@given(st.lists(some_records(), max_size=6), st.data())
def test_sending_again_changes_nothing(many: list[tuple[Record, ...]], data: st.DataObject) -> None:
    sent = [batch(*records) for records in many if records]
    commit, boot = committed(*sent)
    before, counted = stored(commit), msgspec.structs.replace(boot)
    for one in data.draw(st.permutations(sent)):
        commit.add(one, boot)
    assert stored(commit) == before
    assert boot == counted
