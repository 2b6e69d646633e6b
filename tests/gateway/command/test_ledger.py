from __future__ import annotations

import itertools

import msgspec
import pytest

from gateway.command.ledger import (
    ANSWER_GRACE_S,
    MOST_ENDED,
    MOST_OPEN,
    PLACES,
    RETURN_GRACE_S,
    TRANSITIONS,
    Kept,
    Ledger,
    Line,
    Turn,
    command_of,
    new_id,
)
from gateway.device.boots import Now
from gateway.model import CommandState, Result, Status

WALL_MS = 1_790_000_000_000
ENDS = {CommandState.DONE, CommandState.FAILED, CommandState.EXPIRED, CommandState.UNKNOWN}


def at(ms: int, *, wall_ms: int | None = None, trusted: bool = True) -> Now:
    return Now(ms, WALL_MS + ms if wall_ms is None else wall_ms, trusted)


def opened(ledger: Ledger, command_id: str = "c1", now: Now | None = None, timeout_ms: int = 10_000) -> Line:
    line = ledger.open(command_id, "ping", {}, timeout_ms=timeout_ms, asked_by="cli", now=now or at(0))
    assert line is not None
    return line


def done(command_id: str = "c1") -> Result:
    return Result(id=command_id, status=Status.DONE)


def test_the_table_has_no_way_out_of_an_end_and_one_into_an_end_from_everywhere_else() -> None:
    assert set(TRANSITIONS) == set(CommandState)
    for state, turns in TRANSITIONS.items():
        assert (state in ENDS) == (not turns)
        assert state in ENDS or {turns[Turn.OVERDUE], turns[Turn.REMOVED], turns[Turn.STOPPED]} <= ENDS


def test_no_way_leads_from_sent_to_a_state_that_says_the_device_has_not_got_it() -> None:
    """But for what the device itself says."""
    for turn, state in TRANSITIONS[CommandState.SENT].items():
        assert state not in {CommandState.QUEUED, CommandState.EXPIRED}
        assert state is not CommandState.FAILED or turn is Turn.FAILED


def test_the_first_result_ends_a_command_and_later_ones_end_nothing() -> None:
    ledger = Ledger("greenhouse")
    line = opened(ledger)
    ledger.turn(line, Turn.SENT, at(1))
    assert ledger.answered(done(), at(2)) is line
    failed = Result("c1", Status.FAILED, error_code="x", error_text="y")
    assert ledger.answered(failed, at(3)) is None
    assert ledger.answered(done("never sent"), at(3)) is None
    assert (line.record.state, line.record.ended_ms) == (CommandState.DONE, WALL_MS + 2)
    assert line.result() == done()


def test_what_was_not_sent_expires_at_its_deadline_and_what_was_is_waited_for_a_little_longer() -> None:
    ledger = Ledger("greenhouse")
    queued, sent = opened(ledger, "c1"), opened(ledger, "c2")
    ledger.turn(sent, Turn.SENT, at(1))
    assert ledger.overdue(at(9_999)) == []
    assert ledger.next_due_ms() == 10_000
    assert ledger.overdue(at(10_000)) == [queued]
    assert ledger.overdue(at(10_000 + ANSWER_GRACE_S * 1000 - 1)) == []
    assert ledger.overdue(at(10_000 + ANSWER_GRACE_S * 1000)) == [sent]
    assert (queued.record.state, queued.record.error_code) == (CommandState.EXPIRED, "command.expired")
    assert (sent.record.state, sent.record.error_code) == (CommandState.UNKNOWN, "command.unanswered")
    assert ledger.next_due_ms() is None


def test_a_new_connection_gets_what_is_open_in_order_with_what_is_left_of_its_time() -> None:
    ledger = Ledger("greenhouse")
    lines = [opened(ledger, f"c{number}", at(number)) for number in range(3)]
    for line in lines:
        line.delivered = True
    ledger.turn(lines[1], Turn.SENT, at(5))
    ledger.answered(done("c1"), at(6))
    assert ledger.to_deliver(at(7)) == []
    ledger.connected()
    assert ledger.to_deliver(at(7)) == [lines[0], lines[2]]
    assert command_of(lines[2], at(4_002)).deadline_ms == 6_000
    assert ledger.to_deliver(at(10_001)) == [lines[2]]
    assert ledger.to_deliver(at(10_002)) == []


def test_a_device_has_only_so_many_open() -> None:
    ledger = Ledger("greenhouse")
    for number in range(MOST_OPEN):
        opened(ledger, f"c{number}")
    assert ledger.open("more", "ping", {}, timeout_ms=1, asked_by="cli", now=at(0)) is None
    ledger.answered(done("c7"), at(1))
    opened(ledger, "more")


def test_a_new_command_takes_the_place_of_the_oldest_that_has_ended_and_is_written() -> None:
    ledger = Ledger("greenhouse")
    for number in range(3 * PLACES):
        line = opened(ledger, f"c{number}")
        assert 0 <= line.place < PLACES
        assert line.place not in {other.place for other in ledger.opened() if other is not line}
        if number % 10:
            ledger.answered(done(f"c{number}"), at(number))
            line.on_disk = line.record.state
    recent = ledger.recent()
    assert [record.id for record in recent if record.state is CommandState.QUEUED] == [
        f"c{number}" for number in range(240, -1, -10)
    ]
    ended = [record.id for record in recent if record.state is CommandState.DONE]
    assert ended == [f"c{number}" for number in range(245, 0, -1) if number % 10][:MOST_ENDED]
    assert len(ended) == MOST_ENDED


# ---- over a restart of the gateway


def kept_and_loaded(left: Now, found: Now, *, sent: bool = False) -> tuple[Ledger, Line]:
    """A command of 10 s, opened at 0 and written at `left`, as the next process finds it."""
    before = Ledger("greenhouse")
    line = opened(before)
    state = CommandState.SENT if sent else CommandState.QUEUED
    kept = msgspec.json.decode(msgspec.json.encode(line.kept(state, left)), type=Kept)
    after = Ledger("greenhouse")
    after.load([(line.place, kept)], found)
    loaded = after.get("c1")
    assert loaded is not None
    assert loaded.record.state is state
    return after, loaded


def test_after_a_restart_the_time_that_passed_is_taken_off_whatever_the_monotonic_clock_says() -> None:
    _, line = kept_and_loaded(at(3_000), at(77, wall_ms=WALL_MS + 5_000))
    assert line.left_ms(at(77)) == 5_000


@pytest.mark.parametrize(
    ("left", "found", "rest_ms"),
    [
        (at(3_000), at(0, wall_ms=WALL_MS - 86_400_000), 7_000),  # the date went back: no longer than was left
        (at(3_000), at(0, wall_ms=WALL_MS + 86_400_000), 0),  # ... or on
        (at(3_000), at(0, wall_ms=WALL_MS + 4_000, trusted=False), 0),
        (at(3_000, trusted=False), at(0, wall_ms=WALL_MS + 4_000), 0),
    ],
)
def test_after_a_restart_a_date_that_cannot_be_right_begins_nothing_late(left: Now, found: Now, rest_ms: int) -> None:
    ledger, line = kept_and_loaded(left, found)
    assert line.left_ms(found) == rest_ms
    assert bool(ledger.to_deliver(found)) == bool(rest_ms)
    assert bool(ledger.overdue(found)) == (not rest_ms)


def test_within_one_process_the_wall_clock_moves_no_deadline() -> None:
    ledger = Ledger("greenhouse")
    line = opened(ledger)
    assert ledger.overdue(at(9_999, wall_ms=WALL_MS + 10**10)) == []
    assert line.left_ms(at(9_999, wall_ms=0)) == 1
    assert ledger.overdue(at(10_000, wall_ms=0)) == [line]
    assert line.record.ended_ms == line.record.asked_ms  # not before it was asked


def test_after_a_restart_a_sent_command_waits_long_enough_for_a_board_to_come_back() -> None:
    found = at(0, wall_ms=WALL_MS + 3_600_000)
    ledger, line = kept_and_loaded(at(1), found, sent=True)
    assert ledger.to_deliver(found) == []
    assert ledger.overdue(at(RETURN_GRACE_S * 1000 - 1)) == []
    assert ledger.overdue(at(RETURN_GRACE_S * 1000)) == [line]
    assert line.record.state is CommandState.UNKNOWN


def test_numbers_and_places_go_on_after_a_restart() -> None:
    before = Ledger("greenhouse")
    lines = [opened(before, f"c{number}") for number in range(5)]
    after = Ledger("greenhouse")
    after.load([(line.place, line.kept(CommandState.DONE, at(0))) for line in reversed(lines)], at(0))
    line = opened(after, "new")
    assert (line.number, line.place) == (6, 5)
    assert [record.id for record in after.recent()] == ["new", "c4", "c3", "c2", "c1", "c0"]


def test_ids_are_fit_for_the_wire_and_new() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(command_id) == 12 and command_id.isalnum() for command_id in ids)


def test_every_order_of_two_turns_ends_a_command_at_most_once() -> None:
    for first, second in itertools.product(Turn, repeat=2):
        ledger = Ledger("greenhouse")
        line = opened(ledger)
        ledger.turn(line, first, at(1))
        ended = line.record
        changed = ledger.turn(line, second, at(2))
        assert changed != (ended.state in ENDS) or line.record == ended
