"""Keeps us connected to one broker, and sends what the outflow holds: versions, waits, limits, sentences in the log."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.clock import Clock
from gateway.config import MqttConfig
from gateway.errors import ConfigError
from gateway.logs import clean
from gateway.mqtt.connection import (
    Acked,
    Address,
    Closed,
    Connection,
    Occurrence,
    Opened,
    Received,
    Trouble,
    Version,
)
from gateway.mqtt.outflow import WINDOW, Item, Outflow
from gateway.mqtt.strikes import Strikes
from gateway.mqtt.topics import MAX_PAYLOAD_BYTES, OFFLINE, ONLINE, Message, Topics

log = logging.getLogger("mqtt")

KEEPALIVE_S = 30
SETTLED_S = 10
"""A session that lasted this long starts the waits between connections anew."""
LONGEST_WAIT_S = 30
PACKET_HEAD_BYTES = 1_000
"""Room for topic and properties, where a broker limits the packet."""
LAST_ASIDE = 20
"""Messages set aside that are named in the status."""


class Link:
    """`run` it in a task, and call `pump` when the outflow has something new.

    `opened` is called in every new session: we always ask for a clean one, so nothing of the last is relied on, and
    what is retained has to go out again. `received` is called with every message, `moved` after every PUBACK, `acked`
    with every notice that the broker has taken."""

    def __init__(
        self,
        name: str,
        config: MqttConfig,
        client_id: str,
        topics: Topics,
        outflow: Outflow,
        clock: Clock,
        *,
        opened: Callable[[], None],
        received: Callable[[Received], None],
        moved: Callable[[], None],
        acked: Callable[[Message], None],
        keepalive_s: int = KEEPALIVE_S,
        seed: int | None = None,
    ) -> None:
        self.name = name
        self.client_id = client_id
        self.is_open = False
        self.max_payload = MAX_PAYLOAD_BYTES
        self._config = config
        self._topics = topics
        self._outflow = outflow
        self._clock = clock
        self._tell_opened = opened
        self._tell_received = received
        self._tell_moved = moved
        self._tell_acked = acked
        self._keepalive_s = keepalive_s
        self._random = random.Random(seed)

        self._connection: Connection | None = None
        self._version = Version.V5
        self._known_version: Version | None = None
        self._strikes = Strikes()
        self._window = WINDOW
        self._mids: dict[int, Item] = {}
        self._progress_ms = 0

        self._state, self._why = "starting", ""
        self._since_ms = clock.wall_ms()
        self._told: set[str] = set()
        self._published = self._connections = self._aside_count = 0
        self._aside: deque[dict[str, str]] = deque(maxlen=LAST_ASIDE)

    def stats(self) -> dict[str, Any]:
        """Figures for the status page."""
        return {
            "state": self._state,
            "why": self._why,
            "since_ms": self._since_ms,
            "version": self._version.value if self.is_open else None,
            "connections": self._connections,
            "published": self._published,
            "under_way": self._outflow.under_way,
            "waiting": self._outflow.waiting,
            "aside": self._aside_count,
            "last_aside": list(self._aside),
        }

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        tries = 0
        while True:
            began_ms = self._clock.monotonic_ms()
            published = self._published
            closed = await self._session()
            lasted_ms = self._clock.monotonic_ms() - began_ms
            went_well = closed.trouble is Trouble.LOST and (
                lasted_ms > SETTLED_S * 1_000 or self._published > published
            )
            tries = 0 if went_well else tries + 1
            if self._other_version(closed.trouble) and tries == 1:
                continue
            await asyncio.sleep(self._wait_s(closed.trouble, tries))

    def pump(self, *, log_too: bool = True) -> None:
        """Send what may be sent now. `log_too` False: notices only."""
        connection = self._connection
        if connection is None or not self.is_open:
            return
        if not self._mids:
            self._progress_ms = self._clock.monotonic_ms()
        self._outflow.window = 1 if self._strikes.one_by_one else self._window
        # the log waits until the session has proven itself: only then is a message to blame for the session's end
        for item in self._outflow.take(log=log_too and self._strikes.proven):
            mid = connection.publish(item.message)
            if mid is None:
                break  # the connection is gone: `Closed` comes, and the item is sent again
            self._mids[mid] = item

    def disconnect(self) -> None:
        """Say goodbye to the broker. `is_closed` follows."""
        if self._connection:
            self._connection.disconnect()

    def abort(self) -> None:
        if self._connection:
            self._connection.abort("stopped")

    @property
    def is_closed(self) -> bool:
        return self._connection is None

    # one session
    async def _session(self) -> Closed:
        try:
            password = self._config.password()  # read every time: it may be what was changed
        except ConfigError as error:
            self._tell("refused", str(error))
            return Closed(Trouble.REFUSED, str(error))
        ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

        def on_event(event: Occurrence) -> None:
            self._on_event(event)
            if isinstance(event, Closed) and not ended.done():
                ended.set_result(event)

        address = Address(self._config.url, self.client_id, self._config.username, password)
        will = self._topics.bridge(OFFLINE)
        connection = Connection(address, self._version, will, on_event, keepalive_s=self._keepalive_s)
        self._connection = connection
        while not ended.done():
            await asyncio.wait((ended,), timeout=1)
            self._check_progress(connection)
        return ended.result()

    def _check_progress(self, connection: Connection) -> None:
        """paho notices a broker that has stopped only after two keepalives."""
        silent_ms = self._clock.monotonic_ms() - self._progress_ms
        if self._mids and silent_ms > self._keepalive_s * 1_000:
            connection.abort(f"the broker has acknowledged nothing for {self._keepalive_s} s")

    def _on_event(self, event: Occurrence) -> None:
        match event:
            case Opened():
                self._on_opened(event)
            case Acked():
                self._on_acked(event)
            case Received():
                self._tell_received(event)
            case Closed():
                self._on_closed(event)

    def _on_opened(self, event: Opened) -> None:
        if self._connection is None:
            return
        self.is_open = True
        self._connections += 1
        self._known_version = self._version
        self._tell("connected", f"MQTT {self._version.value}")
        self._strikes.opened()
        self._window = min(WINDOW, event.receive_maximum)
        self._limit_payload(event.max_packet_bytes)
        self._connection.subscribe(self._topics.commands)
        self._outflow.notice(self._topics.bridge(ONLINE))
        self._tell_opened()
        self.pump()

    def _limit_payload(self, max_packet_bytes: int | None) -> None:
        """A broker may take less than usual. What is made already is then made again, smaller."""
        most = min(MAX_PAYLOAD_BYTES, (max_packet_bytes or 1 << 30) - PACKET_HEAD_BYTES)
        if most < self.max_payload:
            self._outflow.start_over()
        self.max_payload = most

    def _on_acked(self, event: Acked) -> None:
        item = self._mids.pop(event.mid, None)
        if item is None:
            return
        self._progress_ms = self._clock.monotonic_ms()
        if item.page:
            self._strikes.log_acked()
            self._published += not event.refused
        else:
            self._strikes.notice_acked()
            self._tell_acked(item.message)
        if event.refused:
            self._set_aside(item, f"the broker refuses it: {event.refused}")
        self._outflow.done(item)
        self.pump()
        self._tell_moved()

    def _on_closed(self, event: Closed) -> None:
        by_broker = self.is_open and event.trouble in (Trouble.LOST, Trouble.REFUSED)
        if by_broker and (culprit := self._strikes.lost(self._outflow.log_under_way())):
            self._set_aside(culprit, "the broker closes the connection whenever it is sent")
            self._outflow.done(culprit)
        self._connection = None
        self.is_open = False
        self._mids.clear()
        self._outflow.again()
        if self._version is Version.V5 and self._other_may_help(event.trouble):
            log.debug("%s: %s: %s; trying MQTT 3.1.1", self.name, self._config.url, event.why)
            return
        states = {Trouble.STOPPED: "stopped", Trouble.REFUSED: "refused", Trouble.VERSION: "refused"}
        self._tell(states.get(event.trouble, "away"), event.why)

    def _set_aside(self, item: Item, why: str) -> None:
        place = {key: value for key, value in item.message.properties if key in ("boot_id", "seq", "through")}
        self._aside_count += 1
        self._aside.append({"topic": item.message.topic, "why": why, **place})
        log.error("%s: a message is set aside and not published: %s %s: %s", self.name, item.message.topic, place, why)

    def _tell(self, state: str, why: str) -> None:
        """One sentence in the log per change, not one per try."""
        if state != self._state:
            self._since_ms = self._clock.wall_ms()
        self._state, self._why = state, why
        if state == "connected":
            log.info("%s: connected to %s (%s)", self.name, self._config.url, why)
            self._told.clear()
        elif state != "stopped" and why not in self._told:
            self._told.add(why)
            log.warning("%s: %s: %s; samples wait in the store", self.name, self._config.url, clean(why))

    # between sessions
    def _wait_s(self, trouble: Trouble, tries: int) -> float:
        """Random over the whole span: every client of a broker loses it at the same moment."""
        if trouble is Trouble.REFUSED:  # only a person can help, and brokers lock out who knocks too often
            return LONGEST_WAIT_S * self._random.uniform(0.1, 1)
        return self._random.uniform(0, min(LONGEST_WAIT_S, 0.5 * 2**tries))

    def _other_version(self, trouble: Trouble) -> bool:
        """Change to the other version, if that may help."""
        if not self._other_may_help(trouble):
            return False
        self._version = Version.V311 if self._version is Version.V5 else Version.V5
        return True

    def _other_may_help(self, trouble: Trouble) -> bool:
        return trouble is Trouble.VERSION or (trouble is Trouble.SILENT and self._known_version is None)
