"""The broker that is started when none is configured: rumqttd (package iotcore) in a child process, set up by us.

Its defaults listen on every address, speak 3.1.1 only, answer payloads over 20 KB by closing the connection (so that
the client sends them again for ever) and keep 1 GB of messages per subscription. Ours: the address that is configured,
MQTT 3.1.1 and 5 on both ports (v311.py says why that takes a door before it), payloads of 1 MB, memory that is bounded,
and a login that the doors ask for (gate.py). Passwords go to the child by its standard input and stand in no file but
one, of rumqttd's own port: that one is drawn at every start, and only we can read it.

It remembers nothing over a restart, and an acknowledgement means: in memory. A subscriber that falls too far behind
misses messages. Whoever needs more names a broker of their own in [mqtt.<name>].
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import socket
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import PrivateAttr

from gateway.config import BrokerConfig, MqttConfig, is_loopback, write_private
from gateway.errors import ConfigError
from gateway.mqtt import probe
from gateway.mqtt.child import READY_WITHIN_S, Child
from gateway.mqtt.gate import Login
from gateway.mqtt.options import DoorOptions, Options

log = logging.getLogger("broker")

MAX_PAYLOAD_BYTES = 1 << 20
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + (1 << 16)
"""rumqttd's limit is for topic, properties and payload together."""
PROBE_EVERY_S = 5.0
SILENT_S = 15.0
"""A child that has not answered a probe for so long is ended and started again. A busy machine is slow, too."""
_RESTART_S = (0.2, 1, 5, 15)
"""Waits before it is started again, the last for all further times."""
_STEADY_S = 600
"""A child that served so long has not failed again and again: the waits begin anew."""

CONFIG = """\
# Written by mpy-gateway at every start: changes are lost.
id = 0

[router]
id = 0
max_connections = 1100
max_outgoing_packet_count = 200
# In memory, for each filter that is subscribed: 1 MB, and at least 16 messages. What is counted is topic and payload; a
# message takes about 500 bytes more.
max_segment_size = 65536
max_segment_count = 16

# Whoever reads all samples may be 8 MB behind. Of the rest, Home Assistant alone may have a hundred filters.
[router.custom_segment]
"+/+/samples" = {{ max_segment_size = 65536, max_segment_count = 128 }}
"+/+/state" = {{ max_segment_size = 8192, max_segment_count = 16 }}
"+/+/availability" = {{ max_segment_size = 8192, max_segment_count = 16 }}

[v5.main]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.main.connections]
connection_timeout_ms = 10000
max_payload_size = {max_bytes}
max_inflight_count = 200
# true would keep a log for every topic that was ever published, subscribed or not.
dynamic_filters = false

# Of our own doors: they ask for the login that is configured, and nobody gets past them on this port.
[v5.main.connections.auth]
{inner.username} = "{inner.password}"
"""


class Ports(NamedTuple):
    """Two because two are configured; either takes MQTT 3.1.1 and 5."""

    v311: int
    v5: int


class Certificate(Protocol):
    """The files of a certificate; `key` None where `file` holds both."""

    file: Path
    key: Path | None


class _ForTheGateway(MqttConfig):
    """The way to the embedded broker that only the gateway has. The password is in no file."""

    _password: str = PrivateAttr()

    def password(self) -> str:
        return self._password


class EmbeddedBroker:
    """One broker on fixed ports. Its process is started again when it ends by itself, and ended when it hangs: that is
    noticed within `probe_every_s` and `silent_s`."""

    def __init__(
        self,
        config: BrokerConfig,
        state_dir: Path,
        *,
        certificate: Certificate | None = None,
        probe_every_s: float = PROBE_EVERY_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._probe_every_s = probe_every_s
        self._silent_s = silent_s
        self._config = config
        self._file = state_dir / "broker.toml"
        self._host = ""
        self._certificate = certificate
        self._own = _drawn_login()
        self._login: Login | None = None
        self._doors: list[socket.socket] = []
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.ports = Ports(config.port, config.port_v5)
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where clients of either version connect."""
        return f"mqtt{'s' if self._certificate else ''}://{_in_url(self._host)}:{self.ports.v311}"

    @property
    def for_the_gateway(self) -> MqttConfig:
        """How our own bridge connects: known by a login that nobody else has, and never over a network."""
        host, port = self._inside
        config = _ForTheGateway(url=f"mqtt://{_in_url(host)}:{port}", username=self._own.username)
        config._password = self._own.password
        return config

    @property
    def _inside(self) -> tuple[str, int]:
        """A door without TLS on this machine alone: a public one, or the last where there is none."""
        host, port, *_ = self._doors[-1].getsockname() if self._has_inside else (self._host, self.ports.v311)
        return host, port

    @property
    def _has_inside(self) -> bool:
        return len(self._doors) > len(self.ports)

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child else None

    def rss_bytes(self) -> int:
        """Resident memory of the child; 0 while there is none."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def start(self) -> None:
        """Returns once both ports serve. Raises ConfigError with one sentence."""
        address = await _resolved(self._config.host)
        self._host = address[0]
        if (username := self._config.username) and (password := self._config.password()):
            self._login = Login(username, password)
        try:
            for port, key in ((self._config.port, "broker.port"), (self._config.port_v5, "broker.port_v5")):
                self._doors.append(_listen(address, port, key))
            self.ports = Ports(*(door.getsockname()[1] for door in self._doors))
            if self._certificate or not is_loopback(self._host):
                self._doors.append(_listen(("127.0.0.1", socket.AF_INET), 0, "broker.host"))
            self._child = await self._first_child()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep())
        log.info("embedded broker on %s and port %d", self.url, self.ports.v5)

    async def stop(self) -> None:
        """End the child and release the ports. Safe to call twice."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._child:
            await self._child.end()
            self._child = None
        while self._doors:
            self._doors.pop().close()

    async def _first_child(self) -> Child:
        for attempt in range(3):  # rumqttd's own port may be somebody else's before it has it
            try:
                return await self._started()
            except _NotServing as error:
                if attempt == 2:
                    raise ConfigError(f"{error}; [mqtt.<name>] url names another broker") from error
        raise AssertionError("not reached")

    async def _started(self) -> Child:
        """A child that serves. Raises _NotServing or ConfigError, and leaves nothing behind then."""
        child = await self._launch()
        try:
            if await child.ready():
                return child
        except asyncio.CancelledError:
            await child.end()
            raise
        await child.end()
        said = child.last_words or f"nothing was heard of it for {READY_WITHIN_S} s"
        raise _NotServing(f"the embedded broker did not start: {said}")

    async def _launch(self) -> Child:
        port, inner = _free_port(), _drawn_login()
        try:
            write_private(self._file, CONFIG.format(port=port, max_bytes=MAX_PACKET_BYTES, inner=inner))
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be written: {error.strerror}") from error
        certificate = self._certificate
        options = Options(
            config=str(self._file),
            upstream=("127.0.0.1", port),
            inner=inner,
            own=self._own,
            login=self._login,
            base=MqttConfig.model_fields["base"].default,
            doors=[
                DoorOptions(door.fileno(), certificate is not None and place < len(self.ports))
                for place, door in enumerate(self._doors)
            ],
            certificate=str(certificate.file) if certificate else None,
            key=str(certificate.key) if certificate and certificate.key else None,
            max_bytes=MAX_PACKET_BYTES,
        )
        return await Child.launch(options)

    async def _keep(self) -> None:
        """Start it again when it ends, or when a part of it has panicked: what is left then serves only some clients.

        The doors stay open meanwhile: who connects waits in their queue."""
        tries = 0
        while child := self._child:
            since = time.monotonic()
            await self._until_it_fails(child)
            self._child = None
            await child.end()
            if time.monotonic() - since > _STEADY_S:
                tries = 0
            said = f"embedded broker ended ({child.last_words or child.ending})"
            while self._child is None:
                wait_s = _RESTART_S[min(tries, len(_RESTART_S) - 1)]
                tries += 1
                self.restarts += 1
                log.error("%s; it starts again in %g s", said, wait_s)
                await asyncio.sleep(wait_s)
                try:
                    self._child = await self._started()
                except (_NotServing, ConfigError, OSError) as error:  # a full disk, say: it may have room again later
                    said = str(error)
            log.info("embedded broker is back on %s", self.url)

    async def _until_it_fails(self, child: Child) -> None:
        """Wait until it ends, or until it hangs; then it is killed."""
        failed = asyncio.create_task(child.ended_or_panicked())
        try:
            while not failed.done():
                await asyncio.wait((failed,), timeout=self._probe_every_s)
                if not failed.done() and not await probe.answers(*self._inside, self._own, self._silent_s):
                    child.kill(f"it has not answered for {self._silent_s:g} s")
                    return
        finally:
            failed.cancel()


class _NotServing(Exception):
    """A child was started and did not come to serve."""


Address = tuple[str, socket.AddressFamily]


def _drawn_login() -> Login:
    return Login(f"gateway-{secrets.token_hex(4)}", secrets.token_urlsafe(32))


async def _resolved(host: str) -> Address:
    """The address to listen on. rumqttd takes no names."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"broker.host: {host}: {error.strerror}") from error
    family, *_, address = found[0]
    return str(address[0]), socket.AddressFamily(family)


def _listen(address: Address, port: int, key: str) -> socket.socket:
    """A listening socket. Raises ConfigError with what to do."""
    host, family = address
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{key}: {_why(error, host, port)}") from error
    return listener


def _free_port() -> int:
    """A port nobody listens on just now, for rumqttd itself: it cannot be handed a socket, nor say which it took."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{host}:{port} is in use by another program. If that is a broker to be used, name it in [mqtt.<name>] url;"
            " otherwise set another port here (0: any free one)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine"
    return f"{host}:{port} cannot be listened on: {error.strerror}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
