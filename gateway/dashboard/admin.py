"""REST for the administration of devices: tokens, boards, forgetting. What each means is in store/devices.py and
forget.py; making a device is the command line's, which has the profiles and writes the files for its board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response

from gateway.dashboard import shapes
from gateway.dashboard.parts import NOT_ALLOWED, PartsHere, Refusal, encoded, fails
from gateway.dashboard.rights import Admin
from gateway.errors import ConfigError
from gateway.store.devices import Devices, Rotation
from gateway.words import forgotten_words, rotation_words

router = APIRouter()

Id = Annotated[str, Path(min_length=1, max_length=64)]

ON_DEVICE: Final[dict[int | str, dict[str, Any]]] = fails(
    _403=NOT_ALLOWED, _404="There is no such device.", _409="Not with a device as this one is.", _422="Wrong parameter."
)
ROTATION_S: Final = 8.0
"""How long we wait for a connected board to come back with its new token: it writes it to flash and connects anew."""
LOOK_S: Final = 0.1


@router.post(
    "/api/devices/{device}/revoke", response_model=shapes.Administered, responses=ON_DEVICE, tags=["administration"]
)
async def revoke(device: Id, _: Admin, parts: PartsHere) -> Response:
    """Take its token away, and disconnect it. Its name and its samples stay."""
    await _change(parts.devices, device, parts.devices.revoke(device))
    return encoded(shapes.Administered(device, f"{device} may not connect any more; its samples stay"))


@router.post(
    "/api/devices/{device}/replace", response_model=shapes.Administered, responses=ON_DEVICE, tags=["administration"]
)
async def replace(device: Id, _: Admin, parts: PartsHere) -> Response:
    """The next board that comes with its token takes its place, whatever its hardware."""
    await _change(parts.devices, device, parts.devices.replace(device))
    return encoded(shapes.Administered(device, f"{device}: the next board with its token takes its place"))


@router.post(
    "/api/devices/{device}/rotate", response_model=shapes.Administered, responses=ON_DEVICE, tags=["administration"]
)
async def rotate(device: Id, _: Admin, parts: PartsHere) -> Response:
    """Give it a new token over its own connection, now or when it comes. The answer says how far that is: it waits for
    a board that is connected."""
    await _change(parts.devices, device, parts.devices.rotate(device))
    connected = parts.view.presence(device).online
    until = asyncio.get_running_loop().time() + ROTATION_S
    while connected and await _rotation(parts.devices, device):
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(LOOK_S)
    said = rotation_words(device, await _rotation(parts.devices, device), connected=connected)
    return encoded(shapes.Administered(device, said))


@router.delete(
    "/api/devices/{device}", response_model=shapes.Administered, responses=ON_DEVICE, tags=["administration"]
)
async def forget(device: Id, _: Admin, parts: PartsHere) -> Response:
    """Erase everything of it: samples, gaps, events, what was refused, commands, what brokers retain, its identity. Its
    name can be used again. What it takes grows with what there is."""
    try:
        is_clean = await parts.forget(device)
    except ConfigError as error:
        raise Refusal(404, "device.unknown", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    return encoded(shapes.Administered(device, forgotten_words(device, is_clean=is_clean)))


async def _change(devices: Devices, device: str, change: Awaitable[None]) -> None:
    try:
        await change
    except ConfigError as error:
        known = await devices.get(device) is not None
        status, code = (409, "device.state") if known else (404, "device.unknown")
        raise Refusal(status, code, f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


async def _rotation(devices: Devices, device: str) -> Rotation:
    info = await devices.get(device)
    return info.rotation if info else Rotation.NONE
