"""The one small port everything above the store sees. Nothing above it may know that SQLite is below.

`SqliteStore` (sqlite.py) is the first adapter. `tests/gateway/store/conformance.py` runs against every adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from gateway.model import Batch, Command


class Entry(msgspec.Struct, frozen=True):
    """One value of the registry with its revision, which grows with every change of the key."""

    key: str
    value: bytes
    revision: int


class Committed(msgspec.Struct, frozen=True):
    """What the store has of one boot. `through` is the highest committed seq, -1 for none."""

    boot_id: str
    boot: int
    through: int
    ended: bool = False
    """An open gap is its last record."""
    estimated: bool = False
    """Some of its batches have quality `estimated`: `restamp` would move them."""
    zero_ms: int | None = None
    """Unix milliseconds at its zero, as its newest `synced` or `corrected` batch has it; None without one."""
    last_at_ms: int | None = None
    """Time of the newest record it has here; None without one."""
    zero_corrected: bool = False
    """That batch is a `corrected` one: its time may be no more than the date and a bound, so nothing is `synced` by
    it."""
    floor_ms: int | None = None
    """Latest time of any record of its other boots: this one began later, unless they are listed behind it."""


class Load(msgspec.Struct, frozen=True):
    """How a store keeps up."""

    commit_ms: float
    """What the newest commit took."""
    trouble: bool
    """It cannot commit at all now."""


CommandHandler = Callable[[Command], None]
"""Puts a command on the connection it stands for. Raises `NoHolder` where that is closing."""


class Store(Protocol):
    """All methods may raise `Unavailable`: the outcome is unknown, call again with the same arguments."""

    async def claim(self, device: str, node: str) -> int:
        """Make this connection the holder of `device`; returns its epoch. An older epoch is fenced from then on.

        `node` names the gateway process that holds it."""

    async def committed(self, device: str, boot_ids: Sequence[str]) -> list[Committed]:
        """What is committed of each boot, in the order asked. Unknown boots have `through` -1."""

    async def end_restored(self, epoch: int, device: str, listed: Sequence[str]) -> bool:
        """After a restore from a backup: the newest boot of `device` that the backup knew, unless it is `listed` by the
        device, ends with an open gap `gateway_restored` without a bound, as nobody can know what of it came after the
        backup. Once; returns whether. Without a restore it does nothing."""

    async def append(self, epoch: int, batch: Batch) -> int:
        """Commit `batch` and return the highest committed seq of its boot. Idempotent, all or nothing; what is
        committed already is cut off. A hole before it is filled with a `Gap` in the same commit: `unexplained`, or
        `gateway_restored` where a restore from a backup explains it.
        Returns only after the data is on disk. Waits while the store's queue is full (that slows the sender).
        Values and frames refused (`Sample.refused`, `Refused`) go to quarantine in the same commit.

        Raises `Fenced` when `epoch` is not the newest claim of the device."""

    async def restamp(self, device: str, boot_id: str, offset_ms: int) -> int:
        """Give every batch of the boot that has quality `estimated` this `offset_ms` and the quality `corrected`;
        returns how many records that were. Each batch is moved once, whoever calls again; `synced` never moves. It
        covers what was appended before it was called.

        It may take several commits. Each brings, as its last batch, one of `Correction`s, to `read` and `live` like any
        other. Who reads in order applies a correction to what it read as `estimated`: a batch read as `corrected` has
        its final time already. Raises `Unavailable`, perhaps half done: call again, and the rest is moved."""

    async def forget(self, device: str) -> None:
        """Erase all samples, events, gaps and quarantine of `device`, and what is known of its boots: what it sends
        under that name again is new. Whoever holds it is fenced. Once this returns nothing of it is read any more.
        Raises `Unavailable`, perhaps half done: call again. Its entries in the registry are the caller's (`purge`)."""

    async def scrub(self) -> bool:
        """Leave nothing readable in the files of what was erased. False where it cannot be done now: call again."""

    async def read(self, cursor: str, *, device: str | None = None, limit: int = 100) -> list[Batch]:
        """Up to `limit` committed batches behind `cursor` ("" is the beginning), in commit order, at least once; fewer
        where they are large, and none only where there is nothing more. A cursor of another or restored log starts at
        the oldest batch."""

    async def end(self) -> str:
        """The cursor behind the newest committed batch."""

    def live(self, devices: Sequence[str] | None = None) -> AsyncIterator[Batch]:
        """Batches as they are committed, from now on (None: of all devices). A slow reader skips: it then sees a batch
        whose predecessor's cursor it has not seen, and can `read` what it missed."""

    async def wait(self, cursor: str, timeout_s: float) -> bool:
        """Wait until something lies behind `cursor`. False at the timeout."""

    def load(self) -> Load:
        """How the store keeps up just now: whoever asks gives it less to do while it is slow."""

    # registry: small values with a revision each; decisions go through `cas` only
    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there now; returns the new revision."""

    async def create(self, key: str, value: bytes) -> int:
        """Write only where there is nothing. Raises `Conflict`."""

    async def cas(self, key: str, value: bytes, revision: int) -> int:
        """Write only over `revision`. Raises `Conflict`."""

    async def delete(self, key: str, revision: int | None = None) -> bool: ...

    async def list(self, prefix: str) -> list[Entry]: ...

    async def purge(self, match: Callable[[str, bytes], bool]) -> None:
        """Erase every entry for which `match(key, value)` holds, and what is remembered of deleted ones (their value is
        empty): their revisions begin anew."""

    def watch(self, prefix: str) -> AsyncIterator[Entry | str]:
        """Changes from now on: the new entry, or the key of a deleted one. Coalesced per key, so never unbounded."""

    # commands: the holder serves, anyone sends
    def serve(self, device: str, epoch: int, handler: CommandHandler) -> None:
        """From now on commands for `device` go to `handler`, until a newer epoch serves."""

    def unserve(self, device: str, epoch: int) -> None: ...

    async def send(self, device: str, command: Command) -> None:
        """Hand `command` to the device's holder, which puts it on its connection. Raises `NoHolder` at once. The result
        comes, if it comes, to the command ledger (command/ledger.py), on this connection or a later one."""
