"""The people's door, shell: uvicorn on our own loop; the guard, then REST, the page and the live feed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import Limits, PeopleConfig, is_loopback, write_private
from gateway.dashboard import api, pages
from gateway.dashboard.auth import new_token
from gateway.dashboard.connections import FeedConnection, ServerConfig
from gateway.dashboard.entrance import Entrance
from gateway.dashboard.feed import Feed
from gateway.dashboard.guard import FEED_PROTOCOL, Guard
from gateway.dashboard.listener import Server, listen
from gateway.dashboard.live import Live
from gateway.dashboard.panel import panel
from gateway.dashboard.parts import Parts
from gateway.dashboard.people import People
from gateway.dashboard.view import View
from gateway.forget import forget as forget_device
from gateway.presence import Presence
from gateway.store.devices import Devices
from gateway.store.history import History
from gateway.store.port import Store

log = logging.getLogger("people")

TOKEN_FILE = "cli.token"  # noqa: S105 - the name of a file
"""In the state directory while the gateway runs: what our own command line proves itself with."""
STOP_S = 2
HEARD_BYTES = 4096
"""Most that a browser may send on the feed, where nothing is expected from it."""


async def _no_notice(_: str) -> bool:
    return False


class PeopleServer:
    """Page, REST and live feed. `start` raises `ConfigError` where its port cannot be had."""

    def __init__(
        self,
        config: PeopleConfig,
        limits: Limits,
        store: Store,
        history: History,
        devices: Devices,
        presence: Presence,
        dispatcher: Dispatcher,
        clock: Clock,
        *,
        gateway_id: str,
        state: Path,
        extra_status: Callable[[], dict[str, Any]] = dict,
        dismiss: Callable[[str], Awaitable[bool]] = _no_notice,
        forget: Callable[[str], Awaitable[bool]] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._tls = tls
        self._state = state
        self.cli_token = new_token()
        self._limits = limits
        self._clock = clock
        self.people = People(store, clock, sessions_per_account=limits.people_sessions)
        self._extra_status = extra_status
        live = Live()
        view = View(devices, history, presence, live, clock)
        self._feed = Feed(
            store,
            view,
            live,
            presence,
            clock,
            gateway_id=gateway_id,
            panel=lambda: panel(self._status(), clock.wall_ms()),
            commands=dispatcher.changes,
            queue_bytes=limits.feed_queue_bytes,
        )
        self._secure = tls is not None
        self._cookie = cookie_name(gateway_id, self._secure)
        self.people.ended = self._feed.look_again
        self._parts = Parts(
            view=view,
            history=history,
            dispatcher=dispatcher,
            feed=self._feed,
            people=self.people,
            clock=clock,
            gateway_id=gateway_id,
            cookie=self._cookie,
            secure=self._secure,
            new_link=self.one_time_link,
            extra_status=self._status,
            devices=devices,
            forget=forget or (lambda device: forget_device(device, store, devices, outlets=[self.forget])),
            dismiss=dismiss,
            started_ms=clock.wall_ms(),
            started_monotonic_ms=clock.monotonic_ms(),
        )
        self.port = config.port

    @property
    def url(self) -> str:
        host = self._config.host
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = next(iter(self._config.allowed_hosts), "127.0.0.1")
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def _status(self) -> dict[str, Any]:
        connections = len(self._server.config.lobby)
        return {"people": self.people.figures() | {"connections": connections}} | self._extra_status()

    def one_time_link(self) -> str:
        """A new link that lets one browser in, once."""
        return f"{self.url}/login?link={self.people.links.make()}"

    def first_link(self) -> str:
        """Where to begin: the page, or as long as nobody has an account, a one-time link that makes one."""
        if len(self.people.accounts):
            return f"{self.url}/"
        return f"{self.url}/setup?link={self.people.setup_links.make()}"

    async def forget(self, device: str) -> None:
        """Show nothing of `device` any more."""
        await self._feed.forget(device)

    async def start(self) -> None:
        listener = listen(self._config.host, self._config.port)
        self.port = listener.getsockname()[1]
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(listener.close)
            await self.people.open()
            undo.callback(self.people.close)
            await self._feed.start()
            undo.push_async_callback(self._feed.stop)
            write_private(self._state / TOKEN_FILE, self.cli_token)
            self._server = Server(self._uvicorn_config(), self._tls)
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
            await self._server.listening.wait()
            undo.pop_all()
        log.info("page and API on %s", self.url)

    async def stop(self) -> None:
        """Send everybody away, in at most `STOP_S` and a little. Idempotent."""
        await self._feed.stop()
        await self._server.close_door()
        self._server.should_exit = True
        await self._serving
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # it reads nothing, so it would never close
        self.people.close()
        (self._state / TOKEN_FILE).unlink(missing_ok=True)

    def _uvicorn_config(self) -> ServerConfig:
        app = api.build(self._parts)
        page = pages.Page()
        if page.index is None:
            log.warning("the page was not built: `pip install -e .` in the checkout builds it; the API works without")
        app.router.routes += pages.routes(page)
        app.router.routes += Entrance(self.people, cookie=self._cookie, secure=self._secure).routes()
        app.router.routes.append(WebSocketRoute("/api/live", self._live))
        guard = Guard(
            app,
            self.people,
            self._clock,
            self._limits,
            cli_token=self.cli_token,
            cookie=self._cookie,
            allowed_hosts=our_names(self._config),
            allowed_origins=self._config.allowed_origins,
        )
        return ServerConfig(
            guard,
            self._limits,
            ws_max_size=HEARD_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # what strangers send is no news; faults of ours are
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_S,
        )

    async def _live(self, websocket: WebSocket) -> None:
        caller = websocket.state.caller
        offered = websocket.scope.get("subprotocols", ())  # a browser hangs up where it offered some and got none
        await websocket.accept(subprotocol=FEED_PROTOCOL if FEED_PROTOCOL in offered else None)
        await self._feed.serve(_Socket(websocket), lambda: self.people.still(caller))


class _Socket:
    """A browser's WebSocket as the feed wants it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> bool:
        try:
            await self._websocket.send_text(text)
        except WebSocketDisconnect:
            return False
        return True

    async def closed(self) -> None:
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass  # nothing is expected from a browser, and nothing of it is kept

    def close(self, code: int, reason: str) -> None:
        protocol: FeedConnection = self._websocket.state.protocol
        protocol.close_now(code, reason)


def cookie_name(gateway_id: str, secure: bool) -> str:
    """Cookies know no port, so each gateway has a name of its own; `__Host-` is kept by browsers for TLS alone, and for
    no other host than the one that set it."""
    name = f"mpy-gateway-{re.sub('[^A-Za-z0-9-]', '-', gateway_id)}"
    return f"__Host-{name}" if secure else name


def our_names(config: PeopleConfig) -> set[str]:
    """Names under which a browser may ask for the page. Beyond loopback also what this machine calls itself."""
    names = {"localhost", "127.0.0.1", "::1", *(name.lower() for name in config.allowed_hosts)}
    if not is_loopback(config.host):
        hostname = socket.gethostname().lower()
        names |= {config.host.lower(), hostname, f"{hostname}.local"}
    return names - {"0.0.0.0", "::"}  # noqa: S104 - every address, so no name
