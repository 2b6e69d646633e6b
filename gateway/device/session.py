"""One device's connection, from its hello to its end. Pure: frames and time in, outputs out. Never reset, never reused.

The shell (server.py) owns the socket, the store and the clock. It does what the outputs say and tells the session what
came of it: `welcome` after it has looked up what `Greet` asks for, `committed` after an append.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.device import wire
from gateway.device.boots import Boot, Remembered
from gateway.device.bucket import Bucket
from gateway.device.stamps import Now, floor_ms
from gateway.device.timesync import EXCHANGE_EVERY_MS, FIRST_EXCHANGES_MS, Exchange
from gateway.device.wire import CLOSE_REASONS, CloseCode
from gateway.errors import CloseConnection, DeviceError
from gateway.intake.check import Checker, Trend, refused
from gateway.intake.unknown import UnknownProfile
from gateway.model import Batch, Command, Event, Gap, Quality, Record, Result, Sample, Status
from gateway.store.port import Committed

if TYPE_CHECKING:
    from gateway.config import Limits


class State(enum.Enum):
    NEW = "new"
    """Connected; hello is awaited."""
    GREETING = "greeting"
    """Hello has come; the shell looks up what is known of the device."""
    OPEN = "open"
    """Welcomed."""
    CLOSED = "closed"


# What the shell is to do


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this."""

    message: wire.Outgoing


@dataclass(frozen=True, slots=True)
class Echo:
    """Send this binary frame back."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Greet:
    """Look up what is known of the device, then call `welcome`."""

    hello: wire.Hello


@dataclass(frozen=True, slots=True)
class Append:
    """Commit this behind everything appended before, then call `committed`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Restamp:
    """The time of this boot has become known: correct what of it is stored as estimated, behind everything appended
    before, then call `restamped`."""

    boot_id: str
    offset_ms: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest values, to be shown while older samples are still on their way. Provisional."""

    boot: Boot
    t_ms: int
    at_ms: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answered:
    """The device has answered a command. Once that is on disk, call `kept`."""

    result: Result


@dataclass(frozen=True, slots=True)
class Timed:
    """How well the clock of the running boot is known: by an exchange with this round trip, the best so far."""

    round_trip_ms: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class Said:
    """A line for the log, from the device. Not cleaned."""

    level: str
    text: str
    uptime_ms: int | None = None
    """When it was said, on the device's own clock."""


@dataclass(frozen=True, slots=True)
class Sleeps:
    """The device ends this connection to sleep, and means to be back after so long."""

    ms: int


@dataclass(frozen=True, slots=True)
class Noticed:
    """A warning for the log, about the device."""

    text: str


@dataclass(frozen=True, slots=True)
class Slow:
    """The device sends more than it may: read nothing for so long."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is to be sent, then close with this code."""

    code: int
    reason: str


REFUSALS_PER_FRAME: Final = 50
"""A frame counts once more, where it is slowed down, for so many values refused: each costs as much as a good sample,
and one frame may hold thousands."""

Output: TypeAlias = (
    Reply | Echo | Greet | Append | Restamp | Newest | Answered | Timed | Said | Sleeps | Noticed | Slow | Close
)


class Session:
    """One connection of one device. Every method returns what the shell is to do, in order; none of them raises."""

    _running: Boot
    """The boot that is talking to us; there is one in state OPEN."""

    def __init__(self, device: str, gateway: str, limits: Limits, memory: Remembered, now: Now) -> None:
        self.device = device
        self.state = State.NEW
        self.hello: wire.Hello | None = None
        self.boots: dict[int, Boot] = {}
        self.window = limits.window_samples
        """Samples that may be under way; told by our welcome."""
        self._gateway = gateway
        self._limits = limits
        self._memory = memory
        self._decoder = wire.ANY_PROFILE
        self._trusted = now.trusted
        self._restamps: set[str] = set()
        """Boots whose correction is under way on this connection."""
        self._hello_until_ms = now.monotonic_ms + int(limits.hello_s * 1000)
        self._exchanges_due_ms: deque[int] = deque()
        self._asked: dict[int, int] = {}
        """When each clock request not yet answered went out, by its id."""
        self._requests = 0
        self._frames = Bucket(limits.frames_per_s, seconds=3, now_ms=now.monotonic_ms)
        self._cost = 1
        """For how many frames the one that is being received counts ..."""
        self._samples = Bucket(limits.samples_per_s, seconds=3, now_ms=now.monotonic_ms)
        self._sample_cost = 0
        """... and for how many samples."""
        self._lines = Bucket(5, seconds=10, now_ms=now.monotonic_ms)
        self._errors_ms: deque[int] = deque()
        self._told_ms: dict[str, int] = {}
        """When an error that is told once a second was last told, by its code."""

    # What the shell calls

    def receive(self, frame: str | bytes, now: Now) -> list[Output]:
        """A frame has come: a text, or the bytes of a binary one."""
        if self.state is State.CLOSED:
            return []
        outputs: list[Output] = []
        self._cost, self._sample_cost = 1, 0
        if now.trusted != self._trusted:  # before anything is stamped by a date that was not known
            outputs += self.settle(now)
        try:
            outputs += self._on_text(frame, now) if isinstance(frame, str) else self._on_binary(frame)
        except CloseConnection as error:
            outputs += self.close(error.close_code, error)
        except DeviceError as error:
            outputs += self._tell(error, now)
        return outputs + self._slow_down(now)  # last: what was stamped is under way before anything is waited for

    def welcome(
        self, committed: Sequence[Committed], checkers: Mapping[str, Checker | UnknownProfile], now: Now
    ) -> list[Output]:
        """The shell has looked up what is committed of each boot of the hello, in its order, and a checker per profile.

        `checkers[""]` is for boots that name no profile. That of the running boot is known."""
        if self.state is not State.GREETING or self.hello is None:
            return []
        running = self.hello.boots[-1]
        for said, known in zip(self.hello.boots, committed, strict=True):
            if said is running and known.through >= said.next:  # an older boot has ended: it frees what is committed
                text = f"boot {said.boot} ({said.id}) has {known.through} committed here, but {said.next} is its next"
                return self.close(CloseCode.COMMITTED, DeviceError("hello.committed", text, boot=said.boot))
            self.boots[said.boot] = Boot(said, known, checkers[said.profile or ""], self._memory)
        self._memory.keep_only([boot.id for boot in self.boots.values()])
        boots = list(self.boots.values())
        self._running = boots[-1]
        self._decoder = self._running.checker.decoder
        for boot, following in pairwise(boots):
            boot.time.next = following.time
        self._running.time.next = None
        self._running.time.clock_went_on()
        self._running.time.floor_ms = floor_ms(
            [(k, s.t or 0) for k, s in zip(committed, self.hello.boots, strict=True)]
        )
        if self.hello.t is not None:
            self._running.time.arrived(self.hello.t, now)
        self.state = State.OPEN
        self._exchanges_due_ms.extend(now.monotonic_ms + after_ms for after_ms in FIRST_EXCHANGES_MS)
        # The question goes first: its answer then comes before the first samples, and they are stamped by it.
        return [*self.tick(now), Reply(self._welcome(now)), *self.settle(now)]

    def settle(self, now: Now) -> list[Output]:
        """Correct what was estimated, where the time is known now. Call this when the date may have become known."""
        self._trusted = now.trusted
        if self.state is not State.OPEN:
            return []
        outputs: list[Output] = []
        for boot_id, offset_ms in self._memory.settle(now):
            self._restamps.add(boot_id)
            outputs.append(Restamp(boot_id, offset_ms))
        best = self._running.time.clock.best
        return outputs if best is None else [*outputs, self._timed(best.round_trip_ms)]

    def restamped(self, boot_id: str) -> None:
        """What `Restamp` asked for is on disk."""
        self._restamps.discard(boot_id)
        if boot_id in self._memory.times:
            self._memory.times[boot_id].corrected()

    def ended(self) -> None:
        """Nothing is carried out for this connection any more: what corrections were left are asked for again."""
        for boot_id in self._restamps:
            if boot_id in self._memory.times:
                self._memory.times[boot_id].not_corrected()
        self._restamps.clear()

    def committed(self, boot: int, through: int) -> list[Output]:
        """All of that boot through that seq is on disk."""
        if self.state is State.OPEN and self.boots[boot].commit(through):
            return [Reply(wire.Ack(boot=boot, seq=through))]
        return []

    def unavailable(self, now: Now) -> list[Output]:
        """The store could not commit; the shell tries again. The device is told, once a second at most."""
        text = "the gateway cannot write to its disk now; it goes on trying"
        return self._tell_each_second(DeviceError("store.unavailable", text, retry=True), now)

    def command(self, command: Command) -> list[Output]:
        """Someone wants the device to do something."""
        if self.state is not State.OPEN:
            return []
        request = wire.CommandRequest(
            id=command.id, name=command.name, args=command.args, deadline_ms=command.deadline_ms
        )
        return [Reply(request)]

    def new_token(self, token: str) -> list[Output]:
        """The device is to come with this token from now on."""
        return [Reply(wire.NewToken(token))] if self.state is State.OPEN else []

    def kept(self, command_id: str) -> list[Output]:
        """The result of that command is on disk, or is of no use: the device need not send it again."""
        return [Reply(wire.Ack(result=command_id))] if self.state is State.OPEN else []

    def tick(self, now: Now) -> list[Output]:
        """Time has passed: call at `next_tick_ms`."""
        if self.state is State.NEW and now.monotonic_ms >= self._hello_until_ms:
            return self.close(CloseCode.NO_HELLO)
        if not self._exchanges_due_ms or now.monotonic_ms < self._exchanges_due_ms[0]:
            return []
        self._exchanges_due_ms.popleft()
        if not self._exchanges_due_ms:
            self._exchanges_due_ms.append(now.monotonic_ms + EXCHANGE_EVERY_MS)
        return [Reply(self._clock_request(now))]

    def next_tick_ms(self) -> int | None:
        """Monotonic milliseconds of the next `tick`. None: there is none before something else happens."""
        if self.state is State.NEW:
            return self._hello_until_ms
        return self._exchanges_due_ms[0] if self._exchanges_due_ms else None

    def close(self, code: int, error: DeviceError | None = None, *, reason: str | None = None) -> list[Output]:
        """End the connection; `error` is told first. A code that is not ours needs a `reason`."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._exchanges_due_ms.clear()
        told: list[Output] = [] if error is None else [Reply(wire.error_of(error))]
        return [*told, Close(code, CLOSE_REASONS[CloseCode(code)] if reason is None else reason)]

    # Frames

    def _on_text(self, text: str, now: Now) -> list[Output]:
        try:
            message = wire.decode(text, self._decoder)
        except DeviceError as error:
            if self.state is State.NEW:
                code = error.wire_code if error.wire_code == "hello.invalid" else "hello.expected"
                raise CloseConnection(CloseCode.HELLO_EXPECTED, code, str(error)) from None
            raise
        handler = _HANDLERS[self.state].get(type(message))
        if handler is None:
            raise CloseConnection(CloseCode.HELLO_EXPECTED, "hello.expected", "hello comes first, then our welcome")
        return handler(self, message, text, now)

    def _on_binary(self, data: bytes) -> list[Output]:
        if self.state is not State.OPEN:
            raise CloseConnection(CloseCode.HELLO_EXPECTED, "hello.expected", "hello comes first, as text")
        if len(data) < wire.BINARY_HEADER_BYTES or not data.startswith(wire.BINARY_ECHO):
            raise DeviceError("frame.binary", "a binary frame whose header is not one of WIRE.md, section 10")
        return [Echo(data)]

    def _on_hello(self, hello: wire.Hello, _text: str, _now: Now) -> list[Output]:
        if hello.device != self.device:
            text = f"this token was made for '{self.device}', not for '{hello.device}'"
            raise CloseConnection(CloseCode.NOT_ITS_TOKEN, "hello.device", text)
        self.hello = hello
        self.state = State.GREETING
        return [Greet(hello)]

    def _on_second_hello(self, _hello: wire.Hello, _text: str, _now: Now) -> list[Output]:
        raise CloseConnection(CloseCode.SECOND_HELLO, "hello.again", "there was a hello on this connection already")

    def _on_samples(self, message: wire.Samples[Any] | wire.Rough, text: str, now: Now) -> list[Output]:
        boot = self._boot(message.boot, message.seq)
        checked = boot.check(self._under(boot, message, text), text)
        if checked.error is not None:
            refusals = sum(len(record.refused) for record in checked.records if isinstance(record, Sample))
            self._cost += refusals // REFUSALS_PER_FRAME
        self._sample_cost = len(checked.records)
        return self._take(boot, checked.records, now, trend=checked.trend, error=checked.error)

    def _on_rough(self, message: wire.Rough, text: str, now: Now) -> list[Output]:
        if message.type == "samples":
            return self._on_samples(message, text, now)
        if message.type == "latest":
            return self._on_latest(message, text, now)
        boot = self._boot(message.boot, message.seq)
        record = refused(boot.number, message.seq, 1, text, message.error)
        return self._take(boot, (record,), now, error=message.error)

    def _on_event(self, message: wire.Event, _text: str, now: Now) -> list[Output]:
        boot = self._boot(message.boot, message.seq)
        event = Event(seq=message.seq, t_ms=message.t, code=message.code, sensor=message.sensor, data=message.data)
        return self._take(boot, (event,), now)

    def _on_gap(self, message: wire.Gap, _text: str, now: Now) -> list[Output]:
        boot = self._boot(message.boot, message.first)
        if message.to is None and boot is self._running:
            raise DeviceError("frame.field", "gap: the running boot has no end", boot=boot.number, seq=message.first)
        count = message.count
        if count is None and message.to is not None:
            count = message.to - message.first + 1
        gap = Gap(seq=message.first, to=message.to, count=count, at_most=message.at_most, why=message.why)
        return self._take(boot, (boot.bounded(gap),), now)

    def _on_latest(self, message: wire.Latest[Any] | wire.Rough, text: str, now: Now) -> list[Output]:
        boot = self._boot(message.boot, None)
        checked = boot.check_latest(self._under(boot, message, text))
        outputs: list[Output] = []
        if checked.values:
            t_ms = message.body["t"] if isinstance(message, wire.Rough) else message.t
            at_ms = boot.latest_ms(t_ms, now)
            if at_ms is not None:
                outputs.append(Newest(boot, t_ms, at_ms, checked.values))
        return outputs + self._tell(checked.error, now)

    def _on_clock(self, message: wire.ClockAnswer, _text: str, now: Now) -> list[Output]:
        sent_ms = self._asked.pop(message.id, None)
        if sent_ms is None:  # no error: it may have been on its way for long
            return []
        time = self._running.time
        first = time.clock.best is None
        time.exchange(Exchange(sent_ms, now.monotonic_ms, message.t), now)
        outputs = self.settle(now)
        if first and time.moved_ms is not None:
            outputs.append(Noticed(_moved(time.moved_ms)))
        return outputs

    def _on_result(self, message: wire.Result, _text: str, _now: Now) -> list[Output]:
        result = Result(
            id=message.id,
            status=Status(message.status),
            data=message.data,
            error_code=message.error.code if message.error else "",
            error_text=wire.clean(message.error.text, wire.MAX_LINE) if message.error else "",
        )
        return [Answered(result)]

    def _on_settings(self, message: wire.SettingsReport, _text: str, now: Now) -> list[Output]:
        return self._say("debug", f"runs with the settings {message.reported}, refused {message.refused}", now)

    def _on_log(self, message: wire.LogLine, _text: str, now: Now) -> list[Output]:
        return self._say(message.level, message.text, now, message.t)

    def _on_sleep(self, message: wire.Sleep, _text: str, _now: Now) -> list[Output]:
        return [Sleeps(message.ms)]

    # Parts of these

    def _boot(self, number: int, seq: int | None) -> Boot:
        try:
            return self.boots[number]
        except KeyError:
            raise DeviceError("frame.boot", f"hello listed no boot {number}", boot=number, seq=seq) from None

    def _under(self, boot: Boot, message: Any, text: str) -> Any:
        """`message`, decoded under the profile of its own boot: the first look was under the running one's."""
        return message if boot.checker is self._running.checker else wire.decode(text, boot.checker.decoder)

    def _take(
        self,
        boot: Boot,
        records: Sequence[Record],
        now: Now,
        *,
        trend: Trend | None = None,
        error: DeviceError | None = None,
    ) -> list[Output]:
        """Hand on what is new of `records`. What is on disk already is acknowledged again: its ack may be lost."""
        new = boot.take(records, trend)
        if not new:
            again = records[-1].last <= boot.committed
            return [Reply(wire.Ack(boot=boot.number, seq=boot.committed))] if again else []
        return [Append(boot.batch(self.device, new, now)), *self._tell(error, now)]

    def _timed(self, round_trip_ms: int) -> Timed:
        return Timed(round_trip_ms, Quality.SYNCED if self._running.time.synced else Quality.ESTIMATED)

    def _welcome(self, now: Now) -> wire.Welcome:
        return wire.Welcome(
            gateway=self._gateway,
            time=now.wall_ms if now.trusted else None,
            window=self.window,
            boots=[wire.WelcomeBoot(boot.number, boot.committed) for boot in self.boots.values()],
            limits=wire.WelcomeLimits(self._limits.frame_bytes, wire.MAX_SAMPLES),
        )

    def _clock_request(self, now: Now) -> wire.ClockRequest:
        self._requests += 1
        self._asked[self._requests] = now.monotonic_ms
        self._asked.pop(self._requests - 8, None)
        return wire.ClockRequest(id=self._requests)

    def _say(self, level: str, text: str, now: Now, uptime_ms: int | None = None) -> list[Output]:
        if self._lines.try_take(now.monotonic_ms):
            return [Said(level, text, uptime_ms)]
        error = DeviceError("frame.rate", "more lines for the log than the gateway keeps; this one was dropped")
        return self._tell_each_second(error, now)

    def _slow_down(self, now: Now) -> list[Output]:
        """Nothing is dropped for coming too fast: it is read later."""
        frames_ms = self._frames.take(now.monotonic_ms, self._cost)
        samples_ms = self._samples.take(now.monotonic_ms, self._sample_cost)
        wait_ms = max(frames_ms, samples_ms)
        if not wait_ms or self.state is not State.OPEN:
            return []
        much = f"{self._limits.samples_per_s} samples"
        if frames_ms >= samples_ms:
            much = f"{self._limits.frames_per_s} frames"
        text = f"more than {much} a second; the gateway reads them more slowly"
        return [*self._tell_each_second(DeviceError("frame.rate", text), now), Slow(wait_ms)]

    # Errors

    def _tell(self, error: DeviceError | None, now: Now) -> list[Output]:
        """Tell the device, and close when there is too much to tell. Values do not count: a broken sensor must not cut
        off its neighbours."""
        if error is None:
            return []
        told: list[Output] = [Reply(wire.error_of(error))]
        if error.wire_code.startswith("frame.") and self._too_many(now):
            return told + self.close(CloseCode.TOO_MANY_ERRORS)
        return told

    def _tell_each_second(self, error: DeviceError, now: Now) -> list[Output]:
        last_ms = self._told_ms.get(error.wire_code)
        if last_ms is not None and now.monotonic_ms < last_ms + 1000:
            return []
        self._told_ms[error.wire_code] = now.monotonic_ms
        return self._tell(error, now)

    def _too_many(self, now: Now) -> bool:
        self._errors_ms.append(now.monotonic_ms)
        window_ms = self._limits.errors_window_s * 1000
        while self._errors_ms[0] <= now.monotonic_ms - window_ms:
            self._errors_ms.popleft()
        return len(self._errors_ms) >= self._limits.errors


Handler: TypeAlias = Callable[[Session, Any, str, Now], list[Output]]

_HANDLERS: Final[Mapping[State, Mapping[type, Handler]]] = {
    State.NEW: {wire.Hello: Session._on_hello},
    State.GREETING: {},
    State.OPEN: {
        wire.Hello: Session._on_second_hello,
        wire.Samples: Session._on_samples,
        wire.Latest: Session._on_latest,
        wire.Rough: Session._on_rough,
        wire.Gap: Session._on_gap,
        wire.Event: Session._on_event,
        wire.ClockAnswer: Session._on_clock,
        wire.Result: Session._on_result,
        wire.SettingsReport: Session._on_settings,
        wire.LogLine: Session._on_log,
        wire.Sleep: Session._on_sleep,
    },
}
"""What may come in which state. Anything else closes the connection: it came before hello, or before our welcome."""


def _moved(moved_ms: int) -> str:
    """What it means that the wall clock is ahead of (positive) or behind a board's times as the store has them."""
    if moved_ms > 0:
        return f"its stored times are {moved_ms / 1000:.1f} s behind this machine's clock: from now on it follows that"
    return (
        f"its stored times are {-moved_ms / 1000:.1f} s ahead of this machine's clock: it goes on with them until it"
        " restarts, as nothing may come before what is stored"
    )


def check_hardware(known: str | None, offered: str, connected: str | None) -> None:
    """Which board may have this identity: the one that had it, or the first. Raises CloseConnection for another one.

    `known` is the hardware it was last welcomed with, `connected` the one of its live connection; None for none."""
    if connected is not None and connected != offered:
        text = f"another board, {connected}, is connected with this identity"
        raise CloseConnection(CloseCode.IDENTITY_IN_USE, "hello.hardware", text)
    if known is not None and known != offered:
        text = f"this identity belongs to the board {known}; `mpy-gateway devices replace` moves it to another one"
        raise CloseConnection(CloseCode.OTHER_HARDWARE, "hello.hardware", text)
