"""A full disk: nothing is acknowledged, it is said, and it passes by itself. On a real file system of a few MB."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.store import space as space_module
from gateway.store import upkeep
from gateway.store import writer as writer_module
from gateway.store.space import Space
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.gateway.store.samples import batch, sample, samples, seqs

MB = 1 << 20


@asynccontextmanager
async def opened(state: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(state, commit_ms=1)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "RESERVE_BYTES", 2 * MB)
    monkeypatch.setattr(space_module, "RESUME_BYTES", 3 * MB)
    monkeypatch.setattr(upkeep, "WARN_BYTES", 5 * MB)
    monkeypatch.setattr(upkeep, "EVERY_S", 0.05)
    monkeypatch.setattr(writer_module, "RETRY_MS", 5)


class Filler:
    """Somebody else's file, which takes the room."""

    def __init__(self, directory: Path):
        self._path = directory / "somebody-elses"
        self._directory = directory

    def leave(self, free: int) -> None:
        """Make it so large that so many bytes are free, without a moment in which there are more."""
        found = os.statvfs(self._directory)
        with self._path.open("ab") as file:
            size = file.tell() + found.f_bavail * found.f_frsize - free
            if size > file.tell():
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)

    def empty(self) -> None:
        self._path.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(directory)]
    made = subprocess.run(command, check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"no small file system here: {made.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_acknowledges_nothing_says_so_and_passes_by_itself(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filler = Filler(disk)

    async def work() -> None:
        async with opened(disk / "state") as store:
            epoch = await store.claim("greenhouse", "gw")
            await store.append(epoch, batch(*samples(0, 99)))
            assert store.stats()["notices"] == []

            filler.leave(4 * MB)
            await until(lambda: bool(store.stats()["notices"]), what="the warning")
            (notice,) = store.stats()["notices"]
            assert notice["level"] == "warning"
            assert "nearly full: 4 MB are free" in notice["text"]
            assert await store.append(epoch, batch(sample(100))) == 100

            filler.leave(1 * MB)
            with pytest.raises(Unavailable, match=r"the disk is full: 1 MB are free .*store\.retention_days"):
                await store.append(epoch, batch(sample(101)))
            (notice,) = store.stats()["notices"]
            assert notice["level"] == "error"
            assert "nothing is stored or acknowledged" in notice["text"]
            assert "free some space" in notice["text"]
            assert store.stats()["trouble"]
            assert store.load().trouble
            assert 0 < store.stats()["disk_free_bytes"] < 2 * MB
            assert await store.append(epoch, batch(*samples(0, 100))) == 100, "what is stored can be acknowledged"
            assert await store.put("device/new", b"x") == 1, "the registry has the reserve"
            assert seqs(await store.read("", limit=1000))[-1] == 100

            filler.leave(round(2.5 * MB))  # more than the reserve, but not enough to go on
            await asyncio.sleep(0.2)
            assert store.stats()["trouble"]

            filler.empty()
            await until(lambda: store.stats()["trouble"] == "", what="it to go on without anyone asking")
            assert store.stats()["notices"] == []
            assert await store.append(epoch, batch(sample(101))) == 101

    with caplog.at_level(logging.WARNING, "store"):
        run(work())
    # Two errors where the full disk was seen before something came that could not be committed.
    assert [level for level, _ in groupby(r.levelname for r in caplog.records)] == ["WARNING", "ERROR", "WARNING"]


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the reserve, as where a quota ends that nobody can ask for: SQLite itself finds it."""
    monkeypatch.setattr(space_module, "RESERVE_BYTES", 0)
    monkeypatch.setattr(space_module, "RESUME_BYTES", 0)
    filler = Filler(disk)

    async def work() -> int:
        acknowledged = -1
        async with opened(disk / "state") as store:
            epoch = await store.claim("greenhouse", "gw")
            filler.leave(1 * MB)
            error = None
            while error is None:
                first = acknowledged + 1
                try:
                    acknowledged = await store.append(epoch, batch(*samples(first, first + 999)))
                except Unavailable as full:
                    error = full
            assert "the disk is full" in str(error)
            assert acknowledged > 1_000
            assert "the disk is full" in store.stats()["trouble"]
            filler.empty()
            await until(lambda: store.stats()["trouble"] == "", what="it to go on without anyone asking")
            assert await store.append(epoch, batch(*samples(acknowledged + 1, acknowledged + 5))) == acknowledged + 5
        return acknowledged + 5

    async def check(acknowledged: int) -> None:
        async with opened(disk / "state") as store:
            found: list[int] = []
            cursor = ""
            while batches := await store.read(cursor, limit=1_000):
                found += seqs(batches)
                cursor = batches[-1].cursor
            assert found == list(range(acknowledged + 1))

    run(check(run(work())))


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from gateway.errors import Unavailable
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import batch, samples, seqs

async def main():
    store = SqliteStore(Path(sys.argv[1]), commit_ms=1)
    await store.open()
    epoch = await store.claim("greenhouse", "gw")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    through = -1
    try:
        while True:
            through = await store.append(epoch, batch(*samples(through + 1, through + 500)))
    except Unavailable as error:
        print(through, store.stats()["trouble"] == str(error), "full" in str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await store.append(epoch, batch(*samples(through + 1, through + 500))) == through + 500
    assert seqs(await store.read("", limit=10_000)) == list(range(through + 501))
    print(store.stats()["trouble"] == "")
    await store.close()

asyncio.run(main())
"""


def test_a_file_that_may_not_grow_is_the_same(tmp_path: Path) -> None:
    """Anywhere, without a file system of its own: the operating system refuses the write."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "state")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    through, said, names_it = first.split()
    assert int(through) > 0
    assert (said, names_it, second) == ("True", "True", "True")


def test_room_is_seen_with_a_margin_so_that_it_does_not_go_back_and_forth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(tmp_path)
    full = []
    for free in (10, 2.1, 1.9, 2.1, 2.9, 3.1, 2.1):
        answer = os.statvfs_result((1, 1, 0, 0, int(free * MB), 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _, answer=answer: answer)
        space.look()
        full.append(space.full)
    assert full == [False, False, True, True, True, False, False]


def test_where_nobody_can_say_it_counts_as_enough(tmp_path: Path) -> None:
    space = Space(tmp_path / "gone")
    space.check()
    assert not space.full
