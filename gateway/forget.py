"""Forgetting a device: erasing everything that this gateway has of it, so that its name can be used again as if it had
never been. Where that is cut short the device is still listed, as revoked, and forgetting it again goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from gateway.errors import ConfigError
from gateway.mqtt import leftovers
from gateway.store.devices import Devices, no_such
from gateway.store.port import Store

log = logging.getLogger("gateway")

Forget = Callable[[str], Awaitable[None]]
"""What one part of the gateway does about it; returns once it has nothing of the device any more."""


async def forget(
    device: str,
    store: Store,
    devices: Devices,
    *,
    sources: Sequence[Forget] = (),
    outlets: Sequence[Forget] = (),
    running: Collection[str] = (),
    configured: Collection[str] = (),
) -> bool:
    """Erase `device`: first whoever could still bring something of it (`sources`), then what is stored, then what shows
    it (`outlets`), its name last. `running`, `configured`: names of the MQTT outlets. False: nothing of it is used any
    more, but a reader keeps its last pages in the write-ahead log; they go with the next forgetting or restart.

    Raises ConfigError where there is no such device, StoreError where it is to be called again."""
    if await store.get(f"device/{device}") is None:
        raise no_such(device)
    with suppress(ConfigError):  # an entry that cannot be read opens nothing anyway
        await devices.revoke(device)
    for part in sources:
        await part(device)
    await store.forget(device)
    for part in outlets:
        await part(device)
    await leftovers.forget(store, device, running=running, configured=configured)
    await store.purge(lambda key, value: _is_of(device, key, value))
    await devices.remove(device)  # what this process remembers of it
    log.info("%s is forgotten", device)
    return await store.scrub()


def _is_of(device: str, key: str, value: bytes) -> bool:
    """Whether an entry of the registry is about `device`, or a token that was deleted."""
    kind, _, rest = key.partition("/")
    if kind == "token":
        return value in (device.encode(), b"")
    return kind in {"device", "holder", "seen", "command"} and rest.partition("/")[0] == device
