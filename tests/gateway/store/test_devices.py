from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.profile import Profile, find_node, load_profile
from gateway.store.devices import SEEN_EVERY_MS, DeviceInfo, Devices, Rotation, hash_of
from gateway.store.registry import Registry
from tests.aio import run

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(find_node("climate-node"))


def with_devices(directory: Path, work: Callable[[Devices, Registry], Coroutine[None, None, None]]) -> None:
    async def inside() -> None:
        registry = Registry(directory)
        await registry.open()
        try:
            await work(Devices(registry, wall_ms=lambda: NOW_MS), registry)
        finally:
            await registry.close()

    run(inside())


def test_a_device_is_known_by_its_token(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        token = await devices.add("greenhouse", profile)
        expected = DeviceInfo("greenhouse", "climate-node", profile.hash, None, NOW_MS, None)
        assert len(token) == 43
        assert await devices.by_token(token) == expected
        assert await devices.get("greenhouse") == expected
        assert await devices.list() == [expected]
        assert await devices.by_token(token[:-1] + ("a" if token[-1] != "a" else "b")) is None
        assert await devices.by_token("") is None

    with_devices(tmp_path, work)


def test_the_token_itself_is_kept_nowhere(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        token = await devices.add("greenhouse", profile)
        assert not [entry for entry in await registry.list("") if token in entry.key or token.encode() in entry.value]

    with_devices(tmp_path, work)


def test_profiles_come_back_as_they_were(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        await devices.add("greenhouse", profile)
        kept = await devices.profile(profile.hash)
        assert kept is not None
        assert (kept.hash, kept.to_json()) == (profile.hash, profile.to_json())
        assert await devices.profile("0" * 16) is None

    with_devices(tmp_path, work)


@pytest.mark.parametrize("name", ["", "Greenhouse", "-a", "_a", "a/b", "a+", "#", "ä", "a" * 33, "a\n", "a b", "²"])
def test_a_name_that_could_not_be_a_topic_is_refused(tmp_path: Path, profile: Profile, name: str) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        with pytest.raises(ConfigError, match="is no device name"):
            await devices.add(name, profile)
        assert await registry.list("") == []

    with_devices(tmp_path, work)


def test_the_gateways_own_topic_is_no_name_for_a_device(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        with pytest.raises(ConfigError, match="names the gateway itself"):
            await devices.add("bridge", profile)
        assert await registry.list("") == []

    with_devices(tmp_path, work)


def test_a_name_is_given_once(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        token = await devices.add("greenhouse", profile)
        with pytest.raises(ConfigError, match='there is a device "greenhouse" already'):
            await devices.add("greenhouse", profile)
        assert len(await registry.list("token/")) == 1
        assert await devices.by_token(token) is not None

    with_devices(tmp_path, work)


def test_a_revoked_token_opens_nothing_and_a_new_one_does(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        old = await devices.add("greenhouse", profile)
        await devices.seen("greenhouse", NOW_MS)
        await devices.set_hardware("greenhouse", "a4cf12b0c3d4")
        for _ in range(2):
            await devices.revoke("greenhouse")
            assert await devices.by_token(old) is None
            (info,) = await devices.list()
            assert (info.id, info.revoked, info.last_seen_ms) == ("greenhouse", True, NOW_MS)
        with pytest.raises(ConfigError, match="--again"):
            await devices.rotate("greenhouse")  # it cannot connect to be given one
        new = await devices.renew("greenhouse")
        assert await devices.by_token(old) is None
        found = await devices.by_token(new)
        assert found is not None
        assert (found.revoked, found.hardware, found.last_seen_ms) == (False, None, NOW_MS)
        assert len(await registry.list("token/")) == 1

    with_devices(tmp_path, work)


def test_a_token_without_its_device_opens_nothing(tmp_path: Path, profile: Profile) -> None:
    """As a crash between the two writes of `add` leaves it."""

    async def work(devices: Devices, registry: Registry) -> None:
        token = await devices.add("greenhouse", profile)
        await registry.delete("device/greenhouse")
        assert await devices.by_token(token) is None
        again = await devices.add("greenhouse", profile)
        assert await devices.by_token(token) is None
        assert await devices.by_token(again) is not None

    with_devices(tmp_path, work)


def test_the_hardware_is_remembered(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        await devices.add("greenhouse", profile)
        for _ in range(2):
            await devices.set_hardware("greenhouse", "a4cf12b0c3d4")
        await devices.set_hardware("unknown", "a4cf12b0c3d4")
        info = await devices.get("greenhouse")
        assert info is not None
        assert info.hardware == "a4cf12b0c3d4"
        entry = await registry.get("device/greenhouse")
        assert entry is not None
        assert entry.revision == 2

    with_devices(tmp_path, work)


def test_the_hardware_of_a_replaced_device_is_forgotten_and_nothing_else(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        token = await devices.add("greenhouse", profile)
        before = await devices.get("greenhouse")
        for _ in range(2):
            await devices.set_hardware("greenhouse", "a4cf12b0c3d4")
            await devices.replace("greenhouse")
            assert await devices.by_token(token) == before
        await devices.replace("greenhouse")
        with pytest.raises(ConfigError, match='no device "attic"'):
            await devices.replace("attic")

    with_devices(tmp_path, work)


def test_a_change_at_the_same_time_does_not_undo_a_replacement(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        await devices.add("greenhouse", profile)
        await devices.set_hardware("greenhouse", "a4cf12b0c3d4")
        await asyncio.gather(devices.replace("greenhouse"), devices.set_hardware("greenhouse", "b"))
        entry = await registry.get("device/greenhouse")
        assert entry is not None
        assert entry.revision == 4  # both wrote, one after the other

    with_devices(tmp_path, work)


def test_a_removed_device_leaves_nothing_and_its_name_is_free(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        old = await devices.add("greenhouse", profile)
        await devices.seen("greenhouse", NOW_MS)
        assert await devices.remove("greenhouse")
        await devices.seen("greenhouse", NOW_MS)  # its connection ends a little later
        assert [entry.key for entry in await registry.list("")] == [f"profile/{profile.hash}"]
        assert not await devices.remove("greenhouse")
        for change in (devices.revoke, devices.renew, devices.rotate, devices.replace):
            with pytest.raises(ConfigError, match='no device "greenhouse"'):
                await change("greenhouse")
        assert await devices.mint("greenhouse") is None
        assert await registry.list("token/") == []
        new = await devices.add("greenhouse", profile)
        assert await devices.by_token(old) is None
        assert await devices.by_token(new) is not None

    with_devices(tmp_path, work)


def test_last_seen_is_exact_here_and_written_seldom(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        await devices.add("greenhouse", profile)
        for second in range(100):
            await devices.seen("greenhouse", NOW_MS + second * 1000)
        (info,) = await devices.list()
        assert info.last_seen_ms == NOW_MS + 99_000
        entry = await registry.get("seen/greenhouse")
        assert entry is not None
        assert (entry.value, entry.revision) == (str(NOW_MS).encode(), 1)
        elsewhere = await Devices(registry).get("greenhouse")
        assert elsewhere is not None
        assert elsewhere.last_seen_ms == NOW_MS
        await devices.seen("greenhouse", NOW_MS + 99_000 + SEEN_EVERY_MS)
        entry = await registry.get("seen/greenhouse")
        assert entry is not None
        assert (int(entry.value), entry.revision) == (NOW_MS + 99_000 + SEEN_EVERY_MS, 2)
        await devices.seen("greenhouse", NOW_MS + 100_000 + SEEN_EVERY_MS)
        await devices.close()
        entry = await registry.get("seen/greenhouse")
        assert entry is not None
        assert (int(entry.value), entry.revision) == (NOW_MS + 100_000 + SEEN_EVERY_MS, 3)

    with_devices(tmp_path, work)


def test_a_rotated_token_is_valid_beside_the_old_one_until_it_is_used(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        old = await devices.add("greenhouse", profile)
        assert await devices.mint("greenhouse") is None  # nobody has asked for one
        await devices.rotate("greenhouse")
        assert await rotation(devices) == Rotation.ASKED
        new = await devices.mint("greenhouse")
        assert new is not None
        assert await rotation(devices) == Rotation.SENT
        assert await devices.by_token(old) is not None
        assert await devices.by_token(old) == await devices.by_token(new)
        assert not await devices.used("greenhouse", hash_of(old))
        assert await devices.used("greenhouse", hash_of(new))
        assert await devices.by_token(old) is None
        assert await devices.by_token(new) is not None
        assert await rotation(devices) == Rotation.NONE
        assert not await devices.used("greenhouse", hash_of(new))
        assert len(await registry.list("token/")) == 1

    with_devices(tmp_path, work)


def test_of_two_new_tokens_only_the_one_sent_last_is_valid(tmp_path: Path, profile: Profile) -> None:
    """The one before was sent to a connection that was cut off, and the board came back with its old one."""

    async def work(devices: Devices, registry: Registry) -> None:
        old = await devices.add("greenhouse", profile)
        await devices.rotate("greenhouse")
        lost, new = await devices.mint("greenhouse"), await devices.mint("greenhouse")
        assert lost is not None
        assert new is not None
        assert await devices.by_token(lost) is None
        assert await devices.by_token(old) is not None
        assert await devices.by_token(new) is not None
        assert len(await registry.list("token/")) == 2
        await devices.revoke("greenhouse")
        assert await devices.by_token(old) is None
        assert await devices.by_token(new) is None
        assert await registry.list("token/") == []

    with_devices(tmp_path, work)


def test_no_more_devices_are_registered_than_the_limit(tmp_path: Path, profile: Profile) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        few = Devices(registry, devices=2)
        for name in ("one", "two"):
            await few.add(name, profile)
        with pytest.raises(ConfigError, match=r"limits\.devices"):
            await few.add("three", profile)
        await few.remove("one")
        await few.add("three", profile)

    with_devices(tmp_path, work)


def test_no_endless_number_of_profiles_is_kept_and_no_endless_one(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(devices: Devices, registry: Registry) -> None:
        monkeypatch.setattr("gateway.store.devices.PROFILES", 1)
        await devices.add("one", profile)
        await devices.add("two", profile)  # the same one
        other = Profile.from_json(profile.to_json().replace(b'"title":"Climate node"', b'"title":"Another"'))
        with pytest.raises(ConfigError, match="1 profiles are kept already"):
            await devices.add("three", other)
        monkeypatch.setattr("gateway.store.devices.PROFILE_BYTES", 100)
        with pytest.raises(ConfigError, match="at most 100"):
            await devices.keep_profile(other)

    with_devices(tmp_path, work)


async def rotation(devices: Devices) -> str:
    (info,) = await devices.list()
    return info.rotation
