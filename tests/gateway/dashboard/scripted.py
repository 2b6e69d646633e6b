"""A people's door that does as it is told: it serves the built page, speaks FEED.md, and a test decides what it says.

The page's tests need a gateway that falls silent, stops, comes back, or sends nonsense at a chosen moment; the real one
does not do that on request. That both say the same is tested in test_page_real.py.
"""

from __future__ import annotations

import asyncio
import json
import math
import mimetypes
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.dashboard.guard import DOOR_POLICY, HEADERS, POLICY
from gateway.dashboard.pages import STATIC_DIR

Json = dict[str, Any]
BOOT_ID = "9f3c11d2c01b6a55"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def quantity(
    name: str, title: str, unit: str, decimals: int, low: float, high: float, sensor: str, **labels: str
) -> Json:
    chip = "vitals" if sensor == "vitals" else "bme280"
    return {
        "name": name, "title": title, "unit": unit, "decimals": decimals, "low": low, "high": high,
        "labels": {key.lstrip("_"): word for key, word in labels.items()}, "sensor": sensor, "chip": chip,
    }  # fmt: skip


CLIMATE = [
    quantity("temperature", "Temperature", "°C", 2, -40, 85, "climate"),
    quantity("humidity", "Humidity", "%", 2, 0, 100, "climate"),
    quantity("pressure", "Air pressure", "hPa", 2, 300, 1100, "climate"),
]
VITALS = [
    quantity("rssi", "Wi-Fi signal", "dBm", 0, -127, 0, "vitals"),
    quantity("free_heap", "Free memory", "B", 0, 0, 16777216, "vitals"),
    quantity("uptime", "Uptime", "s", 0, 0, 1e9, "vitals"),
    quantity("reset_cause", "Last reset", "", 0, 0, 15, "vitals", _1="power on", _3="watchdog"),
]


def wave(name: str, at_ms: float) -> float:
    """A believable value at any time: slow swing, small ripple, no randomness."""
    s = at_ms / 1000
    ripple = math.sin(s / 7) * 0.6 + math.sin(s / 2.3) * 0.25 + math.sin(s * 1.7) * 0.1
    return {
        "temperature": round(21.6 + 1.9 * math.sin(s / 900) + 0.14 * ripple, 2),
        "humidity": round(48.2 - 5.5 * math.sin(s / 900) + 0.5 * ripple, 2),
        "pressure": round(1013.3 + 1.4 * math.sin(s / 3000) + 0.07 * ripple, 2),
        "rssi": round(-58 + 4 * math.sin(s / 40)),
        "free_heap": round(143_000 + 9_000 * math.sin(s / 60)),
        "uptime": int(s % 20_000),
        "reset_cause": 1,
    }[name]


class ScriptedDevice:
    def __init__(self, id: str, *, online: bool = True, away: tuple[float, float] | None = None) -> None:
        """`away`: from and to, in seconds before now: a gap in its history."""
        self.id, self.online, self.seq = id, online, 0
        self.born_ms = now_ms()
        self.away = away
        self.quarantine: list[Json] = []
        self.events: list[Json] = [
            {
                "at_ms": self.born_ms - 300_000,
                "boot_id": BOOT_ID,
                "seq": 0,
                "code": "boot",
                "sensor": None,
                "data": {"reset_cause": 1},
            }
        ]
        self.seen = True
        self.quality = "synced"
        self.gaps: list[Json] = []
        self.unsure: list[Json] = []
        self.counts = {"samples": 120345, "events": 1, "gaps": 0, "lost": 0, "quarantined": 0, "uncertain": 0}
        self.result: Callable[[Json], Json | Response] = lambda command: {
            "id": "c1", "name": command["name"], "status": "done", "data": {"uptime_ms": 81234}, "error": None,
        }  # fmt: skip
        self.answers = threading.Event()
        """Results wait until this is set."""
        self.answers.set()
        self.commands: list[Json] = []
        self.asked: list[Json] = []
        """The ledger: what GET tells of commands."""

    def measured(self, at_ms: float) -> bool:
        return self.away is None or not (self.away[0] > (self.born_ms - at_ms) / 1000 > self.away[1])

    def connection(self) -> Json | None:
        if not self.online:
            return None
        return {
            "address": "192.168.1.17:51234", "firmware": "0.1.0", "frames": 9120, "bytes_in": 1203455, "samples": 9034,
            "errors": {}, "rate": 1.1, "rtt_ms": 4.2, "clock": "synced",
        }  # fmt: skip

    def presence(self) -> Json:
        since = self.born_ms - 7_500_000 if self.online else None
        seen = now_ms() if self.online else self.born_ms - 840_000 if self.seen else None
        return {
            "online": self.online, "since_ms": since, "last_seen_ms": seen, "asleep_until_ms": None,
            "connection": self.connection(),
        }  # fmt: skip

    def whole(self) -> Json:
        at_ms = now_ms() if self.online else self.born_ms - 840_000
        latest = {
            one["name"]: {"value": wave(one["name"], at_ms), "at_ms": at_ms, "quality": "synced", "provisional": False}
            for one in CLIMATE + VITALS
        }
        if not self.seen:
            latest, at_ms = {}, None
            self.counts = dict.fromkeys(self.counts, 0)
        return {
            "id": self.id, "node": "climate-node", "title": "Climate node", "hardware": "a4cf12b0c3d4",
            "added_ms": self.born_ms - 864_000_000,
            "newest_at_ms": at_ms, "latest": latest, "counts": self.counts, "waits_ms": 0, **self.presence(),
            "sensors": [
                {"name": "climate", "chip": "bme280", "period_ms": 1000, "quantities": CLIMATE},
                {"name": "vitals", "chip": "vitals", "period_ms": 10000, "quantities": VITALS},
            ],
            "commands": [
                {"name": "ping", "title": "Ping", "args": []},
                {"name": "identify", "title": "Blink", "args": [
                    {"name": "seconds", "title": "Seconds", "type": "integer", "low": 1, "high": 60, "default": 5}]},
                {"name": "restart", "title": "Restart", "args": []},
            ],
        }  # fmt: skip

    def history(self, from_ms: float, to_ms: float, max_points: int, only: str | None) -> Json:
        to_ms = min(to_ms, now_ms() if self.online else self.born_ms - 840_000)
        series = {}
        for one in CLIMATE + VITALS:
            if only and one["name"] != only:
                continue
            period = 1000 if one["sensor"] == "climate" else 10_000
            step = max(period, math.ceil((to_ms - from_ms) / max_points / period) * period)
            times = [t for t in range(int(from_ms // step * step + step), int(to_ms), step) if self.measured(t)]
            series[one["name"]] = {"at_ms": times, "value": [wave(one["name"], t) for t in times]}
        return {"device": self.id, "from_ms": from_ms, "to_ms": to_ms, "series": series, "unsure": self.unsure}

    def samples(self) -> Json:
        """One fresh sample of all quantities."""
        self.seq += 1
        at_ms = now_ms()
        values = {one["name"]: [wave(one["name"], at_ms)] for one in CLIMATE + (VITALS if self.seq % 10 == 1 else [])}
        return {
            "type": "samples", "device": self.id, "boot": 17, "boot_id": BOOT_ID, "seq": [self.seq], "at_ms": [at_ms],
            "quality": self.quality, "values": values,
        }  # fmt: skip

    def lose(self, *, ago_s: tuple[float, float] = (200, 100), **changes: Any) -> Json:
        """Lose samples of that time; returns the message that tells so."""
        first = 900 + 100 * len(self.gaps)
        row = {
            "boot": 17, "boot_id": BOOT_ID, "from": first, "to": first + 11,
            "count": 12, "at_most": None, "why": "full",
            "before_ms": self.born_ms - int(ago_s[0] * 1000), "after_ms": self.born_ms - int(ago_s[1] * 1000),
            "received_ms": now_ms(), **changes,
        }  # fmt: skip
        self.gaps.insert(0, row)
        lost = (row["at_most"] or 0) if row["count"] is None else row["count"]
        uncertain = lost if row["count"] is None else 0
        self.counts = {
            **self.counts,
            "gaps": len(self.gaps),
            "lost": self.counts["lost"] + lost,
            "uncertain": self.counts["uncertain"] + uncertain,
        }
        return {"type": "gap", "device": self.id, **row}

    def ask(self, state: str, **changes: Any) -> Json:
        """Put a command into the ledger; returns the message that tells so."""
        at_ms = now_ms()
        row = {
            "id": f"c{len(self.asked)}", "name": "identify", "args": {"seconds": 5}, "asked_by": "mqtt.home",
            "asked_ms": at_ms, "deadline_ms": at_ms + 10_000, "state": state,
            "ended_ms": None if state in {"queued", "sent"} else at_ms + 32, "data": {}, "error": None, **changes,
        }  # fmt: skip
        self.asked.insert(0, row)
        return {"type": "command", "device": self.id, "row": row}

    def refuse(self, value: str = "140.2", quantity: str = "temperature", *, at_ms: int | None = None) -> Json:
        """Put a value into quarantine; returns the message that tells so."""
        row = {
            "at_ms": at_ms or now_ms(), "boot_id": BOOT_ID, "seq": 100_000 + len(self.quarantine),
            "quantity": quantity, "value": value,
            "code": "value.range", "reason": f"{quantity} {value} is outside -40..85 °C",
        }  # fmt: skip
        self.quarantine.insert(0, row)
        self.counts = {**self.counts, "quarantined": len(self.quarantine)}
        return {"type": "quarantine", "device": self.id, "rows": [row]}


def healthy_panel() -> Json:
    """What a gateway says of itself when all is well."""
    return {
        "notices": [],
        "store": {
            "trouble": "", "samples": 120345, "bytes": 48234496, "queue": 0, "commit_ms": 20.0, "last_commit_ms": 3.1,
            "disk_free_bytes": 21474836480, "pruned_samples": 0, "untaken": {},
        },
        "brokers": [{
            "name": "embedded", "url": "mqtt://127.0.0.1:1883", "state": "connected", "why": "",
            "since_ms": now_ms() - 7_200_000, "published": 99123, "backlog": 0, "aside": 0, "last_aside": [],
        }],
        "door": {"trouble": "", "connections": 2, "strangers": 0, "bad_tokens": 0, "failed_tls": 0, "crowded_out": 0},
    }  # fmt: skip


class ScriptedGateway:
    """Serves on a free port of loopback in a thread of its own; `start` after `stop` takes the same port again."""

    def __init__(self, *devices: ScriptedDevice, sample_every_s: float = 0.25) -> None:
        self.devices = {device.id: device for device in devices}
        self.sample_every_s = sample_every_s
        self.silent = False
        self.logged_in = True
        self.account: str | None = None
        self.role = "admin"
        self.scope = "admin"
        self.panel = healthy_panel()
        self.dismissed: list[str] = []
        self.opened = 0
        """Live feeds opened so far."""
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[str]] = set()
        self._muted: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app(),
            log_level="warning",
            lifespan="off",
            ws="websockets-sansio",
            loop="asyncio",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            ready.set()
            await self._server.serve(sockets=[listener])

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        assert ready.wait(5)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def mute(self, device: ScriptedDevice) -> None:
        """`device` measures nothing more, though it stays connected."""
        self._muted.add(device.id)

    def say(self, *messages: Json) -> None:
        """Send one frame with these messages to every open feed."""
        self.say_text(json.dumps(messages))

    def say_text(self, frame: str) -> None:
        assert self._loop
        self._loop.call_soon_threadsafe(lambda: [queue.put_nowait(frame) for queue in self._queues])

    def _app(self) -> Starlette:
        async def index(_: Request) -> Response:
            return _dressed(FileResponse(STATIC_DIR / "index.html", media_type="text/html"), POLICY)

        async def asset(request: Request) -> Response:
            path = STATIC_DIR / "assets" / Path(request.path_params["name"]).name
            return _dressed(FileResponse(path, media_type=mimetypes.guess_type(path.name)[0]))

        async def session(_: Request) -> Response:
            who = {
                "who": "browser",
                "account": self.account,
                "role": self.role,
                "scope": self.scope,
                "expires_ms": None,
            }
            return JSONResponse(who | {"expires_ms": None}, 200 if self.logged_in else 401)

        async def samples(request: Request) -> Response:
            query = request.query_params
            return JSONResponse(
                self._device(request).history(
                    float(query["from_ms"]), now_ms(), int(query.get("max_points", 2000)), query.get("quantity")
                )
            )

        async def quarantine(request: Request) -> Response:
            return JSONResponse({"device": "", "rows": self._device(request).quarantine})

        async def gaps(request: Request) -> Response:
            return JSONResponse({"device": "", "rows": self._device(request).gaps})

        async def asked(request: Request) -> Response:
            return JSONResponse({"device": "", "rows": self._device(request).asked})

        async def dismiss(request: Request) -> Response:
            self.dismissed.append(request.path_params["id"])
            return Response(status_code=204)

        async def events(request: Request) -> Response:
            return JSONResponse({"device": "", "rows": self._device(request).events})

        async def command(request: Request) -> Response:
            device = self._device(request)
            asked = await request.json()
            device.commands.append(asked)
            await asyncio.to_thread(device.answers.wait, 30)
            answer = device.result(asked)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return Starlette(
            routes=[
                Route("/", index),
                Route("/assets/{name}", asset),
                Route("/api/session", session),
                Route("/api/devices/{id}/samples", samples),
                Route("/api/devices/{id}/quarantine", quarantine),
                Route("/api/notices/{id}", dismiss, methods=["DELETE"]),
                Route("/api/devices/{id}/gaps", gaps),
                Route("/api/devices/{id}/events", events),
                Route("/api/devices/{id}/commands", command, methods=["POST"]),
                Route("/api/devices/{id}/commands", asked),
                WebSocketRoute("/api/live", self._live),
            ]
        )

    def _device(self, request: Request) -> ScriptedDevice:
        return self.devices[request.path_params["id"]]

    async def _live(self, socket: WebSocket) -> None:
        if not self.logged_in:
            await socket.close()
            return
        await socket.accept()
        self.opened += 1
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues.add(queue)
        devices = [device.whole() for device in self.devices.values()]
        snapshot = {"type": "snapshot", "gateway": "gw-7f3a", "version": "0.1.0", "at_ms": now_ms(), "devices": devices}
        try:
            while self.silent:  # noqa: ASYNC110 - set by the test's thread, where an Event cannot be set
                await asyncio.sleep(0.02)
            await socket.send_text(json.dumps([snapshot, {"type": "status", **self.panel}]))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._talk(queue))
                tasks.create_task(_hang_up(socket))
                while True:
                    frame = await queue.get()
                    if not self.silent:
                        await socket.send_text(frame)
        except (WebSocketDisconnect, ExceptionGroup, RuntimeError):  # RuntimeError: sent after the browser had gone
            pass
        finally:
            self._queues.discard(queue)

    async def _talk(self, queue: asyncio.Queue[str]) -> None:
        heartbeat_s = 0.0
        while True:
            talking = [device for device in self.devices.values() if device.online and device.id not in self._muted]
            messages: list[Json] = [device.samples() for device in talking]
            if time.monotonic() - heartbeat_s >= 2:
                heartbeat_s = time.monotonic()
                messages.append({"type": "heartbeat", "at_ms": now_ms()})
            queue.put_nowait(json.dumps(messages))
            await asyncio.sleep(self.sample_every_s)


async def _hang_up(socket: WebSocket) -> None:
    while True:
        await socket.receive_text()


def _dressed(response: Response, policy: str = DOOR_POLICY) -> Response:
    """With the very headers the real door sends: the page has to live under its policy."""
    response.headers["content-security-policy"] = policy
    for name, value in HEADERS:
        response.headers[name.decode()] = value.decode()
    return response
