"""The devices' door: a WebSocket listener that lets in who has a token, and keeps one connection per device."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from websockets.http11 import Request, Response

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import is_loopback
from gateway.device import wire
from gateway.device.boots import Remembered
from gateway.device.bucket import Bucket
from gateway.device.connection import Connection, Surroundings
from gateway.device.gate import Complaints
from gateway.device.listener import DeviceSocket, Listener, offered_subprotocols, refusal, token_of
from gateway.device.session import Answered, Newest, Output, Said, Session, State, check_hardware
from gateway.device.stamps import Now, WallWatch
from gateway.device.window import window_samples
from gateway.device.wire import SUBPROTOCOL, CloseCode
from gateway.errors import CloseConnection, ConfigError, DeviceError, NoHolder, StoreError
from gateway.intake.check import Checker
from gateway.intake.check import compile as compile_checker
from gateway.intake.unknown import UnknownProfile
from gateway.model import Command
from gateway.presence import ConnectionInfo, LogLine, Presence
from gateway.store.devices import Devices, Rotation, hash_of
from gateway.store.port import Store

if TYPE_CHECKING:
    from gateway.config import DevicesConfig, Limits

log = logging.getLogger("device")

LOOK_AT_TIME_S: Final = 5.0
"""How often we look whether the date has become known, or was set."""
LOOK_AGAIN_S: Final = 0.5
"""Until a token is looked up again that could not be."""
LINES_PER_S, LINES_S = 0.2, 100
"""Of the coming and going of one device: 20 lines at once, then one every 5 s."""
CONNECTIONS_PER_TOKEN: Final = 4
"""A board has one, and one more for each that it lost without either side noticing."""


@dataclass(frozen=True, slots=True)
class OtherBoard:
    """A board that came with the identity of another one."""

    hardware: str
    address: str
    at_ms: int


@dataclass(slots=True)
class Known:
    """What this process knows of one device, connected or not."""

    memory: Remembered = field(default_factory=Remembered)
    greeting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two connections of one device are greeted one after the other: the later one is the newer."""
    live: Connection | None = None
    other: OtherBoard | None = None
    """The last board that came with this identity and was refused, because another one has it."""
    lines: Bucket = field(default_factory=lambda: Bucket(LINES_PER_S, seconds=LINES_S, now_ms=0))
    """What is said in the log about its coming and going: a device in a loop must not fill it."""


class DeviceServer:
    """Listens for devices. `start` raises ConfigError with one sentence when the port cannot be had."""

    def __init__(
        self,
        config: DevicesConfig,
        limits: Limits,
        store: Store,
        devices: Devices,
        presence: Presence,
        dispatcher: Dispatcher,
        clock: Clock,
        *,
        gateway_id: str = "mpy-gateway",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = config.port
        self._tls = tls
        self._config = config
        self._limits = limits
        self._store = store
        self._devices = devices
        self._presence = presence
        self._dispatcher = dispatcher
        self._clock = clock
        self._gateway_id = gateway_id
        self._known: dict[str, Known] = {}
        self._connections: set[Connection] = set()
        self._checkers: dict[str, Checker] = {}
        self._listener: Listener | None = None
        self._complaints = Complaints(clock.monotonic_ms())
        self._watching: list[asyncio.Task[None]] = []
        self._around = Surroundings(
            store=store,
            clock=clock,
            limits=limits,
            greet=self._greet,
            newest=self._newest,
            answered=self._answered,
            said=self._said,
        )

    async def start(self) -> None:
        host, port = self._config.host, self._config.port
        listener = Listener(self._serve_device, self._limits, admit=self._admit, complain=self._complain, tls=self._tls)
        try:
            await listener.start(host, port)
        except OSError as error:
            raise ConfigError(_why_not_listening(error, host, port)) from error
        self._listener = listener
        self._watching = [
            asyncio.create_task(self._watch_devices(), name="device-watch"),
            asyncio.create_task(self._watch_time(), name="time-watch"),
        ]
        self.port = listener.port
        log.info("devices connect to %s", self.url)

    @property
    def url(self) -> str:
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"{'wss' if self._tls else 'ws'}://{host}:{self.port}"

    async def stop(self) -> None:
        """Accept nobody more; commit and acknowledge what was received; close all with 1001. Within 3 s."""
        if self._listener is None:
            return
        self._listener.close()
        for connection in self._connections:
            connection.stop()
        await self._listener.wait_closed()
        self._listener = None
        for watching in self._watching:
            watching.cancel()
        await asyncio.wait(self._watching)

    def stats(self) -> dict[str, Any]:
        """Figures for the status page. `trouble` says why nobody can connect now, and is empty otherwise."""
        if self._listener is None:
            return {}
        others = [
            {"device": device, **asdict(known.other)}
            for device, known in self._known.items()
            if known.other is not None
        ]
        return {**self._listener.gate.stats(), "trouble": self._listener.trouble, "other_boards": others}

    async def close_device(self, device: str, code: int, reason: str) -> None:
        """Close the connection of `device`, if it has one."""
        known = self._known.get(device)
        if known is not None and known.live is not None:
            log.info("%s is disconnected: %s", device, reason)
            known.live.end(code, reason)

    async def forget(self, device: str) -> None:
        """End its connections, and know nothing of it any more. Its token must not be valid any more."""
        while connections := [each for each in self._connections if each.session.device == device]:
            for connection in connections:
                connection.end(CloseCode.NOT_ITS_TOKEN, "the device was removed")
            await asyncio.wait([asyncio.create_task(connection.ended.wait()) for connection in connections])
        self._known.pop(device, None)

    async def _watch_devices(self) -> None:
        """Disconnect what came with a token that is not valid any more, and send out new ones, whichever process made
        the change."""
        async for change in self._store.watch("device/"):
            device = (change if isinstance(change, str) else change.key).removeprefix("device/")
            while True:
                try:
                    await self._look_at_token(device)
                except StoreError as error:  # a revoked board must not stay because a disk stumbled
                    log.warning("%s: whether it may stay cannot be looked up: %s; trying again", device, error)
                    await asyncio.sleep(LOOK_AGAIN_S)
                    continue
                except Exception:  # the edge of our task: a fault over one device is not to end it for all
                    log.exception("%s: a fault while its token was looked at", device)
                break

    async def _look_at_token(self, device: str) -> None:
        """What was changed of `device` is in force then."""
        for connection in [each for each in self._connections if each.session.device == device]:
            owner = await self._devices.opened_by(device, connection.socket.pass_hash)
            if owner is None:
                connection.end(CloseCode.NOT_ITS_TOKEN, "its token is not valid any more")
            elif owner.rotation is Rotation.ASKED:
                connection.do(await self._new_token(connection))

    async def _new_token(self, connection: Connection) -> list[Output]:
        """For a device that is to have one. It is valid from before it is sent, and the old one until it is used."""
        device, socket = connection.session.device, connection.socket
        if not (socket.is_encrypted or is_loopback(socket.address) or self._config.insecure):
            log.warning("%s gets no new token: its connection is not encrypted (devices.tls)", device)
            return []
        if connection.session.state is not State.OPEN:
            return []  # its welcome will see to it
        try:
            token = await self._devices.mint(device)
        except StoreError as error:
            log.warning("%s gets no new token now: %s", device, error)
            return []
        if token is None:
            return []
        log.info("%s is sent a new token", device)
        return connection.session.new_token(token)

    async def _watch_time(self) -> None:
        """Correct what was estimated when the date becomes known, for boards that are away too; tell of a clock that
        was set."""
        wall = WallWatch(self._now())
        while True:
            await asyncio.sleep(LOOK_AT_TIME_S)
            now = self._now()
            if sentence := wall.look(now):
                log.warning("%s", sentence)
                for connection in self._connections:
                    connection.info.clock_was_set(now.wall_ms)
            for device, known in list(self._known.items()):
                try:
                    if known.live is not None:
                        known.live.do(known.live.session.settle(now))
                    else:
                        await self._correct_away(device, known, now)
                except Exception:  # the edge of our task: a fault over one device is not to end it for all
                    log.exception("%s: a fault while its times were looked at", device)

    async def _correct_away(self, device: str, known: Known, now: Now) -> None:
        """Correct the times of a board that is not connected. What fails is tried again at the next look."""
        for boot_id, offset_ms in known.memory.settle(now):
            time = known.memory.times[boot_id]
            try:
                await self._store.restamp(device, boot_id, offset_ms)
            except StoreError as error:
                log.warning("%s: times that were estimated cannot be corrected yet: %s", device, error)
                time.not_corrected()
            else:
                time.corrected()

    def _now(self) -> Now:
        return Now(*self._clock.both())

    # The handshake

    async def _admit(self, socket: DeviceSocket, request: Request) -> Response | None:
        """Refuse who is not a device, with one sentence that says why."""
        listener = self._listener
        assert listener is not None  # noqa: S101  for mypy: it called us
        if SUBPROTOCOL not in offered_subprotocols(request):
            return refusal(socket, HTTPStatus.BAD_REQUEST, f"Offer the subprotocol {SUBPROTOCOL}.")
        if len(self._connections) >= self._limits.connections:
            return refusal(socket, HTTPStatus.SERVICE_UNAVAILABLE, "Too many devices are connected.")
        token = token_of(request)
        try:
            owner = await self._devices.by_token(token) if token else None
        except StoreError:
            return refusal(socket, HTTPStatus.SERVICE_UNAVAILABLE, "Tokens cannot be looked up now; try again.")
        if token is None or owner is None:
            return self._refuse_stranger(socket)
        if sum(other.device == owner.id for other in listener.sockets) >= CONNECTIONS_PER_TOKEN:
            self._complain(socket, f"{owner.id} has {CONNECTIONS_PER_TOKEN} connections")
            text = (
                f"{CONNECTIONS_PER_TOKEN} connections are open with this token already; close one, or try again later."
            )
            return refusal(socket, HTTPStatus.SERVICE_UNAVAILABLE, text)
        socket.device, socket.pass_hash = owner.id, hash_of(token)
        return None

    def _refuse_stranger(self, socket: DeviceSocket) -> Response:
        assert self._listener is not None  # noqa: S101  for mypy: it called us
        self._listener.gate.failed(socket.guest, self._clock.monotonic_ms(), self._clock.wall_ms())
        self._complain(socket, "its token is not known")
        how = "Send the token that `mpy-gateway devices add` printed, as `Authorization: Bearer <token>`."
        return refusal(socket, HTTPStatus.UNAUTHORIZED, how)

    def _complain(self, socket: DeviceSocket, why: str) -> None:
        more = self._complaints.say(why, socket.guest.address, self._clock.monotonic_ms())
        if more is not None:
            log.warning("%s was refused: %s%s", socket.address, why, more)

    # One connection

    async def _serve_device(self, socket: DeviceSocket) -> None:
        device, address = socket.device, socket.address
        known = self._known.setdefault(device, Known())
        now = self._now()
        session = Session(device, self._gateway_id, self._limits, known.memory, now)
        info = ConnectionInfo(device=device, epoch=0, address=address, since_ms=now.wall_ms)
        connection = Connection(socket, session, info, self._around)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            await self._ended(connection, known)
            connection.ended.set()

    async def _greet(self, connection: Connection, hello: wire.Hello) -> list[Output]:
        session, known = connection.session, self._known[hello.device]
        try:
            async with known.greeting:
                return await self._welcome(connection, known, hello)
        except CloseConnection as error:
            return session.close(error.close_code, error)
        except StoreError as error:
            log.warning("%s cannot be welcomed: %s", hello.device, error)
            text = "the gateway cannot reach its disk now"
            return session.close(CloseCode.FAULT, DeviceError("store.unavailable", text, retry=True))

    async def _welcome(self, connection: Connection, known: Known, hello: wire.Hello) -> list[Output]:
        device = hello.device
        owner = await self._devices.opened_by(device, connection.socket.pass_hash)
        if owner is None:
            text = f"the token of '{device}' is not valid any more"
            raise CloseConnection(CloseCode.NOT_ITS_TOKEN, "hello.device", text)
        connected = (
            None if known.live is None or known.live.session.hello is None else known.live.session.hello.hardware
        )
        try:
            check_hardware(owner.hardware, hello.hardware, connected)
        except CloseConnection:
            known.other = OtherBoard(hello.hardware, connection.info.address, self._clock.wall_ms())
            raise
        known.other = None if known.other and known.other.hardware == hello.hardware else known.other
        hashes = {boot.profile or "" for boot in hello.boots}
        checkers = {hash_: await self._checker(hash_ or owner.profile_hash) for hash_ in hashes}
        running = checkers[hello.boots[-1].profile or ""]
        if isinstance(running, UnknownProfile):
            raise CloseConnection(CloseCode.UNKNOWN_PROFILE, "hello.profile", _no_profile(device, running.profile))
        connection.epoch = connection.info.epoch = await self._store.claim(device, self._gateway_id)
        if known.live is not None:
            known.live.end(CloseCode.REPLACED)
        known.live = connection
        listed = [boot.id for boot in hello.boots]
        await self._store.end_restored(connection.epoch, device, listed)
        committed = await self._store.committed(device, listed)
        if owner.hardware != hello.hardware:
            await self._devices.set_hardware(device, hello.hardware)
        await self._devices.seen(device, self._clock.wall_ms())
        connection.session.window = self._window()
        is_due = await self._is_due_a_token(connection, device)
        outputs = connection.session.welcome(committed, checkers, connection.now())
        if connection.session.state is State.OPEN:
            self._welcomed(connection, hello)
            if is_due:
                outputs += await self._new_token(connection)
        return outputs

    async def _is_due_a_token(self, connection: Connection, device: str) -> bool:
        """Whether it is to be sent a new one: not where it came with that, which ends the old one. What is asked for
        from now on finds the session open."""
        pass_hash = connection.socket.pass_hash
        owner = await self._devices.opened_by(device, pass_hash)
        if owner is None or owner.rotation is Rotation.NONE:
            return False
        if await self._devices.used(device, pass_hash):
            log.info("%s has its new token; the old one opens nothing any more", device)
            return False
        return True

    def _window(self) -> int:
        load = self._store.load()
        connected = sum(known.live is not None for known in self._known.values())
        return window_samples(
            self._limits.window_samples, connections=connected - 1, commit_ms=load.commit_ms, trouble=load.trouble
        )

    def _welcomed(self, connection: Connection, hello: wire.Hello) -> None:
        def deliver(command: Command) -> None:
            outputs = connection.session.command(command)
            if not outputs:
                raise NoHolder(f"{command.id}: the connection of {hello.device} is closing")
            connection.do(outputs)

        info = connection.info
        info.node, info.firmware, info.hardware = hello.node, hello.firmware, hello.hardware
        self._store.serve(hello.device, connection.epoch, deliver)
        self._dispatcher.connected(hello.device, connection.epoch)
        self._presence.connected(info)
        if self._known[hello.device].lines.try_take(self._clock.monotonic_ms()):
            log.info("%s connected from %s", hello.device, info.address)

    async def _checker(self, profile_hash: str) -> Checker | UnknownProfile:
        if profile_hash not in self._checkers:
            profile = await self._devices.profile(profile_hash)
            if profile is None:
                return UnknownProfile(profile_hash)  # not kept: it may be registered any time
            self._checkers[profile_hash] = compile_checker(profile)
        return self._checkers[profile_hash]

    async def _ended(self, connection: Connection, known: Known) -> None:
        device = connection.session.device
        if known.lines.try_take(self._clock.monotonic_ms()):
            log.info("%s disconnected: %s", device, connection.ended_by())
        connection.session.ended()
        if known.live is connection:
            known.live = None
        if not connection.epoch:
            return
        self._store.unserve(device, connection.epoch)
        self._dispatcher.disconnected(device, connection.epoch)
        self._presence.disconnected(device, connection.epoch)
        try:
            await self._devices.seen(device, self._clock.wall_ms())
        except StoreError as error:
            log.warning("%s: that it was seen could not be written: %s", device, error)

    # What a device tells

    def _newest(self, connection: Connection, newest: Newest) -> None:
        self._presence.latest(connection.session.device, newest.at_ms, newest.values)

    def _said(self, connection: Connection, said: Said) -> None:
        line = LogLine(said.level, said.text, said.uptime_ms, self._clock.wall_ms())
        self._presence.say(connection.session.device, line)

    def _answered(self, connection: Connection, answered: Answered) -> None:
        session, result = connection.session, answered.result
        self._dispatcher.answered(session.device, result, lambda: connection.do(session.kept(result.id)))


def _no_profile(device: str, profile_hash: str) -> str:
    return (
        f"the gateway has no profile {profile_hash}: put the files that `mpy-gateway devices add` wrote on the board,"
        f" or register {device} again with the profile it runs"
    )


def _why_not_listening(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the program that has it, or set devices.port to another one"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights this user does not have: set devices.port to one above 1023"
    return f"cannot listen for devices on {host}:{port} ({error.strerror or error}): look at devices.host"
