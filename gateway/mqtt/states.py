"""The newest value of each quantity of each device, which is retained at the broker. Pure.

Coalesced per device while it waits, and published again to a broker that has forgotten it. A state never goes back: a
sample that arrives late changes only quantities of which nothing newer is known. Live values that come ahead of a
backlog lie over the stored ones until these have caught up with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gateway.model import Batch, Correction, Quality, Sample
from gateway.mqtt.topics import Decimals, Message, Number, Topics, number, publishable

INTERVAL_MS = 1_000
"""At most one state per device in this time. What is in between is in `samples`."""
STALE_MS = 3_000
"""While live values come ahead of a backlog, what the backlog changes waits for the next of them, but not longer: it
would take the place of that one in its second."""


class Stamp(NamedTuple):
    """When something was measured, and in which sample. `estimated`: a correction may still move it, once."""

    at_ms: int
    boot_id: str
    seq: int
    estimated: bool = False

    def superseded_by(self, other: Stamp) -> bool:
        """Within one boot the sequence decides, since times may be corrected; between boots the time."""
        if self.boot_id == other.boot_id:
            return other.seq > self.seq
        if other.at_ms == self.at_ms:
            return not other.estimated  # an estimate is cut off at its neighbours' times, and so may fall on one
        return other.at_ms > self.at_ms

    def corrected(self, batch: Batch) -> Stamp:
        """Where `batch`, of corrections, puts it."""
        if self.estimated and self.boot_id == batch.boot_id:
            for record in batch.records:
                if isinstance(record, Correction) and record.seq <= self.seq <= record.to:
                    return self._replace(at_ms=self.at_ms + record.moved_ms, estimated=False)
        return self


class Saved(msgspec.Struct, array_like=True):
    """A device's state as it is kept over a restart."""

    values: dict[str, tuple[Stamp, Number]]
    newest: Stamp | None
    boot: int
    ahead: dict[str, tuple[int, Number]]


@dataclass(slots=True)
class _State:
    values: dict[str, tuple[Stamp, Number]] = field(default_factory=dict)
    """What is stored."""
    newest: Stamp | None = None
    """Of the newest stored sample."""
    boot: int = 0
    ahead: dict[str, tuple[int, Number]] = field(default_factory=dict)
    """(time, value) of what is not stored yet."""
    sent_ms: int | None = None
    """When it was last published, on the caller's monotonic clock."""

    @property
    def is_known(self) -> bool:
        return bool(self.values or self.ahead)


class States:
    """What every device's state topic should say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._states: dict[str, _State] = {}
        self._changed: set[str] = set()
        self._stale: set[str] = set()
        """Changed below live values only."""

    def update(self, batch: Batch, decimals: Decimals) -> None:
        """Take over what is new in a committed batch. The same batch again changes nothing."""
        if not publishable(batch.device):
            return
        state = self._states.setdefault(batch.device, _State())
        if isinstance(batch.records[0], Correction):
            self._correct(batch.device, state, batch)
            return
        newest = state.newest
        if newest is not None and batch.boot_id == newest.boot_id and batch.last <= newest.seq:
            return  # seen already: both the live feed and the log come by here
        for record in batch.records:
            if isinstance(record, Sample) and record.values:
                estimated = batch.quality is Quality.ESTIMATED
                stamp = Stamp(batch.at_ms(record.t_ms), batch.boot_id, record.seq, estimated)
                self._merge(batch.device, state, stamp, record.values, decimals)
                if state.newest is stamp:
                    state.boot = batch.boot

    def _merge(self, device: str, state: _State, stamp: Stamp, values: Mapping[str, float], decimals: Decimals) -> None:
        """Put in what is newer than what is there."""
        changed = False
        for quantity, value in values.items():
            known = state.values.get(quantity)
            if known is None or known[0].superseded_by(stamp):
                state.values[quantity] = stamp, number(value, decimals.get(quantity))
                changed = True
        if state.newest is None or state.newest.superseded_by(stamp):
            state.newest = stamp
            changed = True
            for quantity, (at_ms, _) in list(state.ahead.items()):
                if at_ms < stamp.at_ms or (at_ms == stamp.at_ms and quantity in values):
                    del state.ahead[quantity]
        if changed:
            (self._stale if state.ahead else self._changed).add(device)

    def _correct(self, device: str, state: _State, batch: Batch) -> None:
        """Times follow a correction. Live values, of the wrong time too, go: the next come within a second."""
        newest = state.newest and state.newest.corrected(batch)
        values = {quantity: (stamp.corrected(batch), value) for quantity, (stamp, value) in state.values.items()}
        if (newest, values) != (state.newest, state.values) or state.ahead:
            state.newest, state.values = newest, values
            state.ahead.clear()
            self._changed.add(device)

    def provisional(self, device: str, at_ms: int, values: Mapping[str, float | None], decimals: Decimals) -> None:
        """Live values ahead of a backlog: they are not stored yet, and replaced by the sample that is."""
        if not publishable(device):
            return
        state = self._states.setdefault(device, _State())
        if state.newest is not None and at_ms <= state.newest.at_ms:
            return
        for quantity, value in values.items():
            if value is not None and at_ms >= state.ahead.get(quantity, (at_ms,))[0]:
                state.ahead[quantity] = at_ms, number(value, decimals.get(quantity))
                self._changed.add(device)

    def due(self, now_ms: int, most: int) -> tuple[list[Message], int | None]:
        """Up to `most` states to publish now, and in how many milliseconds the next is due (None: when one changes).

        One for which there is no room has no time either: ask again when there is."""
        messages: list[Message] = []
        waits: list[int] = []
        for device in sorted(self._changed | self._stale):
            state = self._states[device]
            interval_ms = INTERVAL_MS if device in self._changed else STALE_MS
            wait_ms = 0 if state.sent_ms is None else state.sent_ms + interval_ms - now_ms
            if wait_ms > 0:
                waits.append(wait_ms)
                continue
            if len(messages) >= most or not state.is_known:
                continue
            state.sent_ms = now_ms
            self._changed.discard(device)
            self._stale.discard(device)
            messages.append(self.message(device))
        return messages, min(waits, default=None)

    def all_again(self) -> None:
        """A new session with the broker: whatever is known must be published again."""
        for device, state in self._states.items():
            if state.is_known:
                state.sent_ms = None
                self._changed.add(device)

    def message(self, device: str) -> Message:
        """The state of a device of which something is known."""
        state = self._states[device]
        newest = state.newest or Stamp(0, "", -1)
        content: dict[str, Number | str | bool] = {quantity: value for quantity, (_, value) in state.values.items()}
        content |= {quantity: value for quantity, (_, value) in state.ahead.items()}
        at_ms = max([newest.at_ms, *(at_ms for at_ms, _ in state.ahead.values())])
        content |= {"at": at_ms, "boot": state.boot, "boot_id": newest.boot_id, "seq": newest.seq}
        content.pop("provisional", None)
        if state.ahead:
            content["provisional"] = True
        return Message(self._topics.of(device, "state"), msgspec.json.encode(content), retain=True)

    def forget(self, device: str) -> None:
        """The device is no more."""
        self._states.pop(device, None)
        self._changed.discard(device)
        self._stale.discard(device)

    # over a restart of ours
    def save(self) -> dict[str, Saved]:
        return {d: Saved(s.values, s.newest, s.boot, s.ahead) for d, s in self._states.items() if s.is_known}

    def load(self, saved: Mapping[str, Saved], known: Iterable[str]) -> None:
        """Take over what was saved, of the devices that are still known."""
        for device in saved.keys() & set(known):
            kept = saved[device]
            self._states[device] = _State(kept.values, kept.newest, kept.boot, kept.ahead)
            self._changed.add(device)
