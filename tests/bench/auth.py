"""What authentication adds to a connection, and how soon a revoked one is closed.

    .venv/bin/python -m tests.bench.auth [--connections 2000] [--revocations 50] [--uvloop]

The load comes from a process of its own, over plain sockets: CPU is the server's, per connection, from its acceptance
to its end. `listener` lets everybody in; `door` looks the token up in the registry (SQLite) and refuses nobody, or
everybody. Revocation: from the call to the close frame at the device, in the gateway's process, and from another one.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.config import Limits
from gateway.device.listener import DeviceSocket, Listener
from gateway.store.devices import Devices
from gateway.store.registry import Registry
from tests.gateway.device.door import SUBPROTOCOL, Door, open_door

LIMITS = {"bad_tokens_per_min": 1_000_000}
REQUEST = (
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {}\r\nAuthorization: Bearer {}\r\n\r\n"
)


def knock(port: int, token: str, count: int) -> None:
    """In the process the load comes from: one connection after the other, cut when it was answered."""
    request = REQUEST.format(SUBPROTOCOL, token).encode()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(request)
            one.recv(4096)


async def measure(title: str, port: int, token: str, count: int) -> float:
    """Milliseconds of this process's CPU per connection."""
    process = multiprocessing.get_context("fork").Process(target=knock, args=(port, token, count))
    cpu_s, began_s = time.process_time(), time.monotonic()
    await asyncio.to_thread(lambda: (process.start(), process.join()))
    cpu_ms, took_s = (time.process_time() - cpu_s) / count * 1e3, time.monotonic() - began_s
    print(f"{title:32}{count / took_s:>10,.0f}/s{cpu_ms:>10.3f} ms CPU")
    return cpu_ms


async def authentication(count: int) -> None:
    async def ends(websocket: DeviceSocket) -> None:
        await websocket.wait_closed()

    listener = Listener(ends, Limits())
    await listener.start("127.0.0.1", 0)
    await measure("(warming up)", listener.port, "A" * 43, count // 10)
    bare = await measure("listener", listener.port, "A" * 43, count)
    listener.close()
    await listener.wait_closed()
    with tempfile.TemporaryDirectory() as folder:
        async with open_door(Path(folder), **LIMITS) as door:
            token = await door.add("greenhouse")
            good = await measure("door, a good token", door.server.port, token, count)
            bad = await measure("door, a bad token", door.server.port, "A" * 43, count)
            began_s = time.process_time()
            for _ in range(count):
                await door.devices.by_token(token)
            looked_up = (time.process_time() - began_s) / count * 1e3
    print(
        f"  a good token adds {good - bare:.3f} ms, of which looking it up {looked_up:.3f}; a bad one {bad - bare:.3f}"
    )


async def revocation(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_door(Path(folder)) as door:
            await _revocations("revoked in the gateway", door, count, door.devices.revoke)
            registry = Registry(Path(folder))  # as another process has it
            await registry.open()
            await _revocations("revoked in the files", door, count, Devices(registry).revoke)
            await registry.close()


async def _revocations(title: str, door: Door, count: int, revoke: Callable[[str], Awaitable[None]]) -> None:
    took_ms = []
    for number in range(count):
        name = f"{title.replace(' ', '-')}-{number}"
        device = await door.enter(name)
        began = time.perf_counter()
        await revoke(name)
        code, _ = await device.closed()
        assert code == 4003
        took_ms.append((time.perf_counter() - began) * 1e3)
    print(f"{title:32}{statistics.median(took_ms):>10.1f} ms median{max(took_ms):>10.1f} ms at most")


async def main(connections: int, revocations: int) -> None:
    await authentication(connections)
    await revocation(revocations)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--revocations", type=int, default=50)
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    if arguments.uvloop:
        import uvloop

        sys.exit(uvloop.run(main(arguments.connections, arguments.revocations)))
    asyncio.run(main(arguments.connections, arguments.revocations))
