"""What outlets that do not run now have kept of a device: of a broker that is not configured any more, or of all where
no gateway runs. Those that run see to it themselves (`Bridge.forget`)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import msgspec

from gateway.mqtt.aside import Aside
from gateway.mqtt.retained import Kept, mark
from gateway.store.port import Store


async def forget(store: Store, device: str, *, running: Collection[str], configured: Collection[str]) -> None:
    """Take `device` out of what outlets have kept, all but the `running` ones; what the brokers of those `configured`
    retain is cleared when they are there next. Names as in the registry, such as "mqtt.home". Raises StoreError."""
    for entry in await store.list("outlet/"):
        outlet, _, what = entry.key.removeprefix("outlet/").rpartition("/")
        if outlet in running:
            continue
        with suppress(msgspec.DecodeError):  # of another version of ours: it will not be read
            value = _without(device, what, entry.value)
            if value != entry.value:
                await store.put(entry.key, value)
    for outlet in set(configured) - set(running):
        await store.put(mark(f"outlet/{outlet}", device), b"")


def _without(device: str, what: str, value: bytes) -> bytes:
    """The value of outlet/.../<what> with nothing of `device` in it. Raises msgspec.DecodeError."""
    if what == "aside":
        aside = Aside()
        aside.load(value)
        aside.forget(device)
        return value if aside.is_saved else aside.save()
    if what == "states":
        kept = msgspec.json.decode(value, type=Kept)
        return value if kept.devices.pop(device, None) is None else msgspec.json.encode(kept)
    if what == "retained":
        devices = msgspec.json.decode(value, type=list[str])
        return msgspec.json.encode([other for other in devices if other != device]) if device in devices else value
    return value
