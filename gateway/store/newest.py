"""The newest committed value of each quantity, by time. Pure."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from gateway.model import Batch, Correction, Quality, Sample
from gateway.store.history import Latest


class _Held(NamedTuple):
    """A value and where it is from, so that it can be found when its time is corrected."""

    at_ms: int
    value: float
    quality: Quality
    boot_id: str
    seq: int


class NewestValues:
    """Of all devices. Batches may come in any order."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, _Held]] = {}
        self._corrections: Counter[str] = Counter()

    def note(self, batch: Batch) -> None:
        """`batch` is committed."""
        held = self._held.setdefault(batch.device, {})
        seen = set()
        for record in reversed(batch.records):
            if type(record) is not Sample:
                if type(record) is Correction:
                    self._correct(batch, record)
                continue
            for quantity, value in record.values.items():
                if quantity in seen:
                    continue
                seen.add(quantity)
                at_ms = batch.offset_ms + record.t_ms
                if quantity not in held or at_ms >= held[quantity].at_ms:
                    held[quantity] = _Held(at_ms, value, batch.quality, batch.boot_id, record.seq)

    def of(self, device: str) -> dict[str, Latest]:
        """By quantity. What is hidden by a value whose time was corrected since shows when it is noted again."""
        return {quantity: Latest(*held) for quantity, held in self._held.get(device, {}).items()}

    def forget(self, device: str) -> None:
        self._held.pop(device, None)

    def corrections(self, device: str) -> int:
        """How many were noted: whoever reads older values to note them can tell whether one came between."""
        return self._corrections[device]

    def _correct(self, batch: Batch, correction: Correction) -> None:
        self._corrections[batch.device] += 1
        held = self._held.get(batch.device, {})
        for quantity, one in held.items():
            if _is_of(one, batch.boot_id, correction):
                held[quantity] = one._replace(at_ms=one.at_ms + correction.moved_ms, quality=Quality.CORRECTED)


def _is_of(held: _Held, boot_id: str, correction: Correction) -> bool:
    return held.quality is Quality.ESTIMATED and held.boot_id == boot_id and correction.seq <= held.seq <= correction.to
