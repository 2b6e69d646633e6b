"""What a restored state does with cursors and holes. How one is made is backup.py's."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model import Gap, Quality
from gateway.store.database import connect
from gateway.store.restored import mark_restored
from gateway.store.sqlite import SqliteStore
from tests.aio import run
from tests.gateway.store.samples import AT_MS, BOOT_ID, batch, records, sample, samples, seqs

RESTORED_MS = AT_MS + 1_000_000
OTHER_BOOT_ID = "0c5d9be1f2a34477"


def with_store(state: Path, work: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def inside() -> None:
        store = SqliteStore(state, commit_ms=1)
        await store.open()
        try:
            await work(store)
        finally:
            await store.close()

    run(inside())


def restored(state: Path, directory: Path) -> Path:
    """A copy of the closed `state`, marked."""
    copy = directory / "restored"
    shutil.copytree(state, copy)
    with closing(connect(copy / "samples.db")) as samples, closing(connect(copy / "registry.db")) as registry:
        mark_restored(samples, registry, RESTORED_MS)
    return copy


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Boot 17 through 9, and the cursors of three outlets: in it, ahead of it, and of another log."""
    state = tmp_path / "state"

    async def fill(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        for seq in range(10):
            await store.append(epoch, batch(sample(seq)))
        log_id = (await store.end()).partition(":")[0]
        for name, cursor in {"behind": f"{log_id}:4", "ahead": f"{log_id}:999", "strange": "beef:2"}.items():
            await store.put(f"outlet/{name}/cursor", cursor.encode())
        await store.put("outlet/behind/states", b"other things stay")

    with_store(state, fill)
    return restored(state, tmp_path)


def test_outlets_go_on_where_they_were(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        async def unread(name: str) -> list[int]:
            entry = await store.get(f"outlet/{name}/cursor")
            assert entry is not None
            return seqs(await store.read(entry.value.decode()))

        assert await unread("behind") == [4, 5, 6, 7, 8, 9]
        assert await unread("ahead") == []
        assert await unread("strange") == list(range(10))
        states = await store.get("outlet/behind/states")
        assert states is not None
        assert states.revision == 1

    with_store(backup, work)


def test_a_cursor_of_the_original_is_none_of_the_restored(tmp_path: Path, backup: Path) -> None:
    ends = []

    async def end(store: SqliteStore) -> None:
        ends.append(await store.end())

    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(*samples(10, 19)))
        assert seqs(await store.read(ends[0])) == list(range(20))

    with_store(tmp_path / "state", end)
    with_store(backup, work)


def test_the_first_hole_of_a_known_boot_is_the_restores_and_the_next_is_not(backup: Path) -> None:
    async def hole(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(*samples(15, 16)))
        await store.append(epoch, batch(sample(20)))

    async def after_another_restart(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(sample(30)))
        assert [record for record in records(await store.read("")) if isinstance(record, Gap)] == [
            Gap(10, 14, 5, None, "gateway_restored"),
            Gap(17, 19, 3, None, "unexplained"),
            Gap(21, 29, 9, None, "unexplained"),
        ]
        assert store.counts("greenhouse").lost == 17

    with_store(backup, hole)
    with_store(backup, after_another_restart)


def test_a_boot_that_goes_on_without_a_hole_has_no_gap_and_its_next_hole_is_its_own(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        assert await store.append(epoch, batch(*samples(0, 9))) == 9, "a repeat of what it knows is no commit"
        await store.append(epoch, batch(*samples(8, 11)))
        await store.append(epoch, batch(sample(13)))
        gaps = [record for record in records(await store.read("")) if isinstance(record, Gap)]
        assert gaps == [Gap(12, 12, 1, None, "unexplained")]

    with_store(backup, work)


def test_a_repeat_does_not_use_up_what_the_restore_explains(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(*samples(5, 9)))
        await store.append(epoch, batch(sample(12)))
        gaps = [record for record in records(await store.read("")) if isinstance(record, Gap)]
        assert gaps == [Gap(10, 11, 2, None, "gateway_restored")]

    with_store(backup, work)


@pytest.mark.parametrize(("began_ms", "why"), [(RESTORED_MS - 1, "gateway_restored"), (RESTORED_MS, "unexplained")])
def test_an_unknown_boot_without_its_beginning_is_the_restores_where_it_began_before(
    backup: Path, began_ms: int, why: str
) -> None:
    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        later = batch(sample(7), boot=18, boot_id=OTHER_BOOT_ID, offset_ms=began_ms, quality=Quality.ESTIMATED)
        await store.append(epoch, later)
        await store.append(epoch, batch(sample(9), boot=18, boot_id=OTHER_BOOT_ID, offset_ms=began_ms))
        gaps = [record for record in records(await store.read("")) if isinstance(record, Gap)]
        assert gaps == [Gap(0, 6, 7, None, why), Gap(8, 8, 1, None, "unexplained")]

    with_store(backup, work)


def test_a_log_that_never_was_restored_explains_no_hole(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        epoch = await store.claim("greenhouse", "gw")
        await store.append(epoch, batch(sample(3), boot_id=BOOT_ID, offset_ms=0))
        assert records(await store.read(""))[0] == Gap(0, 2, 3, None, "unexplained")

    with_store(tmp_path / "state", work)


def ends(store: SqliteStore, *listed: str) -> Awaitable[bool]:
    async def claim_and_end() -> bool:
        return await store.end_restored(await store.claim("greenhouse", "gw"), "greenhouse", listed)

    return claim_and_end()


def test_a_boot_that_ended_behind_the_backup_is_said_to_have_lost_nobody_knows_what(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        assert await ends(store, OTHER_BOOT_ID)
        (last,) = [one for one in await store.read("", limit=100) if type(one.records[-1]) is Gap]
        assert (last.boot, last.boot_id, last.offset_ms, last.quality) == (17, BOOT_ID, AT_MS, Quality.SYNCED)
        assert last.records == (Gap(10, None, None, None, "gateway_restored"),)
        (known,) = await store.committed("greenhouse", [BOOT_ID])
        assert known.ended
        assert not await ends(store, OTHER_BOOT_ID), "once"
        assert store.counts("greenhouse").gaps == 1

    with_store(backup, work)
    with_store(backup, _nothing_more)


async def _nothing_more(store: SqliteStore) -> None:
    assert not await ends(store, OTHER_BOOT_ID)


def test_a_boot_that_the_device_still_lists_goes_on(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        assert not await ends(store, BOOT_ID, OTHER_BOOT_ID)
        await store.append(await store.claim("greenhouse", "gw"), batch(*samples(10, 12)))
        assert not await ends(store, OTHER_BOOT_ID), "something came since: the device knows where it ended"
        assert store.counts("greenhouse").gaps == 0

    with_store(backup, work)


def test_without_a_restore_no_boot_is_ended(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await store.append(await store.claim("greenhouse", "gw"), batch(*samples(0, 9)))
        assert not await ends(store, OTHER_BOOT_ID)
        assert store.counts("greenhouse").gaps == 0

    with_store(tmp_path / "state", work)


def test_a_device_that_the_backup_does_not_know_has_no_boot_to_end(backup: Path) -> None:
    async def work(store: SqliteStore) -> None:
        assert not await store.end_restored(await store.claim("cellar", "gw"), "cellar", [OTHER_BOOT_ID])

    with_store(backup, work)
