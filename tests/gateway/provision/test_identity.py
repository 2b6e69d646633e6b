"""Which device a board becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.profile import find_node, load_profile
from gateway.provision.identity import (
    Before,
    Fate,
    NameTaken,
    fate,
    gateway_settings,
    known_as,
    read_before,
    settings_file,
    settle,
)
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from gateway.tls.boards import BoardTrust

PROFILE = load_profile(find_node("climate-node"))
THIS, OTHER = "02e532000001", "a4cf12b0c3d4"


@asynccontextmanager
async def opened(state: Path) -> AsyncIterator[Devices]:
    store = SqliteStore(state)
    await store.open_registry_only()
    try:
        yield Devices(store)
    finally:
        await store.close()


async def flash(devices: Devices, before: Before, hardware: str = THIS, *, replace: bool = False) -> tuple[Fate, str]:
    known, opens = await known_as(devices, "pond", before)
    decided = fate("pond", known, hardware=hardware, opens=opens, replace=replace)
    return decided, await settle(devices, "pond", PROFILE, hardware, decided, before)


def board_with(token: str, rotated: dict[str, str] | None = None) -> Before:
    settings = settings_file("pond", token, {"host": "h"}, [{"ssid": "home", "password": "secret-one"}])
    return read_before(settings, json.dumps(rotated).encode() if rotated else None)


def test_a_board_stays_the_same_device_whenever_flashing_was_cut(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            decided, first = await flash(devices, Before())
            assert decided is Fate.NEW
            # cut before the token was on the board: it is known by its chip, and gets another token
            decided, second = await flash(devices, Before())
            assert decided is Fate.RENEW
            assert await devices.by_token(first) is None
            # whole: nothing changes
            decided, same = await flash(devices, board_with(second))
            assert (decided, same) == (Fate.KEEP, second)
            assert [one.id for one in await devices.list()] == ["pond"]

    asyncio.run(story())


def test_a_token_that_came_over_the_link_counts_as_the_boards(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            _, first = await flash(devices, Before())
            await devices.rotate("pond")
            new = await devices.mint("pond")
            assert new is not None
            assert await devices.used("pond", (await _hash(new)))
            before = board_with(first, {"token": new, "previous": first, "of": "0011"})
            decided, token = await flash(devices, before)
            assert decided is Fate.KEEP
            assert token == first  # the firmware goes by it: another one would void /token.json

    async def _hash(token: str) -> str:
        from gateway.store.devices import hash_of

        return hash_of(token)

    asyncio.run(story())


def test_a_revoked_or_unknown_token_is_replaced_and_the_device_stays(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            _, first = await flash(devices, Before())
            await devices.revoke("pond")
            decided, second = await flash(devices, board_with(first))
            assert decided is Fate.RENEW
            found = await devices.by_token(second)
            assert found is not None
            assert found.hardware == THIS

    asyncio.run(story())


def test_another_board_takes_a_name_only_when_it_is_said(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            _, first = await flash(devices, Before())
            with pytest.raises(NameTaken, match=rf'"pond" is another board .*{THIS}, this one {OTHER}.*--replace'):
                await flash(devices, Before(), OTHER)
            with pytest.raises(NameTaken):  # nor with a copy of its files
                await flash(devices, board_with(first), OTHER)
            assert await devices.by_token(first) is not None
            decided, second = await flash(devices, Before(), OTHER, replace=True)
            assert decided is Fate.REPLACE
            assert await devices.by_token(first) is None
            found = await devices.by_token(second)
            assert found is not None
            assert found.hardware == OTHER

    asyncio.run(story())


def test_a_name_that_was_added_by_hand_has_no_board_yet(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            await devices.add("pond", PROFILE)
            decided, _ = await flash(devices, Before())
            assert decided is Fate.RENEW

    asyncio.run(story())


def test_a_kept_identity_measures_what_its_new_profile_says(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as devices:
            _, token = await flash(devices, Before())
            other = load_profile(find_node("climate-node"))
            await devices.describe("pond", other)
            await flash(devices, board_with(token))
            found = await devices.get("pond")
            assert found is not None
            assert found.profile_hash == PROFILE.hash
            assert await devices.profile(PROFILE.hash) is not None

    asyncio.run(story())


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"device": 1, "token": [], "wifi": [1, {"ssid": 2}]}']
)
def test_nothing_on_the_board_is_relied_on(content: bytes | None) -> None:
    assert read_before(content, content) == Before()


def test_what_the_board_knows_of_wifi_is_read_and_written_alike() -> None:
    before = board_with("t")
    assert before.wifi == ({"ssid": "home", "password": "secret-one"},)
    assert (before.device, before.token, before.tokens) == ("pond", "t", ("t",))


def test_with_tls_the_settings_name_what_the_board_verifies() -> None:
    assert gateway_settings("10.0.0.2", 8765, None) == {"host": "10.0.0.2", "port": 8765, "tls": False}
    trust = BoardTrust("gw-1.mpy-gateway", b"ca")
    assert gateway_settings("10.0.0.2", 8765, trust) == {
        "host": "10.0.0.2",
        "port": 8765,
        "tls": True,
        "name": "gw-1.mpy-gateway",
    }
