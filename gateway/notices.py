"""What boards tell that a person should know, said once in the gateway's log: sensors that fail, samples lost.

All of it is in the store, on MQTT and on the page too; this is for who looks at the terminal first.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.clock import Clock
from gateway.logs import clean
from gateway.model import Batch, Correction, Event, Gap, Refused, Sample
from gateway.store.port import Store
from gateway.words import ADVICE, FAILED_ADVICE, event_words, gap_words, span

log = logging.getLogger("samples")

EVERY_MS = 10_000
"""The same kind of thing from the same device is said once in this time."""

_WORTH_A_WARNING = frozenset({"sensor.failed", "samples.missed", "frame.refused", "boots.forgotten"})


def sentences(batch: Batch) -> list[tuple[str, int, str]]:
    """(kind, log level, sentence) of what is worth saying in `batch`. Pure."""
    found = []
    for record in batch.records:
        if isinstance(record, Event):
            level = logging.WARNING if record.code in _WORTH_A_WARNING else logging.INFO
            why = record.data.get("why") if record.code == "sensor.failed" else None
            advice = f" ({FAILED_ADVICE[why]})" if isinstance(why, str) and why in FAILED_ADVICE else ""
            words = event_words(record.code, record.sensor, record.data)
            found.append((f"{record.code} {record.sensor}", level, f"{words}{advice}"))
        elif isinstance(record, Gap):
            words = gap_words(record.seq, record.to, record.count, record.at_most, record.why)
            advice = f" ({ADVICE[record.why]})" if record.why in ADVICE else ""
            found.append((f"gap {record.why}", logging.WARNING, f"{words}{advice}"))
        elif isinstance(record, Correction):
            text = f"#{record.seq} to #{record.to} were taken {span(abs(record.moved_ms))}"
            text += f" {'later' if record.moved_ms > 0 else 'earlier'} than was estimated; corrected"
            found.append((f"correction {batch.boot_id}", logging.INFO, text))
        elif isinstance(record, Refused):
            found.append((record.code, logging.WARNING, f"a frame was refused: {record.reason} ({record.code})"))
        elif isinstance(record, Sample):
            for refusal in record.refused:
                text = f"a value was refused: {refusal.reason} ({refusal.code})"
                found.append((f"{refusal.code} {refusal.quantity}", logging.WARNING, text))
    return found


async def log_notices(store: Store, clock: Clock) -> None:
    """Runs until cancelled."""
    said_ms: dict[tuple[str, str], int] = {}
    async for batch in store.live():
        now_ms = clock.monotonic_ms()
        for kind, level, sentence in sentences(batch):
            last_ms = said_ms.get((batch.device, kind))
            if last_ms is None or now_ms - last_ms >= EVERY_MS:
                said_ms[batch.device, kind] = now_ms
                log.log(level, "%s: %s", batch.device, clean(sentence, 300))
        if len(said_ms) > 10_000:  # kinds come from outside
            said_ms.clear()


def start(store: Store, clock: Clock) -> asyncio.Task[None]:
    """The task that does it; its owner cancels it."""
    return asyncio.create_task(log_notices(store, clock))
