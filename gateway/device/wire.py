"""Frames of WIRE.md to messages and back. Pure.

The good path is one call into C: `decoder()` is built once per profile (intake/check.py) and knows the type and range
of every value. Only what it refuses comes to `_explain`, which finds out which error of WIRE.md, section 8, it is.
"""

from __future__ import annotations

import enum
import json
import re
from typing import Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.errors import DeviceError

SUBPROTOCOL: Final = "mpy-gateway.v1"
TOKEN_SUBPROTOCOL: Final = "mpy-gateway.token."  # noqa: S105  the word before a token, not one
"""A browser cannot set headers: it offers its token as a subprotocol (never chosen, echoed or logged)."""

MAX_DEPTH: Final = 8
MAX_SAMPLES: Final = 1_000
MAX_TEXT: Final = 200
"""Characters of an error's text, of a value kept in quarantine and of a string in `data`."""
MAX_NAME: Final = 64
"""Characters of a name that is not ours, as it is shown or kept."""
MAX_RAW: Final = 4_096
"""Characters kept of a frame refused as a whole."""

MAX_LINE: Final = 500
"""Characters of a line of the device's log, and of a failed command's text."""

MAX_SLEEP_MS: Final = 31 * 24 * 3600 * 1000
"""For longer nobody is taken to be asleep."""

BINARY_HEADER_BYTES: Final = 8
BINARY_ECHO: Final = b"MG\x01\x00"
"""How a binary frame begins that wants to be sent back (WIRE.md, section 10)."""


class CloseCode(enum.IntEnum):
    """Why the gateway closes a connection (WIRE.md, section 8)."""

    GOING_AWAY = 1001
    FAULT = 1011
    HELLO_EXPECTED = 4000
    NO_HELLO = 4001
    SECOND_HELLO = 4002
    NOT_ITS_TOKEN = 4003
    UNKNOWN_PROFILE = 4004
    TOO_MANY_ERRORS = 4005
    TOO_SLOW = 4006
    REPLACED = 4009
    COMMITTED = 4010
    IDENTITY_IN_USE = 4011
    OTHER_HARDWARE = 4012


CLOSE_REASONS: Final = {
    CloseCode.GOING_AWAY: "the gateway stops",
    CloseCode.FAULT: "a fault of the gateway",
    CloseCode.HELLO_EXPECTED: "hello expected",
    CloseCode.NO_HELLO: "no hello in time",
    CloseCode.SECOND_HELLO: "second hello",
    CloseCode.NOT_ITS_TOKEN: "device id is not this token's",
    CloseCode.UNKNOWN_PROFILE: "unknown profile",
    CloseCode.TOO_MANY_ERRORS: "too many errors",
    CloseCode.TOO_SLOW: "too slow",
    CloseCode.REPLACED: "replaced",
    CloseCode.COMMITTED: "committed above next",
    CloseCode.IDENTITY_IN_USE: "identity in use",
    CloseCode.OTHER_HARDWARE: "other hardware",
}

Counter = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Milliseconds and sequence numbers: up to 2^53 - 1, the largest integer every JSON parser keeps exact."""
BootNumber = Annotated[int, Meta(ge=0, le=2**31 - 1)]
DeviceId = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,31}\Z")]
BootId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
ProfileHash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
_HARMFUL: Final = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Control characters, line separators, and what turns the direction of writing: for no terminal."""
Label = Annotated[str, Meta(pattern=rf"\A[^{_HARMFUL}]*\Z", max_length=64)]
CommandId = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z_-]{1,32}\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
Scalar: TypeAlias = str | float | int | bool | None
_Key = Annotated[str, Meta(min_length=1, max_length=64)]
_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Flat = Annotated[dict[_Key, _Text | float | int | bool | None], Meta(max_length=16)]
"""A flat object: 16 entries at most, texts of up to 200 characters."""


class Message(Struct, frozen=True, tag_field="type"):
    """Base of all messages. Unknown fields are ignored."""


# Device to gateway (WIRE.md, section 4)


class HelloBoot(Struct, frozen=True):
    boot: BootNumber
    id: BootId
    first: Counter
    next: Counter
    profile: ProfileHash | None = None
    t: Counter | None = None

    def __post_init__(self) -> None:
        if self.first > self.next:
            raise ValueError("`first` is above `next`")


class Hello(Message, frozen=True, tag="hello"):
    device: DeviceId
    hardware: Annotated[str, Meta(pattern=rf"\A[^{_HARMFUL}]+\Z", max_length=64)]
    boots: Annotated[list[HelloBoot], Meta(min_length=1, max_length=64)]
    node: Label = ""
    firmware: Label = ""
    t: Counter | None = None

    def __post_init__(self) -> None:
        if len({boot.boot for boot in self.boots}) < len(self.boots) or len({b.id for b in self.boots}) < len(
            self.boots
        ):
            raise ValueError("a boot is listed twice")


V = TypeVar("V")


class Samples(Message, Generic[V], frozen=True, tag="samples", forbid_unknown_fields=True):
    """Columns. `V` is a struct with one list per quantity, made from the profile.

    Strict, because a frame with nothing but known fields cannot nest too deeply: all others take the slow way."""

    boot: BootNumber
    seq: Counter
    t: Annotated[list[Counter], Meta(min_length=1, max_length=MAX_SAMPLES)]
    values: V


class Latest(Message, Generic[V], frozen=True, tag="latest", forbid_unknown_fields=True):
    boot: BootNumber
    t: Counter
    values: V


class Gap(Message, frozen=True, tag="gap"):
    boot: BootNumber
    first: Counter = msgspec.field(name="from")
    to: Counter | None
    why: Literal["full", "power_loss", "refused", "erased", "other"]
    count: Counter | None = None
    at_most: Counter | None = None

    def __post_init__(self) -> None:
        if self.to is None and self.at_most is None:
            raise ValueError("a gap with `to` null needs `at_most`")
        if self.to is not None and self.to < self.first:
            raise ValueError("a gap's `to` is below its `from`")
        if self.to is not None and self.count is not None and self.count > self.to - self.first + 1:
            raise ValueError("a gap's `count` is more than `from` to `to`")


class Event(Message, frozen=True, tag="event"):
    boot: BootNumber
    seq: Counter
    t: Counter
    code: Annotated[str, Meta(pattern=r"\A[a-z0-9_.]{1,48}\Z")]
    sensor: Name | None = None
    data: Flat = {}


class ClockAnswer(Message, frozen=True, tag="clock"):
    id: Counter
    t: Counter


class ResultError(Struct, frozen=True):
    code: Annotated[str, Meta(pattern=r"\A[a-z0-9_.]{1,48}\Z")]
    text: Annotated[str, Meta(max_length=MAX_LINE)] = ""


class Result(Message, frozen=True, tag="result"):
    id: CommandId
    status: Literal["done", "failed", "unknown"]
    data: Flat = {}
    error: ResultError | None = None


class SettingsReport(Message, frozen=True, tag="settings"):
    reported: Flat = {}
    refused: Flat = {}


class LogLine(Message, frozen=True, tag="log"):
    level: Literal["debug", "info", "warning", "error"]
    text: Annotated[str, Meta(max_length=MAX_LINE)]
    t: Counter | None = None


class Sleep(Message, frozen=True, tag="sleep"):
    ms: Annotated[int, Meta(ge=0, le=MAX_SLEEP_MS)]


Plain: TypeAlias = Hello | Gap | Event | ClockAnswer | Result | SettingsReport | LogLine | Sleep
"""What does not depend on a profile."""
INCOMING: Final = frozenset(
    {"hello", "samples", "latest", "gap", "event", "clock", "result", "settings", "log", "sleep"}
)


class Rough(Struct, frozen=True):
    """A `samples`, `latest` or `event` frame that is not as it should be, but whose `boot` and `seq` could be read.

    `seq` is -1 for `latest`. `body` may hold anything, NaN and infinity included. `error` is what was noticed first."""

    type: str
    boot: int
    seq: int
    body: dict[str, Any]
    text: str
    error: DeviceError


Incoming: TypeAlias = Plain | Samples[Any] | Latest[Any] | Rough
Decoder: TypeAlias = msgspec.json.Decoder[Any]


# Gateway to device (WIRE.md, section 5)


class WelcomeBoot(Struct, frozen=True):
    boot: int
    committed: int


class WelcomeLimits(Struct, frozen=True):
    frame_bytes: int
    samples: int


class Welcome(Message, frozen=True, tag="welcome"):
    gateway: str
    time: int | None
    window: int
    boots: list[WelcomeBoot]
    limits: WelcomeLimits


class Ack(Message, frozen=True, tag="ack"):
    """Of a boot through `seq`, or of one `result`."""

    boot: int | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    result: str | UnsetType = UNSET


class ClockRequest(Message, frozen=True, tag="clock"):
    id: int


class CommandRequest(Message, frozen=True, tag="command"):
    id: str
    name: str
    args: dict[str, Scalar]
    deadline_ms: int


class SettingsDesired(Message, frozen=True, tag="settings"):
    desired: dict[str, Scalar]


class NewToken(Message, frozen=True, tag="token"):
    """What the device is to prove itself with from its next connection on."""

    token: str


class Error(Message, frozen=True, tag="error"):
    code: str
    text: str
    retry: bool = False
    boot: int | UnsetType = UNSET
    seq: int | UnsetType = UNSET


Outgoing: TypeAlias = Welcome | Ack | ClockRequest | CommandRequest | SettingsDesired | NewToken | Error

encode: Final = msgspec.json.Encoder().encode
"""Outgoing message to the bytes of its text frame."""


def error_of(error: DeviceError) -> Error:
    """The frame that tells the sender."""
    return Error(
        code=error.wire_code,
        text=clean(str(error), MAX_TEXT),
        retry=error.retry,
        boot=UNSET if error.boot is None else error.boot,
        seq=UNSET if error.seq is None else error.seq,
    )


def decoder(columns: type[Struct], newest: type[Struct]) -> Decoder:
    """A decoder for devices of one profile: `columns` has a list per quantity, `newest` one value."""
    generic_samples, generic_latest = cast(Any, Samples), cast(Any, Latest)  # filled in at run time, unknown to mypy
    return msgspec.json.Decoder(generic_samples[columns] | generic_latest[newest] | Plain)


class _NoValues(Struct, frozen=True):
    """Before hello no profile is known: samples come as Rough, and nobody looks into them."""


ANY_PROFILE: Final = decoder(_NoValues, _NoValues)


def decode(text: str, good: Decoder) -> Incoming:
    """One text frame. Raises DeviceError with a code of WIRE.md, section 8, and never anything else."""
    try:
        message: Incoming = good.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _explain(text)
    if type(message) is not Samples and text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    return message


_PLAIN: Final[msgspec.json.Decoder[Plain]] = msgspec.json.Decoder(Plain)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise DeviceError("frame.depth", f"nested deeper than {MAX_DEPTH}")


def _explain(text: str) -> Incoming:
    """What the fast path refused: a message with fields unknown to us, a Rough one, or the error."""
    _check_depth(text)
    body = _parse(text)
    kind = body.get("type") if isinstance(body, dict) else None
    if not isinstance(kind, str):
        raise DeviceError("frame.shape", "a frame is a JSON object with a `type`")
    if kind not in INCOMING:
        raise DeviceError("frame.type", f"there is no type '{clean(kind, 40)}'")
    boot, seq = _whole(body.get("boot"), 2**31), _whole(body.get("seq"), 2**53)
    wrong = DeviceError("frame.field", f"{kind}: a field is missing or of the wrong type", boot=boot, seq=seq)
    if kind not in ("samples", "latest"):
        try:
            return _PLAIN.decode(text)
        except msgspec.ValidationError as error:
            code = "hello.invalid" if kind == "hello" else "frame.field"
            wrong = DeviceError(code, f"{kind}: {error}", boot=boot, seq=seq)
        except msgspec.DecodeError as error:  # NaN or infinity, where `_parse` is more patient
            raise DeviceError("frame.json", f"not JSON: {error}") from None
    if kind in ("samples", "latest", "event") and boot is not None and (seq is not None or kind == "latest"):
        return Rough(type=kind, boot=boot, seq=-1 if seq is None else seq, body=body, text=text, error=wrong)
    raise wrong


def _parse(text: str) -> Any:
    """JSON as Python reads it: NaN, Infinity and 1e999 come through, so that they can be refused one by one."""
    try:
        body = json.loads(text)
        if "\\u" in text:  # half a surrogate pair is no character: it could neither be stored nor sent on
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DeviceError("frame.json", f"not JSON: {error}") from None
    return body


def _whole(value: Any, below: int) -> int | None:
    return value if type(value) is int and 0 <= value < below else None


_UNPRINTABLE: Final = re.compile(rf"[{_HARMFUL}\ud800-\udfff]")


def clean(text: str, limit: int) -> str:
    """Text from outside, made harmless for logs, terminals and databases: one line, `limit` characters at most."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"
