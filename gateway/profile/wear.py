"""How long a board's flash lasts with what a profile asks of it. Pure.

The figures are measured with `python -m tests.bench.flash`, on littlefs as MicroPython has it; firmware/README.md has
them in full. A block of an ESP32's flash chip stands 100,000 erases (Winbond W25Q32JV, section 1; GigaDevice GD25Q32C,
section 3), and littlefs spreads them over all blocks that are not in use by files that never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

BLOCK_BYTES: Final = 4096
_ENDURANCE: Final = 100_000
FIXED_BLOCKS: Final = 96
"""Of the file system: our firmware (44 blocks) and what a person may put there."""
_DOWN_SHARE: Final = 0.1
"""Of its time without a gateway, for which the flash is to last. Online, `unsent` writes next to nothing."""

RECORD_BYTES: Final = 16
"""Of a sample in a segment, beside its values (firmware/device/segments.py)."""
SMALL_FILE: Final = 0.065
"""Erases each time a small file is rewritten: a tail, the promise. Measured: 0.032 with 46 bytes, 0.063 with 128."""
_WIDEST_TAIL: Final = 24
"""Values of a sample that still fits into such a file (firmware/device/tails.py); a wider one is appended by itself."""
APPEND: Final = 1.05
"""Erases of an append, beside those of the blocks it fills."""
_SPILL_S: Final = 10
_SPILL: Final = 64
_FOLD: Final = 16
"""Records in one append (firmware/device/outbox.py; `none`: firmware/device/tails.py)."""

SECONDS_A_DAY: Final = 86_400


def erases_a_day(periods_ms: Iterable[int], widest: int, power_loss: Literal["none", "unsent"], online: bool) -> float:
    """Blocks erased in a day by sensors with these periods, the widest of which has so many quantities."""
    rate = sum(1000 / period_ms for period_ms in periods_ms)
    filled = rate * (RECORD_BYTES + 4 * widest) / BLOCK_BYTES  # blocks a second
    promises = rate / max(32.0, rate * 30)
    if power_loss == "none":
        tails = rate * SMALL_FILE
        if widest > _WIDEST_TAIL:
            a_second = rate * APPEND + filled
        else:
            a_second = tails if online else tails + rate / _FOLD * APPEND + filled
    else:
        appends = min(rate, max(1 / _SPILL_S, rate / _SPILL))
        a_second = promises * SMALL_FILE + (0 if online else appends * APPEND + filled)
    return a_second * SECONDS_A_DAY


def life_years(
    files_bytes: int, periods_ms: Iterable[int], widest: int, power_loss: Literal["none", "unsent"]
) -> float:
    """Years until the flash of a board with `files_bytes` for files is worn out, a tenth of them without a gateway."""
    periods = list(periods_ms)
    blocks = max(1, files_bytes // BLOCK_BYTES - FIXED_BLOCKS)
    a_day = (1 - _DOWN_SHARE) * erases_a_day(periods, widest, power_loss, online=True)
    a_day += _DOWN_SHARE * erases_a_day(periods, widest, power_loss, online=False)
    return blocks * _ENDURANCE / a_day / 365
