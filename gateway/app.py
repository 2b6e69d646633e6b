"""Builds every part from `Config`, starts them in order, stops them in reverse. Decides nothing else.

store -> embedded broker -> MQTT bridges -> people's door -> device door: whoever can bring samples comes last, and goes
first, so that nothing arrives that has no way out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from contextlib import AsyncExitStack
from typing import Any

from gateway import notices
from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import Config, MqttConfig, write_private
from gateway.dashboard.server import PeopleServer
from gateway.descriptors import make_room
from gateway.device.server import DeviceServer
from gateway.errors import ConfigError
from gateway.forget import forget
from gateway.identity import gateway_id
from gateway.mdns import Announcer, services
from gateway.mqtt.bridge import Bridge
from gateway.mqtt.embedded import EmbeddedBroker
from gateway.presence import Presence
from gateway.store.devices import Devices
from gateway.store.history import History
from gateway.store.sqlite import SqliteStore
from gateway.tls.boards import board_trust
from gateway.tls.doors import Doors
from gateway.tls.names import board_name

log = logging.getLogger("gateway")

RUN_FILE = "run.json"
"""In the state directory while a gateway runs: where its doors are. Our own command line reads it."""


class Gateway:
    """One gateway process. `start` raises `ConfigError` with one sentence when something of ours is in the way."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.id = ""
        self.broker: EmbeddedBroker | None = None
        self.bridges: list[Bridge] = []
        self.announcer: Announcer | None = None
        self._parts = AsyncExitStack()
        self._forgetting = asyncio.Lock()
        self._concerns: list[str] = []
        """What was found at the start that should be looked at; a sentence each."""

    async def start(self) -> None:
        try:
            await self._start()
        except BaseException:
            await self._parts.aclose()
            raise

    async def _start(self) -> None:
        config, clock = self.config, self.clock
        limits = config.limits
        if cramped := make_room(limits.connections + limits.strangers + limits.people_connections):
            self._concerns.append(cramped)
        for warning in [*config.warnings(), *self._concerns]:
            log.warning(warning)
        self.store = SqliteStore(
            config.state,
            commit_ms=config.store.commit_ms,
            quarantine_rows=config.limits.quarantine_rows,
            retention_days=config.store.retention_days,
            max_mb=config.store.max_mb,
            outlets=[f"mqtt.{name}" for name in config.mqtt or ("embedded",)],
            clock=clock,
        )
        await self.store.open()
        self._parts.push_async_callback(self.store.close)
        self.id = await gateway_id(config.gateway.id, self.store)
        self.tls = Doors(config, self.id, clock)
        self.tls.start()
        self._parts.callback(self.tls.stop)
        self.devices = Devices(self.store, devices=config.limits.devices)
        self._parts.push_async_callback(self.devices.close)
        if self.tls.has_new_authority and self.tls.devices and await self.devices.list():
            await self._tell_of_new_authority()
        self.history = History(self.store)
        self.presence = Presence()
        self.dispatcher = Dispatcher(self.store, clock)
        await self.dispatcher.start()
        self._parts.push_async_callback(self.dispatcher.stop)  # again below, while those who ask can still be told

        noticing = notices.start(self.store, clock)
        self._parts.callback(noticing.cancel)

        brokers = await self._brokers()
        self.mqtt_bases = {name: mqtt.base for name, mqtt in brokers.items()}
        for name, mqtt in brokers.items():
            bridge = Bridge(
                name, mqtt, self.store, self.devices, self.presence, self.dispatcher, clock, gateway_id=self.id
            )
            await bridge.start()
            self._parts.push_async_callback(bridge.stop)
            self.bridges.append(bridge)

        self.people = PeopleServer(
            config.people,
            config.limits,
            self.store,
            self.history,
            self.devices,
            self.presence,
            self.dispatcher,
            clock,
            gateway_id=self.id,
            state=config.state,
            extra_status=self.status,
            dismiss=self.store.dismiss_notice,
            forget=self.forget,
            tls=self.tls.people.context if self.tls.people else None,
        )
        await self.people.start()
        self._parts.push_async_callback(self.people.stop)
        self._parts.push_async_callback(self.dispatcher.stop)

        self.door = DeviceServer(
            config.devices,
            config.limits,
            self.store,
            self.devices,
            self.presence,
            self.dispatcher,
            clock,
            gateway_id=self.id,
            tls=self.tls.devices.context if self.tls.devices else None,
        )
        await self.door.start()
        self._parts.push_async_callback(self.door.stop)
        self._announce()
        self._write_run_file()
        self._parts.callback((config.state / RUN_FILE).unlink, missing_ok=True)

    def _announce(self) -> None:
        """Boards may have lost the gateway's address, and look for it by name."""
        config = self.config
        if not config.gateway.announce:
            return
        fp = hashlib.sha256(board_trust(config, self.id).ca_der).hexdigest() if self.tls.devices else ""
        told = services(self.id, config.devices, self.door.port, config.people, self.people.port, fp)
        self.announcer = Announcer(self.id, told)
        self.announcer.start()
        self._parts.push_async_callback(self.announcer.stop)

    async def _brokers(self) -> dict[str, MqttConfig]:
        """The configured brokers, or the embedded one when there are none."""
        if self.config.mqtt:
            return dict(self.config.mqtt)
        self.broker = EmbeddedBroker(self.config.broker, self.config.state, certificate=self.tls.broker)
        await self.broker.start()
        self._parts.push_async_callback(self.broker.stop)
        return {"embedded": self.broker.for_the_gateway}

    async def _tell_of_new_authority(self) -> None:
        """There are boards, and none of them can know it: an update, or a backup without secrets."""
        text = (
            "the devices' door speaks TLS with a new authority. Boards that were set up before do not know it, and are "
            "not served until they do: `mpy-gateway ca ca.der` writes it, to be copied onto each board, and "
            f'"tls": true, "name": "{board_name(self.id)}" belong under "gateway" in its settings.json'
        )
        log.warning(text)
        await self.store.keep_notice("tls.authority", "warning", text)

    async def stop(self) -> None:
        """Devices first, then the way out, the store last. What was received is committed and acknowledged."""
        await self._parts.aclose()

    async def forget(self, device: str) -> bool:
        """See gateway/forget.py. One after the other."""
        names = [f"mqtt.{bridge.name}" for bridge in self.bridges]
        async with self._forgetting:
            return await forget(
                device,
                self.store,
                self.devices,
                sources=[self.door.forget, self.dispatcher.forget],
                outlets=[*(bridge.forget for bridge in self.bridges), self.people.forget],
                running=names,
                configured=names,
            )

    @property
    def devices_url(self) -> str:
        return self.door.url

    @property
    def mqtt_urls(self) -> dict[str, str]:
        """Where a client connects, by name."""
        return {bridge.name: self.broker.url if self.broker else bridge.url for bridge in self.bridges}

    def status(self) -> dict[str, Any]:
        """What `/api/status` adds to the connections: parts and their figures."""
        return {
            "devices_url": self.devices_url,
            "warnings": [*self.config.warnings(), *self._concerns, *self.tls.concerns(), *self._unfound()],
            "store": self.store.stats(),
            "brokers": {bridge.name: {**bridge.stats(), "url": self.mqtt_urls[bridge.name]} for bridge in self.bridges},
            "door": self.door.stats() if hasattr(self, "door") else {},
            "embedded_broker": {"pid": self.broker.pid, "url": self.broker.url} if self.broker else None,
        }

    def _unfound(self) -> list[str]:
        return [self.announcer.concern] if self.announcer is not None and self.announcer.concern else []

    def _write_run_file(self) -> None:
        content = {
            "pid": os.getpid(),
            "people_url": self.people.url,
            "people_certificate": str(self.tls.people.file) if self.tls.people else None,
            "devices_url": self.devices_url,
            "mqtt": self.mqtt_urls,
            "started": int(time.time()),
        }
        try:
            write_private(self.config.state / RUN_FILE, json.dumps(content))
        except OSError as error:
            raise ConfigError(f"cannot write {self.config.state / RUN_FILE}: {error.strerror or error}") from error
