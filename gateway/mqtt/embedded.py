"""The broker that is started when none is configured: rumqttd (package iotcore) in a child process, set up by us.

Its defaults listen on every address, speak 3.1.1 only, answer payloads over 20 KB by closing the connection (so that
the client sends them again for ever) and keep 1 GB of messages per subscription. Ours: the address that is configured,
MQTT 3.1.1 and 5 on both ports (v311.py says why that takes a door before it), payloads of 1 MB, memory that is bounded.

It remembers nothing over a restart, and an acknowledgement means: in memory. A subscriber that falls too far behind
misses messages. Whoever needs more names a broker of their own in [mqtt.<name>].
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.config import BrokerConfig
from gateway.errors import ConfigError
from gateway.mqtt import probe

log = logging.getLogger("broker")

MAX_PAYLOAD_BYTES = 1 << 20
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + (1 << 16)
"""rumqttd's limit is for topic, properties and payload together."""
READY_WITHIN_S = 15
STOP_WITHIN_S = 2
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
"""


class Ports(NamedTuple):
    """Two because two are configured; either takes MQTT 3.1.1 and 5."""

    v311: int
    v5: int


class EmbeddedBroker:
    """One broker on fixed ports. Its process is started again when it ends by itself, and ended when it hangs: that is
    noticed within `probe_every_s` and `silent_s`."""

    def __init__(
        self,
        config: BrokerConfig,
        state_dir: Path,
        *,
        probe_every_s: float = PROBE_EVERY_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._probe_every_s = probe_every_s
        self._silent_s = silent_s
        self._config = config
        self._file = state_dir / "broker.toml"
        self._host = ""
        self._doors: list[socket.socket] = []
        self._child: _Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.ports = Ports(config.port, config.port_v5)
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where clients of either version connect."""
        return f"mqtt://{_in_url(self._host)}:{self.ports.v311}"

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
        try:
            for port, key in ((self._config.port, "broker.port"), (self._config.port_v5, "broker.port_v5")):
                self._doors.append(_listen(address, port, key))
            self.ports = Ports(*(door.getsockname()[1] for door in self._doors))
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

    async def _first_child(self) -> _Child:
        for attempt in range(3):  # rumqttd's own port may be somebody else's before it has it
            try:
                return await self._started()
            except _NotServing as error:
                if attempt == 2:
                    raise ConfigError(f"{error}; [mqtt.<name>] url names another broker") from error
        raise AssertionError("not reached")

    async def _started(self) -> _Child:
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

    async def _launch(self) -> _Child:
        port = _free_port()
        try:
            self._file.write_text(CONFIG.format(port=port, max_bytes=MAX_PACKET_BYTES))
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be written: {error.strerror}") from error
        return await _Child.launch(self._file, port, [door.fileno() for door in self._doors])

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

    async def _until_it_fails(self, child: _Child) -> None:
        """Wait until it ends, or until it hangs; then it is killed."""
        failed = asyncio.create_task(child.ended_or_panicked())
        try:
            while not failed.done():
                await asyncio.wait((failed,), timeout=self._probe_every_s)
                if not failed.done() and not await probe.answers(self._host, self.ports.v311, self._silent_s):
                    child.kill(f"it has not answered for {self._silent_s:g} s")
                    return
        finally:
            failed.cancel()


class _NotServing(Exception):
    """A child was started and did not come to serve."""


class _Child:
    """One process of the broker, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter) -> None:
        self._process = process
        self._stdin = stdin
        self._stderr = asyncio.create_task(self._read_stderr())
        self._panicked = asyncio.Event()
        self.last_words = ""

    @classmethod
    async def launch(cls, config: Path, port: int, doors: list[int]) -> _Child:
        upstream = ("127.0.0.1", port)
        options = {"config": str(config), "upstream": upstream, "doors": doors, "max_bytes": MAX_PACKET_BYTES}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder named gateway in the working directory must not be taken for ours
            *("-m", "gateway.mqtt.broker_process", json.dumps(options)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=doors,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )
        if process.stdin is None:
            raise ConfigError("the embedded broker did not start: its process has no input")
        return cls(process, process.stdin)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process.returncode is None else None

    @property
    def ending(self) -> str:
        """How the process ended."""
        code = self._process.returncode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    async def ready(self) -> bool:
        """Wait until it serves. False when it does not come to that."""
        if self._process.stdout is None:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                return bool(await self._process.stdout.readline())
        return False

    async def ended_or_panicked(self) -> None:
        ended, panicked = asyncio.create_task(self._process.wait()), asyncio.create_task(self._panicked.wait())
        try:
            await asyncio.wait((ended, panicked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            panicked.cancel()

    def kill(self, why: str) -> None:
        """It hangs: it would not hear that it should end."""
        self.last_words = why
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Leaves nothing behind."""
        self._stdin.close()  # it ends itself at the end of its input
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._stderr

    async def _read_stderr(self) -> None:
        while self._process.stderr and (data := await self._process.stderr.read(4_096)):
            text = " ".join(data.decode(errors="replace").split())
            log.debug("the broker's process says: %s", text)
            self.last_words = text[-300:]
            if "panicked at" in text:
                self._panicked.set()


Address = tuple[str, socket.AddressFamily]


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
