"""Changes of commands as they happen, for whoever shows them."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.model import CommandRecord

MOST_WAITING: Final = 256
"""Changed commands that wait for one slow reader; of more the oldest change goes: `Dispatcher.recent` has it."""


class Changes:
    """An iterator over changed commands, coalesced per id: a slow reader sees the newest state of each. Forgetting it
    ends it."""

    def __init__(self) -> None:
        self._changed: dict[str, CommandRecord] = {}
        self._news = asyncio.Event()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> CommandRecord:
        while not self._changed:
            self._news.clear()
            await self._news.wait()
        return self._changed.pop(next(iter(self._changed)))

    def tell(self, record: CommandRecord) -> None:
        self._changed.pop(record.id, None)
        if len(self._changed) >= MOST_WAITING:
            del self._changed[next(iter(self._changed))]
        self._changed[record.id] = record
        self._news.set()
