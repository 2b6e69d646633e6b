"""Devices that come back to a gateway that was restored from an old backup."""

from __future__ import annotations

from pathlib import Path

from gateway.model import Gap, Sample
from gateway.store import backup, restore
from tests.aio import run
from tests.gateway.device.door import BOOT_ID, open_door

NEW_BOOT_ID = "0c5d9be1f2a34477"


def test_a_board_that_started_anew_since_the_backup_is_welcomed_and_what_is_gone_is_told(tmp_path: Path) -> None:
    async def flow() -> None:
        async with open_door(tmp_path / "state") as door:
            device = await door.enter()
            await device.samples(0, 20, 20, 20)
            await device.acked(2)
            backup.make(
                tmp_path / "state",
                tmp_path / "file",
                now_ms=door.server._clock.wall_ms(),
                passphrase="four words do well",
            )
            await device.samples(3, 20, 20)
            await device.acked(4)
            token = door.tokens["greenhouse"]
        restore.restore(
            tmp_path / "new", tmp_path / "file", now_ms=door.server._clock.wall_ms(), passphrase="four words do well"
        )
        async with open_door(tmp_path / "new") as door:
            door.tokens["greenhouse"] = token
            # boot 1 was all acknowledged, so the board has forgotten it
            device = await door.enter(boots=[{"boot": 2, "id": NEW_BOOT_ID, "first": 0, "next": 1}])
            await device.samples(0, 20, boot=2)
            await device.acked(0, boot=2)
            by_boot: dict[str, list[object]] = {}
            for one in await door.batches():
                by_boot.setdefault(one.boot_id, []).extend(one.records)
        *stored, gap = by_boot[BOOT_ID]
        assert [record.seq for record in stored if isinstance(record, Sample)] == [0, 1, 2]
        assert gap == Gap(3, None, None, None, "gateway_restored")
        assert [type(record) for record in by_boot[NEW_BOOT_ID]] == [Sample]

    run(flow())
