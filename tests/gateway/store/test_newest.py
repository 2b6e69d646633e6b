from __future__ import annotations

from gateway.model import Batch, Correction, Quality
from gateway.store.newest import NewestValues
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, sample


def corrected(*corrections: Correction, boot_id: str = BOOT_ID) -> Batch:
    return batch(*corrections, boot_id=boot_id, quality=Quality.CORRECTED)


def test_only_estimated_values_of_that_boot_and_those_numbers_are_moved() -> None:
    values = NewestValues()
    values.note(batch(sample(3, a=1.0), offset_ms=100, quality=Quality.ESTIMATED))
    values.note(batch(sample(9, b=2.0), offset_ms=100, quality=Quality.ESTIMATED))
    values.note(batch(sample(3, c=3.0), boot_id="0c5d9be1f2a34477", offset_ms=100, quality=Quality.ESTIMATED))
    values.note(batch(sample(4, d=4.0)))
    values.note(corrected(Correction(0, 5, 1_000)))
    values.note(corrected(Correction(0, 5, 7_000)))  # moved once
    found = {quantity: (latest.at_ms, latest.quality) for quantity, latest in values.of("greenhouse").items()}
    assert found == {
        "a": (4_100, Quality.CORRECTED),
        "b": (9_100, Quality.ESTIMATED),
        "c": (3_100, Quality.ESTIMATED),
        "d": (AT_MS + 4_000, Quality.SYNCED),
    }


def test_whoever_reads_older_values_can_tell_that_a_correction_came_between() -> None:
    values = NewestValues()
    before = values.corrections("greenhouse")
    values.note(batch(sample(0)))
    assert values.corrections("greenhouse") == before
    values.note(corrected(Correction(0, 0, 1)))
    assert values.corrections("greenhouse") != before
    assert values.corrections("cellar") == 0
    assert values.of("cellar") == {}
