"""What the store does beside commits: watch the disk, delete what is too old or too much, and say what a person should
know. One task, and everything it asks of the writer's thread comes in small steps between two commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence

from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.store.database import Database
from gateway.store.integrity import suspect_mark
from gateway.store.notices import Level, Notices
from gateway.store.registry import Registry
from gateway.store.retention import Limits, Pruned
from gateway.store.space import FREE_SOME, WARN_BYTES, Space
from gateway.store.writer import Writer

log = logging.getLogger("store")

EVERY_S = 5.0
PRUNE_EVERY_S = 60.0
"""How often it looks for what is to be deleted; while there is more, a step follows a step."""
PRUNE_SHARE = 10
"""Deleting takes one part in so many of the writer's time at most."""
UNTAKEN_EVERY_MS = 600_000
"""How often it is told that an outlet misses more."""


class Upkeep:
    """`id_of` is the id a cursor stands behind. `outlets`: whose cursors count, None for all there are."""

    def __init__(
        self,
        writer: Writer,
        readers: Sequence[Database],
        registry: Registry,
        space: Space,
        notices: Notices,
        clock: Clock,
        *,
        limits: Limits,
        outlets: Collection[str] | None,
        id_of: Callable[[str], int],
    ):
        self._writer = writer
        self._readers = readers
        self._registry = registry
        self._space = space
        self._notices = notices
        self._clock = clock
        self._limits = limits
        self._outlets = outlets
        self._id_of = id_of
        self._logged_disk: Level | None = None
        self._prune_at_ms = 0
        self._told_untaken_ms: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        said = ""
        while True:
            try:
                await self.once()
                said = ""
            except (StoreError, OSError) as error:
                if str(error) != said:
                    log.warning("upkeep of the samples: %s", said := str(error))
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """One round."""
        await asyncio.to_thread(self._space.look)
        self.tell()
        if self.damage():
            mark = suspect_mark(self._readers[0].path)
            if not mark.exists():
                await asyncio.to_thread(mark.touch, 0o600)
            return
        if self._writer.trouble:
            await self._probe()
        if self._limits != Limits(None, None) and self._clock.monotonic_ms() >= self._prune_at_ms:
            await self._prune()
            self._prune_at_ms = self._clock.monotonic_ms() + int(PRUNE_EVERY_S * 1000)

    def damage(self) -> str:
        """What was found damaged while it was used; empty where nothing was."""
        return self._writer.damage or next((reader.damage for reader in self._readers if reader.damage), "")

    def tell(self) -> None:
        """Bring the notices of what holds now up to date."""
        now_ms = self._clock.wall_ms()
        trouble = self.damage() or self._writer.trouble
        self._notices.state("trouble", "error", trouble and f"nothing is stored or acknowledged: {trouble}", now_ms)
        low = (
            "" if trouble or self._space.free_bytes >= WARN_BYTES else f"the disk is nearly full: {self._space.told()}"
        )
        if self._space.full and not trouble:  # nothing has come since
            low = f"the disk is full: {self._space.told()}"
        self._notices.state("registry", "error", self._registry.damage, now_ms)
        level: Level = "error" if self._space.full else "warning"
        self._notices.state("disk", level, low and f"{low}; {FREE_SOME}", now_ms)
        self._log_disk(level if low else None, low)

    def _log_disk(self, level: Level | None, low: str) -> None:
        """Once when it begins or becomes another, and once when it is over."""
        if level == self._logged_disk:
            return
        if level is not None:
            log.log(logging.ERROR if level == "error" else logging.WARNING, "%s; %s", low, FREE_SOME)
        elif not self._writer.trouble:  # else the writer has said why nothing is committed
            log.info("the disk has room again: %s", self._space.told())
        self._logged_disk = level

    async def _probe(self) -> None:
        try:
            await self._writer.probe()
        except StoreError:  # known already: it is what the trouble says
            return
        self.tell()

    async def _prune(self) -> None:
        """Step by step, until nothing is too old or too much."""
        while True:
            now_ms = self._clock.wall_ms() if self._clock.wall_trusted() else None
            cursors = await self._cursors()
            began = time.perf_counter()
            pruned = await self._writer.prune(self._limits, now_ms, cursors)
            took_s = time.perf_counter() - began
            await self._tell_untaken(pruned)
            if not pruned.more:
                return
            await asyncio.sleep(took_s * PRUNE_SHARE)

    async def _cursors(self) -> dict[str, int]:
        """Up to which id each outlet has taken the log."""
        found = {}
        for entry in await self._registry.list("outlet/"):
            name, _, what = entry.key.removeprefix("outlet/").rpartition("/")
            if what == "cursor" and (self._outlets is None or name in self._outlets):
                found[name] = self._id_of(entry.value.decode("utf-8", "replace"))
        return found

    async def _tell_untaken(self, pruned: Pruned) -> None:
        now_ms = self._clock.monotonic_ms()
        for outlet in pruned.untaken:
            told_ms = self._told_untaken_ms.get(outlet)
            if told_ms is not None and now_ms - told_ms < UNTAKEN_EVERY_MS:
                continue
            self._told_untaken_ms[outlet] = now_ms
            text = (
                f"{outlet} has missed samples: they were deleted (store.retention_days, store.max_mb) before it took"
                f" them; {self._writer.untaken[outlet]} so far"
            )
            log.warning(text)
            await self._notices.keep(f"untaken.{outlet}", "warning", text, self._clock.wall_ms())
