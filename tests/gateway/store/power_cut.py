"""Power cuts of the gateway's host: the real store at work, recorded, and what each cut would have left, opened again.

The store works for a while, is closed, works again, is killed in the middle of it, and works on what the kill left:
what a killed process had written is read by the next one whether it is synced or not, and promised again (`committed`).
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import ConfigError, Conflict
from gateway.model import Batch, Quality, Refusal, Sample
from gateway.store import database
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store import disk
from tests.gateway.store.disk import Disk
from tests.gateway.store.recording import Op, Recorder, recording
from tests.gateway.store.samples import AT_MS

DEVICES = ("attic", "cellar", "greenhouse")
KEYS = ("outlet/mqtt.home/cursor", "command/attic", "token/5f3a")


class World:
    """What was given to the store. It promised ("samples", device, through) and ("entry", key, revision)."""

    def __init__(self, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._rng = random.Random(seed)
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.offered = dict.fromkeys(DEVICES, 0)
        self.entries: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
        self.ops: list[Op] = []
        self.killed_at = 0
        """Operations before the kill."""

    def value(self, device: str, seq: int) -> float:
        """What the sample must hold, whoever asks."""
        return 20 + seq % 97 / 8 + DEVICES.index(device)

    def record(self, rounds: int) -> list[Op]:
        """Everything the store does to the disk in its three lives."""
        # folded into the file all the time, as in a week of work
        self._monkeypatch.setattr(database, "CHECKPOINT_BYTES", 48 << 10)
        first = self._life(self._folder / "first", rounds)
        self.ops += first
        second = self._life(self._folder / "first", rounds)
        # killed when a commit is written and not synced: the next life reads it all the same
        syncs = [place for place, op in enumerate(second) if op[:2] == ("sync", "deep/state/samples.db-wal")]
        self.ops += second[: self._rng.choice(syncs[len(syncs) // 2 :])]
        left = Disk()
        for op in self.ops:
            left.feed(op)
        (self._folder / "killed").mkdir()
        left.lay_out(self._folder / "killed", disk.everything, lambda count: count)
        self.killed_at = len(self.ops)
        self.ops += self._life(self._folder / "killed", rounds)
        return self.ops

    def _life(self, folder: Path, rounds: int) -> list[Op]:
        folder.mkdir(exist_ok=True)
        recorder = Recorder(folder)
        with recording(recorder, self._monkeypatch):
            run(self._work(recorder, folder / "deep" / "state", rounds))
        return recorder.ops

    async def _work(self, recorder: Recorder, state: Path, rounds: int) -> None:
        store = SqliteStore(state, commit_ms=1, quarantine_rows=20)
        await store.open()
        for device in DEVICES:
            (committed,) = await store.committed(device, [boot_id(device)])
            self.offered[device] = committed.through + 1
            recorder.ack(("samples", device, committed.through))  # a board frees what it is told is committed
        await asyncio.gather(*(self._device(recorder, store, device, rounds) for device in DEVICES))
        await store.close()

    async def _device(self, recorder: Recorder, store: SqliteStore, device: str, rounds: int) -> None:
        epoch = await store.claim(device, "gw")
        for _ in range(rounds):
            first = self.offered[device]
            count = self._rng.choice((1, 1, 2, 5, 40))
            self.offered[device] += count
            through = await store.append(epoch, self._batch(device, first, count))
            recorder.ack(("samples", device, through))
            if self._rng.random() < 0.3:
                key, value = self._rng.choice(KEYS), self._rng.randbytes(12)
                revision = await self._put(store, key, value)
                recorder.ack(("entry", key, revision))

    async def _put(self, store: SqliteStore, key: str, value: bytes) -> int:
        while True:  # what is to be found must be known before: it may be on disk before `put` returns
            entry = await store.get(key)
            revision = entry.revision if entry else 0
            self.entries[key, revision + 1].add(value)
            try:
                return await (store.cas(key, value, revision) if entry else store.create(key, value))
            except Conflict:
                continue

    def _batch(self, device: str, first: int, count: int) -> Batch:
        refused = (Refusal("humidity", "140", "value.range", "too much"),)
        records = tuple(
            Sample(seq, seq * 1000, {"temperature": self.value(device, seq)}, refused if seq % 7 == 0 else ())
            for seq in range(first, first + count)
        )
        return Batch(device, 1, boot_id(device), records, AT_MS, Quality.SYNCED, AT_MS, profile="5a0f9c3be1d27718")


def boot_id(device: str) -> str:
    return f"{DEVICES.index(device):016x}"


def _promised_samples(acked: list[object]) -> dict[str, int]:
    promised: dict[str, int] = dict.fromkeys(DEVICES, -1)
    for what in acked:
        kind, name, number = what  # type: ignore[misc]  # as `World` made it
        if kind == "samples":
            promised[name] = max(promised[name], number)
    return promised


# ---- after the power is back --------------------------------------------------------------------------------------


class Cuts:
    """Tries cuts and counts them. `problems` says what was wrong after one, with the cut it was."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(seed)
        self._shm = Path("/dev/shm")  # fsync costs nothing there, and nobody cuts its power
        self.tried: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self, places: Iterator[tuple[int, Op, Disk]], kinds: tuple[str, ...]) -> None:
        for place, op, left in places:
            for kind in kinds:
                self._cut(f"cut after operation {place} ({op.kind} {op.path}), kept: {kind}", kind, left)

    def _cut(self, what: str, kind: str, left: Disk) -> None:
        base = self._shm if self._shm.is_dir() else None
        directory = Path(tempfile.mkdtemp(prefix="power-cut-", dir=base))
        try:
            self._lay_out(kind, left, directory)
            self.tried[kind] += 1
            self.problems += [f"{what}: {problem}" for problem in run(self._look(directory / "deep" / "state", left))]
        finally:
            shutil.rmtree(directory)

    def _lay_out(self, kind: str, left: Disk, directory: Path) -> None:
        rng = self._rng
        match kind:
            case "everything":
                left.lay_out(directory, disk.everything, lambda count: count)
            case "nothing":
                left.lay_out(directory, disk.nothing, lambda count: 0)
            case "names only":
                left.lay_out(directory, disk.nothing, lambda count: count)
            case "last only":
                left.lay_out(directory, disk.last_only, lambda count: rng.randint(0, count))
            case "any":
                left.lay_out(directory, disk.any_part(rng), lambda count: rng.randint(0, count))

    async def _look(self, state: Path, left: Disk) -> list[str]:
        """Open the store as a gateway does, and look for what was promised."""
        store = SqliteStore(state, commit_ms=1)
        try:
            await store.open()
        except ConfigError as error:
            return [f"does not open: {error}"]
        try:
            problems = [*await self._samples(store, left), *await self._entries(store, left)]
        finally:
            await store.close()
        for name in ("samples.db", "registry.db"):
            with closing(sqlite3.connect(state / name)) as connection:
                problems += [
                    f"{name}: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"
                ]
        known = {"lock", *(name + end for name in ("samples.db", "registry.db") for end in ("", "-wal", "-shm"))}
        problems += [f"left {path.name}" for path in state.iterdir() if path.name not in known]
        return problems

    async def _samples(self, store: SqliteStore, left: Disk) -> list[str]:
        problems = []
        times: Counter[tuple[str, int]] = Counter()
        cursor = ""
        while batches := await store.read(cursor, limit=1000):
            cursor = batches[-1].cursor
            for batch in batches:
                for sample in batch.records:
                    times[batch.device, sample.seq] += 1
                    expected = {"temperature": self._world.value(batch.device, sample.seq)}
                    if not isinstance(sample, Sample) or sample.values != expected:
                        problems.append(f"{batch.device} #{sample.seq} is {sample}")
        problems += [f"{device} #{seq} is there {count} times" for (device, seq), count in times.items() if count > 1]
        for device, through in _promised_samples(left.acked).items():
            lost = [seq for seq in range(through + 1) if not times[device, seq]]
            if lost:
                problems.append(f"{device}: {len(lost)} acknowledged samples are lost, from {lost[0]}")
            (committed,) = await store.committed(device, [boot_id(device)])
            if committed.through != max((seq for name, seq in times if name == device), default=-1):
                problems.append(f"{device}: {committed.through} is said to be committed")
        return problems

    async def _entries(self, store: SqliteStore, left: Disk) -> list[str]:
        problems = []
        promised: dict[str, int] = {}
        for kind, name, number in left.acked:  # type: ignore[misc]  # as `World` made it
            if kind == "entry":
                promised[name] = max(promised.get(name, 0), number)
        for key, revision in promised.items():
            entry = await store.get(key)
            if entry is None or entry.revision < revision:
                problems.append(f"{key} is at revision {entry and entry.revision}, not {revision}")
            elif entry.value not in self._world.entries[key, entry.revision]:
                problems.append(f"{key} holds something else")
        return problems


def places(ops: list[Op], wanted: set[int] | None = None) -> Iterator[tuple[int, Op, Disk]]:
    """The disk after each operation, or after those `wanted`."""
    left = Disk()
    for place, op in enumerate(ops):
        left.feed(op)
        if wanted is None or place in wanted:
            yield place, op, left
