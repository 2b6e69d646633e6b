"""REST for the administration of devices: who may, and what the answers say. What it does is tested where it is done:
store/test_devices.py, device/test_rotation.py, test_forget.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.dashboard import admin
from gateway.store.devices import Rotation, hash_of
from tests.aio import run, until
from tests.gateway.dashboard.door import Door, batch, open_door, sample

GREENHOUSE = "/api/devices/greenhouse"


async def ask(door: Door, path: str, method: str = "POST") -> tuple[int, str]:
    answer = await door.ask(path, method=method, headers=door.bearer)
    body = answer.json
    return answer.status, body.get("text") or body["error"]["code"]


def test_a_revoked_device_stays_and_cannot_be_rotated(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(sample(0)))
            for _ in range(2):
                status, text = await ask(door, f"{GREENHOUSE}/revoke")
                assert (status, text) == (200, "greenhouse may not connect any more; its samples stay")
            assert (await door.ask(GREENHOUSE, headers=door.bearer)).json["counts"]["samples"] == 1
            assert await ask(door, f"{GREENHOUSE}/rotate") == (409, "device.state")

    run(main())


def test_a_rotation_says_what_will_happen_and_what_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            status, text = await ask(door, f"{GREENHOUSE}/rotate")
            assert status == 200
            assert "is not connected: it gets its new token when it comes" in text

            async def is_asked() -> bool:
                return await admin._rotation(door.devices, "greenhouse") is Rotation.ASKED

            async def comes_with_a_new_token() -> None:  # what the devices' door does
                token = await door.devices.mint("greenhouse")
                assert token is not None
                await door.devices.used("greenhouse", hash_of(token))

            await comes_with_a_new_token()
            await door.connect()
            asking = asyncio.create_task(ask(door, f"{GREENHOUSE}/rotate"))
            await until(is_asked)
            await comes_with_a_new_token()
            assert await asking == (200, "greenhouse has its new token; the old one opens nothing any more")
            monkeypatch.setattr(admin, "ROTATION_S", 0.2)
            asking = asyncio.create_task(ask(door, f"{GREENHOUSE}/rotate"))
            await until(is_asked)
            await door.devices.mint("greenhouse")
            assert "has not come with it yet; until it does, the old one stays valid" in (await asking)[1]

    run(main())


def test_a_device_is_replaced_and_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(sample(0)))
            await door.devices.set_hardware("greenhouse", "a4cf12b0c3d4")
            status, text = await ask(door, f"{GREENHOUSE}/replace")
            assert (status, text) == (200, "greenhouse: the next board with its token takes its place")
            assert (await door.ask(GREENHOUSE, headers=door.bearer)).json["hardware"] is None
            async with door.feed() as socket:
                await socket.recv()
                status, text = await ask(door, GREENHOUSE, "DELETE")
                assert status == 200
                assert text.startswith("greenhouse is forgotten. Not erased: backups")
                told = await socket.recv()
                assert '{"type":"removed","device":"greenhouse"}' in str(told)
            assert (await door.ask(GREENHOUSE, headers=door.bearer)).status == 404

    run(main())


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "rotate"), ("POST", "revoke"), ("POST", "replace"), ("DELETE", "")]
)
def test_only_admins_may_and_only_with_devices_there_are(tmp_path: Path, method: str, path: str) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            assert await ask(door, f"/api/devices/nobody/{path}".rstrip("/"), method) == (404, "device.unknown")
            _, secret = await door.server.people.tokens.add("script", "control", "", None)
            bearer = {"Authorization": f"Bearer {secret}"}
            answer = await door.ask(f"{GREENHOUSE}/{path}".rstrip("/"), method=method, headers=bearer)
            assert (answer.status, answer.json["error"]["code"]) == (403, "role.viewer")
            answer = await door.ask(f"{GREENHOUSE}/{path}".rstrip("/"), method=method)
            assert answer.status == 401
            (info,) = await door.devices.list()
            assert (info.id, info.revoked, info.rotation) == ("greenhouse", False, Rotation.NONE)

    run(main())
