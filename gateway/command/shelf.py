"""Where ledgers stand on disk: the registry, under `command/<device>/<place>`, one JSON (ledger.py: `Kept`) a place."""

from __future__ import annotations

import contextlib
import logging

import msgspec

from gateway.command.ledger import Kept
from gateway.errors import Conflict, StoreError
from gateway.store.port import Store

log = logging.getLogger("command")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Kept).decode


class Shelf:
    """Raises StoreError where not said otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, device: str, place: int, kept: Kept) -> None:
        """Returns when it is on disk."""
        await self._store.put(f"command/{device}/{place:02d}", _encode(kept))

    async def all(self) -> dict[str, list[tuple[int, Kept]]]:
        """(place, what stands there) of every device that has any. What cannot be read is left out, and said."""
        found: dict[str, list[tuple[int, Kept]]] = {}
        for entry in await self._store.list("command/"):
            try:
                _, device, place = entry.key.split("/")
                kept = int(place), _decode(entry.value)
                found.setdefault(device, []).append(kept)
            except (msgspec.DecodeError, ValueError) as error:
                log.error("%s cannot be read, and its place will be used again: %s", entry.key, error)
        return found

    async def clear(self, device: str) -> None:
        """Delete what there is of a device that is gone. What cannot be deleted now is at the next start."""
        with contextlib.suppress(StoreError):
            for entry in await self._store.list(f"command/{device}/"):
                with contextlib.suppress(Conflict):  # a new device of that name has taken the place
                    await self._store.delete(entry.key, entry.revision)
