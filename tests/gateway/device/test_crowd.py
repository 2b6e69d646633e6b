"""A crowd at the door: idle connections, bad tokens, no descriptors left. Devices inside notice nothing."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException

from gateway.device import listener
from gateway.device.listener import DeviceSocket
from gateway.tls.authority import DEVICES, Authority
from tests.aio import run, until
from tests.gateway.device.door import SUBPROTOCOL, Door, open_door
from tests.gateway.device.test_tls import pinning
from tests.gateway.tls.shake import NAME, issued, serving

OURS = Authority.make("gw-test")


@contextmanager
def idle(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    crowd: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            crowd.append(one)
        yield crowd
    finally:
        for one in crowd:
            one.close()


def strangers(door: Door) -> int:
    count: int = door.server.stats()["strangers"]
    return count


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_crowd_of_idle_connections_costs_those_inside_nothing_and_keeps_nobody_out(
    tmp_path: Path, encrypted: bool
) -> None:
    """With TLS they stand before their handshake, where the library does not see them yet."""

    async def scenario() -> None:
        tls = serving(tmp_path, issued(OURS, DEVICES)[0]) if encrypted else None
        options = {"ssl": pinning(OURS), "server_hostname": NAME} if encrypted else {}
        async with open_door(tmp_path, tls=tls, strangers=20, connections_per_address=1_000) as door:
            inside = [await door.knock(f"board-{number}", **options) for number in range(3)]
            for device in inside:
                await device.hello()
                await device.receive("welcome")
            with idle(door.server.port, 200):
                await until(lambda: door.server.stats()["refused"].get("strangers") == 180, what="the crowd")
                assert strangers(door) == 20
                for device in inside:
                    await device.works()
                late = await door.knock("late", **options)
                await late.hello()
                await late.receive("welcome")
                await late.works()
                assert strangers(door) <= 20
            await until(lambda: strangers(door) == 0, what="the end of the crowd")
            for device in inside:
                await device.works()

    run(scenario())


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_idle_connections_are_gone_when_their_handshake_is_overdue(tmp_path: Path, encrypted: bool) -> None:
    async def scenario() -> None:
        tls = serving(tmp_path, issued(OURS, DEVICES)[0]) if encrypted else None
        async with open_door(tmp_path, tls=tls, handshake_s=0.2) as door:
            with idle(door.server.port, 10):
                await until(lambda: strangers(door) == 10, what="the crowd")
                await until(lambda: strangers(door) == 0, timeout_s=3, what="its end")

    run(scenario())


def test_the_deadline_is_one_for_tls_and_the_upgrade(tmp_path: Path) -> None:
    """Who uses up most of it in TLS has only the rest for the upgrade."""

    async def scenario() -> float:
        tls = serving(tmp_path, issued(OURS, DEVICES)[0])
        async with open_door(tmp_path, tls=tls, handshake_s=0.8) as door:
            began = time.monotonic()
            with idle(door.server.port, 1) as (raw,):
                await asyncio.sleep(0.5)
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = pinning(OURS).wrap_bio(incoming, outgoing, server_hostname=NAME)
                loop = asyncio.get_running_loop()
                while True:
                    try:
                        client.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        await loop.sock_sendall(raw, outgoing.read())
                        incoming.write(await loop.sock_recv(raw, 65_536))
                await loop.sock_sendall(raw, outgoing.read())
                async with asyncio.timeout(3):
                    while await loop.sock_recv(raw, 65_536):
                        pass
            return time.monotonic() - began

    assert 0.6 < run(scenario()) < 1.1


def test_a_door_that_stops_sends_away_who_is_in_a_handshake(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            with idle(door.server.port, 5):
                await until(lambda: strangers(door) == 5, what="the crowd")
                began = time.monotonic()
                await door.server.stop()
                assert time.monotonic() - began < 1

    run(scenario())


def test_who_guesses_tokens_is_shut_out_for_a_while_and_who_is_inside_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, bad_tokens_per_min=20) as door:
            inside = await door.enter()
            door.tokens["thief"] = "A" * 43
            refused = 0
            for _ in range(30):
                with pytest.raises((WebSocketException, OSError, EOFError)) as end:
                    await door.knock("thief", local_addr=("127.0.0.2", 0))
                if not isinstance(end.value, InvalidStatus):
                    break
                assert end.value.response.status_code == 401
                refused += 1
            assert 20 <= refused < 30
            await inside.works()
            stats = door.server.stats()
            assert stats["refused"]["token"] == refused
            assert stats["refused"]["shut"] >= 1
            (address,) = stats["bad_tokens"]
            assert (address["address"], address["count"]) == ("127.0.0.2", refused)
            await door.enter("late")

    run(scenario())
    lines = [record.getMessage() for record in caplog.records if "its token is not known" in record.getMessage()]
    assert lines == ["127.0.0.2 was refused: its token is not known"]


def test_with_no_descriptors_left_the_door_waits_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Accepting fails at once and the connection still waits: trying again without a pause would be a spin."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            inside = await door.enter()
            token = await door.add("late")
            attempts, loop = 0, asyncio.get_running_loop()
            accept = loop.sock_accept

            async def counted(sock: socket.socket) -> tuple[socket.socket, object]:
                nonlocal attempts
                attempts += 1
                return await accept(sock)

            loop.sock_accept = counted  # type: ignore[method-assign,assignment]
            late = socket.socket()
            late.setblocking(False)
            with no_descriptors_left():
                await loop.sock_connect(late, ("127.0.0.1", door.server.port))  # by the kernel
                await until(lambda: door.server.stats()["trouble"], what="the trouble")
                before, cpu_s = attempts, time.process_time()
                for _ in range(5):
                    await inside.works()
                await asyncio.sleep(0.5)
                assert attempts - before <= 6
                assert time.process_time() - cpu_s < 0.4
                assert door.server.stats()["trouble"] == "no connection can be accepted: Too many open files"
            request = (
                f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
            )
            await loop.sock_sendall(late, request.encode())
            async with asyncio.timeout(5):
                assert (await loop.sock_recv(late, 100)).startswith(b"HTTP/1.1 101")
            late.close()
            assert door.server.stats()["trouble"] == ""

    run(scenario())
    said = [record.getMessage() for record in caplog.records if "accepted" in record.getMessage()]
    assert [line.partition(":")[0] for line in said] == [
        "no connection can be accepted",
        "connections are accepted again",
    ]


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process can open nothing: what is free below its highest one is taken, and the limit is right above."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken = [os.open("/dev/null", os.O_RDONLY)]
    while taken[-1] < highest:
        taken.append(os.open("/dev/null", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_a_fault_of_ours_ends_one_connection_and_is_logged_without_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> str:
        async with open_door(tmp_path) as door:
            inside = await door.enter()
            token = await door.add("unlucky")
            with monkeypatch.context() as patched:

                def fails(_: DeviceSocket) -> None:
                    raise RuntimeError("a fault")

                patched.setattr(listener.DeviceSocket, "start_keepalive", fails)
                unlucky = await door.knock("unlucky")
                assert (await unlucky.closed())[0] == 1006
            await inside.works()
            await until(lambda: strangers(door) == 0 and door.server.stats()["connections"] == 1, what="its end")
            return token

    token = run(scenario())
    assert "a fault in a connection" in caplog.text
    assert token not in caplog.text
