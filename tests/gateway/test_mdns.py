"""What is told on the network, and by a real zeroconf on loopback that it is found there and taken back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from gateway import mdns
from gateway.config import DevicesConfig, PeopleConfig
from gateway.mdns import BOARDS, PAGE_TLS, Announcer, Service, services
from tests.aio import run, until

LOOPBACK = "127.0.0.1"


def told(devices: str, people: str) -> list[Service]:
    return services("gw-1", DevicesConfig(host=devices), 8765, PeopleConfig(host=people), 8080, "ab" * 32)


def test_doors_that_others_reach_are_told_of_with_what_a_board_may_want_to_know() -> None:
    boards, page = told("0.0.0.0", "0.0.0.0")
    assert (boards.kind, boards.port, page.kind, page.port) == (BOARDS, 8765, PAGE_TLS, 8080)
    assert dict(boards.txt) == {
        "txtvers": "1", "version": boards.txt["version"], "id": "gw-1", "path": "/", "tls": "1", "fp": "ab" * 32,
    }  # fmt: skip


def test_loopback_is_told_to_nobody() -> None:
    assert told("127.0.0.1", "localhost") == []
    assert [service.kind for service in told("192.0.2.7", "127.0.0.1")] == [BOARDS]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", ["192.0.2.7", "2001:db8::7"]),
        ("192.0.2.7", ["192.0.2.7"]),
        ("192.0.2.8", []),
        ("pi.local", ["192.0.2.7", "2001:db8::7"]),
    ],
)
def test_only_the_addresses_the_door_listens_on_are_told(host: str, expected: list[str]) -> None:
    assert Service(BOARDS, host, 1, {}).addresses(["192.0.2.7", "2001:db8::7"]) == expected


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[AsyncZeroconf]:
    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK])
    try:
        yield zeroconf
    finally:
        await zeroconf.async_close()


async def found(zeroconf: AsyncZeroconf) -> list[str]:
    info = AsyncServiceInfo(BOARDS, f"gw-mdns-test.{BOARDS}")
    if not await info.async_request(zeroconf.zeroconf, 1000):
        return []
    assert (info.server, info.port) == ("gw-mdns-test.local.", 8765)
    assert (info.decoded_properties or {})["id"] == "gw-mdns-test"
    return info.parsed_addresses()


def test_a_board_finds_the_gateway_by_name_also_at_its_new_address_and_no_longer_when_it_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mdns, "LOOK_S", 0.05)
    addresses: list[str] = []
    txt = {"txtvers": "1", "id": "gw-mdns-test"}

    async def main() -> None:
        announcer = Announcer("gw-mdns-test", [Service(BOARDS, "0.0.0.0", 8765, txt)], lambda: list(addresses))
        announcer.start()  # before the network is there
        try:
            addresses[:] = [LOOPBACK]
            async with asking() as zeroconf:
                await until(lambda: found(zeroconf))
            addresses[:] = [LOOPBACK, "127.0.0.2"]

            async def has_both() -> bool:
                async with asking() as zeroconf:  # nothing of before in its cache
                    return sorted(await found(zeroconf)) == addresses

            await until(has_both)
        finally:
            await announcer.stop()
        async with asking() as zeroconf:
            assert await found(zeroconf) == []

    run(main())


def test_a_network_that_takes_nothing_is_a_concern_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "LOOK_S", 0.05)
    addresses = ["192.0.2.250"]  # none of ours: the socket cannot be bound there

    async def main() -> None:
        announcer = Announcer("gw-mdns-test2", [Service(BOARDS, "0.0.0.0", 8765, {})], lambda: list(addresses))
        announcer.start()
        try:
            await until(lambda: "cannot be found by its name gw-mdns-test2.local" in announcer.concern)
            addresses[:] = [LOOPBACK]
            await until(lambda: not announcer.concern)
        finally:
            await announcer.stop()

    run(main())
