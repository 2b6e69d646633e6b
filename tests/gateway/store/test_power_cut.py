"""The power of the gateway's host is cut: whatever was acknowledged is there afterwards. `kill -9` would not show it,
as a killed process leaves what it wrote to the kernel, synced or not."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.store import database
from tests.gateway.store.power_cut import Cuts, World, places

KINDS = ("nothing", "names only", "last only", "any")


def tried(
    world: World, rounds: int, share: float, seed: int, kinds: tuple[str, ...] = KINDS, at_acks: bool = False
) -> Cuts:
    """Cuts after `share` of all operations, and after every acknowledgement if `at_acks`."""
    ops = world.record(rounds)
    rng = random.Random(seed)
    wanted = {place for place, op in enumerate(ops) if rng.random() < share or (at_acks and op.kind == "ack")}
    cuts = Cuts(world, seed)
    cuts.run(places(ops, wanted), kinds)
    return cuts


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = tried(World(1, tmp_path, monkeypatch), rounds=6, share=0.04, seed=1)
    assert not cuts.problems, cuts.problems[:5]
    assert min(cuts.tried[kind] for kind in KINDS) > 20, cuts.tried


def test_what_a_killed_gateway_did_not_sync_is_synced_before_it_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(3, tmp_path, monkeypatch)
    ops = world.record(rounds=4)
    promised = next(place for place, op in enumerate(ops) if place > world.killed_at and op.kind == "ack")
    cuts = Cuts(world, 3)
    cuts.run(places(ops, set(range(promised, promised + 12))), ("nothing",))
    assert not cuts.problems, cuts.problems[:5]


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_with_less_syncing_the_same_test_finds_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    real = database.connect

    def careless(path: Path, **options: Any) -> sqlite3.Connection:
        connection = real(path, **options)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(database, "connect", careless)
        cuts = tried(World(1, tmp_path, patched), rounds=6, share=0.02, seed=2, kinds=("nothing",))
    assert any("acknowledged samples are lost" in problem for problem in cuts.problems)
    assert any("is at revision" in problem for problem in cuts.problems)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [11, 12])
def test_power_cuts_at_every_acknowledgement_and_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    world = World(seed, tmp_path, monkeypatch)
    cuts = tried(world, rounds=12, share=0.15, seed=seed, kinds=(*KINDS, "any"), at_acks=True)
    print(f"power cuts tried: {cuts.tried.total()} {dict(cuts.tried)}, problems: {len(cuts.problems)}")
    assert not cuts.problems, cuts.problems[:5]
    assert cuts.tried.total() > 1_200
