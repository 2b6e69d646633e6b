"""Keeps us connected to one broker, and sends what the outflow holds: versions, waits, limits, sentences in the log."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.config import MqttConfig
from gateway.errors import ConfigError
from gateway.logs import clean
from gateway.mqtt.address import Address
from gateway.mqtt.aside import Aside
from gateway.mqtt.connection import (
    Acked,
    Closed,
    Connection,
    NotSubscribed,
    Occurrence,
    Opened,
    Received,
    Trouble,
    Version,
)
from gateway.mqtt.outflow import WINDOW, Item, Outflow
from gateway.mqtt.pace import Pace
from gateway.mqtt.strikes import QUIET_MS, Strikes
from gateway.mqtt.topics import OFFLINE, ONLINE, Message, Topics

log = logging.getLogger("mqtt")

KEEPALIVE_S = 30
SETTLED_S = 10
"""A session that lasted this long starts the waits between connections anew."""
LONGEST_WAIT_S = 30
PACKET_HEAD_BYTES = 1_000
"""Room for topic and properties, where a broker limits the packet."""
LEAST_LIMIT_BYTES = 2_000
"""No broker is known that takes less: a smaller message that ends a session does so for another reason."""
MOST_TOLD = 1_000
"""Reasons for setting aside, per topic, that were said in the log and are not said again."""
MOST_REFUSED = 100
"""Topics of notices that the broker refuses, which are named in the status."""

_UNSPECIFIED, _MALFORMED, _PROTOCOL_ERROR, _IMPLEMENTATION = 0x80, 0x81, 0x82, 0x83
_NOT_AUTHORIZED, _TOPIC_INVALID, _ID_IN_USE, _TOO_LARGE, _QUOTA, _PAYLOAD_INVALID = 0x87, 0x90, 0x91, 0x95, 0x97, 0x99
_PASSING = frozenset({_ID_IN_USE, _QUOTA})
"""Reasons of PUBACK that say nothing about the message: it is sent again until the broker takes it."""
_MAY_PASS = frozenset({_UNSPECIFIED, _IMPLEMENTATION})
"""Reasons that may mean either."""
MAY_PASS_TRIES = 5
"""Such refusals, the broker taking others in between, after which the message is set aside ..."""
MAY_PASS_AT_MOST = 20
"""... or so many, whatever it takes."""
LONGEST_HOLD_S = 60
_BLAMING = frozenset({0, _UNSPECIFIED, _MALFORMED, _PROTOCOL_ERROR, _IMPLEMENTATION, _NOT_AUTHORIZED, _TOPIC_INVALID})
_BLAMING |= {_TOO_LARGE, _PAYLOAD_INVALID}
"""Ends of a session for which a message may be to blame. Not so: another client with our id, a broker that stops."""


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
        self.aside = Aside()
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
        self._pace = Pace()
        outflow.must_go_alone = self._strikes.must_go_alone
        self._window = WINDOW
        self._max_packet_bytes = 1 << 30
        self.max_payload = self._pace.payload_bytes
        self._mids: dict[int, tuple[Item, int]] = {}
        """What is under way, oldest first, with the time at which it was sent."""
        self._opened_ms = 0
        self._held_until_ms = 0
        self._holds = 0
        """Refusals in a row for reasons that may pass."""
        self._renew = False
        self._taken = 0
        """Messages that the broker has taken."""

        self._state, self._why = "starting", ""
        self._since_ms = clock.wall_ms()
        self._told: set[str] = set()
        self._told_aside: set[tuple[str, str]] = set()
        self._refused: dict[str, str] = {}
        self._published = self._connections = 0

    def stats(self) -> dict[str, Any]:
        """Figures for the status page. `held_up` says why the broker takes nothing just now; `refused` which retained
        topics it refuses, and why."""
        return {
            "state": self._state,
            "why": self._why,
            "since_ms": self._since_ms,
            "version": self._version.value if self.is_open else None,
            "connections": self._connections,
            "published": self._published,
            "under_way": self._outflow.under_way,
            "waiting": self._outflow.waiting,
            "waiting_bytes": self._outflow.waiting_bytes,
            "held_up": self._holds > 0,
            "refused": dict(self._refused),
            "aside": self.aside.count,
            "last_aside": [msgspec.structs.asdict(entry) for entry in self.aside.newest],
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
        connection, now_ms = self._connection, self._clock.monotonic_ms()
        if connection is None or not self.is_open or (log_too and now_ms < self._held_until_ms):
            return
        outflow = self._outflow
        outflow.window = 1 if self._holds else self._window
        outflow.log_window, outflow.log_bytes = self._pace.messages, self._pace.window_bytes
        quiet = now_ms - self._opened_ms >= QUIET_MS
        # the log waits until the session has proven itself: only then is a message to blame for the session's end
        for item in outflow.take(log=log_too and self._strikes.proven, alone=quiet):
            if self._is_hopeless(item, now_ms):
                continue
            mid = connection.publish(item.message)
            if mid is None:
                break  # the connection is gone: `Closed` comes, and the item is sent again
            self._mids[mid] = item, now_ms

    def forget(self, device: str) -> None:
        """Send nothing more of `device`, and keep nothing of it."""
        prefix = self._topics.of(device, "")
        self._outflow.forget(lambda message: message.topic.startswith(prefix))
        self._strikes.forget(prefix)
        self.aside.forget(device)
        self._refused = {topic: why for topic, why in self._refused.items() if not topic.startswith(prefix)}
        self._told_aside = {told for told in self._told_aside if not told[0].startswith(prefix)}

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
            address = Address.of(self.name, self._config, self.client_id)  # every time: the password may have changed
        except ConfigError as error:
            self._tell("refused", str(error))
            return Closed(Trouble.REFUSED, str(error))
        ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

        def on_event(event: Occurrence) -> None:
            self._on_event(event)
            if isinstance(event, Closed) and not ended.done():
                ended.set_result(event)

        will = self._topics.bridge(OFFLINE)
        connection = Connection(address, self._version, will, on_event, keepalive_s=self._keepalive_s)
        self._connection = connection
        while not ended.done():
            await asyncio.wait((ended,), timeout=1)
            self._check_progress(connection)
            self.pump()
        return ended.result()

    def _check_progress(self, connection: Connection) -> None:
        """paho notices a broker that has stopped only after two keepalives, and one that keeps silent about a single
        message never."""
        if self._mids:
            _, sent_ms = next(iter(self._mids.values()))
            if self._clock.monotonic_ms() - sent_ms > self._keepalive_s * 1_000:
                connection.abort(f"the broker has acknowledged nothing for {self._keepalive_s} s")

    def _on_event(self, event: Occurrence) -> None:
        match event:
            case Opened():
                self._on_opened(event)
            case Acked():
                self._on_acked(event)
            case Received():
                self._tell_received(event)
            case NotSubscribed():
                self._on_not_subscribed(event)
            case Closed():
                self._on_closed(event)

    def _on_opened(self, event: Opened) -> None:
        if self._connection is None:
            return
        self.is_open = True
        self._connections += 1
        self._known_version = self._version
        self._opened_ms = self._clock.monotonic_ms()
        self._tell("connected", f"MQTT {self._version.value}")
        self._strikes.opened()
        self._pace.opened()
        self._window = min(WINDOW, event.receive_maximum)
        self._max_packet_bytes = event.max_packet_bytes or 1 << 30
        self._limit_payload(between_connections=True)
        self._connection.subscribe(self._topics.commands)
        self._renew_notices()
        self.pump()
        if self._strikes.has_suspects:
            asyncio.get_running_loop().call_later(QUIET_MS / 1_000 + 0.01, self.pump)

    def _on_not_subscribed(self, event: NotSubscribed) -> None:
        topic = self._topics.commands
        if topic not in self._refused:
            self._refused[topic] = f"the broker does not let us subscribe to it: {event.reason}"
            advice = "no commands come from it until its rules let us read there"
            log.warning("%s: %s: %s; %s", self.name, topic, self._refused[topic], advice)

    def _limit_payload(self, *, between_connections: bool = False) -> None:
        """A broker may take less than usual. What is made already is then made again, smaller."""
        most = min(self._pace.payload_bytes, self._max_packet_bytes - PACKET_HEAD_BYTES)
        if most < self.max_payload and between_connections:
            self._outflow.start_over()
        self.max_payload = most

    def _renew_notices(self) -> None:
        self._renew = False
        self._outflow.notice(self._topics.bridge(ONLINE))
        self._tell_opened()

    def _on_acked(self, event: Acked) -> None:
        if event.mid not in self._mids:
            return
        item, sent_ms = self._mids.pop(event.mid)
        self._strikes.acked(item)
        if event.reason:
            self._on_refused(item, event)
        else:
            self._holds = 0
            self._taken += 1
            if self._told_aside:
                self._told_aside = {told for told in self._told_aside if told[0] != item.message.topic}
            self._pace.acked(item.size_bytes, sent_ms, self._clock.monotonic_ms())
            self._limit_payload()
            if item.page:
                self._published += 1
            else:
                self._refused.pop(item.message.topic, None)
                self._tell_acked(item.message)
            self._outflow.done(item)
        self.pump()
        self._tell_moved()

    # what the broker does not take
    def _on_refused(self, item: Item, event: Acked) -> None:
        why = f"the broker refuses it: {event.refused}"
        if event.reason in _PASSING or (event.reason in _MAY_PASS and self._may_pass(item, why)):
            self._hold(item, event.refused)
        elif not self._split(item, event.reason):
            self._set_aside(item, why)

    def _may_pass(self, item: Item, why: str) -> bool:
        """Whether `item` was not refused so often that it must be for itself."""
        if (item.message.topic, why) in self._told_aside:
            return False  # as the one before it
        item.refusals += 1
        item.blamed += self._taken > item.others_taken
        item.others_taken = self._taken
        return item.blamed < MAY_PASS_TRIES and item.refusals < MAY_PASS_AT_MOST

    def _hold(self, item: Item, refused: str) -> None:
        """It may be taken later, and so may the rest."""
        if item.page or not item.message.retain:
            self._outflow.retry(item)
        else:
            self._outflow.done(item)
            self._renew = True  # what is retained may be another by then
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._held_until_ms:  # once for all that was under way
            if refused not in self._told:
                self._told.add(refused)
                log.warning("%s: the broker takes nothing for now: %s; samples wait in the store", self.name, refused)
            hold_s = self._random.uniform(0.5, 1) * min(LONGEST_HOLD_S, 2**self._holds)
            self._held_until_ms = now_ms + int(1_000 * hold_s)
            self._holds += 1
            asyncio.get_running_loop().call_later(hold_s + 0.01, self._end_hold)

    def _end_hold(self) -> None:
        if self.is_open and self._renew and self._clock.monotonic_ms() >= self._held_until_ms:
            self._renew_notices()
        self.pump()

    def _split(self, item: Item, reason: int) -> Sequence[Item]:
        """What is too large as one may pass in parts. Empty where that cannot help."""
        may_help = item.size_bytes > LEAST_LIMIT_BYTES and reason in (0, _PROTOCOL_ERROR, _UNSPECIFIED)
        if not item.page or not (may_help or reason == _TOO_LARGE):
            return ()
        if reason == _TOO_LARGE:
            self._pace.too_large(item.size_bytes)
            self._limit_payload()
        halves = self._topics.halves(item.message)
        return self._outflow.replace(item, halves)

    def _is_hopeless(self, item: Item, now_ms: int) -> bool:
        """Whether `item` need not be sent at all. It is set aside then, or split."""
        if item.size_bytes + PACKET_HEAD_BYTES > self._max_packet_bytes:
            if not self._outflow.replace(item, self._topics.halves(item.message)):
                packet = f"packets of {self._max_packet_bytes:,}"
                self._set_aside(item, f"it has {item.size_bytes:,} bytes, and the broker takes {packet}")
        elif self._strikes.is_shut(item, now_ms):
            self._set_aside(item, "the broker closes the connection whenever something is sent on this topic")
        else:
            return False
        return True

    def _set_aside(self, item: Item, why: str) -> None:
        topic = item.message.topic
        self._outflow.done(item)
        if not item.page:  # it is not lost: it is made anew, and sent again, with every change
            if topic not in self._refused and len(self._refused) < MOST_REFUSED:
                log.error("%s: nothing is retained on %s: %s", self.name, topic, why)
                self._refused[topic] = why
            return
        entry = self.aside.add(item.message, why, self._clock.wall_ms())
        if (topic, why) not in self._told_aside:  # a topic that is forbidden is said once, and counted
            if len(self._told_aside) >= MOST_TOLD:  # a reason may name a size
                self._told_aside.clear()
            self._told_aside.add((topic, why))
            place = f"boot {entry.boot_id} seq {entry.seq} to {entry.through}"
            log.error("%s: set aside and not published: %s, %s: %s", self.name, topic, place, why)

    def _on_closed(self, event: Closed) -> None:
        under_way = self._outflow.all_under_way()
        if self.is_open and event.trouble is Trouble.LOST and event.reason in _BLAMING:
            self._find_culprit(under_way, event.reason)
        if self.is_open and event.trouble is Trouble.STALLED and any(item.page for item in under_way):
            self._pace.stalled()
        self._connection = None
        self.is_open = False
        self._mids.clear()
        self._outflow.again()
        if self._version is Version.V5 and self._other_may_help(event.trouble):
            log.debug("%s: %s: %s; trying MQTT 3.1.1", self.name, self._config.url, event.why)
            return
        states = {Trouble.STOPPED: "stopped", Trouble.REFUSED: "refused", Trouble.VERSION: "refused"}
        self._tell(states.get(event.trouble, "away"), event.why)

    def _find_culprit(self, under_way: list[Item], reason: int) -> None:
        if reason == _TOO_LARGE and (largest := max((item.size_bytes for item in under_way if item.page), default=0)):
            self._pace.too_large(largest)
        if culprit := self._strikes.lost(under_way):
            if parts := self._split(culprit, reason):
                self._strikes.split(parts)
            else:
                self._strikes.blame(culprit, self._clock.monotonic_ms())
                self._set_aside(culprit, "the broker closes the connection whenever it is sent")

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
            log.warning("%s: %s: %s; samples wait in the store", self.name, self._config.url, clean(why, 500))

    # between sessions
    def _wait_s(self, trouble: Trouble, tries: int) -> float:
        """Random over the whole span: every client of a broker loses it at the same moment."""
        if trouble is Trouble.REFUSED:  # only a person can help, and brokers lock out who knocks too often
            return LONGEST_WAIT_S * self._random.uniform(0.1, 1)
        if self._strikes.has_suspects:  # it may be a message of ours, and soon we know
            tries = min(tries, 3)
        return self._random.uniform(0, min(LONGEST_WAIT_S, 0.5 * 2**tries))

    def _other_version(self, trouble: Trouble) -> bool:
        """Change to the other version, if that may help."""
        if not self._other_may_help(trouble):
            return False
        self._version = Version.V311 if self._version is Version.V5 else Version.V5
        return True

    def _other_may_help(self, trouble: Trouble) -> bool:
        return trouble is Trouble.VERSION or (trouble is Trouble.SILENT and self._known_version is None)
