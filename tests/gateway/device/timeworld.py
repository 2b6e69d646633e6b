"""A gateway, a board and a wall clock, all turned by hand: the real session and its memory, a store that is a list."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.config import Limits
from gateway.device import wire
from gateway.device.boots import Remembered
from gateway.device.session import Append, Newest, Output, Reply, Restamp, Session, State, Timed
from gateway.device.stamps import Now
from gateway.intake import check
from gateway.model import Batch, Quality, Sample
from gateway.store.port import Committed
from tests.gateway.device.door import PROFILE

CHECKER = check.compile(PROFILE)
YEAR_MS = 365 * 86_400_000
TRUE_MS = 1_790_000_000_000
"""Unix milliseconds, by a clock that is right, when a test begins."""


@dataclass
class Stored:
    """One sample in the store."""

    seq: int
    t_ms: int
    offset_ms: int
    quality: Quality
    moves: int = 0

    @property
    def at_ms(self) -> int:
        return self.offset_ms + self.t_ms


class ListStore:
    """What the store's port promises of times, in lists."""

    def __init__(self) -> None:
        self.boots: dict[str, list[Stored]] = {}
        self.restamps: list[tuple[str, int]] = []

    def append(self, batch: Batch) -> int:
        rows = self.boots.setdefault(batch.boot_id, [])
        for record in batch.records:
            if isinstance(record, Sample) and (not rows or record.seq > rows[-1].seq):
                rows.append(Stored(record.seq, record.t_ms, batch.offset_ms, batch.quality))
        return rows[-1].seq if rows else -1

    def restamp(self, boot_id: str, offset_ms: int) -> None:
        self.restamps.append((boot_id, offset_ms))
        for row in self.boots.get(boot_id, []):
            if row.quality is Quality.ESTIMATED:
                row.offset_ms, row.quality, row.moves = offset_ms, Quality.CORRECTED, row.moves + 1

    def committed(self, boot: wire.HelloBoot) -> Committed:
        rows = self.boots.get(boot.id, [])
        known = [row for row in rows if row.quality is not Quality.ESTIMATED]
        others = [row.at_ms for boot_id, rows in self.boots.items() if boot_id != boot.id for row in rows]
        return Committed(
            boot.id,
            boot.boot,
            rows[-1].seq if rows else -1,
            estimated=len(known) < len(rows),
            zero_ms=known[-1].offset_ms if known else None,
            last_at_ms=max((row.at_ms for row in rows), default=None),
            zero_corrected=bool(known) and max(known, key=lambda row: row.at_ms).quality is Quality.CORRECTED,
            floor_ms=max(others, default=None),
        )


@dataclass
class BoardBoot:
    """A boot of the board: what it holds, and when it began by the clock of the universe."""

    number: int
    began_ms: float
    held: list[tuple[int, int]] = field(default_factory=list)
    """(seq, t_ms) of what is not acknowledged."""
    next: int = 0

    @property
    def id(self) -> str:
        return f"{self.number:016x}"


class World:
    """`now_ms` is the time of the universe since the test began. The board's clock drifts against it, the wall clock of
    the gateway says `now_ms + TRUE_MS + wall_error_ms`."""

    def __init__(
        self, *, trusted: bool = True, wall_error_ms: int = 0, drift: float = 0.0, checker: check.Checker = CHECKER
    ) -> None:
        self.checker = checker
        self.now_ms = 0.0
        self.wall_error_ms = wall_error_ms
        self.trusted = trusted
        self.drift = drift
        self.store = ListStore()
        self.boots = [BoardBoot(1, self.now_ms)]
        self.sent: dict[str, int] = {}
        self.queue: list[Batch | Restamp] = []
        self.outputs: list[Output] = []
        self.taken: dict[tuple[str, int], float] = {}
        """When each sample was taken, by a clock that is right."""
        self.restart_gateway()

    # Clocks

    @property
    def now(self) -> Now:
        monotonic_ms = int(self.now_ms - self.started_ms) + 5_000
        return Now(monotonic_ms, int(self.now_ms) + TRUE_MS + self.wall_error_ms, self.trusted)

    def device_ms(self) -> int:
        return int((self.now_ms - self.boots[-1].began_ms) * (1 + self.drift))

    def advance(self, ms: float) -> None:
        self.now_ms += ms

    # The board

    def take(self, count: int = 1, *, every_ms: int = 1_000) -> None:
        """`count` samples, and as much time."""
        boot = self.boots[-1]
        for _ in range(count):
            self.taken[boot.id, boot.next] = self.now_ms + TRUE_MS
            boot.held.append((boot.next, self.device_ms()))
            boot.next += 1
            self.advance(every_ms)

    def reboot(self, *, off_ms: int = 3_000) -> None:
        """The board loses its power; its journal keeps what it held."""
        self.disconnect()
        self.advance(off_ms)
        self.boots.append(BoardBoot(self.boots[-1].number + 1, self.now_ms))

    def connect(self, *, tell_t: bool = True) -> None:
        self.disconnect()
        listed = [boot for boot in self.boots if boot.held or boot is self.boots[-1]][-64:]
        self.session = Session("greenhouse", "gw", Limits(frames_per_s=1_000_000, errors=10**9), self.memory, self.now)
        boots = []
        for boot in listed:
            entry: dict[str, Any] = {"boot": boot.number, "id": boot.id, "first": 0, "next": boot.next}
            if boot.held and tell_t:
                entry["t"] = boot.held[-1][1]
            boots.append(entry)
        hello = {"type": "hello", "device": "greenhouse", "hardware": "a4", "t": self.device_ms(), "boots": boots}
        self._do(self.session.receive(json.dumps(hello), self.now))
        assert self.session.hello is not None
        committed = [self.store.committed(boot) for boot in self.session.hello.boots]
        self._do(self.session.welcome(committed, {"": self.checker}, self.now))
        for boot, known in zip(listed, committed, strict=True):
            boot.held = [(seq, t_ms) for seq, t_ms in boot.held if seq > known.through]
            self.sent[boot.id] = known.through

    def disconnect(self, *, committed: int = 0) -> None:
        """The connection ends; of what is under way, so many more reach the disk."""
        self.commit(committed)
        self.queue.clear()
        if hasattr(self, "session"):
            self.session.ended()
            self._do(self.session.close(1001))

    @property
    def connected(self) -> bool:
        return hasattr(self, "session") and self.session.state is State.OPEN

    def answer(self, *, there_ms: int = 5, back_ms: int = 5) -> None:
        """The gateway asks, the board answers."""
        due_ms = self.session.next_tick_ms()
        if due_ms is not None and due_ms > self.now.monotonic_ms:
            self.session._exchanges_due_ms[0] = self.now.monotonic_ms  # a test need not wait for the timetable
        asked = [m for m in self._messages(self.session.tick(self.now)) if isinstance(m, wire.ClockRequest)]
        number = asked[0].id if asked else self.session._requests
        self.advance(there_ms)
        t_ms = self.device_ms()
        self.advance(back_ms)
        self.say({"type": "clock", "id": number, "t": t_ms})

    def send(self, count: int = 1, *, frames: int = 1) -> None:
        """The next samples that are held, the oldest boot first."""
        for _ in range(frames):
            for boot in self.boots:
                new = [(seq, t_ms) for seq, t_ms in boot.held if seq > self.sent.get(boot.id, -1)][:count]
                if not new or boot.id not in {b.id for b in self.session.boots.values()}:
                    continue
                frame = {
                    "type": "samples", "boot": boot.number, "seq": new[0][0], "t": [t_ms for _, t_ms in new],
                    "values": {"temperature": [20] * len(new)},
                }  # fmt: skip
                self.sent[boot.id] = new[-1][0]
                self.say(frame)
                break

    def say(self, frame: dict[str, Any]) -> list[Output]:
        outputs = self.session.receive(json.dumps(frame), self.now)
        self._do(outputs)
        return outputs

    # The gateway

    def commit(self, count: int = 1_000_000) -> None:
        """Carry out what is under way."""
        for item in self.queue[:count]:
            if isinstance(item, Restamp):
                self.store.restamp(item.boot_id, item.offset_ms)
                self.session.restamped(item.boot_id)
                continue
            through = self.store.append(item)
            self._do(self.session.committed(item.boot, through))
            for boot in self.boots:
                if boot.id == item.boot_id:
                    boot.held = [(seq, t_ms) for seq, t_ms in boot.held if seq > through]
        del self.queue[:count]

    def settle(self) -> None:
        """The server's timer."""
        if self.connected:
            self._do(self.session.settle(self.now))
            return
        for boot_id, offset_ms in self.memory.settle(self.now):
            self.store.restamp(boot_id, offset_ms)
            self.memory.times[boot_id].corrected()

    def restart_gateway(self) -> None:
        """Killed and started: nothing under way is stored, nothing is remembered, the monotonic clock begins anew."""
        if hasattr(self, "session"):
            self.queue.clear()
            self._do(self.session.close(1001))
        self.started_ms = self.now_ms
        self.memory = Remembered()

    def _do(self, outputs: list[Output]) -> None:
        self.outputs += outputs
        for output in outputs:
            if isinstance(output, Append):
                self.queue.append(output.batch)
            elif isinstance(output, Restamp):
                self.queue.append(output)

    def _messages(self, outputs: list[Output]) -> list[wire.Outgoing]:
        self._do(outputs)
        return [output.message for output in outputs if isinstance(output, Reply)]

    # What a test looks at

    def rows(self, boot: int = 1) -> list[Stored]:
        return self.store.boots.get(f"{boot:016x}", [])

    def qualities(self, boot: int = 1) -> set[Quality]:
        return {row.quality for row in self.rows(boot)}

    def error_ms(self, boot: int = 1) -> float:
        """By how much a stored time of that boot is wrong at most."""
        boot_id = f"{boot:016x}"
        return max(abs(row.at_ms - self.taken[boot_id, row.seq]) for row in self.rows(boot))

    def newest(self) -> list[Newest]:
        return [output for output in self.outputs if isinstance(output, Newest)]

    def timed(self) -> Quality | None:
        found = [output for output in self.outputs if isinstance(output, Timed)]
        return found[-1].quality if found else None

    def in_order(self, boot: int) -> bool:
        times = [row.at_ms for row in self.rows(boot)]
        return times == sorted(times)
