"""Connections at the people's door: how many, whose, and how long a request may take to arrive.

uvicorn has no deadline for a head or a body that comes a byte at a time, and counts no addresses: this adds both.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.config import Limits
from gateway.dashboard.guard import HEAD_BYTES
from gateway.device.bucket import Bucket

FRAMES_PER_S, FRAMES_S = 20, 10
"""Frames from a browser on the feed: so many a second, so many seconds' worth at once."""
POLICY_VIOLATION = 1008
LINGER_S = 3.0
"""How long a browser may take to read its close frame before the connection is cut."""

G = TypeVar("G")


class Lobby(Generic[G]):
    """Who is here: strangers, in the order they came, and those who proved who they are. Pure."""

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self._strangers: OrderedDict[G, str] = OrderedDict()
        self._known: dict[G, str] = {}
        self._count: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def enter(self, guest: G, address: str) -> list[G]:
        """`guest` is here. Returns who has to go for that: the oldest stranger (of this address, if it has too many),
        or `guest` itself where all others are known."""
        going = []
        if self._count.get(address, 0) >= self._per_address:
            going = [next((other for other, its in self._strangers.items() if its == address), guest)]
        elif len(self) >= self._most:
            going = [next(iter(self._strangers), guest)]
        self._strangers[guest] = address
        self._count[address] = self._count.get(address, 0) + 1
        for one in going:
            self.leave(one)
        return going

    def knows(self, guest: G) -> None:
        """`guest` proved who it is."""
        if guest in self._strangers:
            self._known[guest] = self._strangers.pop(guest)

    def leave(self, guest: G) -> None:
        """Idempotent."""
        address = self._strangers.pop(guest, None) or self._known.pop(guest, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]


class Guest:
    """One connection, from its acceptance to its end."""

    def __init__(self, lobby: Lobby[Guest]) -> None:
        self._lobby = lobby
        self._ending: asyncio.TimerHandle | None = None
        self.drop: Callable[[], object] = lambda: None
        """Ends the connection at once."""

    def begin(self, drop: Callable[[], object], stranger_s: float) -> None:
        """It has so long to prove who it is."""
        self.drop = drop
        self._ending = asyncio.get_running_loop().call_later(stranger_s, self._end)

    def _end(self) -> None:
        self.drop()  # what it is by then

    def is_known(self) -> None:
        """Somebody proved who they are on it."""
        self._lobby.knows(self)
        self._stay()

    def leave(self) -> None:
        self._lobby.leave(self)
        self._stay()

    def _stay(self) -> None:
        if self._ending:
            self._ending.cancel()
            self._ending = None


class ServerConfig(uvicorn.Config):
    """uvicorn's, with what every connection of ours needs."""

    def __init__(self, app: Any, limits: Limits, **options: Any) -> None:
        super().__init__(
            app, http=HttpConnection, ws=FeedConnection, h11_max_incomplete_event_size=HEAD_BYTES, **options
        )
        self.limits = limits
        self.lobby: Lobby[Guest] = Lobby(limits.people_connections, limits.people_connections_per_address)


class HttpConnection(H11Protocol):
    """uvicorn's, counted and with deadlines."""

    config: ServerConfig

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guest: Guest = app_state["guest"]
        self._phase: object = None
        self._upgraded = False
        """It is a feed: that has deadlines of its own."""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guest.drop = transport.abort
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._upgraded:
            self._watch()

    def handle_websocket_upgrade(self, event: Any) -> None:
        super().handle_websocket_upgrade(event)
        self._upgraded = True
        self._no_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._guest.leave()
        self._no_deadline()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """A head, or a body, has so long from its first byte (the first head: from the connection's beginning)."""
        phase = self.conn.their_state
        if phase is self._phase:
            return
        self._phase = phase
        self._no_deadline()
        limits = self.config.limits
        allowed_s = {h11.IDLE: limits.people_head_s, h11.SEND_BODY: limits.people_body_s}.get(phase)
        if allowed_s is not None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(allowed_s, self.transport.abort)

    def _no_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


class FeedConnection(WebSocketsSansIOProtocol):
    """uvicorn's, which can also close a connection whose peer reads nothing, and refuses without logging a fault."""

    config: ServerConfig

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._said = Bucket(FRAMES_PER_S, seconds=FRAMES_S, now_ms=int(self.loop.time() * 1000))

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:  # else it was refused, and there is no scope
            self.scope["state"]["protocol"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        self.app_state["guest"].leave()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        if self.close_sent and message["type"] == "websocket.send":  # closed by us: to the application it has gone
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # refused is complete too; uvicorn would log a fault of the application

    # What a browser says. Nothing is expected but answers to our pings, so nothing is kept; and not much is listened
    # to: the library answers each ping, and gathers fragments of nothing, without end.

    def handle_ping(self) -> None:
        if self._listens():
            super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        if self._listens():
            super().handle_pong(event)

    def handle_text(self, event: Any) -> None:
        self._listens()

    def handle_bytes(self, event: Any) -> None:
        self._listens()

    def handle_cont(self, event: Any) -> None:
        self._listens()

    def _listens(self) -> bool:
        """Whether one more frame may come. If not, the connection ends."""
        if self._said.try_take(int(self.loop.time() * 1000)):
            return True
        if not self.close_sent:
            self.close_now(POLICY_VIOLATION, "too many frames")
            self.transport.pause_reading()
        return False

    def close_now(self, code: int, reason: str) -> None:
        """Write the close frame behind whatever still waits, and cut the connection if it is not read soon."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)
