"""The wall clock of the gateway's machine jumps by years: nothing synced moves, nothing changes its order."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from gateway.model import Sample
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.chaos import YEAR_MS
from tests.reckoning import Delivered
from tests.rig import Subscriber, add_device, make_board, quick_node, settle, system

NEAR_MS = 250
"""A busy machine may take so long between a measurement and our clock."""


def in_order(got: Delivered) -> bool:
    """Whether what was taken later has the later time, in each boot."""
    return all(
        earlier <= later
        for boot in got.boots.values()
        for earlier, later in itertools.pairwise(at_ms for _, (at_ms, _, _) in sorted(boot.samples.items()))
    )


async def on_disk(state: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """Time and quality of every sample in the store of a gateway that does not run."""
    store = SqliteStore(state)
    await store.open()
    try:
        found: dict[tuple[str, int], tuple[int, str]] = {}
        cursor = ""
        while batches := await store.read(cursor, limit=1000):
            for batch in batches:
                for record in batch.records:
                    if isinstance(record, Sample):
                        found[batch.boot_id, record.seq] = (batch.at_ms(record.t_ms), str(batch.quality))
            cursor = batches[-1].cursor
        return found
    finally:
        await store.close()


@pytest.mark.campaign
def test_jumps_by_years_move_no_synced_sample_and_keep_the_order(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path, period_ms=50)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            got = subscriber.of()
            try:
                await board.start()
                await until(lambda: got.samples > 10, timeout_s=20, what="the first samples")
                for years in (3, -4, 0, 12, 0):
                    gateway.move_wall_clock(years * YEAR_MS)
                    before = got.samples
                    await until(lambda before=before: got.samples > before + 20, what="samples after the jump")
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.delivered == outcome.taken
                assert (outcome.problems, outcome.gaps) == ([], 0)
                assert in_order(got)
                assert outcome.worst_time_ms < NEAR_MS
                assert await asyncio.to_thread(gateway.stop) == 0
                kept = await on_disk(gateway.state)
                for boot_id, boot in got.boots.items():
                    for seq, (at_ms, quality, _) in boot.samples.items():
                        assert kept[boot_id, seq] == (at_ms, quality)
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=50)


def test_a_start_without_a_date_is_corrected_once_when_the_date_is_known(tmp_path: Path) -> None:
    """A Raspberry Pi after a power cut: years behind, until NTP has answered."""

    async def flow() -> None:
        (tmp_path / "state.clock").write_text(str(-20 * YEAR_MS))
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path, period_ms=50)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            got = subscriber.of()
            try:
                await board.start()
                await until(lambda: got.samples > 20, timeout_s=20, what="samples without a date")
                assert {quality for boot in got.boots.values() for _, quality, _ in boot.samples.values()} == {
                    "estimated"
                }
                gateway.move_wall_clock(0)
                early = got.samples
                await until(lambda: got.corrections >= early, timeout_s=20, what="the corrections")
                await until(lambda: got.samples > early + 20, what="samples with a date")
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.delivered == outcome.taken
                assert outcome.problems == []
                assert in_order(got)
                (boot,) = got.boots.values()
                assert {quality for _, quality, _ in boot.samples.values()} == {"corrected", "synced"}
                assert outcome.worst_time_ms < NEAR_MS
                assert await asyncio.to_thread(gateway.stop) == 0
                kept = await on_disk(gateway.state)
                assert {seq: kept[boot_id, seq] for boot_id, seq in kept} == {
                    seq: (at_ms, quality) for seq, (at_ms, quality, _) in boot.samples.items()
                }
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=50)
