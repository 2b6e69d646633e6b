from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.device import wire
from gateway.device.boots import Remembered
from gateway.device.session import (
    Answered,
    Append,
    Close,
    Echo,
    Greet,
    Newest,
    Output,
    Reply,
    Said,
    Session,
    Slow,
    State,
    Timed,
    check_hardware,
)
from gateway.device.stamps import Now
from gateway.errors import CloseConnection
from gateway.intake import check
from gateway.model import Batch, Command, Gap, Quality, Refused, Result, Status
from gateway.store.port import Committed
from tests.gateway.device.door import PROFILE
from tests.gateway.device.test_wire import FRAMES, JSON

CHECKER = check.compile(PROFILE)
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "device_to_gateway.json").read_text())
OLD, RUNNING = "0c5d9be1f2a34477", "9f3c11d2c01b6a55"
WALL_MS = 1_790_000_000_000


class Talk:
    """A session whose time the test turns, and whose store the test is."""

    def __init__(self, memory: Remembered | None = None, *, through: int = -1, **limits: Any) -> None:
        self.at_ms = 1_000
        self.trusted = True
        self.session = Session("greenhouse", "gw", Limits(**limits), memory or Remembered(), self.now)
        self.through = through

    @property
    def now(self) -> Now:
        return Now(self.at_ms, WALL_MS + self.at_ms, self.trusted)

    def say(self, frame: dict[str, Any] | str | bytes, *, after_ms: int = 0) -> list[Output]:
        self.at_ms += after_ms
        return self.session.receive(json.dumps(frame) if isinstance(frame, dict) else frame, self.now)

    def opened(self, **changes: Any) -> Talk:
        """After hello and welcome."""
        assert [type(output) for output in self.say(hello(**changes))] == [Greet]
        self.welcome()
        return self

    def welcome(self) -> list[Output]:
        assert self.session.hello is not None
        committed = [Committed(boot.id, boot.boot, self.through) for boot in self.session.hello.boots]
        return self.session.welcome(committed, {"": CHECKER, PROFILE.hash: CHECKER}, self.now)

    def samples(self, seq: int, *values: Any, boot: int = 17, t: list[int] | None = None) -> list[Output]:
        times = t or [1000 * (seq + place) for place in range(len(values))]
        frame = {"type": "samples", "boot": boot, "seq": seq, "t": times, "values": {"temperature": list(values)}}
        return self.say(frame)


def hello(**changes: Any) -> dict[str, Any]:
    boots = [{"boot": 16, "id": OLD, "first": 0, "next": 9_999}, {"boot": 17, "id": RUNNING, "first": 0, "next": 9_999}]
    return {"type": "hello", "device": "greenhouse", "hardware": "a4", "boots": boots, **changes}


def batches(outputs: list[Output]) -> list[Batch]:
    return [output.batch for output in outputs if isinstance(output, Append)]


def messages(outputs: list[Output]) -> list[wire.Outgoing]:
    return [output.message for output in outputs if isinstance(output, Reply)]


def codes(outputs: list[Output]) -> list[str]:
    return [message.code for message in messages(outputs) if isinstance(message, wire.Error)]


def closes(outputs: list[Output]) -> list[int]:
    return [output.code for output in outputs if isinstance(output, Close)]


# ---- hello and welcome


def test_the_clock_is_asked_before_the_welcome() -> None:
    talk = Talk()
    talk.say(hello())
    clock, welcome = messages(talk.welcome())
    assert clock == wire.ClockRequest(id=1)
    assert isinstance(welcome, wire.Welcome)
    assert welcome.time == WALL_MS + 1_000
    assert [(boot.boot, boot.committed) for boot in welcome.boots] == [(16, -1), (17, -1)]
    assert talk.session.state is State.OPEN


def test_no_hello_in_time_closes_with_4001() -> None:
    talk = Talk(hello_s=10)
    assert talk.session.next_tick_ms() == 11_000
    talk.at_ms = 10_999
    assert talk.session.tick(talk.now) == []
    talk.at_ms = 11_000
    assert closes(talk.session.tick(talk.now)) == [4001]


@pytest.mark.parametrize(
    ("frame", "code", "close"),
    [
        ({"type": "clock", "id": 1, "t": 1}, "hello.expected", 4000),
        ("nonsense", "hello.expected", 4000),
        (b"MG\1\0abcd", "hello.expected", 4000),
        (hello(boots=[]), "hello.invalid", 4000),
        (hello(device="attic"), "hello.device", 4003),
    ],
)
def test_a_bad_beginning_is_told_and_closed(frame: Any, code: str, close: int) -> None:
    outputs = Talk().say(frame)
    assert (codes(outputs), closes(outputs)) == ([code], [close])


def test_a_second_hello_closes_with_4002() -> None:
    outputs = Talk().opened().say(hello())
    assert (codes(outputs), closes(outputs)) == (["hello.again"], [4002])


def test_more_committed_than_next_closes_with_4010() -> None:
    talk = Talk(through=9_999)
    talk.say(hello())
    outputs = talk.welcome()
    assert (codes(outputs), closes(outputs)) == (["hello.committed"], [4010])


def test_an_older_boot_of_which_more_is_committed_is_told_how_much() -> None:
    """Its board lost its power before it wrote down what it took; a boot that has ended cannot draw a new boot_id."""
    talk = Talk(through=4)
    old, running = hello()["boots"]
    talk.say(hello(boots=[{**old, "next": 1}, running]))
    _, welcome = messages(talk.welcome())
    assert isinstance(welcome, wire.Welcome)
    assert [(boot.boot, boot.committed) for boot in welcome.boots] == [(16, 4), (17, 4)]
    (batch,) = batches(talk.samples(4, 20, 21, boot=16))
    assert batch.first == 5


def test_after_the_end_nothing_happens_any_more() -> None:
    talk = Talk().opened()
    talk.samples(0, 20)
    assert closes(talk.session.close(1001)) == [1001]
    assert talk.session.close(1001) == []
    assert talk.samples(1, 20) == []
    assert talk.session.committed(17, 0) == []
    assert talk.session.tick(talk.now) == []
    assert talk.session.next_tick_ms() is None


@pytest.mark.parametrize(
    ("known", "offered", "connected", "close"),
    [
        (None, "a", None, None),
        ("a", "a", None, None),
        ("a", "a", "a", None),
        ("a", "b", "a", 4011),
        ("a", "b", None, 4012),
        (None, "b", "a", 4011),
    ],
)
def test_an_identity_belongs_to_one_board(known: str | None, offered: str, connected: str | None, close: Any) -> None:
    if close is None:
        check_hardware(known, offered, connected)
        return
    with pytest.raises(CloseConnection) as refusal:
        check_hardware(known, offered, connected)
    assert refusal.value.close_code == close
    assert refusal.value.wire_code == "hello.hardware"


# ---- what has a seq


def test_samples_are_handed_on_and_acknowledged_when_committed() -> None:
    talk = Talk().opened()
    (batch,) = batches(talk.samples(0, 20, 21))
    assert (batch.device, batch.boot, batch.boot_id, batch.profile) == ("greenhouse", 17, RUNNING, PROFILE.hash)
    assert [record.seq for record in batch.records] == [0, 1]
    assert messages(talk.session.committed(17, 1)) == [wire.Ack(boot=17, seq=1)]
    assert talk.session.committed(17, 1) == []  # once is enough


def test_what_was_taken_already_is_cut_off_and_what_is_on_disk_acknowledged_again() -> None:
    talk = Talk().opened()
    talk.samples(0, 20, 20)
    assert talk.samples(0, 20, 20) == []  # under way: its ack will come
    (batch,) = batches(talk.samples(1, 20, 20))
    assert [record.seq for record in batch.records] == [2]
    talk.session.committed(17, 2)
    assert messages(talk.samples(0, 20)) == [wire.Ack(boot=17, seq=2)]


@pytest.mark.parametrize(
    ("gap", "cut"),
    [
        ({"from": 0, "to": 9, "count": 10}, Gap(seq=2, to=9, count=8, at_most=None, why="full")),
        ({"from": 0, "to": 9, "count": 3}, Gap(seq=2, to=9, count=3, at_most=None, why="full")),
        ({"from": 0, "to": 9}, Gap(seq=2, to=9, count=8, at_most=None, why="full")),
    ],
)
def test_a_gap_over_what_was_taken_is_cut_too(gap: dict[str, Any], cut: Gap) -> None:
    talk = Talk().opened()
    talk.samples(0, 20, 20)
    (batch,) = batches(talk.say({"type": "gap", "boot": 17, "why": "full", **gap}))
    assert batch.records == (cut,)


def test_an_older_boot_may_end_and_the_running_one_may_not() -> None:
    talk = Talk().opened()
    end = {"type": "gap", "from": 5, "to": None, "at_most": 3, "why": "power_loss"}
    (batch,) = batches(talk.say({**end, "boot": 16}))
    assert batch.records == (Gap(seq=5, to=None, count=None, at_most=3, why="power_loss"),)
    assert codes(talk.say({**end, "boot": 17})) == ["frame.field"]


def test_an_end_below_what_was_taken_is_handed_on_and_acknowledged_when_committed() -> None:
    talk = Talk(through=10).opened()
    end = {"type": "gap", "boot": 16, "from": 8, "to": None, "at_most": 12, "why": "power_loss"}
    for _ in range(2):  # again, as its ack may be lost
        (batch,) = batches(talk.say(end))
        assert batch.records == (Gap(seq=8, to=None, count=None, at_most=12, why="power_loss"),)
        assert messages(talk.session.committed(16, 10)) == [wire.Ack(boot=16, seq=10)]


def test_a_frame_of_no_use_is_kept_and_covers_its_place() -> None:
    talk = Talk().opened()
    outputs = talk.samples(4, 20, 21, 22, t=[0, 1])
    ((record,),) = [batch.records for batch in batches(outputs)]
    assert isinstance(record, Refused)
    assert (record.seq, record.to) == (4, 6)
    (error,) = [message for message in messages(outputs) if isinstance(message, wire.Error)]
    assert (error.code, error.boot, error.seq) == ("frame.columns", 17, 4)


def test_a_boot_of_another_profile_is_checked_by_that_one() -> None:
    class Narrow:
        unit, low, high, max_change_per_s = "°C", 0.0, 10.0, None

    class Old:
        hash, quantities, sensors, sleeps = "00000000000000aa", {"temperature": Narrow()}, {}, False

    talk = Talk()
    boots = hello()["boots"]
    boots[0]["profile"] = Old.hash
    talk.say(hello(boots=boots))
    committed = [Committed(boot["id"], boot["boot"], -1) for boot in boots]
    talk.session.welcome(committed, {"": CHECKER, Old.hash: check.compile(Old())}, talk.now)
    assert codes(talk.samples(0, 20, boot=16)) == ["value.range"]
    assert codes(talk.samples(1, 5, boot=16)) == []
    assert codes(talk.samples(0, 20, boot=17)) == []


def test_a_jump_that_was_not_committed_is_judged_again_on_the_next_connection() -> None:
    memory = Remembered()
    first = Talk(memory).opened()
    first.samples(0, 20)
    first.session.committed(17, 0)
    assert codes(first.samples(1, 60)) == ["value.rate"]  # and then the connection is lost
    second = Talk(memory, through=0).opened()
    assert codes(second.samples(1, 60)) == ["value.rate"]
    assert codes(second.samples(2, 60)) == []


def test_the_vectors_hold_on_a_connection_too() -> None:
    for vector in VECTORS:
        if "text" not in vector or vector["name"].startswith("hello"):
            continue
        talk = Talk().opened()
        assert codes(talk.say(vector["text"])) == ([vector["code"]] if "code" in vector else []), vector["name"]


# ---- time


def test_samples_are_stamped_by_the_best_exchange() -> None:
    talk = Talk().opened()
    (timed,) = talk.say({"type": "clock", "id": 1, "t": 500}, after_ms=40)  # asked at 1,000, answered at 1,040
    assert timed == Timed(40, Quality.SYNCED)
    (batch,) = batches(talk.samples(0, 20, t=[400]))
    assert (batch.quality, batch.at_ms(500)) == (Quality.SYNCED, WALL_MS + 1_020)


def test_an_answer_to_no_question_is_left_alone() -> None:
    talk = Talk().opened()
    assert talk.say({"type": "clock", "id": 7, "t": 500}) == []


def test_the_clock_is_asked_after_0_1_2_4_and_then_every_60_seconds() -> None:
    talk = Talk().opened()
    asked = [0]
    while len(asked) < 7:
        due_ms = talk.session.next_tick_ms()
        assert due_ms is not None
        talk.at_ms = due_ms
        assert [type(message) for message in messages(talk.session.tick(talk.now))] == [wire.ClockRequest]
        asked.append(due_ms - 1_000)
    assert asked == [0, 1_000, 2_000, 4_000, 64_000, 124_000, 184_000]


def test_without_an_exchange_arrival_bounds_the_time() -> None:
    talk = Talk().opened(t=100)  # at 1,000 the device said 100: zero was at 900
    (batch,) = batches(talk.samples(0, 20, t=[50]))
    assert (batch.quality, batch.at_ms(0)) == (Quality.ESTIMATED, WALL_MS + 900)
    (batch,) = batches(talk.samples(1, 20, t=[150]))
    assert batch.at_ms(0) == WALL_MS + 850


def test_an_older_boot_ended_before_the_running_one_began() -> None:
    talk = Talk().opened()
    talk.say({"type": "clock", "id": 1, "t": 700})  # the running boot began at 300
    (batch,) = batches(talk.samples(0, 20, 20, t=[5_000, 90_000], boot=16))
    assert (batch.quality, batch.at_ms(90_000)) == (Quality.ESTIMATED, WALL_MS + 300)


def test_a_boot_synced_on_an_earlier_connection_stays_synced() -> None:
    memory = Remembered()
    first = Talk(memory).opened()
    first.say({"type": "clock", "id": 1, "t": 700})
    boots = [*hello()["boots"], {"boot": 18, "id": "0" * 16, "first": 0, "next": 1}]
    second = Talk(memory).opened(boots=boots)
    (batch,) = batches(second.samples(0, 20, t=[800], boot=17))
    assert (batch.quality, batch.at_ms(700)) == (Quality.SYNCED, WALL_MS + 1_000)


def test_boots_that_hold_nothing_any_more_are_forgotten() -> None:
    memory = Remembered()
    Talk(memory).opened()
    assert set(memory.times) == {OLD, RUNNING}
    Talk(memory).opened(boots=[{"boot": 18, "id": "0" * 16, "first": 0, "next": 1}])
    assert set(memory.times) == {"0" * 16}


def test_a_date_that_is_not_trusted_makes_estimates() -> None:
    talk = Talk()
    talk.trusted = False
    talk.opened()
    assert talk.say({"type": "clock", "id": 1, "t": 700}) == [Timed(0, Quality.ESTIMATED)]
    (batch,) = batches(talk.samples(0, 20))
    assert batch.quality is Quality.ESTIMATED


# ---- the rest


def test_latest_is_shown_with_its_time() -> None:
    talk = Talk().opened()
    talk.say({"type": "clock", "id": 1, "t": 700})
    (newest,) = talk.say({"type": "latest", "boot": 17, "t": 800, "values": {"temperature": 21.5, "humidity": None}})
    assert isinstance(newest, Newest)
    assert (newest.at_ms, newest.values) == (WALL_MS + 1_100, {"temperature": 21.5})


def test_a_command_goes_out_and_its_result_is_acknowledged() -> None:
    talk = Talk()
    assert talk.session.command(Command("c1", "ping", {}, 10_000)) == []  # nobody is there yet
    talk.opened()
    (request,) = messages(talk.session.command(Command("c1", "ping", {"a": 1}, 10_000)))
    assert request == wire.CommandRequest(id="c1", name="ping", args={"a": 1}, deadline_ms=10_000)
    failure = {"type": "result", "id": "c1", "status": "failed", "error": {"code": "busy", "text": "not\nnow"}}
    (answered,) = talk.say(failure)
    expected = Result(id="c1", status=Status.FAILED, error_code="busy", error_text="not\ufffdnow")
    assert answered == Answered(expected)
    assert talk.session.kept("c1") == [Reply(wire.Ack(result="c1"))]


def test_an_echo_comes_back_and_other_binary_frames_are_errors() -> None:
    talk = Talk().opened()
    assert talk.say(b"MG\1\0\0\0\0\7bulk") == [Echo(b"MG\1\0\0\0\0\7bulk")]
    assert codes(talk.say(b"MG\1\1\0\0\0\7bulk")) == ["frame.binary"]


def test_lines_of_the_log_are_limited_and_the_device_is_told_once_a_second() -> None:
    talk = Talk().opened()
    line = {"type": "log", "level": "info", "text": "x"}
    outputs = [output for _ in range(80) for output in talk.say(line)]
    assert sum(isinstance(output, Said) for output in outputs) == 50
    assert codes(outputs) == ["frame.rate"]
    assert isinstance(talk.say(line, after_ms=300)[0], Said)


def test_who_sends_too_fast_is_slowed_and_nothing_is_dropped() -> None:
    talk = Talk(frames_per_s=10).opened()
    outputs = [output for seq in range(40) for output in talk.samples(seq, 20)]
    assert len(batches(outputs)) == 40
    assert codes(outputs) == ["frame.rate"]
    waits = [output.wait_ms for output in outputs if isinstance(output, Slow)]
    assert (len(waits), waits[0], waits[-1]) == (11, 101, 1_101)


def test_frames_full_of_bad_values_are_read_more_slowly() -> None:
    """One costs the gateway a tenth of a second; who sends nothing else must not hold up the other boards."""
    talk = Talk(samples_per_s=1_000_000).opened()
    waits = [
        output.wait_ms
        for seq in range(50)
        for output in talk.samples(1000 * seq, *[9e9] * 1000)
        if isinstance(output, Slow)
    ]
    assert waits[-1] > 2_000
    talk = Talk(samples_per_s=1_000_000).opened()
    good = [output for seq in range(50) for output in talk.samples(1000 * seq, *[20] * 1000)]
    assert not any(isinstance(output, Slow) for output in good)


def test_more_samples_than_the_limit_are_read_more_slowly_and_none_is_dropped() -> None:
    talk = Talk(samples_per_s=100).opened()
    assert not [output for output in talk.samples(0, *[20] * 300) if isinstance(output, Slow)]
    outputs = talk.samples(300, *[20] * 50)
    assert [output.wait_ms for output in outputs if isinstance(output, Slow)] == [pytest.approx(500, abs=20)]
    assert codes(outputs) == ["frame.rate"]
    assert sum(len(batch.records) for batch in batches(outputs)) == 50
    outputs = talk.say({"type": "clock", "id": 99, "t": 1})
    assert [type(output) for output in outputs] == [Slow]  # whatever comes behind them waits, too


def test_what_was_stamped_is_under_way_before_its_sender_is_slowed() -> None:
    """Else a correction that is asked for during the wait would overtake it, and it would stay estimated."""
    talk = Talk(frames_per_s=10).opened()
    outputs = [talk.samples(seq, 20) for seq in range(40)][-1]
    assert [type(output) for output in outputs][-1] is Slow
    assert len(batches(outputs)) == 1


def test_who_is_told_too_often_to_be_slower_is_closed_like_for_any_error() -> None:
    talk = Talk(frames_per_s=10, errors=3).opened()
    outputs = [output for _ in range(120) for output in talk.say({"type": "clock", "id": 99, "t": 1}, after_ms=25)]
    assert codes(outputs) == ["frame.rate"] * 3
    assert closes(outputs) == [4005]


def test_a_hundred_errors_in_a_minute_close_and_values_do_not_count() -> None:
    talk = Talk(frames_per_s=10_000).opened()
    for seq in range(200):
        assert closes(talk.samples(seq, 999)) == []
    for _ in range(99):
        assert closes(talk.say("x", after_ms=600)) == []
    assert closes(talk.say("x", after_ms=1_300)) == []  # the first has been forgotten by now
    assert closes(talk.say("x")) == [4005]


def test_the_device_is_told_once_a_second_that_the_disk_cannot() -> None:
    talk = Talk().opened()
    told = []
    for _ in range(25):
        told += messages(talk.session.unavailable(talk.now))
        talk.at_ms += 100
    assert [(m.code, m.retry) for m in told if isinstance(m, wire.Error)] == [("store.unavailable", True)] * 3


# ---- anything in any order

SENSIBLE = st.one_of(
    st.builds(lambda seq, n: ("samples", seq, n), st.integers(0, 30), st.integers(1, 5)),
    st.builds(lambda seq, n: ("gap", seq, n), st.integers(0, 30), st.integers(1, 5)),
    st.just(("commit", 0, 0)),
    st.just(("hello", 0, 0)),
)
ANYTHING = st.one_of(SENSIBLE, st.text(), FRAMES, JSON.map(json.dumps), st.binary(max_size=20))


@settings(deadline=None)
@given(st.lists(ANYTHING, max_size=30), st.booleans())
def test_whatever_comes_nothing_is_raised_and_nothing_is_acknowledged_that_was_not_appended(
    frames: list[Any], welcomed: bool
) -> None:
    talk = Talk(frames_per_s=100_000)
    if welcomed:
        talk.opened()
    appended: dict[int, int] = {}
    pending: list[Batch] = []
    committed: dict[int, int] = {}
    for frame in frames:
        talk.at_ms += 7
        outputs: list[Output] = []
        if isinstance(frame, str | bytes):
            outputs = talk.say(frame)
        elif frame[0] == "samples":
            outputs = talk.samples(frame[1], *[20] * frame[2])
        elif frame[0] == "gap":
            last = frame[1] + frame[2] - 1
            outputs = talk.say({"type": "gap", "boot": 16, "from": frame[1], "to": last, "why": "full"})
        elif frame[0] == "hello":
            outputs = talk.say(hello())
            if any(isinstance(output, Greet) for output in outputs):
                outputs = talk.welcome()
        elif pending:
            batch = pending.pop(0)
            committed[batch.boot] = batch.last
            outputs = talk.session.committed(batch.boot, batch.last)
        for batch in batches(outputs):
            assert batch.first > appended.get(batch.boot, -1), "what was taken already is taken again"
            for before, after in zip(batch.records, batch.records[1:], strict=False):
                assert after.seq == before.last + 1, "a hole inside a batch"
            appended[batch.boot] = batch.last
            pending.append(batch)
        for message in messages(outputs):
            assert len(wire.encode(message)) < 65_536
            if isinstance(message, wire.Ack) and isinstance(message.boot, int):
                assert message.seq == committed[message.boot], "acknowledged and not committed"
