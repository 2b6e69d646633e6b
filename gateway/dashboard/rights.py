"""Who may ask what: dependencies for routes. The guard says who calls; these say whether that is enough."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from gateway.dashboard.auth import Caller
from gateway.dashboard.parts import Refusal


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerHere = Annotated[Caller, Depends(_caller)]
"""Anybody who proved who they are: may read."""


async def _control(caller: CallerHere) -> Caller:
    if caller.scope == "read":
        raise Refusal(403, "role.viewer", "You may look, but change nothing: ask an admin of this gateway.")
    return caller


Control = Annotated[Caller, Depends(_control)]
"""Who may send commands: an admin, or a token of scope `control`."""


async def _admin(caller: CallerHere) -> Caller:
    if caller.role != "admin":
        raise Refusal(403, "role.viewer", "Only an admin of this gateway may do that.")
    return caller


Admin = Annotated[Caller, Depends(_admin)]
"""Who may administrate: devices, accounts, settings. Others get 403 `role.viewer`."""
