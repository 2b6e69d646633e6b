"""What a device may say, as a text, and the gateway it is said to: the real session, checkers, stamps and the plan of a
commit, without socket, clock and disk. `play` fails where a promise is broken.

A line is a step:

    {"type":"hello", ...}   a text frame, whatever is in it
    =4d47010061626364       a binary frame, in hex
    +250                    so many milliseconds pass
    *commit                 what is under way is committed (all of it, at the end)
    *again                  the connection is cut and the device comes back
    *date                   the date of the gateway becomes known, or is lost
    *full                   the disk cannot be written
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, Final

import msgspec

from gateway.config import Limits
from gateway.device import session as said
from gateway.device import wire
from gateway.device.boots import Remembered
from gateway.device.session import Session, State
from gateway.device.stamps import Now
from gateway.intake import check
from gateway.intake.unknown import UnknownProfile
from gateway.model import Batch, Event, Gap, Record, Refused, Sample
from gateway.profile import find_node, load_profile
from gateway.store.body import decode_records
from gateway.store.commit import INT64, Boot, Commit
from gateway.store.port import Committed

STEPS: Final = 64
"""More of an input is not looked at: a million are to fit in a run."""
FRAME_BYTES: Final = 65_536
"""As the listener has it: a longer frame never comes to the session."""
PROFILE: Final = load_profile(find_node("climate-node"))
CHECKER: Final = check.compile(PROFILE)
DEVICE: Final = "greenhouse"
WALL_MS: Final = 1_790_000_000_000
_encode_body = msgspec.msgpack.Encoder().encode


class Broken(AssertionError):
    """A promise of ours does not hold for this input."""


def _hold(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


class Talk:
    """One device and the gateway, from connection to connection."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        """Error codes, close codes and kinds of outputs, with how often they came."""
        self._memory = Remembered()
        self._store: dict[str, Boot] = {}
        self._under_way: list[Batch | said.Restamp] = []
        self._at_ms, self._trusted = 1_000, True
        self._connect()

    def _connect(self) -> None:
        self._session = Session(DEVICE, "gw-fuzz", Limits(), self._memory, self._now)
        self._taken: dict[int, int] = {}

    @property
    def _now(self) -> Now:
        return Now(self._at_ms, WALL_MS + self._at_ms, self._trusted)

    def play(self, text: str) -> Counter[str]:
        """All steps of `text`, then a commit. Raises Broken, or whatever the gateway raises, which is never right."""
        for line in text.split("\n")[:STEPS]:
            self._step(line)
        self._commit()
        return self.heard

    def hear(self, frame: str | bytes) -> None:
        """A frame comes."""
        was_closed = self._session.state is State.CLOSED
        outputs = self._session.receive(frame, self._now)
        _hold(not (was_closed and outputs), "a closed session said something")
        self._do(outputs)

    def _step(self, line: str) -> None:
        if line.startswith("*"):
            self._happen(line[1:])
        elif line.startswith("+"):
            self._pass(int(line[1:9]) if line[1:9].isascii() and line[1:9].isdecimal() else 1)
        elif line.startswith("="):
            try:
                self.hear(bytes.fromhex(line[1:]))
            except ValueError:
                self.hear(line[1:].encode())
        elif len(line.encode()) <= FRAME_BYTES:
            self.hear(line)

    def _happen(self, what: str) -> None:
        match what:
            case "commit":
                self._commit()
            case "again":
                self._session.ended()
                self._under_way.clear()
                self._connect()
            case "date":
                self._trusted = not self._trusted
                self._do(self._session.settle(self._now))
            case "full":
                self._do(self._session.unavailable(self._now))

    def _pass(self, ms: int) -> None:
        self._at_ms += ms
        due_ms = self._session.next_tick_ms()
        if due_ms is not None and due_ms <= self._at_ms:
            self._do(self._session.tick(self._now))
        self._do(self._session.settle(self._now))

    def _commit(self) -> None:
        """As sqlite.py does it: the batches of a window in one commit. No frame of a device may make it fail."""
        under_way, self._under_way = self._under_way, []
        for item in under_way:
            if isinstance(item, said.Restamp):
                _hold(item.offset_ms in INT64, "a correction no database holds")
                self._session.restamped(item.boot_id)
                continue
            commit = Commit()
            boot = self._store.setdefault(item.boot_id, Boot(len(self._store), 1, item.boot_id, item.boot))
            commit.add(item, boot)
            commit.note_times()
            for row in commit.rows:
                records = tuple(row.records)
                _hold(decode_records(_encode_body(records)) == records, "a row that does not come back as it was")
            for refused in commit.quarantined:
                _hold(refused.at_ms in INT64 and refused.seq in INT64, "a row of quarantine no database holds")
                (refused.value + refused.reason + (refused.quantity or "")).encode()
            self._do(self._session.committed(item.boot, boot.through))

    # What the session says

    def _do(self, outputs: list[said.Output]) -> None:
        for place, output in enumerate(outputs):
            self.heard[type(output).__name__] += 1
            match output:
                case said.Reply(message):
                    self._check_reply(message)
                case said.Greet(hello):
                    self._welcome(hello)
                case said.Append(batch):
                    self._check_batch(batch)
                    self._under_way.append(batch)
                case said.Restamp():
                    self._under_way.append(output)
                case said.Newest(_, t_ms, at_ms, values):
                    _hold(at_ms in INT64 and t_ms in INT64, "a newest value at no time")
                    self._check_values(values)
                case said.Slow(wait_ms):
                    _hold(0 < wait_ms < 3_600_000, f"a wait of {wait_ms} ms")
                case said.Close(code, reason):
                    self.heard[str(code)] += 1
                    _hold(len(reason.encode()) <= 123, "a reason no close frame holds")
                    _hold(not any(isinstance(o, said.Append) for o in outputs[place:]), "taken after the end")
        self._check_memory()

    def _welcome(self, hello: wire.Hello) -> None:
        checkers: dict[str, Any] = {"": CHECKER, PROFILE.hash: CHECKER}
        for boot in hello.boots:
            checkers.setdefault(boot.profile or "", UnknownProfile(boot.profile or ""))
        if isinstance(checkers[hello.boots[-1].profile or ""], UnknownProfile):
            self._do(self._session.close(wire.CloseCode.UNKNOWN_PROFILE))
            return
        committed = [self._committed(boot) for boot in hello.boots]
        self._taken = {boot.boot: known.through for boot, known in zip(hello.boots, committed, strict=True)}
        self._do(self._session.welcome(committed, checkers, self._now))

    def _committed(self, said_boot: wire.HelloBoot) -> Committed:
        known = self._store.get(said_boot.id)
        if known is None:
            return Committed(said_boot.id, said_boot.boot, -1)
        return Committed(
            said_boot.id,
            said_boot.boot,
            known.through,
            ended=known.ended,
            estimated=known.last_guess_ms is not None,
            zero_ms=known.zero_ms,
            last_at_ms=known.last_at_ms,
        )

    def _check_reply(self, message: wire.Outgoing) -> None:
        data = wire.encode(message)
        _hold(len(data) <= FRAME_BYTES, f"a reply of {len(data)} bytes")
        body = json.loads(data.decode(), parse_constant=_no_constant)
        if isinstance(message, wire.Error):
            self.heard[message.code] += 1
            _hold(len(message.text) <= wire.MAX_TEXT and "\n" not in message.text, "an error text out of bounds")
            _hold(message.code in ERROR_CODES, f"a code that is not on the page: {message.code}")
        _hold(body["type"], "a reply without type")

    def _check_batch(self, batch: Batch) -> None:
        _hold(batch.records, "an empty batch")
        _hold(batch.device == DEVICE, "a batch of another device")
        _hold(batch.offset_ms in INT64, "an offset no database holds")
        taken = self._taken.get(batch.boot, -1)
        first = batch.records[0]
        _hold(first.seq > taken or (isinstance(first, Gap) and first.to is None), "taken twice")
        for before, after in zip(batch.records, batch.records[1:], strict=False):
            _hold(after.seq == before.last + 1, "a hole within a batch")
        self._taken[batch.boot] = max(taken, batch.last)
        for record in batch.records:
            self._check_record(batch, record)

    def _check_record(self, batch: Batch, record: Record) -> None:
        if isinstance(record, Sample | Event):
            _hold(batch.at_ms(record.t_ms) in INT64, "a time no database holds")
        match record:
            case Sample():
                self._check_values(record.values)
                for refusal in record.refused:
                    _hold(len(refusal.value) <= wire.MAX_TEXT, "a refused value out of bounds")
                    _hold(len(refusal.reason) <= wire.MAX_TEXT, "a reason out of bounds")
                    _hold(len(refusal.quantity) <= wire.MAX_NAME, "a name out of bounds")
                    _hold(refusal.quantity not in record.values, "a value both kept and refused")
            case Refused():
                _hold(len(record.raw) <= wire.MAX_RAW, "a raw frame out of bounds")
                _hold(record.to - record.seq < FRAME_BYTES, "more refused than a frame can hold")
            case Gap():
                _hold(record.to is not None or record.at_most is not None, "a gap without any bound")

    def _check_values(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            limits = PROFILE.quantities[name]
            _hold(math.isfinite(value) and limits.low <= value <= limits.high, f"{name} {value} was accepted")

    def _check_memory(self) -> None:
        session = self._session
        _hold(len(self._memory.times) <= 64 + 64 and len(self._memory.trends) <= 64, "boots without end")
        _hold(len(session._asked) <= 8, "questions without end")
        _hold(len(session._errors_ms) <= Limits().errors, "errors without end")
        _hold(len(session._told_ms) <= len(ERROR_CODES), "codes without end")


def _no_constant(name: str) -> None:
    raise Broken(f"{name} in a reply")


ERROR_CODES: Final = frozenset(
    f"{kind}.{name}"
    for kind, names in {
        "frame": "json shape type field depth columns binary boot rate",
        "boot": "profile ended",
        "value": "range rate finite type unknown",
        "hello": "expected invalid again device profile committed hardware",
        "store": "unavailable",
    }.items()
    for name in names.split()
)
