"""The people's listener: our own acceptance of connections, around uvicorn's server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from gateway.addresses import counted_as
from gateway.dashboard.connections import Guest, HttpConnection, ServerConfig
from gateway.errors import ConfigError

log = logging.getLogger("people")

LISTEN_BACKLOG: Final = 128
RETRY_S: Final = 0.5
"""Wait where no connection can be accepted."""
CLOSE_S: Final = 5
_OUT_OF_THEM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server(uvicorn.Server):
    """Runs as a task of ours: signals are the program's business. Counts each connection from its acceptance on;
    uvicorn would see it only after the TLS handshake, and would give that 60 s."""

    config: ServerConfig

    def __init__(self, config: ServerConfig, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._tls = tls
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers: list[Any] = []
        self._accepting = [asyncio.create_task(self._accept(one), name="people-accept") for one in sockets or ()]
        self.started = True
        self.listening.set()

    async def close_door(self) -> None:
        """Accept nobody more, and drop who is in a handshake. Idempotent."""
        ending = [*self._accepting, *self._handshakes]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def _accept(self, listening: socket.socket) -> None:
        loop, in_trouble = asyncio.get_running_loop(), False
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _OUT_OF_THEM:  # the connection still waits: without a pause this would be a spin
                    if not in_trouble:
                        log.error("no connection can be accepted: %s", error.strerror)
                    in_trouble = True
                    await asyncio.sleep(RETRY_S)
                continue  # any other: it had gone already
            in_trouble = False
            self._receive(accepted, address[0])
            await asyncio.sleep(0)  # a crowd at the door must not keep us from who is inside

    def _receive(self, accepted: socket.socket, address: str) -> None:
        guest = Guest(self.config.lobby)
        going = self.config.lobby.enter(guest, counted_as(address))
        if guest in going:
            accepted.close()
            return
        for one in going:
            one.drop()
        task = asyncio.create_task(self._shake_hands(accepted, guest), name="people-handshake")
        guest.begin(task.cancel, self.config.limits.people_stranger_s)
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, guest: Guest) -> None:
        """Nobody waits for it, so it raises nothing but its end."""
        options: dict[str, Any] = {}
        if self._tls:
            within_s = self.config.limits.handshake_s
            options = {"ssl": self._tls, "ssl_handshake_timeout": within_s, "ssl_shutdown_timeout": CLOSE_S}
        state = self.lifespan.state | {"guest": guest}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: HttpConnection(self.config, self.server_state, state), accepted, **options
            )
        except BaseException as error:
            guest.leave()
            accepted.close()
            if not isinstance(error, Exception):
                raise  # dropped
            log.debug("no handshake: %s", type(error).__name__)  # theirs: no TLS, too slow, gone


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `ConfigError` that says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"people.host: {host} is no address of this machine: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use: end what uses it, or choose another for the page with people.port"
            ) from error
        raise ConfigError(f"cannot listen on {host}:{port} (people.host, people.port): {error.strerror}") from error
    return listener
