from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import Conflict, Unavailable
from gateway.store import registry as registry_module
from gateway.store.port import Entry
from gateway.store.registry import Registry
from tests.aio import run

COUNT_UP = """
import asyncio, sys
from pathlib import Path
from gateway.errors import Conflict
from gateway.store.registry import Registry

async def main(state, times):
    registry = Registry(state)
    await registry.open()
    conflicts = 0
    for _ in range(times):
        while True:
            entry = await registry.get("counter")
            try:
                await registry.cas("counter", str(int(entry.value) + 1).encode(), entry.revision)
                break
            except Conflict:
                conflicts += 1
    created = 0
    for number in range(times):
        try:
            await registry.create(f"name/{number}", b"")
            created += 1
        except Conflict:
            pass
    await registry.close()
    print(created, conflicts)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_two_processes_decide_by_cas_and_create(tmp_path: Path) -> None:
    async def value() -> bytes:
        registry = Registry(tmp_path)
        await registry.open()
        if await registry.get("counter") is None:
            await registry.put("counter", b"0")
        entry = await registry.get("counter")
        await registry.close()
        assert entry is not None
        return entry.value

    run(value())
    both = [
        subprocess.Popen([sys.executable, "-c", COUNT_UP, str(tmp_path), "60"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=50)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert run(value()) == b"120"
    assert sum(int(created) for created, _ in printed) == 60


def test_another_processs_change_shows_at_the_next_look_and_to_watchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "POLL_S", 0.02)

    async def work() -> None:
        here, there = Registry(tmp_path), Registry(tmp_path)  # two connections are two processes to SQLite
        await here.open()
        await there.open()
        await there.put("device/gone", b"x")
        watch = here.watch("device/")
        revision = await there.put("device/new", b"1")
        await there.put("other", b"2")
        entry = await here.get("device/new")
        assert entry == Entry("device/new", b"1", revision)
        with pytest.raises(Conflict):
            await here.create("device/new", b"mine")
        await there.delete("device/gone")
        async with asyncio.timeout(5):
            seen: dict[str, bytes | None] = {}
            while seen != {"device/new": b"1", "device/gone": None}:
                change = await anext(watch)
                if isinstance(change, Entry):
                    seen[change.key] = change.value
                else:
                    seen[change] = None
        await here.close()
        await there.close()

    run(work())


def test_many_changes_at_once_share_a_transaction(tmp_path: Path) -> None:
    async def work() -> None:
        registry = Registry(tmp_path)
        await registry.open()
        statements: list[str] = []
        await registry._database.run(lambda connection: connection.set_trace_callback(statements.append))
        await asyncio.gather(*(registry.put(f"holder/{i}", b"gw") for i in range(200)))
        assert statements.count("COMMIT") <= 2
        assert len(await registry.list("holder/")) == 200
        await registry.close()

    run(work())


def test_a_key_that_cannot_be_stored_harms_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        registry = Registry(tmp_path)
        await registry.open()
        outcomes = await asyncio.gather(
            registry.put("good", b"1"), registry.put("\ud800", b"2"), registry.put("fine", b"3"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [int, UnicodeEncodeError, int]
        await registry.close()

    run(work())


def test_a_crash_between_writes_leaves_the_last_commit(tmp_path: Path) -> None:
    """Another connection that wrote half and went away is rolled back."""

    async def work() -> None:
        registry = Registry(tmp_path)
        await registry.open()
        await registry.put("k", b"old")
        script = (
            "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            " c.execute('BEGIN IMMEDIATE'); c.execute(\"UPDATE entries SET value = x'00'\"); os._exit(1)"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / "registry.db"))
        await process.wait()
        entry = await registry.get("k")
        assert entry is not None
        assert entry.value == b"old"
        await registry.put("k", b"new")
        await registry.close()

    run(work())


def test_a_fault_after_the_commit_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        registry = Registry(tmp_path)
        await registry.open()
        with monkeypatch.context() as fault:
            fault.setattr(registry, "_tell", lambda _: 1 / 0)
            with pytest.raises(Unavailable):
                await registry.put("key", b"1")
        assert await registry.put("key", b"2") == 2
        await registry.close()

    run(work())
