"""What a person should know about the disk and the files on it, until it is over or was read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal, TypedDict

import msgspec

from gateway.errors import Conflict

if TYPE_CHECKING:  # a restore writes a notice before there is a registry to open
    from gateway.store.registry import Registry

KEPT_MS = 30 * 86_400_000
"""A notice of something that has happened goes after this long, if nobody dismissed it."""
PREFIX = "notice/"

Level = Literal["warning", "error"]


class Notice(TypedDict):
    """`id` names one that can be dismissed; empty for a state, which goes when it is over."""

    level: Level
    text: str
    since_ms: int
    id: str


class Kept(msgspec.Struct, frozen=True):
    """A notice as it stands in the registry."""

    level: Level
    text: str
    since_ms: int


encoded = msgspec.json.Encoder().encode


class Notices:
    """Two kinds: states, which last while they last, and events, kept in the registry as `notice/<id>`."""

    def __init__(self, registry: Registry):
        self._registry = registry
        self._states: dict[str, Kept] = {}
        self._kept: dict[str, Kept] = {}

    async def load(self, now_ms: int) -> None:
        """Read what was kept, and forget what is old."""
        for entry in await self._registry.list(PREFIX):
            with contextlib.suppress(msgspec.DecodeError):
                self._kept[entry.key.removeprefix(PREFIX)] = msgspec.json.decode(entry.value, type=Kept)
        for id, kept in list(self._kept.items()):
            if now_ms - kept.since_ms > KEPT_MS:
                await self.dismiss(id)

    async def keep(self, id: str, level: Level, text: str, now_ms: int) -> None:
        """Something has happened. The same `id` again replaces it."""
        self._kept[id] = Kept(level, text, now_ms)
        await self._registry.put(PREFIX + id, encoded(self._kept[id]))

    async def dismiss(self, id: str) -> bool:
        """False where there was none."""
        self._kept.pop(id, None)
        with contextlib.suppress(Conflict):
            return await self._registry.delete(PREFIX + id)
        return False

    def state(self, name: str, level: Level, text: str, now_ms: int) -> None:
        """What holds now: `text`, or nothing where it is empty."""
        if not text:
            self._states.pop(name, None)
            return
        before = self._states.get(name)
        self._states[name] = Kept(level, text, before.since_ms if before and before.level == level else now_ms)

    def now(self) -> list[Notice]:
        """Errors first, of equal ones the newest first."""
        found = [Notice(level=one.level, text=one.text, since_ms=one.since_ms, id="") for one in self._states.values()]
        found += [
            Notice(level=one.level, text=one.text, since_ms=one.since_ms, id=id) for id, one in self._kept.items()
        ]
        return sorted(found, key=lambda notice: (notice["level"] != "error", -notice["since_ms"]))
