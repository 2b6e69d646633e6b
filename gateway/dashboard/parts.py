"""What the routes work with, and how they answer; each file of routes takes what it needs from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request, Response

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.dashboard import shapes
from gateway.dashboard.feed import Feed
from gateway.dashboard.people import People
from gateway.dashboard.view import View
from gateway.store.devices import Devices
from gateway.store.history import History


class Refusal(Exception):
    """Ends a request with `Failure`."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    view: View
    history: History
    dispatcher: Dispatcher
    feed: Feed
    people: People
    clock: Clock
    gateway_id: str
    cookie: str
    """Name of the session cookie."""
    secure: bool
    """Whether this door speaks TLS."""
    new_link: Callable[[], str]
    extra_status: Callable[[], dict[str, Any]]
    devices: Devices
    forget: Callable[[str], Awaitable[bool]]
    """Forgets a device, see gateway/forget.py."""
    dismiss: Callable[[str], Awaitable[bool]]
    """Forgets a notice; False where there is none of that id."""
    started_ms: int
    started_monotonic_ms: int


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsHere = Annotated[Parts, Depends(_parts)]


NOT_ALLOWED = "Not with this role, or asked by a page that is not the gateway's."


def fails(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """The failures a route can answer with, for OpenAPI: `_404="unknown device"`."""
    always = {"_401": "No login.", "_503": "The store cannot answer now."}
    return {
        int(status[1:]): {"model": shapes.Failure, "description": text} for status, text in (always | statuses).items()
    }


def encoded(shape: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`shape` as JSON, by msgspec; the types of `shapes` are what OpenAPI promises."""
    return Response(msgspec.json.encode(shape), status, headers, media_type="application/json")


def failure(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Response:
    return encoded(shapes.Failure(shapes.Problem(code, text)), status, headers)
