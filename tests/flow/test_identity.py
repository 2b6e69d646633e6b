"""Whose samples are these? A board that was erased, re-flashed with another profile, exchanged, or copied whole: every
hole is counted, nothing is stored twice, and nobody is refused for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.emulator import EmulatedBoard
from tests.aio import run, until
from tests.flow.commands import mpy_gateway
from tests.rig import Subscriber, add_device, hurried, make_board, quick_node, settle, system


async def more(subscriber: Subscriber, count: int = 10) -> None:
    got = subscriber.of()
    before = got.samples
    await until(lambda: got.samples >= before + count, timeout_s=40, what="more samples")


async def taken_more(board: EmulatedBoard, count: int) -> None:
    before = sum(board.taken().values())
    await until(lambda: sum(board.taken().values()) >= before + count, timeout_s=20, what="more measurements")


@pytest.mark.campaign
def test_an_erased_board_begins_anew_and_nothing_new_is_taken_for_a_repeat(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port)
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                await more(subscriber, 20)
                await board.stop()
                first = await settle(board, subscriber)
                assert first.delivered == first.taken
                board.flash.erase()
                await board.start()  # the counter of its boots, and each seq, begin from the beginning
                await more(subscriber, 20)
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.problems == []
                assert outcome.delivered == outcome.taken > first.taken + 15
                boots = list(subscriber.of().boots.values())
                assert len(boots) == 2
                assert boots[0].boot == boots[1].boot == 1
                assert (outcome.holes, outcome.invented, outcome.repeated) == (0, 0, 0)
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=55)


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_a_board_re_flashed_with_another_profile_still_delivers_what_it_held_under_the_old_one(tmp_path: Path) -> None:
    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            old = quick_node(tmp_path / "old")
            token = add_device("greenhouse", old, gateway.state)
            board = make_board(tmp_path / "board", old, token, port)
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                await more(subscriber, 10)
                gateway.kill()
                await taken_more(board, 40)
                await board.stop()  # what it holds is on flash now
                new = quick_node(tmp_path / "new", period_ms=200)
                token = add_device("shed", new, gateway.state)  # which makes the new profile known
                gateway.start()
                settings = board.settings
                again = make_board(tmp_path / "board", new, settings["token"], port)
                try:
                    await again.start()
                    await more(subscriber, 60)
                    await again.stop()
                    again.endings.extendleft(reversed(board.endings))
                    again.boot_ids |= board.boot_ids
                    outcome = await settle(again, subscriber)
                    assert outcome.problems == []
                    assert outcome.delivered == outcome.taken
                    assert outcome.gaps == 0
                finally:
                    await again.power_cut()
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=110)


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_a_copied_board_does_not_disturb_the_live_one_and_gets_in_when_it_replaces_it(tmp_path: Path) -> None:
    """The same flash, token and all, on other hardware."""

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port, seed=7)
            subscriber = Subscriber(broker.port)
            console: list[str] = []
            copy = make_board(tmp_path / "copy", profile, token, port, seed=8, console=console.append)
            try:
                await board.start()
                await more(subscriber, 15)
                await board.power_cut()
                shutil.copytree(tmp_path / "board", tmp_path / "copy")
                for name in ("truth.jsonl", "hardware.page"):
                    (tmp_path / "copy" / name).unlink()
                await board.start()
                await more(subscriber, 5)
                await copy.start()
                await until(lambda: any("4011" in line for line in console), timeout_s=20, what="the copy's refusal")
                await more(subscriber, 20)
                await copy.power_cut()
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.problems == []
                assert (outcome.lost, outcome.invented, outcome.holes) == (0, 0, 0)
                delivered = outcome.delivered

                # The first is gone for good: the copy takes its place, and brings what is its own.
                replaced = mpy_gateway("devices", "replace", "greenhouse", "--state", str(gateway.state))
                assert replaced.returncode == 0, replaced.stderr
                await copy.start()
                await until(lambda: subscriber.of().samples > delivered + 15, timeout_s=60, what="samples of the copy")
                assert not any("moved" in text or " was " in text for text in subscriber.of().contradictions)
            finally:
                subscriber.close()
                await copy.power_cut()
                await board.power_cut()

    run(flow(), timeout_s=110)


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_the_same_board_twice_takes_turns_and_stores_nothing_twice(tmp_path: Path) -> None:
    """A flash image and a hardware id copied: nobody can tell them apart, but their boots can be."""

    async def flow() -> None:
        with system(tmp_path) as (broker, gateway, port):
            profile = quick_node(tmp_path)
            token = add_device("greenhouse", profile, gateway.state)
            board = make_board(tmp_path / "board", profile, token, port, seed=7, files=hurried(10))
            subscriber = Subscriber(broker.port)
            twin = make_board(tmp_path / "twin", profile, token, port, seed=7, files=hurried(10))
            try:
                await board.start()
                await more(subscriber, 15)
                await board.power_cut()
                shutil.copytree(tmp_path / "board", tmp_path / "twin")
                for name in ("truth.jsonl", "hardware.page"):
                    (tmp_path / "twin" / name).unlink()
                await board.start()
                await twin.start()
                await more(subscriber, 60)
                await twin.stop()
                await board.stop()
                got = subscriber.of()
                ids = {boot_id for boot_id, boot in got.boots.items() if boot.samples}
                assert len(ids) == 3, ids
                assert got.contradictions == []
                taken = sum(board.taken().values()) + sum(twin.taken().values())
                await until(
                    lambda: got.samples >= taken - 30,
                    timeout_s=20,
                    what="nearly all of both: the first boot lost a tail",
                )
                assert got.samples <= taken
            finally:
                subscriber.close()
                await twin.power_cut()
                await board.power_cut()

    run(flow(), timeout_s=110)
