"""How we use the `websockets` library: the options of the listener, and what it reads from a handshake."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidHeaderFormat
from websockets.frames import Frame, Opcode
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.device.wire import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from gateway.store.devices import DeviceInfo

if TYPE_CHECKING:
    from gateway.config import Limits

UNREAD_BYTES: Final = 1 << 18
"""What may wait in a socket that its device does not read; our own frames never come near it (`OUTGOING_BYTES`)."""
TOKEN_LENGTH: Final = 43
"""32 bytes as base64url without padding."""


def listener_options(limits: Limits, sockets: set[DeviceSocket] | None = None) -> dict[str, Any]:
    """All that `websockets.serve` is told, for devices and for the conformance tests alike. `sockets` is kept: all that
    are open, from their first byte on."""
    library_log = logging.getLogger("device.websockets")
    library_log.setLevel(logging.WARNING)  # its debug lines hold the headers, and with them the token
    return {
        "create_connection": partial(DeviceSocket, sockets=set() if sockets is None else sockets),
        "compression": None,  # it costs 300 KB a connection, and a board has no room for it
        "select_subprotocol": _select_subprotocol,
        "max_size": limits.frame_bytes,
        "max_queue": 16,
        "write_limit": 4096,  # a device that does not read is noticed, not buffered for
        "open_timeout": limits.handshake_s,
        "ping_interval": limits.ping_s,
        "ping_timeout": limits.ping_s,
        "close_timeout": 5,
        "server_header": "mpy-gateway",
        "logger": library_log,
    }


def tls_options(limits: Limits, context: ssl.SSLContext | None) -> dict[str, Any]:
    """What `websockets.serve` is told besides for TLS: a client that stops in mid-handshake is dropped."""
    return {"ssl": context, "ssl_handshake_timeout": limits.handshake_s} if context else {}


class DeviceSocket(ServerConnection):
    """A connection that knows whose token opened it."""

    def __init__(self, protocol: ServerProtocol, *args: Any, sockets: set[DeviceSocket], **options: Any) -> None:
        super().__init__(protocol, *args, **options)
        self.owner: DeviceInfo | None = None
        """Known once its token was looked up."""
        self._sockets = sockets
        receive = protocol.recv_frame

        def receive_frame(frame: Frame) -> None:
            # RFC 6455, 5.4: control frames may stand inside a fragmented message, a close too. The library fails the
            # connection with 1002 instead of answering (Autobahn case 7.1.5), so let it forget the message first.
            if frame.opcode is Opcode.CLOSE:
                protocol.current_size = None
            receive(frame)

        vars(protocol)["recv_frame"] = receive_frame

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sockets.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sockets.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.transport.abort()  # the library answers pings without asking whether anybody reads the answers


def _select_subprotocol(_socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours where it is offered, never a token. Who does not offer ours is refused before."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def offered_subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    try:
        return [name for value in values for name in parse_subprotocol(value)]
    except InvalidHeaderFormat:
        return []


def token_of(request: Request) -> str | None:
    """The token in the header, or the one a browser offers as a subprotocol. None where there is none."""
    tokens = [
        name.removeprefix(TOKEN_SUBPROTOCOL) for name in offered_subprotocols(request) if TOKEN_SUBPROTOCOL in name
    ]
    for value in request.headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            tokens.insert(0, token.strip())
    return next((token for token in tokens if len(token) == TOKEN_LENGTH and token.isascii()), None)


def refusal(socket: ServerConnection, status: HTTPStatus, sentence: str) -> Response:
    """An HTTP answer with one sentence for a person."""
    response = socket.respond(status, sentence + "\n")
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
