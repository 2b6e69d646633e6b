"""The way out over MQTT: drains the store from a persistent cursor, and brings commands in. One per broker.

A broker that is away is only a late cursor: it moves when the broker has acknowledged (QoS 1), in the order of the log,
and what is not acknowledged is sent again, by us and not by paho, whose queue is in memory. So a sample can arrive
twice, with the same (boot_id, seq), but never not at all.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.config import MqttConfig
from gateway.errors import StoreError
from gateway.mqtt.commands import Commands
from gateway.mqtt.link import KEEPALIVE_S, Link
from gateway.mqtt.outflow import Outflow
from gateway.mqtt.retained import Retained
from gateway.mqtt.topics import (
    Decimals,
    Message,
    Topics,
    publishable,
    runs,
)
from gateway.presence import Presence
from gateway.store.devices import Devices
from gateway.store.port import Store

log = logging.getLogger("mqtt")

PAGE_BATCHES = 100
SAVE_EVERY_S = 10
"""The cursor is written this often at most: every write wears the SD card. A crash repeats what was sent since."""
FIRST_SAVE_S = 1
"""After the start, once: a gateway that never lives for ten seconds would else repeat more and more."""
DRAIN_S, GOODBYE_S = 1.0, 0.5
"""At a clean stop: for what is committed to be acknowledged, and for `offline`."""


class Bridge:
    """`start` never waits for the broker. What goes wrong later is in `stats()` and, once per change, in the log."""

    def __init__(
        self,
        name: str,
        config: MqttConfig,
        store: Store,
        devices: Devices,
        presence: Presence,
        dispatcher: Dispatcher,
        clock: Clock,
        *,
        gateway_id: str = "",
        keepalive_s: int = KEEPALIVE_S,
        seed: int | None = None,
    ) -> None:
        self.name = name
        self.url = config.url
        self._store = store
        self._devices = devices
        self._clock = clock
        self._key = f"outlet/mqtt.{name}"
        self._read_cursor = self._saved_cursor = ""
        self._generation = 0
        self._forgets = 0
        self._topics = Topics(config.base)
        self._decimals: dict[str, Decimals] = {}
        self._outflow = Outflow("")
        self._commands = Commands(name, self._topics, devices, dispatcher, clock, self._answer)
        client_id = config.client_id or (f"{gateway_id}-{name}" if gateway_id else "")
        self._link = Link(
            name,
            config,
            client_id,
            self._topics,
            self._outflow,
            clock,
            opened=self._on_opened,
            received=self._commands.received,
            moved=self._on_moved,
            acked=self._on_acked,
            keepalive_s=keepalive_s,
            seed=seed,
        )
        self._retained = Retained(
            self._key, self._topics, self._outflow, self._link, self._decimals_of, store, devices, presence, clock
        )
        self._hungry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._not_publishable = 0

    def stats(self) -> dict[str, Any]:
        """Figures for the status page."""
        return {
            "url": self.url,
            **self._link.stats(),
            "cursor": self._outflow.cursor,
            "notices_dropped": self._outflow.dropped,
            "not_publishable": self._not_publishable,
            "commands_dropped": self._commands.dropped,
        }

    # start and stop
    async def start(self) -> None:
        """Go on where the cursor stands. Raises StoreError when the store cannot be asked."""
        entry = await self._store.get(f"{self._key}/cursor")
        self._saved_cursor = self._read_cursor = self._outflow.cursor = (
            entry.value.decode("utf-8", "replace") if entry else ""
        )
        if entry is None:  # from now on retention counts what we miss, also if the broker is never there
            with suppress(StoreError):
                await self._store.create(f"{self._key}/cursor", b"")
        if aside := await self._store.get(f"{self._key}/aside"):
            with suppress(msgspec.DecodeError):  # of another version of ours
                self._link.aside.load(aside.value)
        await self._retained.start()
        if not self._link.client_id:
            self._link.client_id = await self._drawn_client_id()
        parts = (
            self._link.run,
            self._read_log,
            self._save_now_and_then,
            *self._retained.parts,
        )
        self._tasks = [asyncio.create_task(self._for_ever(part)) for part in parts]

    async def stop(self) -> None:
        """Hand over what is committed, as far as the broker takes it within a second; say goodbye; keep the cursor."""
        await self._within(DRAIN_S, self._drained)
        tasks = [*self._tasks, *self._commands.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._link.is_open:
            self._retained.goodbye()
            self._link.pump(log_too=False)
            await self._within(GOODBYE_S, self._nothing_under_way)
            self._link.disconnect()
            await self._within(GOODBYE_S, self._closed)
        self._link.abort()
        with suppress(StoreError):  # then the next start repeats what was sent since the last time
            await self._save()
            await self._retained.keep()

    async def forget(self, device: str) -> None:
        """Publish nothing more of `device`, keep nothing of it, and clear what the broker retains. Raises StoreError:
        call again."""
        self._forgets += 1
        self._link.forget(device)
        await self._retained.forget(device)
        await self._save()
        await self._retained.keep()
        self._on_moved()

    async def _drained(self) -> bool:
        if not self._link.is_open:
            return True
        return self._outflow.idle and not await self._store.wait(self._read_cursor, 0)

    async def _nothing_under_way(self) -> bool:
        return not self._link.is_open or not self._outflow.under_way

    async def _closed(self) -> bool:
        return self._link.is_closed

    async def _within(self, limit_s: float, condition: Callable[[], Awaitable[bool]]) -> None:
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(limit_s):
                while not await condition():  # noqa: ASYNC110  # at a stop only, and there is no event for all of it
                    await asyncio.sleep(0.005)

    async def _drawn_client_id(self) -> str:
        """Two clients of one id push each other out of the broker, so it is drawn once and kept."""
        if entry := await self._store.get(f"{self._key}/client_id"):
            return entry.value.decode()
        drawn = f"mpy-gateway-{secrets.token_hex(4)}"
        await self._store.put(f"{self._key}/client_id", drawn.encode())
        return drawn

    async def _for_ever(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep one part going. A store that is not available is waited for; a fault of ours is logged."""
        told = ""
        while True:
            try:
                await part()
            except StoreError as error:
                if str(error) != told:
                    log.warning("%s: waits for the store: %s", self.name, error)
                told = str(error)
            except Exception:  # the edge of the task: a fault of ours in one part must not end the way out
                log.exception("%s: a fault in %s", self.name, part.__name__)
            await asyncio.sleep(1)

    # the log
    async def _read_log(self) -> None:
        while True:
            self._hungry.clear()
            if not self._outflow.hungry:
                await self._hungry.wait()
                continue
            generation = self._outflow.generation
            if generation != self._generation:
                self._generation, self._read_cursor = generation, self._outflow.cursor
            forgets = self._forgets
            batches = await self._store.read(self._read_cursor, limit=PAGE_BATCHES)
            if not batches:
                self._retained.wants_log = False
                await self._store.wait(self._read_cursor, 1)  # not longer: the log may have to be read again
                continue
            messages: list[Message] = []
            for run in runs(batches):
                decimals = await self._decimals_of(run[0].profile)
                if self._retained.wants_log:
                    for batch in run:
                        await self._retained.take(batch)
                if publishable(run[0].device):
                    messages += self._topics.messages(run, decimals, self._link.max_payload)
                else:
                    self._skip(run[0].device)
                await asyncio.sleep(0)  # a page can be long, and others want the loop
            if generation == self._outflow.generation and forgets == self._forgets:
                self._outflow.add(messages, batches[-1].cursor)
                self._read_cursor = batches[-1].cursor
                self._link.pump()

    def _skip(self, device: str) -> None:
        if not self._not_publishable:
            log.error("%s: samples of the device %r cannot be published: its id is a topic of ours", self.name, device)
        self._not_publishable += 1

    async def _decimals_of(self, profile_hash: str) -> Decimals:
        if profile_hash not in self._decimals:
            profile = await self._devices.profile(profile_hash) if profile_hash else None
            quantities = profile.quantities if profile else {}
            self._decimals[profile_hash] = {name: quantity.decimals for name, quantity in quantities.items()}
        return self._decimals[profile_hash]

    async def _save_now_and_then(self) -> None:
        await asyncio.sleep(FIRST_SAVE_S)
        while True:
            await self._save()
            await asyncio.sleep(SAVE_EVERY_S)

    async def _save(self) -> None:
        cursor = self._outflow.cursor
        if not self._link.aside.is_saved:  # before the cursor that passes it
            self._link.aside.is_saved = True
            try:
                await self._store.put(f"{self._key}/aside", self._link.aside.save())
            except StoreError:
                self._link.aside.is_saved = False
                raise
        if cursor != self._saved_cursor:
            await self._store.put(f"{self._key}/cursor", cursor.encode())
            self._saved_cursor = cursor
        await self._retained.keep_devices()

    def _on_opened(self) -> None:
        self._retained.renew()
        self._on_moved()

    def _on_acked(self, message: Message) -> None:
        self._retained.acked(message)

    def _on_moved(self) -> None:
        if self._outflow.hungry:
            self._hungry.set()
        self._retained.wake()

    def _answer(self, message: Message) -> None:
        self._outflow.notice(message)
        self._link.pump()
