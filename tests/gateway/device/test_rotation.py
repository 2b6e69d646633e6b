"""A new token over the live connection: no moment at which the board has none that opens (WIRE.md, section 5)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from gateway.store.devices import Rotation
from tests.aio import run, until
from tests.gateway.device.door import Device, Door, open_door


async def rotation(door: Door) -> Rotation:
    info = await door.devices.get("greenhouse")
    assert info is not None
    return info.rotation


async def comes_with(door: Door, token: str) -> Device:
    door.tokens["greenhouse"] = token
    return await door.enter()


async def is_refused(door: Door, token: str) -> bool:
    door.tokens["greenhouse"] = token
    try:
        device = await door.knock()
    except InvalidStatus as refusal:
        return refusal.response.status_code == 401
    await device.socket.close()
    return False


def test_a_connected_board_gets_its_new_token_and_the_old_one_ends_with_the_first_use(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            bystander = await door.enter("bystander")
            device = await door.enter()
            await device.works()
            old = door.tokens["greenhouse"]
            await door.devices.rotate("greenhouse")
            new = (await device.receive("token", timeout_s=3))["token"]
            assert len(new) == 43
            assert new != old
            await device.works()  # it goes on with the old one until it comes back
            idle = await door.knock()  # a second connection with the old token, which says nothing
            again = await comes_with(door, new)
            assert (await device.closed())[0] in (4003, 4009)
            assert (await idle.closed(timeout_s=3))[0] == 4003
            await again.samples(2, 20)
            await again.acked(2)
            assert await rotation(door) is Rotation.NONE
            assert await is_refused(door, old)
            assert not [frame for frame in bystander.seen + again.seen if frame["type"] == "token"]

    run(scenario())


def test_a_board_that_is_away_gets_it_when_it_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            await door.add("greenhouse")
            await door.devices.rotate("greenhouse")
            device = await door.enter()
            frames = [await device.receive("token")]
            assert device.seen[-2:] != frames  # behind the welcome, which `enter` has seen
            again = await comes_with(door, frames[0]["token"])
            await again.works()
            assert await rotation(door) is Rotation.NONE

    run(scenario())


def test_a_board_that_was_cut_off_gets_in_with_the_old_one_and_is_sent_another(tmp_path: Path) -> None:
    """It never wrote the new one down; and a board that wrote it down as the link was cut comes with that."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await door.devices.rotate("greenhouse")
            lost = (await device.receive("token"))["token"]
            device.socket.transport.abort()
            old = door.tokens["greenhouse"]
            again = await comes_with(door, old)
            second = (await again.receive("token"))["token"]
            assert second != lost
            assert await is_refused(door, lost)
            again.socket.transport.abort()
            await (await comes_with(door, second)).works()
            assert await is_refused(door, old)

    run(scenario())


def test_a_gateway_that_ended_between_writing_and_sending_locks_nobody_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            old = await door.add("greenhouse")
            await door.devices.rotate("greenhouse")
            await door.devices.mint("greenhouse")  # written, and never sent
        async with open_door(tmp_path) as door:
            device = await comes_with(door, old)
            new = (await device.receive("token"))["token"]
            await (await comes_with(door, new)).works()

    run(scenario())


def test_a_gateway_restored_from_before_still_knows_the_boards_previous_token(tmp_path: Path) -> None:
    """The board tries its two tokens in turn: the older one is what the backup knows."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            old = door.tokens["greenhouse"]
            backup = await door.store.get("device/greenhouse")
            await door.devices.rotate("greenhouse")
            new = (await device.receive("token"))["token"]
            await (await comes_with(door, new)).works()
            await door.store.put("device/greenhouse", backup.value)
            await door.store.put(f"token/{json.loads(backup.value)['token']}", b"greenhouse")
            assert await is_refused(door, new)
            await (await comes_with(door, old)).works()

    run(scenario())


def test_no_token_goes_over_a_plain_connection_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            monkeypatch.setattr("gateway.device.server.is_loopback", lambda _host: False)
            device = await door.enter()
            await door.devices.rotate("greenhouse")
            await until(lambda: "not encrypted" in caplog.text, what="the warning")
            await device.works()
            assert not [frame for frame in device.seen if frame["type"] == "token"]
            assert await rotation(door) is Rotation.ASKED

    run(scenario())


def test_a_new_token_is_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    caplog.set_level("INFO", "websockets")  # the test's own client

    async def scenario() -> str:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await door.devices.rotate("greenhouse")
            token: str = (await device.receive("token"))["token"]
            return token

    token = run(scenario())
    assert "is sent a new token" in caplog.text
    assert token not in caplog.text


def test_a_board_that_never_uses_its_new_token_leaves_nothing_behind_at_each_connection(tmp_path: Path) -> None:
    """Who has stolen a token could else fill disk and memory while the rotation waits for the board itself."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await door.devices.rotate("greenhouse")
            await device.receive("token")
            for _ in range(5):
                device = await door.enter()
                await device.receive("token")
            assert await rotation(door) is Rotation.SENT

    run(scenario())
    with closing(sqlite3.connect(tmp_path / "registry.db")) as registry:
        (rows,) = registry.execute("SELECT count(*) FROM entries WHERE key LIKE 'token/%'").fetchone()
    assert rows == 2, "the old one and the newest"
