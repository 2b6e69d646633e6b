"""What can be set: one class per table of the file, one field per key, each with its bounds and a description.

Schema, example file and `config show` are all made from these.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from gateway.config.paths import read_secret
from gateway.toml_lines import KeyPath


def is_loopback(host: str) -> bool:
    """True where only this machine can reach a server listening on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]%-]{1,253}", text):
        raise ValueError(f'"{text}" is not a host name or address')
    return text


def _gateway_id(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", text):
        raise ValueError(f'"{text}" is not an id: small letters, digits and -, 32 at most, a letter or digit first')
    return text


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", text):
        raise ValueError(f'"{text[:60]}" is not an origin: "https://dash.example.org", with :port where it has one')
    return text


def _printable(text: str) -> str:
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise ValueError("must be 1 to 64 characters that can be printed")
    return text


def _outlet_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise ValueError(f'"{text}" is not a name: small letters, digits, - and _, 32 at most, a letter or digit first')
    return text


def _base_topic(text: str) -> str:
    levels = text.split("/")
    if not text.isprintable() or len(text) > 100 or set(text) & set("+#$") or "" in levels:
        raise ValueError("must be topic levels between slashes, without +, # and $, 100 characters at most")
    return text


def _broker_url(text: str) -> str:
    """Says nothing of the url itself: it may hold a password."""
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError('must look like "mqtt://broker.local:1883"; its port is not a number') from None
    if url.username is not None or url.password is not None:
        raise ValueError(
            "must not hold a name or password: say username, and password_file for a file with the password"
        )
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname or port == 0:
        raise ValueError('must look like "mqtt://broker.local:1883", or mqtts:// for TLS')
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError("must end after the port: the topics are set by base")
    return text


def _commit_ms(value: Any) -> Any:
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 60_000):
        raise ValueError('must be "auto", or milliseconds from 1 to 60_000')
    return value


def _max_mb(value: int) -> int:
    if value < 0 or 0 < value < LEAST_MAX_MB:
        raise ValueError(f"must be 0 for no limit, or at least {LEAST_MAX_MB}")
    return value


LEAST_MAX_MB = 20
"""Room for what is not deleted with the samples (boots, what was refused) beside a useful number of them."""
Port = Annotated[int, Field(ge=0, le=65_535)]
Host = Annotated[str, AfterValidator(_host)]
Origin = Annotated[str, AfterValidator(_origin)]
Text = Annotated[str, AfterValidator(_printable)]
OutletName = Annotated[str, AfterValidator(_outlet_name)]
MaxMb = Annotated[int, AfterValidator(_max_mb)]


class Section(BaseModel):
    """A table of the file. Unknown keys are errors, and nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GatewayConfig(Section):
    """The gateway itself."""

    id: Annotated[str, AfterValidator(_gateway_id)] | None = Field(
        default=None,
        examples=["gw-attic"],
        description="Its id on the wire. Left out: drawn at the first start and kept.",
    )
    name: Text = Field(default="mpy-gateway", description="What people call it.")
    announce: bool = Field(
        default=True,
        description="Tell the local network (mDNS) where the doors are that others reach: boards find the gateway by "
        "its id though its address changes.",
    )


class Door(Section):
    """What all doors have: an address, and TLS or not."""

    host: Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=0, description="0 takes any free one.")
    tls: bool | None = Field(
        default=None, examples=[True], description="Left out: TLS, unless the host is this machine alone (127.0.0.1)."
    )
    insecure: bool = Field(
        default=False,
        description="Allow tls = false on a host that others reach: tokens and all else can be read on the way.",
    )
    certificate_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/door.pem"],
        description="A certificate of your own (PEM, with what leads to its authority); a relative path starts at "
        "this file. Left out: the gateway makes one.",
    )
    key_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/door.key"],
        description="Its private key (PEM, without a password).",
    )

    @property
    def uses_tls(self) -> bool:
        """Whether this door speaks TLS."""
        return not is_loopback(self.host) if self.tls is None else self.tls

    @property
    def in_the_clear(self) -> bool:
        """Whether others reach it, and can read what passes."""
        return not self.uses_tls and not is_loopback(self.host)


class DevicesConfig(Door):
    """The door for boards: a WebSocket listener."""

    host: Host = Field(
        default="127.0.0.1", description="Address to listen on. Boards on Wi-Fi need one they can reach."
    )
    port: Port = Field(default=8765, description="0 takes any free one.")
    ca_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/ca.pem"],
        description="With certificate_file: the authority that boards pin (PEM, one certificate).",
    )


class PeopleConfig(Door):
    """The door for people: page, REST, live feed."""

    port: Port = Field(default=8080, description="0 takes any free one.")
    allowed_hosts: tuple[Host, ...] = Field(
        default=(), description='Further names under which a browser may ask for the page, such as "pi.local".'
    )
    allowed_origins: tuple[Origin, ...] = Field(
        default=(),
        description='Dashboards served from elsewhere that may ask here, such as "https://dash.example.org". '
        "They log in with API tokens.",
    )


class MqttConfig(Section):
    """A broker to publish to. Each has its own place in the samples, so one that is away holds up no other."""

    url: Annotated[str, AfterValidator(_broker_url)] = Field(
        examples=["mqtt://broker.local:1883"], description="mqtt://host:1883, or mqtts://host:8883 for TLS."
    )
    base: Annotated[str, AfterValidator(_base_topic)] = Field(
        default="mpy-gateway", description="First level of all topics."
    )
    username: Text | None = Field(
        default=None, examples=["gateway"], description="Login name, where the broker wants one."
    )
    password_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/mqtt.password"],
        description="File with nothing but the password; a relative path starts at this file. "
        "Left out: the systemd credential mqtt.<name>.password, if there is one.",
    )
    ca_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/broker-ca.pem"],
        description="With mqtts: the authority that signed the broker's certificate (PEM), which is always verified. "
        "Left out: those this machine trusts.",
    )
    certificate_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/broker-client.pem"],
        description="With mqtts: our own certificate (PEM), where the broker wants one.",
    )
    key_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/broker-client.key"],
        description="Its private key (PEM, without a password).",
    )
    client_id: Text | None = Field(
        default=None, examples=["mpy-gateway-attic"], description="Left out: made from the gateway's id."
    )

    def password(self) -> str | None:
        """The password as it is in its file now; None without a file. Raises ConfigError."""
        return read_secret(self.password_file) if self.password_file else None

    @property
    def in_the_clear(self) -> bool:
        """Whether others can read what passes."""
        url = urllib.parse.urlsplit(self.url)
        return url.scheme == "mqtt" and not is_loopback(url.hostname or "")


class BrokerConfig(Door):
    """The broker that is started when no [mqtt.<name>] is there."""

    host: Host = Field(
        default="127.0.0.1", description="Address to listen on. One that other machines reach needs a login and TLS."
    )
    port: Port = Field(default=1883, description="Port for MQTT 3.1.1 and 5. 0 takes any free one.")
    port_v5: Port = Field(default=1884, description="A second port for the same. 0 takes any free one.")
    username: Text | None = Field(
        default=None, examples=["home"], description="Login that every client must have. Left out: none is asked for."
    )
    password_file: Path | None = Field(
        default=None,
        examples=["/etc/mpy-gateway/broker.password"],
        description="File with nothing but its password. Left out: the systemd credential broker.password, if there "
        "is one.",
    )

    def password(self) -> str | None:
        """The password as it is in its file now; None without a file. Raises ConfigError."""
        return read_secret(self.password_file) if self.password_file else None


class StoreConfig(Section):
    """Where samples are kept."""

    commit_ms: Annotated[Any, BeforeValidator(_commit_ms)] = Field(
        default="auto",
        description="Samples that arrive within this many milliseconds share one commit. "
        '"auto": 20, and 2000 or more on SD cards.',
        json_schema_extra={"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 60_000}]},
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days after which samples are deleted, counted from when they were received. 0 keeps everything.",
    )
    max_mb: MaxMb = Field(
        default=0,
        description=f"Megabytes of samples to keep; the oldest go first. 0: no limit; {LEAST_MAX_MB} is the least.",
    )


class Limits(Section):
    """What one device or browser may take of the gateway. Defaults as in gateway/device/WIRE.md, section 9."""

    # What both sides must agree on beforehand (nesting, samples in a frame) is fixed by the protocol: device/wire.py.
    frame_bytes: int = Field(default=65_536, ge=1_024, le=1 << 20, description="Largest frame, both directions.")
    window_samples: int = Field(
        default=1_000, ge=1, le=10_000, description="Most samples of a device under way without an ack."
    )
    handshake_s: float = Field(default=10, gt=0, le=300, description="Longest handshake, in seconds.")
    hello_s: float = Field(default=10, gt=0, le=300, description="Longest wait for hello, in seconds.")
    ping_s: float = Field(default=20, gt=0, le=600, description="Longest wait for the answer to a ping, in seconds.")
    errors: int = Field(default=100, ge=1, description="Errors within errors_window_s that close a connection.")
    errors_window_s: float = Field(default=60, gt=0, description="The time errors are counted over, in seconds.")
    frames_per_s: int = Field(
        default=200,
        ge=1,
        description="Frames a second from one device, over a few seconds; then it is read more slowly.",
    )
    frames_uncommitted: int = Field(
        default=64, ge=1, description="Frames of a device waiting for their commit; then reading from it stops."
    )
    samples_per_s: int = Field(
        default=5_000,
        ge=1,
        description="Samples a second from one device, over a few seconds; then it is read more slowly.",
    )
    devices: int = Field(default=1_000, ge=1, description="Devices registered.")
    connections: int = Field(default=500, ge=1, description="Devices connected at once.")
    connections_per_address: int = Field(
        default=300, ge=1, description="Connections from one address (IPv6: one /64), unfinished ones too."
    )
    strangers: int = Field(
        default=250,
        ge=1,
        description="Connections whose token was not checked yet, handshakes included; of more, the oldest is dropped.",
    )
    bad_tokens_per_min: int = Field(
        default=60, ge=1, description="Bad tokens from one address; after more, what comes from it is closed at once."
    )
    quarantine_rows: int = Field(
        default=10_000, ge=0, description="Refused values and frames kept of each device; the oldest go first."
    )
    feed_queue_bytes: int = Field(
        default=16 << 20,  # 200 boards that return at once can bring 3 MB in one commit
        ge=1 << 16,
        description="Bytes waiting for one browser on the live feed; one that is slower is disconnected.",
    )
    people_connections: int = Field(
        default=300,
        ge=10,
        description="Connections of browsers and scripts at once. Of more, those without a login are closed first.",
    )
    people_connections_per_address: int = Field(
        default=100, ge=1, description="Of these, from one address. More, where a proxy brings everybody."
    )
    people_head_s: float = Field(default=10, gt=0, le=300, description="Longest time for a request's head, in seconds.")
    people_body_s: float = Field(default=20, gt=0, le=300, description="Longest time for its body, in seconds.")
    people_stranger_s: float = Field(
        default=60, gt=0, le=3600, description="Longest life of a connection without a login, in seconds."
    )
    people_url_bytes: int = Field(default=4_096, ge=256, le=16_384, description="Longest address of a request.")
    people_body_bytes: int = Field(default=65_536, ge=1_024, le=1 << 20, description="Most that a request may bring.")
    people_requests_per_s: float = Field(
        default=20, gt=0, description="Requests a second without a login from one address, over a few seconds."
    )
    people_sessions: int = Field(
        default=20, ge=1, le=1_000, description="Browsers logged in to one account; the oldest makes room."
    )


class LogConfig(Section):
    """What the gateway tells on its standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is shown.")
    format: Literal["text", "json"] = Field(
        default="text", description="text for people, json for programs: one object a line."
    )


class Settings(Section):
    """Everything that can be set. `Config` adds what is not a setting."""

    gateway: GatewayConfig = GatewayConfig()
    devices: DevicesConfig = DevicesConfig()
    people: PeopleConfig = PeopleConfig()
    mqtt: dict[OutletName, MqttConfig] = {}
    broker: BrokerConfig = BrokerConfig()
    store: StoreConfig = StoreConfig()
    limits: Limits = Limits()
    log: LogConfig = LogConfig()


_INSECURE_ADVICE = {
    "devices": "boards that were set up without TLS need their files anew; to go on without it say devices.tls = false",
    "people": "take it out, or say people.tls = false to go on without TLS",
    "broker": "take it out, or say broker.tls = false to go on without TLS",
}


class Config(Settings):
    """The settings of this run, and where it keeps its state."""

    state: Path
    """The state directory, absolute. The store makes it."""
    _origins: dict[KeyPath, str] = PrivateAttr(default_factory=dict)

    def origin(self, path: Sequence[str]) -> str | None:
        """Where the key at `path` was set: `mpy-gateway.toml:12`, a variable, an option. None: it has its default."""
        return self._origins.get(tuple(path))

    def warnings(self) -> list[str]:
        """Settings that work but should be looked at, a sentence each, to be logged at the start."""
        found = []
        doors: list[tuple[str, Door]] = [("devices", self.devices), ("people", self.people)]
        if not self.mqtt:
            doors.append(("broker", self.broker))
        for name, door in doors:
            if door.in_the_clear:
                found.append(f"{name}.insecure: what passes {door.host}:{door.port} can be read by anyone on the way")
            elif door.insecure and door.uses_tls:
                found.append(f"{name}.insecure does nothing while there is TLS: {_INSECURE_ADVICE[name]}")
        for name, mqtt in self.mqtt.items():
            if mqtt.in_the_clear and mqtt.username:
                found.append(
                    f"mqtt.{name}.url: its password and all samples can be read by anyone on the way to the broker; "
                    "where that is not wanted, let the broker speak TLS, and say mqtts://"
                )
        return found
