"""Records and batches for tests, short to write."""

from __future__ import annotations

from gateway.model import Batch, Quality, Record, Sample

AT_MS = 1_790_000_000_000
"""When the boots of these tests began."""
BOOT_ID = "9f3c11d2c01b6a55"


def sample(seq: int, **values: float) -> Sample:
    """Taken every second."""
    return Sample(seq, seq * 1000, values or {"temperature": 20 + seq / 100})


def samples(first: int, last: int) -> tuple[Sample, ...]:
    """`last` included."""
    return tuple(sample(seq) for seq in range(first, last + 1))


def batch(
    *records: Record,
    device: str = "greenhouse",
    boot: int = 17,
    boot_id: str = BOOT_ID,
    offset_ms: int = AT_MS,
    quality: Quality = Quality.SYNCED,
    profile: str = "5a0f9c3be1d27718",
) -> Batch:
    return Batch(device, boot, boot_id, records, offset_ms, quality, offset_ms + 999, profile=profile)


def records(batches: list[Batch]) -> list[Record]:
    """All records of `batches`, one after the other."""
    return [record for one in batches for record in one.records]


def seqs(batches: list[Batch]) -> list[int]:
    return [record.seq for record in records(batches)]
