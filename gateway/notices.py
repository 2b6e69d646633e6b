"""What boards tell that a person should know, said once in the gateway's log: sensors that fail, samples lost.

All of it is in the store, on MQTT and on the page too; this is for who looks at the terminal first.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.clock import Clock
from gateway.logs import clean
from gateway.model import Batch, Event, Gap, Refused, Sample
from gateway.store.port import Store

log = logging.getLogger("samples")

EVERY_MS = 10_000
"""The same kind of thing from the same device is said once in this time."""

_WORTH_A_WARNING = frozenset({"sensor.failed", "samples.missed", "frame.refused"})


def sentences(batch: Batch) -> list[tuple[str, int, str]]:
    """(kind, log level, sentence) of what is worth saying in `batch`. Pure."""
    found = []
    for record in batch.records:
        if isinstance(record, Event):
            level = logging.WARNING if record.code in _WORTH_A_WARNING else logging.INFO
            details = ", ".join(f"{key} {value}" for key, value in record.data.items())
            about = f" ({record.sensor})" if record.sensor else ""
            kind = f"{record.code} {record.sensor}"
            found.append((kind, level, f"{record.code}{about}{': ' if details else ''}{details}"))
        elif isinstance(record, Gap):
            count = f"at most {record.at_most}" if record.count is None else str(record.count)
            found.append((f"gap {record.why}", logging.WARNING, f"{count} samples do not exist any more: {record.why}"))
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
