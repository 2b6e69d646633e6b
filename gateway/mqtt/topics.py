"""What goes out over MQTT, and what comes in: pure. TOPICS.md says the same for people, and a test compares the two.

    <base>/bridge/state               online | offline                      retained, last will
    <base>/<device>/availability      online | offline                      retained
    <base>/<device>/state             newest value of each quantity         retained, at most once a second
    <base>/<device>/samples           every sample                          one message per commit
    <base>/<device>/event|gap|quarantine                                    what else has a sequence number
    <base>/<device>/corrected         times that have moved, once           samples from..to of a boot
    <base>/<device>/command/<name>    in: arguments
    <base>/<device>/result            out: the one answer to a command

Nothing here publishes to a topic that holds `+`, `#` or NUL: such a name raises ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.model import Batch, Correction, Event, Gap, Quality, Refused, Result, Sample, Status

MAX_PAYLOAD_BYTES = 100_000
"""A samples message that would be larger is split. Hosted brokers take from 128 KB on; ours 1 MB."""
MAX_COMMAND_BYTES = 4_096
MAX_ARGUMENTS = 16
SCHEMA = "1"
"""Version of the payloads, in the user property `schema`. It changes when a field changes its meaning."""

ONLINE, OFFLINE = b"online", b"offline"
_DEVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_COMMAND = re.compile(r"[a-z][a-z0-9_.]{0,31}")
_RESERVED = frozenset({"bridge"})
"""Ids that are topics of the gateway itself."""

Scalar = str | int | float | bool | None
Number = int | float | None
Decimals = Mapping[str, int]
"""Decimal places of each quantity, from the profile the records were taken under."""


class Message(msgspec.Struct, frozen=True):
    """One PUBLISH. `properties` (user properties) and `correlation` are left out on 3.1.1."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: tuple[tuple[str, str], ...] = ()
    correlation: bytes | None = None


class RefusedValue(msgspec.Struct, frozen=True):
    """A value that was kept apart. `value` is its JSON text."""

    seq: int
    quantity: str
    value: str
    code: str
    reason: str


class Samples(msgspec.Struct, frozen=True, omit_defaults=True):
    """Columns: sample `i` has sequence number `seq[i]` and was taken at `at[i]`, Unix ms. Not measured is null."""

    device: str
    boot: int
    boot_id: str
    seq: list[int]
    at: list[int]
    quality: Quality
    values: dict[str, list[Number]]
    refused: list[RefusedValue] = []


class EventMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    device: str
    boot: int
    boot_id: str
    seq: int
    at: int
    quality: Quality
    code: str
    sensor: str | None = None
    data: dict[str, Scalar] = {}


class GapMessage(msgspec.Struct, frozen=True):
    """Samples `from` to `to` no longer exist; `to` null: the boot's end is unknown, and at most `at_most` are lost."""

    device: str
    boot: int
    boot_id: str
    first: int = msgspec.field(name="from")
    to: int | None
    count: int | None
    at_most: int | None
    why: str


class QuarantineMessage(msgspec.Struct, frozen=True):
    """A whole frame that was kept apart, covering `from` to `to`."""

    device: str
    boot: int
    boot_id: str
    first: int = msgspec.field(name="from")
    to: int
    code: str
    reason: str


class CorrectionMessage(msgspec.Struct, frozen=True):
    """The times of what was published as `estimated` with the numbers `from` to `to`: each is `moved_ms` later."""

    device: str
    boot: int
    boot_id: str
    first: int = msgspec.field(name="from")
    to: int
    moved_ms: int
    quality: Quality


class ErrorText(msgspec.Struct, frozen=True):
    code: str
    text: str


class ResultMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """`transaction` is what came with the command."""

    device: str
    name: str
    id: str
    status: Status
    data: dict[str, Scalar] = {}
    error: ErrorText | None = None
    transaction: str | None = None


class Request(msgspec.Struct, frozen=True):
    """A command from the broker, checked as far as can be done without the device."""

    device: str
    name: str
    args: dict[str, Scalar]
    transaction: str | None


class BadRequest(ValueError):
    """A command that is not sent. `answer` goes to the device's result topic."""

    def __init__(self, answer: ResultMessage) -> None:
        super().__init__(answer.error.text if answer.error else "")
        self.answer = answer


def publishable(device: str) -> bool:
    """Whether `device` can have topics of its own. Every id but `bridge` can."""
    return bool(_DEVICE.fullmatch(device)) and device not in _RESERVED


class Topics:
    """The names below one base topic. Raises ValueError for a name that MQTT does not allow."""

    def __init__(self, base: str) -> None:
        if not base or set(base) & set("+#\0") or "" in base.split("/"):
            raise ValueError(f"{base!r} cannot be the base of topics: no +, # or NUL, and no empty level")
        self.base = base
        self.bridge_state = f"{base}/bridge/state"
        self.commands = f"{base}/+/command/+"
        """The filter to subscribe to."""

    def of(self, device: str, leaf: str) -> str:
        if not publishable(device):
            raise ValueError(f"{device!r} cannot be a level of a topic")
        return f"{self.base}/{device}/{leaf}"

    def bridge(self, state: bytes) -> Message:
        """`online`, or as last will `offline`."""
        return Message(self.bridge_state, state, retain=True)

    def availability(self, device: str, online: bool) -> Message:
        return Message(self.of(device, "availability"), ONLINE if online else OFFLINE, retain=True)

    def forgotten(self, device: str) -> list[Message]:
        """Clears what is retained of a device that is no more."""
        return [Message(self.of(device, leaf), b"", retain=True) for leaf in ("availability", "state")]

    def result(self, answer: ResultMessage, correlation: bytes | None = None) -> Message:
        return Message(self.of(answer.device, "result"), msgspec.json.encode(answer), correlation=correlation)

    # out
    def messages(
        self, run: Sequence[Batch], decimals: Decimals, max_bytes: int = MAX_PAYLOAD_BYTES
    ) -> Iterator[Message]:
        """All messages of one of `runs`."""
        head = run[0]
        records = [record for batch in run for record in batch.records]
        if samples := [record for record in records if isinstance(record, Sample)]:
            yield from self._samples(head, samples, decimals, max_bytes)
        origin = (head.device, head.boot, head.boot_id)
        for record in records:
            match record:
                case Event():
                    at = head.at_ms(record.t_ms)
                    event = EventMessage(*origin, record.seq, at, head.quality, record.code, record.sensor, record.data)
                    yield self._message(head, "event", record.seq, record.seq, event)
                case Gap():
                    gap = GapMessage(*origin, record.seq, record.to, record.count, record.at_most, record.why)
                    yield self._message(head, "gap", record.seq, record.last, gap)
                case Refused():
                    refused = QuarantineMessage(*origin, record.seq, record.to, record.code, record.reason)
                    yield self._message(head, "quarantine", record.seq, record.to, refused)
                case Correction():
                    moved = CorrectionMessage(*origin, record.seq, record.to, record.moved_ms, head.quality)
                    yield self._message(head, "corrected", record.seq, record.to, moved)

    def _samples(self, head: Batch, samples: Sequence[Sample], decimals: Decimals, max_bytes: int) -> Iterator[Message]:
        message = self._message(
            head, "samples", samples[0].seq, samples[-1].seq, samples_payload(head, samples, decimals)
        )
        if len(message.payload) <= max_bytes or len(samples) == 1:
            yield message
            return
        middle = len(samples) // 2
        yield from self._samples(head, samples[:middle], decimals, max_bytes)
        yield from self._samples(head, samples[middle:], decimals, max_bytes)

    def halves(self, message: Message) -> list[Message]:
        """A message of several samples as two; empty where it is not."""
        if not message.topic.endswith("/samples"):
            return []
        whole = msgspec.json.decode(message.payload, type=Samples)
        middle = len(whole.seq) // 2
        return [_part(message, whole, slice(middle)), _part(message, whole, slice(middle, None))] if middle else []

    def _message(self, head: Batch, leaf: str, first: int, last: int, payload: msgspec.Struct) -> Message:
        properties = (("schema", SCHEMA), ("boot_id", head.boot_id), ("seq", str(first)), ("through", str(last)))
        return Message(self.of(head.device, leaf), msgspec.json.encode(payload), properties=properties)

    # in
    def request(self, topic: str, payload: bytes) -> Request:
        """The command in a message that came in on `commands`.

        Raises BadRequest with the answer to publish, or ValueError where the topic names no device to answer for."""
        device, name = self._addressed(topic)
        if len(payload) > MAX_COMMAND_BYTES:
            raise self._bad(device, name, "command.payload", f"the payload is larger than {MAX_COMMAND_BYTES:,} bytes")
        try:
            args = msgspec.json.decode(payload, type=dict[str, Scalar]) if payload.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = 'the payload must be a flat JSON object of arguments, such as {"seconds": 5}, or empty'
            raise self._bad(device, name, "command.payload", text) from None
        transaction = args.pop("transaction", None)
        if transaction is not None and not (isinstance(transaction, str) and len(transaction) <= 64):
            raise self._bad(device, name, "command.payload", "transaction must be text of at most 64 characters")
        if len(args) > MAX_ARGUMENTS:
            raise self._bad(device, name, "command.payload", f"more than {MAX_ARGUMENTS} arguments")
        if not _COMMAND.fullmatch(name):
            raise self._bad(device, name, "command.unknown", "no command has such a name", transaction)
        return Request(device, name, args, transaction)

    def _addressed(self, topic: str) -> tuple[str, str]:
        """(device, command name) of a command topic."""
        device, _, name = topic.removeprefix(f"{self.base}/").partition("/command/")
        if self.of(device, f"command/{name}") != topic or "/" in name:
            raise ValueError(f"{topic!r} is not a command topic")
        return device, name

    @staticmethod
    def _bad(device: str, name: str, code: str, text: str, transaction: str | None = None) -> BadRequest:
        error = ErrorText(code, text)
        return BadRequest(ResultMessage(device, name[:64], "", Status.FAILED, error=error, transaction=transaction))


def answer(request: Request, result: Result) -> ResultMessage:
    """The message that tells whoever asked how `request` ended."""
    error = ErrorText(result.error_code, result.error_text) if result.error_code else None
    return ResultMessage(
        request.device, request.name, result.id, result.status, result.data, error, request.transaction
    )


def refusal(request: Request, code: str, text: str) -> ResultMessage:
    """The answer to a request that never reached the device."""
    return ResultMessage(
        request.device,
        request.name,
        "",
        Status.FAILED,
        error=ErrorText(code, text),
        transaction=request.transaction,
    )


def runs(batches: Iterable[Batch]) -> list[list[Batch]]:
    """Batches that can share one message: of one boot, stamped alike, nothing else of their device between them."""
    found: list[list[Batch]] = []
    newest: dict[str, list[Batch]] = {}
    for batch in batches:
        run = newest.get(batch.device)
        if run is None or _stamp(run[0]) != _stamp(batch):
            run = newest[batch.device] = []
            found.append(run)
        run.append(batch)
    return found


def _stamp(batch: Batch) -> tuple[Any, ...]:
    corrections = isinstance(batch.records[0], Correction)  # they come in batches of their own, and in their order
    return batch.boot_id, batch.boot, batch.offset_ms, batch.quality, batch.profile, corrections


def samples_payload(head: Batch, samples: Sequence[Sample], decimals: Decimals) -> Samples:
    """`samples` of one boot as columns. `head` gives the stamp."""
    quantities = dict.fromkeys(quantity for sample in samples for quantity in sample.values)
    columns: dict[str, list[Number]] = {}
    for quantity in quantities:
        places = decimals.get(quantity)
        columns[quantity] = [number(sample.values.get(quantity), places) for sample in samples]
    return Samples(
        head.device,
        head.boot,
        head.boot_id,
        [sample.seq for sample in samples],
        [head.at_ms(sample.t_ms) for sample in samples],
        head.quality,
        columns,
        [RefusedValue(s.seq, r.quantity, r.value, r.code, r.reason) for s in samples for r in s.refused],
    )


def _part(message: Message, whole: Samples, part: slice) -> Message:
    """Some of the samples of `message`, which is `whole`."""
    seq = whole.seq[part]
    columns = {quantity: column[part] for quantity, column in whole.values.items()}
    payload = msgspec.structs.replace(
        whole,
        seq=seq,
        at=whole.at[part],
        values={quantity: column for quantity, column in columns.items() if any(v is not None for v in column)},
        refused=[refused for refused in whole.refused if seq[0] <= refused.seq <= seq[-1]],
    )
    numbers = {"seq": str(seq[0]), "through": str(seq[-1])}
    properties = tuple((key, numbers.get(key, value)) for key, value in message.properties)
    return msgspec.structs.replace(message, payload=msgspec.json.encode(payload), properties=properties)


def number(value: float | None, decimals: int | None) -> Number:
    """`value` with as many decimals as its quantity has: 21.540000000000003 is 21.54, and 1013.0 of a counter 1013."""
    if value is None or decimals is None:
        return value
    return round(value, decimals) if decimals > 0 else round(value)
