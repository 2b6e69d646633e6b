"""Boards that were erased, cloned, flashed anew, exchanged, gateways that remember less: nothing is refused for ever,
nothing is stored twice (WIRE.md, sections 3 and 8)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.device import server
from gateway.errors import Unavailable
from gateway.model import Batch, Gap, Quality, Refused, Sample
from gateway.profile import Profile
from gateway.store.devices import DeviceInfo
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.gateway.device.door import BOOT_ID, HARDWARE, PROFILE, Device, Door, open_door

OLD_BOOT_ID = "0c5d9be1f2a34477"
OLDEST_BOOT_ID = "00000000000000aa"
UNKNOWN = "0123456789abcdef"


def boot(number: int, boot_id: str, next: int = 0, **more: Any) -> dict[str, Any]:
    return {"boot": number, "id": boot_id, "first": 0, "next": next, **more}


def changed(old: str, new: str) -> Profile:
    """The profile with one thing in it changed."""
    text = PROFILE.to_json().decode()
    assert text.count(old) == 1
    profile = Profile.from_json(text.replace(old, new).encode())
    assert profile.hash != PROFILE.hash
    return profile


async def seqs(door: Door, boot_id: str) -> list[int]:
    return [
        record.seq
        for batch in await door.batches("greenhouse")
        if batch.boot_id == boot_id
        for record in batch.records
        if isinstance(record, Sample)
    ]


async def until_acked(device: Device, seq: int, number: int) -> None:
    while True:
        ack = await device.receive("ack")
        if ack.get("boot") == number and ack["seq"] >= seq:
            return


def test_a_board_that_was_erased_begins_again_and_nothing_of_it_is_taken_for_a_repeat(tmp_path: Path) -> None:
    """The boot counter starts at 1 again; the boot_id is new."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            before = await door.enter(boots=[boot(1, OLD_BOOT_ID, 100)])
            await before.samples(0, 20, 21, 22)
            await before.acked(2)
            erased = await door.enter(boots=[boot(1, BOOT_ID, 100)])
            assert erased.welcome["boots"] == [{"boot": 1, "committed": -1}]
            await erased.samples(0, 20, 21)
            await erased.acked(1)
            assert await seqs(door, OLD_BOOT_ID) == [0, 1, 2]
            assert await seqs(door, BOOT_ID) == [0, 1]
            assert not [record for record in await door.records() if isinstance(record, Gap)]

    run(scenario())


def test_two_boards_with_one_identity_until_one_is_said_to_replace_the_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            await first.works()
            clone = await door.knock()
            await clone.hello(hardware="clone")
            assert await clone.closed() == (4011, "identity in use")
            await first.works()
            await first.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the end of the first")
            clone = await door.knock()
            await clone.hello(hardware="clone")
            assert await clone.closed() == (4012, "other hardware")
            await door.devices.replace("greenhouse")
            clone = await door.enter(hardware="clone", boots=[boot(1, OLD_BOOT_ID, 100)])
            await clone.samples(0, 20)
            await clone.acked(0)
            back = await door.knock()  # and now the first one is the stranger
            await back.hello()
            assert await back.closed() == (4011, "identity in use")
            await door.devices.replace("greenhouse")
            await clone.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the end of the clone")
            back = await door.enter()
            assert back.welcome["boots"] == [{"boot": 1, "committed": 1}]
            known = await door.devices.get("greenhouse")
            assert known is not None
            assert known.hardware == f"{HARDWARE}-greenhouse"

    run(scenario())


def test_an_old_boot_of_another_profile_is_checked_under_that_one(tmp_path: Path) -> None:
    """The board was flashed with a new profile; its journal is of the old one."""

    async def scenario() -> None:
        narrow = changed('"range":[-40.0,85.0]', '"range":[0.0,10.0]')
        async with open_door(tmp_path) as door:
            hash_ = await door.devices.keep_profile(narrow)
            device = await door.enter(
                boots=[boot(1, OLD_BOOT_ID, 2, profile=hash_), boot(2, BOOT_ID, 2, profile=PROFILE.hash)]
            )
            await device.samples(0, 5, 20, boot=1)
            assert await device.error() == "value.range"
            await until_acked(device, 1, 1)
            await device.samples(0, 5, 20, boot=2, t=[0, 60_000])
            await until_acked(device, 1, 2)
            batches = await door.batches()
            assert [batch.profile for batch in batches] == [hash_, PROFILE.hash]
            values = [[r.values for r in batch.records if isinstance(r, Sample)] for batch in batches]
            assert values == [[{"temperature": 5.0}, {}], [{"temperature": 5.0}, {"temperature": 20.0}]]

    run(scenario())


def test_an_old_boot_of_a_profile_nobody_knows_is_kept_aside_and_the_board_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, errors=5) as door:
            boots = [boot(1, OLD_BOOT_ID, 40, profile=UNKNOWN), boot(2, BOOT_ID, 40)]
            device = await door.enter(boots=boots)
            for seq in range(0, 20, 2):  # more frames than errors are allowed
                await device.samples(seq, 20, 21, boot=1)
            assert await device.error() == "boot.profile"
            event = {"type": "event", "boot": 1, "seq": 20, "t": 5, "code": "boot", "data": {"reset_cause": 1}}
            await device.send(event)  # events mean the same under any profile
            await device.send({"type": "gap", "boot": 1, "from": 21, "to": None, "at_most": 3, "why": "power_loss"})
            await until_acked(device, 21, 1)
            await device.samples(0, 20, boot=2)
            await until_acked(device, 0, 2)
            refused = [record for record in await door.records() if isinstance(record, Refused)]
            assert [(record.seq, record.to, record.code) for record in refused] == [
                (seq, seq + 1, "boot.profile") for seq in range(0, 20, 2)
            ]
            assert '"temperature": [20, 21]' in refused[0].raw
            assert (await door.history.counts("greenhouse")).quarantined == 10
            assert await seqs(door, BOOT_ID) == [0]
            again = await door.enter(boots=[boot(2, BOOT_ID, 40)])
            assert again.welcome["boots"] == [{"boot": 2, "committed": 0}]

    run(scenario())


def test_a_running_boot_of_a_profile_nobody_knows_is_told_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            other = changed('"title":"Climate node"', '"title":"Another"')
            device = await door.knock()
            await device.hello(boots=[boot(1, OLD_BOOT_ID, 1), boot(2, BOOT_ID, 1, profile=other.hash)])
            error = await device.receive("error")
            assert error["code"] == "hello.profile"
            assert other.hash in error["text"]
            assert "devices add" in error["text"]
            assert len(error["text"]) < 200
            assert await device.closed() == (4004, "unknown profile")
            await door.devices.keep_profile(other)
            device = await door.enter(boots=[boot(2, BOOT_ID, 1, profile=other.hash)])  # so it is not for ever
            await device.samples(0, 20, boot=2)
            await device.acked(0, boot=2)

    run(scenario())


def test_a_board_whose_gateway_remembers_less_than_it_had_acknowledged_goes_on(tmp_path: Path) -> None:
    """An old backup was restored: what the board freed in between is a hole, counted; what it holds comes again."""

    async def scenario() -> None:
        async with open_door(tmp_path / "new") as door:
            device = await door.enter(boots=[{"boot": 1, "id": BOOT_ID, "first": 6, "next": 10}])
            assert device.welcome["boots"] == [{"boot": 1, "committed": -1}]  # the board had freed 0 to 5
            await device.samples(6, 20, 21, 22, 23)
            await device.acked(9)
            hole, *samples = await door.records()
            assert isinstance(hole, Gap)
            assert (hole.seq, hole.to, hole.count) == (0, 5, 6)
            assert [record.seq for record in samples] == [6, 7, 8, 9]
            counts = await door.history.counts("greenhouse")
            assert (counts.lost, counts.uncertain) == (6, 0)

    run(scenario())


def test_many_boots_that_left_only_a_little_are_all_taken_in_order(tmp_path: Path) -> None:
    """A board that restarted 63 times without a gateway: 64 boots in one hello, the most there may be."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            ids = [f"{number:016x}" for number in range(1, 65)]
            boots = [boot(number, boot_id, 1, t=500) for number, boot_id in enumerate(ids, 1)]
            device = await door.enter(boots=boots, t=60_000)
            for number in range(1, 65):
                await device.samples(0, 20, boot=number, t=[500])
            await until_acked(device, 0, 64)
            batches: list[Batch] = await door.batches()
            assert [batch.boot_id for batch in batches] == ids
            times = [batch.at_ms(500) for batch in batches]
            assert times == sorted(times)
            assert {batch.quality for batch in batches} == {Quality.ESTIMATED}

    run(scenario())


def test_a_device_acts_only_as_itself_whatever_its_frames_say(tmp_path: Path) -> None:
    """Another's id in hello is refused; in any other frame it is a field nobody knows, and changes nothing."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            victim = await door.enter("victim")
            await victim.works()
            thief = await door.knock("thief")
            await thief.hello(device="victim")
            assert await thief.error() == "hello.device"
            assert await thief.closed() == (4003, "device id is not this token's")
            thief = await door.enter("thief")
            spoofed = {"device": "victim", "hardware": f"{HARDWARE}-victim", "boot_id": OLD_BOOT_ID}
            await thief.samples(0, 50, **spoofed)
            await thief.send({"type": "event", "boot": 1, "seq": 1, "t": 9, "code": "boot", **spoofed})
            await thief.send({"type": "gap", "boot": 1, "from": 2, "to": 3, "why": "full", **spoofed})
            await thief.send({"type": "latest", "boot": 1, "t": 10, "values": {"temperature": 51}, **spoofed})
            await thief.acked(3)
            assert {batch.boot_id for batch in await door.batches("thief")} == {BOOT_ID}
            assert [record.seq for record in await door.records("victim")] == [0]
            await victim.works()

    run(scenario())


def test_a_device_cannot_answer_for_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            victim, thief = await door.enter("victim"), await door.enter("thief")
            asking = asyncio.create_task(door.dispatcher.send("victim", "ping", timeout_s=10))
            command = await victim.receive("command")
            await thief.send({"type": "result", "id": command["id"], "status": "done", "data": {"uptime_ms": 666}})
            await thief.receive("ack")  # it ends nothing, so it need not be sent again
            assert not asking.done()
            await victim.send({"type": "result", "id": command["id"], "status": "done", "data": {"uptime_ms": 1}})
            assert (await asking).data == {"uptime_ms": 1}

    run(scenario())


def test_a_board_that_was_refused_for_anothers_identity_is_told_until_it_takes_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            clone = await door.knock()
            await clone.hello(hardware="clone")
            assert (await clone.closed())[0] == 4011
            (other,) = door.server.stats()["other_boards"]
            assert (other["device"], other["hardware"], other["address"]) == ("greenhouse", "clone", "127.0.0.1")
            await first.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the end of the first")
            await door.devices.replace("greenhouse")
            await door.enter(hardware="clone")
            assert door.server.stats()["other_boards"] == []

    run(scenario())


def test_a_new_token_made_by_hand_lets_any_board_in_and_ends_the_old_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            old = await door.enter()
            await old.works()
            token = await door.devices.renew("greenhouse")
            assert (await old.closed(timeout_s=3))[0] == 4003
            door.tokens["greenhouse"] = token
            new = await door.enter(hardware="another", boots=[boot(1, OLD_BOOT_ID, 10)])
            await new.samples(0, 20)
            await new.acked(0)
            assert await seqs(door, BOOT_ID) == [0]  # what the other board brought stays

    run(scenario())


def test_a_device_that_comes_and_goes_in_a_loop_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "device")

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            for _ in range(30):
                device = await door.knock()
                await device.hello(device="another")
                assert (await device.closed())[0] == 4003

    run(scenario())
    assert 20 <= len([r for r in caplog.records if "disconnected" in r.getMessage()]) <= 25


@pytest.mark.parametrize("fault", [Unavailable("the disk stumbled"), RuntimeError("a fault of ours")])
def test_a_board_is_sent_away_also_where_its_token_cannot_be_looked_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Nor does a fault over one board keep the others that are revoked later."""

    async def scenario() -> None:
        monkeypatch.setattr(server, "LOOK_AGAIN_S", 0.05)
        async with open_door(tmp_path) as door:
            first, second = await door.enter("first"), await door.enter("second")
            opened_by, failures = door.devices.opened_by, 2

            async def stumbles(device: str, hashed: str) -> DeviceInfo | None:
                nonlocal failures
                if device == "first" and failures:
                    failures -= 1
                    raise fault
                return await opened_by(device, hashed)

            monkeypatch.setattr(door.devices, "opened_by", stumbles)
            await door.devices.revoke("first")
            if isinstance(fault, Unavailable):
                assert (await first.closed())[0] == 4003
            else:
                await until(lambda: failures == 1, what="the fault")
            await door.devices.revoke("second")
            assert (await second.closed())[0] == 4003

    run(scenario())


class SlowDisk(SqliteStore):
    """An SD card with all that waits for it."""

    slow_s = 0.0

    async def append(self, epoch: int, batch: Batch) -> int:
        await asyncio.sleep(self.slow_s)
        return await super().append(epoch, batch)


def test_a_revoked_board_is_gone_within_a_second_whatever_it_does(tmp_path: Path) -> None:
    """It does not read, so it answers no close frame, and what it sent waits for a slow disk."""

    async def scenario() -> float:
        async with open_door(tmp_path, store_class=SlowDisk) as door:
            device = await door.enter()
            SlowDisk.slow_s = 3
            await device.samples(0, 20, 21)
            await until(lambda: door.info().frames >= 2, what="the samples")
            device.socket.transport.pause_reading()
            await door.devices.revoke("greenhouse")
            looks = 0
            while door.server.stats()["connections"]:  # looks of ours, as a busy machine stretches all seconds alike
                await asyncio.sleep(0.01)
                looks += 1
                assert looks < 1000, "its end"
            return looks / 100

    assert run(scenario()) < 1
