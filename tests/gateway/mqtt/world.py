"""What the MQTT tests share: an independent client, Debian's broker, a store with devices and samples in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import BrokerConfig, MqttConfig
from gateway.model import Batch, Quality, Sample
from gateway.mqtt.bridge import Bridge
from gateway.mqtt.embedded import EmbeddedBroker
from gateway.presence import Presence
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from tests.programs import free_port, need_program

BOOT_ID = "9f3c11d2c01b6a55"


class Client:
    """An MQTT client of its own, independent of the gateway's code. Usable as a context manager."""

    def __init__(
        self,
        port: int,
        *,
        v5: bool = False,
        client_id: str = "",
        clean: bool = True,
        will: tuple[str, bytes] | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, clean_session=None if v5 else clean
        )
        self.v5 = v5
        self.port = port
        self.messages: list[paho.MQTTMessage] = []
        self.connections = 0
        self.session_present: bool | None = None
        self._connected = threading.Event()
        self._subscribed: queue.Queue[bool] = queue.Queue()
        self._filters: list[str] = []
        self.paho.max_inflight_messages = 0
        self.paho.reconnect_delay_set(1, 1)
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = lambda *_: self._subscribed.put(True)
        self.paho.on_message = lambda _c, _u, message: self.messages.append(message)
        if will:
            self.paho.will_set(*will, qos=1, retain=True)
        if login:
            self.paho.username_pw_set(*login)

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            return
        self.connections += 1
        self.session_present = flags.session_present
        for topic_filter in self._filters:  # also after a reconnect: a broker may have forgotten
            self.paho.subscribe(topic_filter, qos=1)
        self._connected.set()

    def __enter__(self) -> Client:
        self.paho.connect("127.0.0.1", self.port)
        self.paho.loop_start()
        assert self._connected.wait(5), "the test's own client was not accepted"
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.cut()

    def cut(self) -> None:
        """End without a goodbye."""
        sock = self.paho.socket()
        self.paho._reconnect_on_failure = False
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self.paho._thread:
            self.paho._thread.join(5)

    def subscribe(self, *filters: str) -> Client:
        for topic_filter in filters:
            self._filters.append(topic_filter)
            self.paho.subscribe(topic_filter, qos=1)
            self._subscribed.get(timeout=5)
        return self

    def subscribe_later(self, topic_filter: str) -> Client:
        """Subscribe at every connection."""
        self._filters.append(topic_filter)
        return self

    def publish(
        self, topic: str, payload: bytes = b"", *, qos: int = 1, retain: bool = False, **properties: Any
    ) -> None:
        """Returns once the broker has taken it. `properties` by paho's names."""
        built = None
        if self.v5:
            built = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(built, name, value)
        self.paho.publish(topic, payload, qos, retain, built).wait_for_publish(10)

    def payloads(self, end: str = "") -> list[Any]:
        """What came on topics that end so, as JSON."""
        return [json.loads(m.payload) for m in list(self.messages) if m.topic.endswith(end)]

    def identities(self) -> Counter[tuple[str, str, int]]:
        """How often each (device, boot_id, seq) came on `samples`."""
        return Counter(
            (message["device"], message["boot_id"], seq)
            for message in self.payloads("/samples")
            for seq in message["seq"]
        )

    def retained(self, topic: str) -> bytes | None:
        """Newest payload of `topic`."""
        return next((bytes(m.payload) for m in reversed(list(self.messages)) if m.topic == topic), None)


class Mosquitto:
    """Debian's broker, with a configuration of a few lines."""

    def __init__(self, folder: Path, *, port: int = 0, config: str = "allow_anonymous true") -> None:
        self.port = port or free_port()
        self._program = need_program("mosquitto")
        self._file = folder / f"mosquitto-{self.port}.conf"
        self._file.write_text(f"listener {self.port} 127.0.0.1\n{config}\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> Mosquitto:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.01)
            else:
                return self

    def restart(self) -> None:
        """In order: it keeps what it is set up to keep."""
        if self._process:
            self._process.terminate()
            self._process.wait()
        self.start()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.asynccontextmanager
async def embedded(folder: Path, **options: float) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(BrokerConfig(port=0, port_v5=0), folder, **options)
    await broker.start()
    _OWN_WAYS[broker.url] = broker.for_the_gateway
    try:
        yield broker
    finally:
        del _OWN_WAYS[broker.url]
        await broker.stop()


_OWN_WAYS: dict[str, MqttConfig] = {}
"""Of embedded brokers that run: what the gateway itself connects with. Others may not say what it says."""


class World:
    """A real store with devices, and bridges on it."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder, commit_ms=1)
        self.devices = Devices(self.store)
        self.presence = Presence()
        self.clock = Clock()
        self.dispatcher = Dispatcher(self.store, self.clock)
        self.profile = load_profile(find_node("climate-node"))
        self._epochs: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._bridges: list[Bridge] = []

    async def __aenter__(self) -> World:
        await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for bridge in self._bridges:
            await bridge.stop()
        await self.dispatcher.stop()
        await self.store.close()

    async def add(self, *devices: str) -> None:
        for device in devices:
            await self.devices.add(device, self.profile)
            self._epochs[device] = await self.store.claim(device, "test")
            self._next[device] = 0

    def epoch(self, device: str) -> int:
        return self._epochs[device]

    async def samples(self, device: str, count: int, *, frame: int = 1) -> None:
        """`count` more samples of `device`, in frames of `frame`."""
        for _ in range(count // frame):
            first = self._next[device]
            self._next[device] += frame
            records = tuple(
                Sample(seq, seq * 1_000, {"temperature": 20 + seq % 7 + 0.25, "humidity": 40.5})
                for seq in range(first, first + frame)
            )
            batch = Batch(device, 1, BOOT_ID, records, 1_790_000_000_000, Quality.SYNCED, 0, profile=self.profile.hash)
            await self.store.append(self._epochs[device], batch)

    def expected(self) -> set[tuple[str, str, int]]:
        """Every identity that was stored."""
        return {(device, BOOT_ID, seq) for device, count in self._next.items() for seq in range(count)}

    async def bridge(self, url: str, name: str = "test", **options: Any) -> Bridge:
        """A started bridge, to an embedded broker as the gateway's own. `config` among the options: further keys of
        [mqtt.<name>]."""
        config = options.pop("config", {})
        own = _OWN_WAYS.get(url)
        return await self.bridge_with(
            own.model_copy(update=config) if own else MqttConfig(url=url, **config), name, **options
        )

    async def bridge_with(self, config: MqttConfig, name: str = "test", **options: Any) -> Bridge:
        bridge = Bridge(
            name, config, self.store, self.devices, self.presence, self.dispatcher, self.clock, seed=1, **options
        )
        await bridge.start()
        self._bridges.append(bridge)
        return bridge

    async def end(self, bridge: Bridge) -> None:
        await bridge.stop()
        self._bridges.remove(bridge)


def state_of(bridge: Bridge) -> Callable[[str], Callable[[], bool]]:
    """`until(state_of(bridge)("connected"))`"""
    return lambda state: lambda: bridge.stats()["state"] == state


@contextlib.contextmanager
def subscriber(port: int, *filters: str, v5: bool = False) -> Iterator[Client]:
    with Client(port, v5=v5) as client:
        yield client.subscribe(*filters)


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Blocking parts of a test, beside the loop."""
    return await asyncio.to_thread(work, *arguments)
