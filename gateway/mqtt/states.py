"""What is retained at the broker: the newest value of each quantity, and who is online. Pure.

Both are coalesced per device while they wait, and published again to a broker that has forgotten them. A state never
goes back: a sample that arrives late changes only quantities of which nothing newer is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gateway.model import Batch, Sample
from gateway.mqtt.topics import Decimals, Message, Number, Topics, number, publishable

INTERVAL_MS = 1_000
"""At most one state per device in this time. What is in between is in `samples`."""


class Stamp(NamedTuple):
    """When something was measured, and in which sample. Unknown boot: ahead of a backlog, not stored yet."""

    at_ms: int
    boot_id: str = ""
    seq: int = -1

    def superseded_by(self, other: Stamp) -> bool:
        """Within one boot the sequence decides, since times may be corrected; between boots the time."""
        if self.boot_id and self.boot_id == other.boot_id:
            return other.seq > self.seq
        return other.at_ms >= self.at_ms


class Saved(msgspec.Struct, array_like=True):
    """A device's state as it is kept over a restart."""

    values: dict[str, tuple[Stamp, Number]]
    newest: Stamp
    boot: int
    boot_id: str
    seq: int


@dataclass(slots=True)
class _State:
    values: dict[str, tuple[Stamp, Number]] = field(default_factory=dict)
    newest: Stamp = field(default=Stamp(0))
    boot: int = 0
    boot_id: str = ""
    seq: int = -1
    sent_ms: int | None = None
    """When it was last published, on the caller's monotonic clock."""


class States:
    """What every device's state topic should say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._states: dict[str, _State] = {}
        self._changed: set[str] = set()

    def update(self, batch: Batch, decimals: Decimals) -> None:
        """Take over what is new in a committed batch."""
        if not publishable(batch.device):
            return
        state = self._states.setdefault(batch.device, _State())
        if batch.boot_id == state.boot_id and batch.last <= state.seq:
            return  # seen already: both the live feed and the log come by here
        for record in batch.records:
            if isinstance(record, Sample):
                stamp = Stamp(batch.at_ms(record.t_ms), batch.boot_id, record.seq)
                if self._merge(batch.device, state, stamp, record.values, decimals):
                    state.boot, state.boot_id, state.seq = batch.boot, batch.boot_id, record.seq

    def provisional(self, device: str, at_ms: int, values: Mapping[str, float | None], decimals: Decimals) -> None:
        """A live value ahead of a backlog: it is not stored yet, and replaced by the sample that is."""
        if not publishable(device):
            return
        state = self._states.setdefault(device, _State())
        if at_ms > state.newest.at_ms:
            self._merge(device, state, Stamp(at_ms), values, decimals)

    def _merge(
        self, device: str, state: _State, stamp: Stamp, values: Mapping[str, float | None], decimals: Decimals
    ) -> bool:
        """Put in what is newer than what is there. True where `stamp` is now the newest of all."""
        for quantity, value in values.items():
            known = state.values.get(quantity)
            if value is not None and (known is None or known[0].superseded_by(stamp)):
                state.values[quantity] = stamp, number(value, decimals.get(quantity))
                self._changed.add(device)
        if not values or not state.newest.superseded_by(stamp):
            return False
        state.newest = stamp
        return True

    def due(self, now_ms: int, most: int) -> tuple[list[Message], int | None]:
        """Up to `most` states to publish now, and in how many milliseconds the next is due (None: when one changes).

        One for which there is no room has no time either: ask again when there is."""
        messages: list[Message] = []
        waits: list[int] = []
        for device in sorted(self._changed):
            state = self._states[device]
            wait_ms = 0 if state.sent_ms is None else state.sent_ms + INTERVAL_MS - now_ms
            if wait_ms > 0:
                waits.append(wait_ms)
                continue
            if len(messages) >= most:
                continue
            state.sent_ms = now_ms
            self._changed.discard(device)
            messages.append(self.message(device))
        return messages, min(waits, default=None)

    def all_again(self) -> None:
        """A new session with the broker: whatever is known must be published again."""
        for device, state in self._states.items():
            if state.values:
                state.sent_ms = None
                self._changed.add(device)

    def message(self, device: str) -> Message:
        """The state of a device of which something is known."""
        state = self._states[device]
        content: dict[str, Number | str | bool] = {quantity: value for quantity, (_, value) in state.values.items()}
        content |= {"at": state.newest.at_ms, "boot": state.boot, "boot_id": state.boot_id, "seq": state.seq}
        content.pop("provisional", None)
        if not state.newest.boot_id:
            content["provisional"] = True
        return Message(self._topics.of(device, "state"), msgspec.json.encode(content), retain=True)

    def forget(self, device: str) -> None:
        """The device is no more."""
        self._states.pop(device, None)
        self._changed.discard(device)

    # over a restart of ours
    def save(self) -> bytes:
        saved = {d: Saved(s.values, s.newest, s.boot, s.boot_id, s.seq) for d, s in self._states.items() if s.values}
        return msgspec.json.encode(saved)

    def load(self, text: bytes, known: Iterable[str]) -> None:
        """Take over what was saved, of the devices that are still known. Raises msgspec.DecodeError."""
        saved = msgspec.json.decode(text, type=dict[str, Saved])
        for device in saved.keys() & set(known):
            kept = saved[device]
            self._states[device] = _State(kept.values, kept.newest, kept.boot, kept.boot_id, kept.seq)
            self._changed.add(device)


class Presences:
    """What every device's availability topic should say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._online: dict[str, bool] = {}
        self._changed: dict[str, None] = {}

    def set(self, device: str, online: bool) -> None:
        if publishable(device) and self._online.get(device) is not online:
            self._online[device] = online
            self._changed[device] = None

    def online(self) -> list[str]:
        return [device for device, online in self._online.items() if online]

    def due(self, most: int) -> list[Message]:
        """Up to `most` availabilities to publish now."""
        devices = list(self._changed)[: max(0, most)]
        for device in devices:
            del self._changed[device]
        return [self._topics.availability(device, self._online[device]) for device in devices]

    def all_again(self) -> None:
        """A new session with the broker."""
        self._changed = dict.fromkeys(self._online)

    def forget(self, device: str) -> None:
        """The device is no more."""
        self._online.pop(device, None)
        self._changed.pop(device, None)
