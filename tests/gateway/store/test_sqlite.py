from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.store.sqlite import SqliteStore
from tests.gateway.store.conformance import Conformance


@asynccontextmanager
async def opened(directory: Path, **settings: int) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(directory, **{"commit_ms": 1, **settings})
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class TestConformance(Conformance):
    opener = opened
