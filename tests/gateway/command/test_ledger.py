from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.command.ledger import MOST_OPEN, Ledger, new_id
from gateway.model import Command, Result, Status


def command(command_id: str = "c1") -> Command:
    return Command(id=command_id, name="ping", args={}, deadline_ms=10_000)


def done(command_id: str = "c1") -> Result:
    return Result(id=command_id, status=Status.DONE)


def test_the_first_result_ends_a_command_and_later_ones_end_nothing() -> None:
    ledger = Ledger()
    assert ledger.open(command(), until_ms=100) is None
    assert ledger.end(done())
    assert not ledger.end(done())
    assert not ledger.end(done("never sent"))


def test_what_is_not_answered_ends_as_unknown() -> None:
    ledger = Ledger()
    ledger.open(command(), until_ms=100)
    assert ledger.overdue(99) == []
    (result,) = ledger.overdue(100)
    assert (result.id, result.status, result.error_code) == ("c1", Status.UNKNOWN, "command.unanswered")
    assert not ledger.end(done())


def test_an_id_is_used_once_at_a_time() -> None:
    ledger = Ledger()
    ledger.open(command(), until_ms=100)
    refused = ledger.open(command(), until_ms=100)
    assert refused is not None
    assert (refused.status, refused.error_code) == (Status.FAILED, "command.repeated")
    assert ledger.end(done())


def test_a_device_has_only_so_many_open() -> None:
    ledger = Ledger()
    for number in range(MOST_OPEN):
        assert ledger.open(command(f"c{number}"), until_ms=100) is None
    refused = ledger.open(command("one more"), until_ms=100)
    assert refused is not None
    assert refused.error_code == "command.busy"
    assert len(ledger) == MOST_OPEN


def test_ids_are_fit_for_the_wire_and_new() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(command_id) == 12 and command_id.isalnum() for command_id in ids)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "end", "overdue"]), st.integers(0, 5), st.integers(0, 20)), max_size=60
)


@given(ACTIONS)
def test_every_command_ends_exactly_once(actions: list[tuple[str, int, int]]) -> None:
    ledger, opened, ended, now_ms = Ledger(), 0, 0, 0
    for action, number, ms in actions:
        now_ms += ms
        if action == "open":
            opened += ledger.open(command(f"c{number}"), until_ms=now_ms + 50) is None
        elif action == "end":
            ended += ledger.end(done(f"c{number}"))
        else:
            ended += len(ledger.overdue(now_ms))
        assert opened == ended + len(ledger)
