"""Deleting what let somebody in, also where the disk takes it later only. Shell.

Sessions, tokens and accounts are out of memory first, so they open nothing from that moment on; but what stays on a
disk that is full would open again after a restart. It is deleted with the next login or deletion that finds room.
"""

from __future__ import annotations

from gateway.store.devices import RegistryPort


class Erasing:
    """One for each registry."""

    def __init__(self, registry: RegistryPort) -> None:
        self._registry = registry
        self._waiting: dict[str, None] = {}

    async def delete(self, *keys: str) -> None:
        """These, and what could not be deleted before. Raises Unavailable; what is left is deleted by the next call."""
        self._waiting |= dict.fromkeys(keys)
        for key in list(self._waiting):
            if key in self._waiting:  # not used again meanwhile
                await self._registry.delete(key)
                self._waiting.pop(key, None)

    def used_again(self, key: str) -> None:
        """It is about to be written."""
        self._waiting.pop(key, None)
