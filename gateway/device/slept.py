"""Times of a boot that sleeps: its clock counts deep sleep by an oscillator that is percents off. Pure.

Between two times at which it is known how late it is, the newest record that is stored and the exchange of this
connection, it is taken to have drifted evenly. What is left is how unevenly it did: it changes with the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from gateway.model import Event, Record, Sample


class Known(NamedTuple):
    """At `t_ms` of the board's clock, its zero was at `offset_ms`, Unix milliseconds."""

    t_ms: int
    offset_ms: int


def drifted_ms(t_ms: int, since: Known, until: Known) -> int:
    """Where its zero is for what was measured at `t_ms`. Not evenly: outside of the two."""
    if t_ms <= since.t_ms:
        return since.offset_ms
    if t_ms >= until.t_ms:
        return until.offset_ms
    part = (t_ms - since.t_ms) / (until.t_ms - since.t_ms)
    return since.offset_ms + round((until.offset_ms - since.offset_ms) * part)


def goes_forward(since: Known, until: Known) -> bool:
    """Whether the two can be of one clock: what came later is later."""
    return since.t_ms < until.t_ms and since.t_ms + since.offset_ms < until.t_ms + until.offset_ms


def straightened(records: Sequence[Record], last_t_ms: int, since: Known, until: Known) -> tuple[Record, ...]:
    """`records` with times by which all of them have the offset of `last_t_ms`: a batch has only one."""
    all_ms = drifted_ms(last_t_ms, since, until)
    return tuple(
        replace(record, t_ms=record.t_ms + drifted_ms(record.t_ms, since, until) - all_ms)
        if isinstance(record, Sample | Event)
        else record
        for record in records
    )
