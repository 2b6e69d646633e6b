"""A gateway that restarts, and all its boards at once: how long until each is back and has delivered.

    .venv/bin/python -m tests.bench.reconnect [--devices 200] [--restarts 3] [--plain] [--handshakes 400]

The gateway is `mpy-gateway run` in a process of its own, killed and started again. The boards are asyncio clients that
verify its certificate as the firmware does (its CA pinned, the fixed name) and wait between tries with the firmware's
own function. A board is back when a new sample of it is acknowledged. Each starts its session anew: MicroPython has no
session resumption, so these have none either.

Then: what knowing who is there costs the gateway beside TLS, in CPU per connection, both in one run.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import multiprocessing
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from gateway.app import Gateway
from gateway.clock import Clock
from gateway.config import DevicesConfig, Limits, load_config
from gateway.device.listener import DeviceSocket, Listener
from gateway.device.server import DeviceServer
from gateway.device.wire import SUBPROTOCOL
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from gateway.tls.names import board_name
from tests.programs import free_port
from tests.rig import ROOT, GatewayProgram

GATEWAY_ID = "gw-bench"
STEADY_S = 10
"""As `_STEADY_MS` of the firmware: a connection that lasted so long ends the growth of the waits."""


def firmware_backoff() -> Callable[[int, Callable[[int], bytes]], int]:
    """`wait_before_retry_ms` out of firmware/device/link.py, which only MicroPython can import."""
    tree = ast.parse((ROOT / "firmware" / "device" / "link.py").read_text())
    wanted = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name == "wait_before_retry_ms")
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LONGEST_WAIT_MS")
    ]
    names: dict[str, Any] = {"const": int}
    exec(compile(ast.Module(wanted, []), "link.py", "exec"), names)
    backoff: Callable[[int, Callable[[int], bytes]], int] = names["wait_before_retry_ms"]
    return backoff


@dataclass
class Board:
    """One client. `back` is set whenever a sample of a new connection is acknowledged."""

    name: str
    token: str
    url: str
    tls: ssl.SSLContext | None
    wait_ms: Callable[[int, Callable[[int], bytes]], int]
    back: asyncio.Event = field(default_factory=asyncio.Event)
    back_at_s: float = 0
    tries: int = 0
    seq: int = 0

    async def run(self) -> None:
        while True:
            began_s = time.monotonic()
            with contextlib.suppress(OSError, WebSocketException, asyncio.TimeoutError):
                await self._connection()
            if time.monotonic() - began_s > STEADY_S:
                self.tries = 0
            wait_ms = self.wait_ms(self.tries, os.urandom)
            self.tries += 1
            await asyncio.sleep(wait_ms / 1000)

    async def _connection(self) -> None:
        offered: Any = [SUBPROTOCOL]
        secure = {"ssl": self.tls, "server_hostname": board_name(GATEWAY_ID)} if self.tls else {}
        headers = {"Authorization": f"Bearer {self.token}"}
        options: dict[str, Any] = {"subprotocols": offered, "additional_headers": headers, "compression": None}
        async with connect(self.url, proxy=None, open_timeout=10, **options, **secure) as socket:
            boots = [{"boot": 1, "id": f"{abs(hash(self.name)):016x}"[-16:], "first": 0, "next": 1 << 40}]
            hello = {"type": "hello", "device": self.name, "hardware": self.name, "t": 0, "boots": boots}
            await socket.send(json.dumps(hello))
            async for text in socket:
                await self._answer(socket, json.loads(text))

    async def _answer(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "clock":
                await socket.send(json.dumps({"type": "clock", "id": frame["id"], "t": self.seq}))
            case "welcome":
                sample = {
                    "type": "samples",
                    "boot": 1,
                    "seq": self.seq,
                    "t": [self.seq],
                    "values": {"temperature": [20]},
                }
                await socket.send(json.dumps(sample))
            case "ack":
                self.seq = frame["seq"] + 1
                self.back_at_s = time.monotonic()
                self.back.set()


async def add_boards(state: Path, count: int) -> dict[str, str]:
    store = SqliteStore(state)
    await store.open()
    devices, profile = Devices(store), load_profile(find_node("climate-node"))
    tokens = {name: await devices.add(name, profile) for name in (f"board-{n}" for n in range(count))}
    await store.close()
    return tokens


async def restarts(count: int, times: int, plain: bool) -> list[float]:
    """Seconds until the last board was back, counted from the door's opening, of each restart."""
    with tempfile.TemporaryDirectory() as folder:
        state, port = Path(folder) / "state", free_port()
        tokens = await add_boards(state, count)
        door = (f"devices.port={port}", f"devices.tls={str(not plain).lower()}", f"gateway.id={GATEWAY_ID}")
        program = GatewayProgram(state, *door, "mqtt.away.url=mqtt://127.0.0.1:1")
        await asyncio.to_thread(program.start)
        tls = None if plain else trust(state)
        scheme = "ws" if plain else "wss"
        backoff = firmware_backoff()
        boards = [Board(name, token, f"{scheme}://127.0.0.1:{port}", tls, backoff) for name, token in tokens.items()]
        running = [asyncio.create_task(board.run()) for board in boards]
        found = []
        try:
            await all_back(boards)
            for _ in range(times):
                await asyncio.sleep(STEADY_S + 1)
                found.append(await one_restart(program, boards))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            program.kill()
        return found


async def one_restart(program: GatewayProgram, boards: list[Board]) -> float:
    for board in boards:
        board.back.clear()
    killed_s = time.monotonic()
    program.kill()
    await asyncio.to_thread(program.start)
    open_s = time.monotonic()
    cpu_s = cpu_of(program.pid)
    await all_back(boards)
    cpu_s = cpu_of(program.pid) - cpu_s
    took = sorted(board.back_at_s - open_s for board in boards)
    tries = max(board.tries for board in boards)
    print(
        f"  down for {open_s - killed_s:4.1f} s; half were back after {statistics.median(took):4.1f} s, the last"
        f" {took[-1]:4.1f} s after the door opened ({took[-1] + open_s - killed_s:4.1f} s after the kill);"
        f" gateway {cpu_s / len(boards) * 1000:.1f} ms CPU a board; at most {tries} tries"
    )
    return took[-1]


async def all_back(boards: list[Board]) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*(board.back.wait() for board in boards))


def trust(state: Path) -> ssl.SSLContext:
    """As a board has it: the gateway's CA and nothing else, and TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(state / "tls" / "ca.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    return context


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# What authentication costs


def knock(port: int, tokens: list[str], count: int, ca: str | None) -> None:
    """The process the handshakes come from."""

    async def all_of_them() -> None:
        tls = None if ca is None else trust(Path(ca))
        secure: Any = {"ssl": tls, "server_hostname": board_name(GATEWAY_ID)} if tls else {}
        offered: Any = [SUBPROTOCOL]

        async def some(first: int) -> None:
            for number in range(first, count, 4):
                headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
                url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
                async with connect(
                    url, subprotocols=offered, additional_headers=headers, compression=None, proxy=None, **secure
                ):
                    pass

        await asyncio.gather(*(some(first) for first in range(4)))

    asyncio.run(all_of_them())


async def hang_up(_socket: DeviceSocket) -> None:
    """In place of what serves a device: the handshake alone is measured."""


async def cost_ms(listener: Listener, tokens: list[str], count: int, ca: Path | None) -> float:
    """Milliseconds of this process's CPU per handshake."""
    process = multiprocessing.get_context("spawn").Process(
        target=knock, args=(listener.port, tokens, count, None if ca is None else str(ca))
    )
    cpu_s = time.process_time()
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0, "the clients failed"
    return (time.process_time() - cpu_s) / count * 1000


async def authentication(count: int, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = ("devices.port=0", "people.port=0", "devices.tls=true", f"gateway.id={GATEWAY_ID}")
        config = load_config(
            None, overrides=[*settings, "mqtt.away.url=mqtt://127.0.0.1:1"], environ={}, state=Path(folder)
        )
        gateway = Gateway(config)
        await gateway.start()
        try:
            profile = load_profile(find_node("climate-node"))
            tokens = [await gateway.devices.add(f"board-{number}", profile) for number in range(200)]
            anybody = Listener(hang_up, Limits(), tls=gateway.door._tls)
            await anybody.start("127.0.0.1", 0)
            door = DeviceServer(DevicesConfig(port=0), Limits(), gateway.store, gateway.devices, gateway.presence,
                                gateway.dispatcher, Clock(), gateway_id=GATEWAY_ID, tls=gateway.door._tls)  # fmt: skip
            await door.start()
            assert door._listener is not None
            door._listener._handler = hang_up
            pairs = [await _pair(anybody, door._listener, tokens, count, Path(folder)) for _ in range(rounds)]
            await door.stop()
            anybody.close()
            await anybody.wait_closed()
        finally:
            await gateway.stop()
    without, with_it = statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
    print(f"  TLS and upgrade, whoever it is     {without:.2f} ms CPU a connection")
    more_ms = with_it - without
    print(f"  the same, and who it is            {with_it:.2f} ms: {more_ms:+.2f} ms, {with_it / without:.2f} times")


async def _pair(anybody: Listener, known: Listener, tokens: list[str], count: int, ca: Path) -> tuple[float, float]:
    return await cost_ms(anybody, tokens, count, ca), await cost_ms(known, tokens, count, ca)


def run(work: Awaitable[Any]) -> None:
    import uvloop

    uvloop.run(work)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--handshakes", type=int, default=400)
    given = parser.parse_args()
    print(f"{given.devices} boards, {'without' if given.plain else 'with'} TLS, back-off of the firmware:")
    run(restarts(given.devices, given.restarts, given.plain))
    if given.handshakes:
        print(f"{given.handshakes} handshakes, five rounds of each, in turn:")
        run(authentication(given.handshakes))


if __name__ == "__main__":
    main()
