"""REST with OpenAPI, as FEED.md says: what is asked, found and answered. Login and origin are the guard's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.dashboard import admin, people_api, shapes
from gateway.dashboard.accounts import PeopleError
from gateway.dashboard.panel import panel
from gateway.dashboard.parts import NOT_ALLOWED, Parts, PartsHere, Refusal, encoded, fails, failure
from gateway.dashboard.people import TooEarly
from gateway.dashboard.rights import Control
from gateway.errors import StoreError
from gateway.store.devices import DeviceInfo
from gateway.store.gaps import GapRow

HOUR_MS = 3_600_000
LATEST_MS = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""


class CommandRequest(BaseModel):
    """A command for a device. The answer comes when the device has answered, or at the timeout."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    args: dict[str, StrictBool | StrictInt | StrictFloat | Annotated[str, Field(max_length=200)] | None] = Field(
        default={}, max_length=16
    )
    timeout_s: float = Field(default=10, ge=1, le=3600, allow_inf_nan=False)


async def _known(device: str, parts: PartsHere) -> DeviceInfo:
    if info := await parts.view.find(device):
        return info
    raise Refusal(404, "device.unknown", f"There is no device '{device[:40]}'.")


Known = Annotated[DeviceInfo, Depends(_known)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Time = Annotated[int | None, Query(ge=0, le=LATEST_MS, description="Unix milliseconds")]


ON_DEVICE = fails(_404="There is no such device.", _422="A parameter is wrong.")

api = APIRouter()


@api.get("/api/devices", response_model=shapes.DeviceList, responses=fails(), tags=["devices"])
async def devices(parts: PartsHere) -> Response:
    """Every device, by id."""
    return encoded(shapes.DeviceList([await parts.view.device(info) for info in await parts.view.infos()]))


@api.get("/api/devices/{device}", response_model=shapes.Device, responses=ON_DEVICE, tags=["devices"])
async def device(info: Known, parts: PartsHere) -> Response:
    """One device."""
    return encoded(await parts.view.device(info))


@api.get("/api/devices/{device}/samples", response_model=shapes.Samples, responses=ON_DEVICE, tags=["devices"])
async def samples(
    info: Known,
    parts: PartsHere,
    from_ms: Time = None,
    to_ms: Time = None,
    quantity: Annotated[list[str] | None, Query(max_length=100)] = None,
    max_points: Annotated[int, Query(ge=10, le=20_000)] = 2000,
) -> Response:
    """Readings over time, thinned to `max_points` per quantity so that every dip and peak stays."""
    end_ms = parts.clock.wall_ms() if to_ms is None else to_ms
    start_ms = max(0, end_ms - HOUR_MS) if from_ms is None else from_ms
    if start_ms > end_ms:
        raise Refusal(422, "request.invalid", "from_ms: must not be after to_ms")
    rows, spans = await parts.history.chart(info.id, quantity, start_ms, end_ms, max_points)
    series = {name: shapes.Series(columns["at_ms"], columns["value"]) for name, columns in rows.items()}
    unsure = [shapes.Unsure(*span) for span in spans]
    return encoded(shapes.Samples(info.id, start_ms, end_ms, series, unsure))


@api.get("/api/devices/{device}/quarantine", response_model=shapes.Quarantine, responses=ON_DEVICE, tags=["devices"])
async def quarantine(info: Known, parts: PartsHere, limit: Limit = 100) -> Response:
    """What validation refused, newest first."""
    rows = [
        shapes.QuarantineRow(row.at_ms, row.boot_id, row.seq, row.quantity or None, row.value, row.code, row.reason)
        for row in await parts.history.quarantine(info.id, limit)
    ]
    return encoded(shapes.Quarantine(info.id, rows))


@api.get("/api/devices/{device}/gaps", response_model=shapes.Gaps, responses=ON_DEVICE, tags=["devices"])
async def gaps(info: Known, parts: PartsHere, limit: Limit = 100) -> Response:
    """Samples that no longer exist, with the times around them. What the gateway learned of last comes first."""
    return encoded(shapes.Gaps(info.id, [_gap_row(gap) for gap in await parts.history.gaps(info.id, limit)]))


def _gap_row(gap: GapRow) -> shapes.GapRow:
    return {
        "boot": gap.boot,
        "boot_id": gap.boot_id,
        "from": gap.first,
        "to": gap.to,
        "count": gap.count,
        "at_most": gap.at_most,
        "why": gap.why,
        "before_ms": gap.before_ms,
        "after_ms": gap.after_ms,
        "received_ms": gap.received_ms,
    }


@api.get("/api/devices/{device}/events", response_model=shapes.Events, responses=ON_DEVICE, tags=["devices"])
async def events(info: Known, parts: PartsHere, limit: Limit = 100) -> Response:
    """What happened on the device, newest first."""
    rows = [
        shapes.EventRow(row.at_ms, row.boot_id, row.seq, row.code, row.sensor, row.data)
        for row in await parts.history.events(info.id, limit)
    ]
    return encoded(shapes.Events(info.id, rows))


@api.get("/api/devices/{device}/commands", response_model=shapes.Commands, responses=ON_DEVICE, tags=["devices"])
async def commands(info: Known, parts: PartsHere) -> Response:
    """What it was asked to do: all that is open, and the newest that have ended; newest first."""
    return encoded(shapes.Commands(info.id, [shapes.command_row(row) for row in parts.dispatcher.recent(info.id)]))


@api.post(
    "/api/devices/{device}/commands",
    response_model=shapes.CommandResult,
    responses=fails(
        _400="This device has no such command, or not with these arguments.",
        _403=NOT_ALLOWED,
        _404="There is no such device.",
        _422="The body is wrong.",
    ),
    tags=["devices"],
)
async def command(info: Known, parts: PartsHere, caller: Control, request: CommandRequest) -> Response:
    """Send a command and wait for its one result: 200 whatever it is. A device that is not connected gets it when it
    comes, within `timeout_s`; else the status is `expired`."""
    profile = await parts.view.profile(info)
    known = {spec.name: spec for spec in profile.commands} if profile else {}
    if request.name not in known:
        has = f"it has: {', '.join(sorted(known))}" if known else "it has none"
        raise Refusal(400, "command.unknown", f"{info.id} has no command '{request.name}'; {has}.")
    if problem := known[request.name].problem(request.args):
        raise Refusal(400, "command.args", problem)
    asked_by = "page" if caller.who == "browser" else caller.who
    result = await parts.dispatcher.send(info.id, request.name, request.args, request.timeout_s, asked_by)
    error = shapes.Problem(result.error_code, result.error_text) if result.error_code else None
    return encoded(shapes.CommandResult(result.id, request.name, result.status, result.data, error))


@api.get("/api/status", response_model=shapes.GatewayStatus, responses=fails(), tags=["gateway"])
async def status(parts: PartsHere) -> Response:
    """Who is connected, and how the parts of the gateway do."""
    extra = parts.extra_status()
    now_ms = parts.clock.wall_ms()
    own = shapes.GatewayStatus(
        gateway=parts.gateway_id,
        version=__version__,
        started_ms=parts.started_ms,
        uptime_s=(parts.clock.monotonic_ms() - parts.started_monotonic_ms) / 1000,
        time_ms=now_ms,
        browsers=parts.feed.browsers,
        store={},
        connections=parts.view.connections(),
        asleep=parts.view.asleep(),
        notices=panel(extra, now_ms).notices,
    )
    return encoded(asdict(own) | extra)


@api.delete(
    "/api/notices/{notice}",
    status_code=204,
    responses=fails(_403=NOT_ALLOWED, _404="There is no such notice.", _422="A parameter is wrong."),
    tags=["gateway"],
)
async def dismiss(notice: str, parts: PartsHere, _: Control) -> Response:
    """Forget a notice that was read."""
    if not await parts.dismiss(notice):
        raise Refusal(404, "notice.unknown", "There is no such notice, or not any more.")
    return Response(status_code=204)


@api.get("/healthz", response_model=shapes.Health, tags=["gateway"])
async def health() -> Response:
    """Without login: the process answers."""
    return encoded(shapes.Health("ok"))


def build(parts: Parts) -> FastAPI:
    """The application with all REST routes. Its own documentation pages are off: they load scripts from elsewhere."""
    app = FastAPI(
        title="mpy-gateway",
        version=__version__,
        description="REST of the people's door. The live feed is described in gateway/dashboard/FEED.md.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.include_router(api)
    app.include_router(people_api.router)
    app.include_router(admin.router)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(PeopleError, _on_people)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(StoreError, _on_store)
    app.add_exception_handler(Exception, _on_fault)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - what the handler is registered for
    return failure(error.status, error.code, str(error))


async def _on_people(_: Request, error: Exception) -> Response:
    assert isinstance(error, PeopleError)  # noqa: S101 - what the handler is registered for
    headers = {"retry-after": str(error.wait_s)} if isinstance(error, TooEarly) else None
    return failure(error.status, error.reason, str(error), headers)


async def _on_http(_: Request, error: Exception) -> Response:
    """Starlette's own: no such path, no such method, a body that cannot be read."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what the handler is registered for
    codes = {
        404: ("request.path", "There is nothing here."),
        405: ("request.method", "This cannot be asked in this way."),
    }
    code, text = codes.get(error.status_code, ("request.invalid", str(error.detail)))
    return failure(error.status_code, code, text, dict(error.headers or {}))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what the handler is registered for
    problems = (f"{'.'.join(str(part) for part in e['loc'][1:]) or e['loc'][0]}: {e['msg']}" for e in error.errors())
    return failure(422, "request.invalid", "; ".join(problems)[:500])


async def _on_store(_: Request, error: Exception) -> Response:
    return failure(503, "store.unavailable", str(error))


async def _on_fault(_: Request, error: Exception) -> Response:
    """Uvicorn logs it; the caller learns no details."""
    return failure(500, "gateway.fault", "A fault of the gateway; its log says more.")


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema["components"]["securitySchemes"] = {
            "session": {"type": "apiKey", "in": "cookie", "name": app.state.parts.cookie},
            "token": {"type": "http", "scheme": "bearer"},
        }
        schema["security"] = [{"session": []}, {"token": []}]
        schema["paths"]["/healthz"]["get"]["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema
