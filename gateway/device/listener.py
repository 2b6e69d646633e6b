"""The devices' listener: our own acceptance and deadlines around the `websockets` library's connections."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidHeaderFormat
from websockets.frames import CloseCode, Frame, Opcode
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.protocol import CLOSING, OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.device.bucket import Bucket
from gateway.device.gate import Gate, Guest
from gateway.device.upgrade import RequestOnly
from gateway.device.wire import SUBPROTOCOL, TOKEN_SUBPROTOCOL

if TYPE_CHECKING:
    from gateway.config import Limits

log = logging.getLogger("device")

UNREAD_BYTES: Final = 1 << 18
"""What may wait in a socket that its device does not read; our own frames never come near it (`OUTGOING_BYTES`)."""
AFTER_CLOSE_BYTES: Final = 1 << 20
"""What may still come behind our close frame: what was on its way."""
TOKEN_LENGTH: Final = 43
"""32 bytes as base64url without padding."""
BACKLOG: Final = 256
"""Connections that the kernel keeps for us until they are accepted."""
RETRY_S: Final = (0.1, 1.0)
"""First and longest wait where none can be accepted."""
CLOSE_S: Final = 5
CONTROLS_PER_S, CONTROLS_S = 20, 10
"""Pings and pongs of a device: 20 a second over 10 s. The library answers them where no limit of frames counts."""
_OUT_OF_THEM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Handler: TypeAlias = "Callable[[DeviceSocket], Awaitable[None]]"
Admission: TypeAlias = "Callable[[DeviceSocket, Request], Awaitable[Response | None]]"


Complain: TypeAlias = "Callable[[DeviceSocket, str], None]"


async def _admit_all(_socket: DeviceSocket, _request: Request) -> Response | None:
    return None


class Listener:
    """Accepts connections, counts each at the gate from its first moment on, and takes it through its handshakes. The
    library's own server would show a connection only after the TLS handshake, and so could not count it before.

    `admit` answers an upgrade request: with a refusal, or None for who may come in; `handler` has the connection then,
    until it returns. `tls` None: plain. `complain` is told why somebody got no further than TLS."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        *,
        admit: Admission = _admit_all,
        complain: Complain = lambda _socket, _why: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.gate = Gate(limits)
        self.sockets: set[DeviceSocket] = set()
        """All that are open, from the first byte of their upgrade request on."""
        self.trouble = ""
        """Why nobody can be accepted now; empty where all is well."""
        self._handler = handler
        self._limits = limits
        self._admit = admit
        self._complain = complain
        self._tls = tls
        self._listening: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._conversations: set[asyncio.Task[None]] = set()
        """One task per connection, from its acceptance to its end."""
        self._log = logging.getLogger("device.websockets")
        self._log.setLevel(logging.WARNING)  # its debug lines hold the headers, and with them the token

    @property
    def port(self) -> int:
        port: int = self._listening[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                drawn = address[1] or (self.port if self._listening else 0)  # one port for all addresses of a name
                self._listening.append(_listen(family, (address[0], drawn, *address[2:])))
        except OSError:
            self._stop_listening()
            raise
        for listening in self._listening:
            self._accepting.append(asyncio.create_task(self._accept(listening), name="device-accept"))

    def close(self) -> None:
        """Accept nobody more, and drop who is in a handshake."""
        for accepting in self._accepting:
            accepting.cancel()
        self._stop_listening()
        self.gate.drop_strangers()

    async def wait_closed(self) -> None:
        """Until all connections have ended; after `close`."""
        await asyncio.gather(*self._accepting, return_exceptions=True)
        while self._conversations:
            await asyncio.wait(self._conversations)

    def is_serving(self) -> bool:
        """Whether who is in a handshake may come in. The library asks."""
        return bool(self._listening)

    def _stop_listening(self) -> None:
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        wait_s, longest_s = RETRY_S
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _OUT_OF_THEM:  # the connection still waits: without a pause this would be a spin
                    self._note_trouble(f"no connection can be accepted: {error.strerror}")
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, longest_s)
                continue  # any other: it had gone already
            self._note_trouble("")
            wait_s = RETRY_S[0]
            self._receive(accepted, address[0])
            await asyncio.sleep(0)  # a crowd at the door must not keep us from who is inside

    def _note_trouble(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.error("%s; who is connected goes on, and others are tried again", trouble)
        elif self.trouble and not trouble:
            log.warning("connections are accepted again")
        self.trouble = trouble

    def _receive(self, accepted: socket.socket, address: str) -> None:
        entered: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._converse(accepted, entered), name="device")
        guest = self.gate.enter(address, task.cancel, _now_ms())
        if guest is None:
            task.cancel()
            accepted.close()
            return
        entered.set_result(guest)
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, accepted: socket.socket, entered: asyncio.Future[Guest]) -> None:
        """One connection, from its acceptance to its end. Nobody waits for it, so it raises nothing."""
        guest = await entered
        websocket = self._make_socket(guest)
        try:
            if await self._shake_hands(accepted, websocket):
                websocket.start_keepalive()
                async with websocket:
                    await self._handler(websocket)
        except asyncio.CancelledError:  # dropped at the gate
            pass
        except Exception:  # the edge of a task: a fault over one connection ends that one
            log.exception("a fault in a connection")
        finally:
            self.gate.leave(guest)
            if websocket.is_made:
                websocket.transport.abort()
            else:
                accepted.close()

    async def _shake_hands(self, accepted: socket.socket, websocket: DeviceSocket) -> bool:
        """TLS, where there is any, and the upgrade, under one deadline. Whether the connection is open then."""
        loop = asyncio.get_running_loop()
        within_s = self._limits.handshake_s
        options: dict[str, Any] = {"ssl": self._tls} if self._tls else {}
        if self._tls:
            options |= {"ssl_handshake_timeout": within_s, "ssl_shutdown_timeout": CLOSE_S}
        try:
            async with asyncio.timeout(within_s):
                await loop.connect_accepted_socket(lambda: websocket, accepted, **options)
                await websocket.handshake(self._process_request, _last_word, "mpy-gateway")
        except Exception as error:  # theirs: no TLS, no HTTP, too slow, gone
            # Its kind alone: the library quotes headers, and with them a token.
            log.debug("%s: no handshake: %s", websocket.guest.address, type(error).__name__)
            if isinstance(error, ssl.SSLError):
                self.gate.refused["tls"] += 1
                self._complain(websocket, _why_no_tls(error))
            return False
        return websocket.state is OPEN

    async def _process_request(self, websocket: ServerConnection, request: Request) -> Response | None:
        assert isinstance(websocket, DeviceSocket)  # noqa: S101  for mypy: we make all of them
        if "Upgrade" not in request.headers:
            return None  # not a WebSocket client: the library says so
        response = await self._admit(websocket, request)
        if response is None:
            self.gate.let_in(websocket.guest)
        return response

    def _make_socket(self, guest: Guest) -> DeviceSocket:
        protocol = ServerProtocol(
            select_subprotocol=_select_subprotocol,
            max_size=self._limits.frame_bytes,
            logger=self._log,
        )  # without extensions: compression costs 300 KB a connection, and a board has no room for it
        return DeviceSocket(
            protocol,
            self,
            guest,
            ping_interval=self._limits.ping_s,
            ping_timeout=self._limits.ping_s,
            close_timeout=CLOSE_S,
            max_queue=16,
            write_limit=4096,  # a device that does not read is noticed, not buffered for
        )


class DeviceSocket(ServerConnection):
    """A connection at the door. `guest` is how the gate counts it."""

    def __init__(self, protocol: ServerProtocol, listener: Listener, guest: Guest, **options: Any) -> None:
        super().__init__(protocol, listener, **options)  # type: ignore[arg-type]  # of its server it asks `is_serving`
        self.guest = guest
        self.device = ""
        """Whose token opened it ..."""
        self.pass_hash = ""
        """... and the hash of that; both known once it was looked up."""
        self.is_made = False
        """It has its transport."""
        self.request_only = RequestOnly(protocol)
        self._listener = listener
        self._after_close_bytes = 0
        receive = protocol.recv_frame

        controls = Bucket(CONTROLS_PER_S, seconds=CONTROLS_S, now_ms=_now_ms())

        def receive_frame(frame: Frame) -> None:
            if frame.opcode in (Opcode.PING, Opcode.PONG) and not controls.try_take(_now_ms()):
                protocol.fail(CloseCode.POLICY_VIOLATION, "too many pings")  # 64 KB hold 10,000: 70 ms for all others
                return
            # RFC 6455, 5.4: control frames may stand inside a fragmented message, a close too. The library fails the
            # connection with 1002 instead of answering (Autobahn case 7.1.5), so let it forget the message first.
            if frame.opcode is Opcode.CLOSE:
                protocol.current_size = None
            receive(frame)

        vars(protocol)["recv_frame"] = receive_frame

    @property
    def address(self) -> str:
        """The peer's, for people; what limits count it as, where there is no connection yet."""
        peer = self.remote_address if self.is_made else None
        return str(peer[0]) if peer else self.guest.address

    @property
    def is_encrypted(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super(ServerConnection, self).connection_made(transport)  # not its own: that starts the library's handler
        self.is_made = True
        self._listener.sockets.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.sockets.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.state is CLOSING:
            self._after_close_bytes += len(data)
            if self._after_close_bytes > AFTER_CLOSE_BYTES:
                self.transport.abort()
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.transport.abort()  # the library answers pings without asking whether anybody reads the answers


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _last_word(websocket: ServerConnection, _request: Request, response: Response) -> Response | None:
    """Right before the answer to a request goes out."""
    assert isinstance(websocket, DeviceSocket)  # noqa: S101  for mypy: we make all of them
    websocket.request_only.answered()
    sentence = websocket.request_only.objection(response)
    return refusal(websocket, HTTPStatus.BAD_REQUEST, sentence) if sentence else None


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _select_subprotocol(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours where it is offered, never a token. Who does not offer ours is refused before."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def offered_subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    try:
        return [name for value in values for name in parse_subprotocol(value)]
    except InvalidHeaderFormat:
        return []


def token_of(request: Request) -> str | None:
    """The token in the header, or the one a browser offers as a subprotocol. None where there is none, and where there
    are several: a proxy before us might believe another one than we do."""
    tokens = {
        name.removeprefix(TOKEN_SUBPROTOCOL)
        for name in offered_subprotocols(request)
        if name.startswith(TOKEN_SUBPROTOCOL)
    }
    for value in request.headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        tokens.add(token.strip() if scheme.lower() == "bearer" else "")
    token = tokens.pop() if len(tokens) == 1 else ""
    return token if len(token) == TOKEN_LENGTH and token.isascii() else None


def refusal(socket: ServerConnection, status: HTTPStatus, sentence: str) -> Response:
    """An HTTP answer with one sentence for a person."""
    response = socket.respond(status, sentence + "\n")
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


_NEW_FILES: Final = "`mpy-gateway devices add NAME --again --files DIR` writes a board's files anew"
_DOES_NOT_TRUST: Final = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED")


def _why_no_tls(error: ssl.SSLError) -> str:
    """What a person can do about it."""
    reason = error.reason or ""
    if reason == "HTTP_REQUEST":
        return f"it speaks no TLS, as if its files were from before there was any; {_NEW_FILES}"
    if reason.endswith(_DOES_NOT_TRUST):
        return f"it does not trust this gateway's certificate, as if its files were from another gateway; {_NEW_FILES}"
    return f"TLS failed ({reason.replace('_', ' ').lower() or type(error).__name__})"
