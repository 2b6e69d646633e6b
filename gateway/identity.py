"""Who this gateway is."""

from __future__ import annotations

import secrets

from gateway.errors import Conflict
from gateway.store.port import Store


async def gateway_id(configured: str | None, store: Store) -> str:
    """The gateway's own id: as `configured`, or drawn once and kept. Boards verify it whatever address they dial."""
    if configured:
        return configured
    if entry := await store.get("gateway/id"):
        return entry.value.decode()
    drawn = f"gw-{secrets.token_hex(4)}"
    try:
        await store.create("gateway/id", drawn.encode())
    except Conflict:
        return await gateway_id(configured, store)
    return drawn
