"""A gateway that is restored from an old backup while its boards go on: what is gone is counted, what they hold comes,
and nothing is stored twice or refused for ever."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.model import Gap, Sample
from gateway.store.body import decode_records
from tests.aio import run, until
from tests.flow.commands import mpy_gateway
from tests.flow.scripted import ScriptedDevice
from tests.flow.test_kills import Rig, rig


def cli(*words: str) -> str:
    ended = mpy_gateway(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def log_of(state: Path, device: ScriptedDevice) -> tuple[list[int], list[Gap]]:
    """The samples and the gaps of a device in a closed store."""
    seqs: list[int] = []
    gaps: list[Gap] = []
    with closing(sqlite3.connect(state / "samples.db")) as connection:
        rows = connection.execute(
            "SELECT body FROM batches JOIN boots ON boots.id = batches.boot WHERE boot_id = ? ORDER BY batches.id",
            (device.boot_id,),
        )
        for (body,) in rows:
            for record in decode_records(body):
                if isinstance(record, Sample):
                    seqs.append(record.seq)
                elif isinstance(record, Gap):
                    gaps.append(record)
    return seqs, gaps


async def some_more(world: Rig, count: int = 40) -> None:
    """Each device has `count` more samples acknowledged."""
    before = [device.acked for device in world.devices]
    await until(
        lambda: all(device.acked > acked + count for device, acked in zip(world.devices, before, strict=True)),
        timeout_s=20, what="acknowledgements",
    )  # fmt: skip


def check(world: Rig, device: ScriptedDevice, backed_up: int, forgotten: int) -> None:
    """All of a device's samples, but those behind `backed_up` and through at least `forgotten`, which are one gap."""
    seqs, gaps = log_of(world.state, device)
    assert len(set(seqs)) == len(seqs), "stored twice"
    (gap,) = gaps
    assert gap.why == "gateway_restored"
    assert gap.to is not None
    assert gap.count == gap.to - gap.seq + 1
    assert gap.seq >= backed_up
    assert gap.to >= forgotten, "everything acknowledged after the backup is gone"
    assert sorted(seqs) == [seq for seq in range(device.taken) if not gap.seq <= seq <= gap.to]
    delivered = world.subscriber.of(device.name)
    boot = delivered.boots[device.boot_id]
    assert not delivered.contradictions, delivered.contradictions[:3]
    assert set(seqs) <= set(boot.samples) <= set(range(device.taken))
    assert [(body["from"], body["to"], body["why"]) for body in boot.gaps.values()] == [
        (gap.seq, gap.to, "gateway_restored")
    ]


def test_an_old_backup_restored_in_mid_stream_counts_what_is_gone_and_goes_on(tmp_path: Path) -> None:
    file = str(tmp_path / "gateway.backup")
    (tmp_path / "passphrase").write_text("four words do well\n")
    sealed = ("--passphrase-file", str(tmp_path / "passphrase"))

    async def flow() -> None:
        async with rig(tmp_path, devices=3) as world:
            *early, late = world.devices
            late.away = True
            world.devices[:] = early
            await world.started()
            await some_more(world)
            acked = [device.acked for device in early]
            said = await asyncio.to_thread(cli, "backup", file, *sealed, "--state", str(world.state))
            assert "samples.db" in said
            world.devices.append(late)
            late.away = False  # a boot that the backup has never heard of
            await some_more(world)
            await asyncio.to_thread(world.nursery.kill)
            forgotten = {device.name: device.acked for device in world.devices}
            for device in world.devices:
                device.may_forget = True
            said = await asyncio.to_thread(cli, "restore", file, *sealed, "--replace", "--state", str(world.state))
            assert "before-restore-" in said
            await world.started()
            await some_more(world)
            assert await asyncio.to_thread(trouble, world) == []
            for device in world.devices:
                await device.rest()
            await until(
                lambda: all(device.acked == device.taken - 1 for device in world.devices),
                timeout_s=20, what="the acknowledgement of all that is held",
            )  # fmt: skip
            newest = [(device, device.taken - 1) for device in world.devices]
            await until(
                lambda: all(seq in world.subscriber.of(one.name).boots[one.boot_id].samples for one, seq in newest),
                timeout_s=20, what="the publishing of all that is held",
            )  # fmt: skip
            await asyncio.to_thread(world.nursery.stop)
            for device, backed_up in zip(early, acked, strict=True):
                check(world, device, backed_up, forgotten[device.name])
            check(world, late, 0, forgotten[late.name])
            assert sum(world.subscriber.of(device.name).repeated for device in early) > 0

    run(flow(), timeout_s=58)


def trouble(world: Rig) -> list[str]:
    """Who is refused or in trouble, as `status` says."""
    status = json.loads(cli("status", "--json", "--state", str(world.state)))
    connected = {row["device"] for row in status["connections"]}
    found = [device.name for device in world.devices if device.name not in connected]
    return found + [text for text in [status["store"]["trouble"]] if text]
