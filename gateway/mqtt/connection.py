"""One connection to a broker, from connecting to its end: paho in a thread of its own, events on our loop.

paho's `connect()` blocks (DNS, TCP, TLS), so it runs in a thread; what it says comes back with `call_soon_threadsafe`.
An object is used once and never reconnects: so nothing that paho still has queued can be sent a second time by it.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import ConfigError
from gateway.mqtt.address import CONNECT_WITHIN_S, Address, is_alert
from gateway.mqtt.topics import Message

_PROTOCOL_ERROR, _UNSUPPORTED_VERSION, _BAD_CLIENT_ID, _BAD_LOGIN, _NOT_AUTHORIZED = 0x82, 0x84, 0x85, 0x86, 0x87
_KEEPALIVE_TIMEOUT, _TAKEN_OVER = 0x8D, 0x8E
_SENTENCES = {
    _BAD_CLIENT_ID: "the broker does not accept the client id {client_id}",
    _TAKEN_OVER: "another client has connected with the client id {client_id}",
}


class Version(enum.Enum):
    """The MQTT version spoken."""

    V5 = "5"
    V311 = "3.1.1"


class Trouble(enum.Enum):
    """Why a connection ended, as far as it decides what to do next."""

    STOPPED = "stopped"
    """We closed it."""
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The broker answered, and a person has to change something."""
    VERSION = "version"
    """The broker does not speak this version."""
    SILENT = "silent"
    """The broker closed without a word. Some do for a version they do not speak."""
    STALLED = "stalled"
    """We gave up: it is connected, but does not answer."""
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Opened:
    """The broker has accepted us. `receive_maximum` messages may be under way, none larger than `max_packet_bytes`."""

    receive_maximum: int
    max_packet_bytes: int | None


@dataclass(frozen=True, slots=True)
class Acked:
    """PUBACK. `reason` is its code, 0x80 and above where the broker does not take the message (MQTT 5 only), and
    `refused` its name then."""

    mid: int
    reason: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A message for us. `correlation` is MQTT 5's correlation data."""

    topic: str
    payload: bytes
    retain: bool
    correlation: bytes | None


@dataclass(frozen=True, slots=True)
class NotSubscribed:
    """The broker has refused what we asked it to send us."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of this connection; the last event. `why` is one sentence without its end. `reason` is the code of the
    broker's DISCONNECT (MQTT 5), 0 where it closed without a word or the line broke."""

    trouble: Trouble
    why: str
    reason: int = 0


Occurrence = Opened | Acked | Received | NotSubscribed | Closed

MAX_PACKET_BYTES = 16_384
"""What a broker may send us in one packet; it drops what is larger (MQTT 5). A command has 4,096 bytes at most."""
MAX_RECEIVED = 200
"""Messages that wait for our loop; more are dropped. They can come faster than it looks at them."""


class Connection:
    """Connects when made. `tell` is called on the loop with every event, `Closed` being the last."""

    def __init__(
        self,
        address: Address,
        version: Version,
        will: Message,
        tell: Callable[[Occurrence], None],
        *,
        keepalive_s: int = 30,
    ) -> None:
        self.address = address
        self.version = version
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._events: deque[Occurrence] = deque()
        self._received = 0
        """Of the events, how many are messages."""
        self._scheduled = False
        self._lock = threading.Lock()
        self._accepted = False
        self._answered = False
        self._alert = ""
        """What the broker has said against our certificate: TLS 1.3 says it behind the handshake."""
        self._closing = False
        self._ended = False
        self._client = self._make(will)
        self._deadline = self._loop.call_later(CONNECT_WITHIN_S, self._too_late)
        threading.Thread(target=self._connect, args=(keepalive_s,), name="mqtt-connect", daemon=True).start()

    def _make(self, will: Message) -> paho.Client:
        v5 = self.version is Version.V5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.address.client_id,
            clean_session=None if v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_WITHIN_S
        client.max_inflight_messages = 0  # our own window is the limit: paho must never queue
        client.username_pw_set(self.address.username, self.address.password)
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        return client

    # on our loop
    def publish(self, message: Message) -> int | None:
        """Send; the number is what `Acked` will say. None where the connection is gone already."""
        properties = None
        if self.version is Version.V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            if message.payload[:1] == b"{":
                properties.PayloadFormatIndicator = 1
                properties.ContentType = "application/json"
            if message.properties:
                properties.UserProperty = list(message.properties)
            if message.correlation is not None:
                properties.CorrelationData = message.correlation
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, topic_filter: str) -> None:
        if self.version is Version.V5:  # a message that is to be retained says so also when it is new
            self._client.subscribe(topic_filter, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            self._client.subscribe(topic_filter, qos=1)

    def disconnect(self) -> None:
        """Say goodbye; `Closed` follows. The broker does not publish the will."""
        self._closing = True
        self._client.disconnect()

    def abort(self, why: str) -> None:
        """Cut the line; `Closed` follows at once. The broker publishes the will."""
        self._end(Closed(Trouble.STOPPED if self._closing else Trouble.STALLED, why))
        self._cut()

    def _too_late(self) -> None:
        if not self._accepted:
            self._end(Closed(Trouble.UNREACHABLE, f"no answer within {CONNECT_WITHIN_S} s"))
            self._cut()

    def _cut(self) -> None:
        # paho's thread may sit in select(): shutting the socket down wakes it, and it ends
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # in threads
    def _connect(self, keepalive_s: int) -> None:
        address = self.address
        try:
            if address.tls:
                self._client.tls_set_context(address.context())
                self._client.on_log = self._on_log
            self._client.connect(
                address.host,
                address.port,
                keepalive_s,
                clean_start=True if self.version is Version.V5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=_limits() if self.version is Version.V5 else None,
            )
        except ConfigError as error:
            self._post(Closed(Trouble.REFUSED, str(error)))
            return
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            trouble = Trouble.REFUSED if isinstance(error, ssl.SSLError) else Trouble.UNREACHABLE
            self._post(Closed(trouble, address.unreachable(error)))
            return
        if self._ended:
            self._cut()
        self._client.loop_start()

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        if reason.is_failure:
            trouble = Trouble.VERSION if reason.value == _UNSUPPORTED_VERSION else Trouble.REFUSED
            self._post(Closed(trouble, self._sentence(reason)))
            return
        if getattr(properties, "MaximumQoS", 1) == 0:
            self._post(Closed(Trouble.REFUSED, "the broker acknowledges nothing (its maximum QoS is 0)"))
            self._cut()
            return
        self._accepted = True
        client.on_log = None
        maximum = getattr(properties, "ReceiveMaximum", 65_535)
        self._post(Opened(maximum, getattr(properties, "MaximumPacketSize", None)))

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: ReasonCode, properties: Properties) -> None:
        self._post(Acked(mid, reason.value, reason.getName()) if reason.is_failure else Acked(mid))

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours
        correlation = getattr(message.properties, "CorrelationData", None)
        if self._received < MAX_RECEIVED:
            self._post(Received(topic, bytes(message.payload), message.retain, correlation))

    def _on_subscribe(
        self, client: Any, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._post(NotSubscribed(reason.getName()))

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self._closing:
            self._post(Closed(Trouble.STOPPED, "closed"))
        elif not self._answered and self._alert:
            self._post(Closed(Trouble.REFUSED, self.address.alerted(self._alert)))
        elif not self._answered:
            self._post(Closed(Trouble.SILENT, self.address.silent()))
        elif flags.is_disconnect_packet_from_server:
            trouble = Trouble.REFUSED if reason.value == _TAKEN_OVER else Trouble.LOST
            self._post(Closed(trouble, self._sentence(reason), reason.value))
        elif reason.value == _KEEPALIVE_TIMEOUT:
            self._post(Closed(Trouble.STALLED, "the broker has not answered a ping"))
        elif reason.value == _PROTOCOL_ERROR:
            self._post(Closed(Trouble.LOST, "the broker has said something that is not MQTT"))
        else:
            self._post(Closed(Trouble.LOST, "the connection broke"))

    def _on_log(self, client: Any, userdata: Any, level: Any, line: str) -> None:
        """paho says in its log alone why a line has broken. `[SSL: REASON] ...` is how Python writes such an error."""
        reason = line.partition("[SSL: ")[2].partition("]")[0]
        if is_alert(reason):
            self._alert = reason

    def _sentence(self, reason: ReasonCode) -> str:
        if reason.value in (_BAD_LOGIN, _NOT_AUTHORIZED) and not self._accepted:
            return self.address.refused_login()
        template = _SENTENCES.get(reason.value, "the broker says: {reason}")
        return template.format(client_id=self.address.client_id, reason=reason.getName())

    def _post(self, event: Occurrence) -> None:
        """Hand over to the loop: many events, one wake-up."""
        with self._lock:
            self._events.append(event)
            self._received += isinstance(event, Received)
            if self._scheduled:
                return
            self._scheduled = True
        with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
            self._loop.call_soon_threadsafe(self._hand_over)

    # on our loop again
    def _hand_over(self) -> None:
        with self._lock:
            self._scheduled = False
            events, self._events = self._events, deque()
            self._received = 0
        for event in events:
            if isinstance(event, Closed):
                self._end(event)
            elif not self._ended:
                self._tell(event)

    def _end(self, closed: Closed) -> None:
        if not self._ended:
            self._ended = True
            self._deadline.cancel()
            self._tell(closed)


def _limits() -> Properties:
    limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    limits.MaximumPacketSize = MAX_PACKET_BYTES
    return limits
