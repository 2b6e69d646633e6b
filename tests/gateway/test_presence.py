from __future__ import annotations

import asyncio
import time

import pytest

from gateway.presence import ConnectionInfo, Presence, PresenceChange
from tests.aio import run


def connection(device: str = "greenhouse", epoch: int = 1) -> ConnectionInfo:
    return ConnectionInfo(device, epoch, "192.168.1.17:51234", 1_790_000_000_000)


def test_the_newest_connection_of_a_device_counts() -> None:
    presence = Presence()
    old, new = connection(epoch=1), connection(epoch=2)
    presence.connected(old)
    presence.connected(new)
    presence.disconnected("greenhouse", 1)  # the old one's end comes late
    assert presence.get("greenhouse") is new
    presence.connected(old)
    assert presence.get("greenhouse") is new
    presence.disconnected("greenhouse", 2)
    assert presence.get("greenhouse") is None
    assert presence.all() == []


def test_watchers_see_devices_come_and_go() -> None:
    async def work() -> None:
        presence = Presence()
        watch = presence.watch()
        here = connection()
        presence.connected(here)
        assert await anext(watch) == PresenceChange("greenhouse", here)
        presence.disconnected("greenhouse", 1)
        assert await anext(watch) == PresenceChange("greenhouse", None)

    run(work())


def test_a_device_that_sleeps_as_it_said_is_here_until_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.presence.OVERSLEPT_S", 0.02)

    async def work() -> None:
        presence = Presence()
        for epoch, sleep_ms in ((1, 3_600_000), (2, 20)):
            here = connection(epoch=epoch)
            presence.connected(here)
            here.sleep_ms = sleep_ms
            presence.disconnected("greenhouse", epoch)
            assert presence.is_here("greenhouse")
            assert presence.get("greenhouse") is None
        until_s = presence.asleep_until_s("greenhouse")
        assert until_s == pytest.approx(time.monotonic() + 0.02, abs=0.02)
        watch = presence.watch()
        assert await anext(watch) == PresenceChange("greenhouse", None)
        assert not presence.is_here("greenhouse")
        presence.connected(connection(epoch=3))
        presence.disconnected("greenhouse", 3)  # without a word
        assert not presence.is_here("greenhouse")

    run(work())


def test_changes_are_coalesced_per_device() -> None:
    async def work() -> None:
        presence = Presence()
        watch = presence.watch()
        for epoch in range(1, 1_000):
            presence.connected(connection("a", epoch))
            presence.connected(connection("b", epoch))
            presence.disconnected("b", epoch)
            presence.latest("a", epoch, {"temperature": 20.0 + epoch})
        presence.latest("a", 5, {"humidity": 40.0})
        one, other = await anext(watch), await anext(watch)
        assert (one.device, one.latest) == ("a", (999, {"temperature": 1019.0, "humidity": 40.0}))
        assert one.connection is presence.get("a")
        assert other == PresenceChange("b", None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(watch)

    run(work())


def test_every_watcher_sees_everything_from_its_beginning_on() -> None:
    async def work() -> None:
        presence = Presence()
        presence.connected(connection("a"))
        early = presence.watch()
        presence.connected(connection("b"))
        late = presence.watch()
        presence.changed("a")
        assert [(await anext(early)).device for _ in range(2)] == ["b", "a"]
        assert (await anext(late)).device == "a"

    run(work())


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    now_s = 100.0
    info = ConnectionInfo("a", 1, "", 0, monotonic_s=lambda: now_s)
    assert info.rate == 0
    info.samples += 1
    assert info.rate == 1  # young: counted as one second old
    for second in range(101, 131):
        now_s = float(second)
        info.samples += 3
        info.samples += 2
    assert info.samples == 151
    assert info.rate == 5
    now_s = 135.0
    assert info.rate == 2.5
    now_s = 150.0
    assert info.rate == 0
