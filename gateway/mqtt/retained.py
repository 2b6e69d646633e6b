"""What one broker retains for us, kept right: follows the store, the connections and the list of devices.

States are followed apart from the log: a broker's outage holds up the log, and the state shows what is committed now.
Over a restart of ours they are kept with the place up to which they are complete, and what lies behind it is read
before any state is published: so that none goes back, after a crash either.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, cast

import msgspec

from gateway.clock import Clock
from gateway.model import Batch
from gateway.mqtt.link import Link
from gateway.mqtt.outflow import Outflow
from gateway.mqtt.presences import Presences
from gateway.mqtt.states import Saved, States
from gateway.mqtt.topics import OFFLINE, Decimals, Message, Topics, publishable
from gateway.presence import Presence
from gateway.store.devices import Devices
from gateway.store.port import Store

STATES_EVERY_S = 600
"""States are written this often at most, and at a stop: every write wears the SD card. After a crash, what was
committed since is read again."""
CATCH_UP_MS = 30_000
"""Reading that takes longer (a log of years, after damage or a restore) holds up no state."""

DecimalsOf = Callable[[str], Awaitable[Decimals]]


def mark(outlet: str, device: str) -> str:
    """The registry's key that says: what the broker of that outlet (its key) retains of `device` is to be cleared."""
    return f"forgotten/{outlet}/{device}"


class Kept(msgspec.Struct):
    """States over a restart. Everything up to the cursor kept beside them is in them, but for what `wants_log` leaves
    to the log."""

    wants_log: bool
    devices: dict[str, Saved]


class Retained:
    """`start`, then `parts` in tasks of their own. `renew` in every new session, `wake` where there may be room."""

    def __init__(
        self,
        key: str,
        topics: Topics,
        outflow: Outflow,
        link: Link,
        decimals_of: DecimalsOf,
        store: Store,
        devices: Devices,
        presence: Presence,
        clock: Clock,
    ) -> None:
        self._key = key
        self._topics = topics
        self._outflow = outflow
        self._link = link
        self._decimals_of = decimals_of
        self._store = store
        self._devices = devices
        self._presence = presence
        self._clock = clock
        self._states = States(topics)
        self._presences = Presences(topics)
        self._awake = asyncio.Event()
        self._cursor = ""
        self._complete = False
        self._kept, self._kept_cursor = b"", ""
        self._kept_devices: list[str] = []
        self._forgets: Counter[str] = Counter()
        """How often each device was forgotten: who waited meanwhile has something in hand that is not to be shown."""
        self._forgetting: set[str] = set()
        """Devices that are forgotten, of whose identity the end was not seen yet."""
        self._marked: set[str] = set()
        """Devices whose clearing is written down."""
        self.wants_log = True
        """Whether what is read of the log must be shown to `take` as well, until its end: an outlet that is new knows
        nothing from before itself."""

    @property
    def parts(self) -> tuple[Callable[[], Any], ...]:
        return self._publish, self._follow_newest, self._follow_presence, self._follow_devices, self._keep_now_and_then

    async def start(self) -> None:
        """Raises StoreError when the store cannot be asked."""
        known = [info.id for info in await self._devices.list()]
        self._cursor = await self._store.end()
        if kept := await self._store.get(f"{self._key}/states"):
            with suppress(msgspec.DecodeError):  # of another version of ours: the states will come again
                found = msgspec.json.decode(kept.value, type=Kept)
                cursor = await self._store.get(f"{self._key}/states/cursor")
                self._states.load(found.devices, known)
                self._cursor, self.wants_log = cursor.value.decode() if cursor else "", found.wants_log
        for mark in await self._store.list(self._mark("")):
            self._marked.add(device := mark.key.removeprefix(self._mark("")))
            self._presences.forget(device)
        for device in known:
            self._presences.set(device, self._presence.is_here(device))
        if kept := await self._store.get(f"{self._key}/retained"):
            with suppress(msgspec.DecodeError):
                self._kept_devices = msgspec.json.decode(kept.value, type=list[str])
                self._presences.load(self._kept_devices, known)

    def renew(self) -> None:
        """A new session: the broker may have forgotten."""
        self._presences.all_again()
        self._states.all_again()
        self.wake()

    def wake(self) -> None:
        self._awake.set()

    def acked(self, message: Message) -> None:
        """The broker has this notice."""
        self._presences.acked(message)

    def goodbye(self) -> None:
        """We stop: nobody is online any more."""
        for device in self._presences.online():
            self._outflow.notice(self._topics.availability(device, False))
        self._outflow.notice(self._topics.bridge(OFFLINE))

    async def take(self, batch: Batch) -> None:
        """A committed batch."""
        forgets = self._forgets[batch.device]
        decimals = await self._decimals_of(batch.profile)
        if self._forgets[batch.device] == forgets:
            self._states.update(batch, decimals)
            self.wake()

    async def forget(self, device: str) -> None:
        """Clear what the broker retains of `device`, now or when it is there again, over restarts of ours too. Raises
        StoreError."""
        self._forgets[device] += 1
        self._forgetting.add(device)
        self._marked.add(device)
        await self._store.put(self._mark(device), b"")
        self._presences.forget(device)
        self._states.forget(device)
        self.wake()

    def _mark(self, device: str) -> str:
        return mark(self._key, device)

    async def keep(self) -> None:
        """Write what a restart needs. Raises StoreError."""
        await self.keep_devices()
        cursor, kept = self._cursor, msgspec.json.encode(Kept(self.wants_log, self._states.save()))
        if kept != self._kept:
            await self._store.put(f"{self._key}/states", kept)
            self._kept = kept
        if cursor != self._kept_cursor:  # a key of its own, named like all cursors: a restore of a backup moves it
            await self._store.put(f"{self._key}/states/cursor", cursor.encode())
            self._kept_cursor = cursor

    async def keep_devices(self) -> None:
        """Whose topics are to be cleared if they are removed while we are away. Written when it changes."""
        devices = self._presences.devices()
        if devices != self._kept_devices:
            await self._store.put(f"{self._key}/retained", msgspec.json.encode(devices))
            self._kept_devices = devices
        if cleared := self._marked.difference(self._presences.uncleared()):
            marks = {self._mark(device) for device in cleared}
            await self._store.purge(lambda key, _: key in marks)
            self._marked -= cleared
            await self._store.scrub()

    async def _keep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(STATES_EVERY_S)
            await self.keep()

    async def _publish(self) -> None:
        while True:
            wait_ms: int | None = None
            self._awake.clear()
            if self._link.is_open:
                for message in self._presences.due(self._outflow.room):
                    self._outflow.notice(message)
                if self._complete:
                    states, wait_ms = self._states.due(self._clock.monotonic_ms(), self._outflow.room)
                    for message in states:
                        self._outflow.notice(message)
                self._link.pump()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1_000 if wait_ms else None):
                    await self._awake.wait()

    async def _follow_newest(self) -> None:
        async with aclosing(cast(Any, self._store.live())) as live:
            skipped = 0
            await self._catch_up()
            async for batch in live:
                if (count := getattr(live, "skipped", 0)) != skipped:
                    skipped = count
                    await self._catch_up()
                await self.take(batch)
                self._cursor = batch.cursor

    async def _catch_up(self) -> None:
        """Read what was committed behind the place up to which all is known."""
        began_ms = self._clock.monotonic_ms()
        while batches := await self._store.read(self._cursor):
            forgets = self._forgets.total()
            for batch in batches:
                await self.take(batch)
                await asyncio.sleep(0)
                if self._forgets.total() != forgets:
                    break  # what is in hand may be of that device: read it again
            else:
                self._cursor = batches[-1].cursor
            self._complete = self._complete or self._clock.monotonic_ms() - began_ms > CATCH_UP_MS
        self._complete = True
        self.wake()

    async def _follow_presence(self) -> None:
        watch = self._presence.watch()
        for connection in self._presence.all():
            self._presences.set(connection.device, True)
        async for change in watch:
            if self._presences.knows(change.device):  # else it is removed, or `_follow_devices` will come to it
                self._presences.set(change.device, change.connection is not None or change.asleep)
            if change.latest is not None:
                forgets = self._forgets[change.device]
                info = await self._devices.get(change.device)
                decimals = await self._decimals_of(info.profile_hash if info else "")
                if info is None or self._forgets[change.device] != forgets:
                    continue
                self._states.provisional(change.device, *change.latest, decimals)
            self.wake()

    async def _follow_devices(self) -> None:
        """New devices are offline until they connect; of removed ones nothing stays retained."""
        async for entry in self._store.watch("device/"):
            device = (entry if isinstance(entry, str) else entry.key).removeprefix("device/")
            info = None if isinstance(entry, str) else await self._devices.get(device)
            if info is not None:
                if info.revoked and device in self._forgetting:
                    continue  # from before its end
                self._forgetting.discard(device)
                self._presences.set(device, self._presence.is_here(device))
            elif publishable(device):
                self._forgetting.discard(device)
                self._presences.forget(device)
                self._states.forget(device)
            self.wake()
