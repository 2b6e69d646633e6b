"""Everything that can go wrong, at random moments of a seeded sequence, to a whole system that runs.

Each actor has its own part of the system and its own sequence, so that a seed gives the same faults in the same order;
when exactly they strike also depends on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.emulator import EmulatedBoard
from tests.aio import until
from tests.faults import FaultProxy
from tests.rig import GatewayProgram, Mosquitto

Actor = Callable[[random.Random], Awaitable[None]]
YEAR_MS = 365 * 24 * 3600 * 1000


class Chaos:
    """`run` makes faults for a while; `end` ends them all and leaves everything running."""

    def __init__(
        self,
        seed: int,
        broker: Mosquitto,
        gateway: GatewayProgram,
        mqtt_link: FaultProxy,
        boards: dict[str, tuple[EmulatedBoard, FaultProxy]],
        *,
        disk: Path | None = None,
        pace: float = 1.0,
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.broker, self.gateway, self.mqtt_link, self.boards = broker, gateway, mqtt_link, boards
        self._seed = seed
        self._disk = disk
        """A small file system that holds the gateway's state, where it can be filled."""
        self._pace = pace
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> None:
        actors: list[Callable[[random.Random], Awaitable[None]]] = [
            self._gateway,
            self._broker,
            self._clock,
            self._mqtt,
        ]
        if self._disk is not None:
            actors.append(self._disk_full)
        for name in self.boards:
            actors.append(lambda chance, name=name: self._board(chance, name))
            actors.append(lambda chance, name=name: self._link(chance, name))
        self._over.clear()
        tasks = [
            asyncio.create_task(self._until_over(actor, random.Random(f"{self._seed} {number}")))
            for number, actor in enumerate(actors)
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            self._over.set()
            for task in done:
                task.result()
            await asyncio.gather(*tasks)  # each ends what it is at: a program half started is nobody's
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def end(self) -> None:
        """No fault any more; everything runs."""
        if self._disk is not None:
            self._filler().unlink(missing_ok=True)
        for proxy in (self.mqtt_link, *(proxy for _, proxy in self.boards.values())):
            proxy.heal()
        self.broker.send(signal.SIGCONT)
        if not self.broker.running:
            await asyncio.to_thread(self.broker.start)
        self.gateway.send(signal.SIGCONT)
        if not self.gateway.running or not (self.gateway.state / "run.json").exists():
            self.gateway.kill()
            await asyncio.to_thread(self.gateway.start)
        for board, _ in self.boards.values():
            board.cut_power_at(None)
            if not board.running:
                await board.start()

    async def _until_over(self, actor: Actor, chance: random.Random) -> None:
        await self._pause(chance.uniform(0.3, 2.0))
        while not self._over.is_set():
            await actor(chance)
            await self._pause(chance.uniform(0.3, 2.0))

    async def _pause(self, seconds: float) -> None:
        """So long, at our pace; no longer than there are faults."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds * self._pace)

    # The parts.

    async def _link(self, chance: random.Random, name: str) -> None:
        proxy = self.boards[name][1]
        await self._hurt(chance, proxy, "link")

    async def _mqtt(self, chance: random.Random) -> None:
        await self._pause(chance.uniform(0, 3))
        await self._hurt(chance, self.mqtt_link, "mqtt link")

    async def _hurt(self, chance: random.Random, proxy: FaultProxy, what: str) -> None:
        if self._over.is_set():
            return
        kind = chance.choice(("rst", "fin", "stall", "gone", "board gone", "slow", "delay", "duplicate", "refuse"))
        hold_s = chance.uniform(0.1, 2.5)
        if kind == "duplicate" and what == "mqtt link":
            kind = "rst"  # MQTT takes what is said twice for another program's
        self.faults[f"{what}: {kind}"] += 1
        if kind in {"rst", "fin"}:
            proxy.cut(kind)  # type: ignore[arg-type]
        elif kind == "stall":
            proxy.stall()
        elif kind in {"gone", "board gone"}:
            proxy.half_open("gateway" if kind == "gone" else "board")
        elif kind == "slow":
            proxy.slow(chance.randint(500, 5000))
        elif kind == "delay":
            proxy.delay(chance.uniform(0.02, 0.4))
        elif kind == "duplicate":
            proxy.duplicate()
        else:
            proxy.refuse()
        await self._pause(hold_s)
        proxy.heal()

    async def _board(self, chance: random.Random, name: str) -> None:
        board = self.boards[name][0]
        await self._pause(chance.uniform(0.5, 5))
        if self._over.is_set():
            return
        kind = chance.choice(("power cut", "power cut in the flash", "crash", "Ctrl-C"))
        self.faults[f"board: {kind}"] += 1
        if kind == "crash":
            if board.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(board.pid, signal.SIGSEGV)
            return  # it resets by itself
        if kind == "power cut in the flash":
            board.cut_power_at(chance.randint(1, 60), torn=chance.choice((0.0, 0.3, 0.7, 1.0)))
            with contextlib.suppress(AssertionError):  # a board that has nothing to write is cut as it is
                await until(lambda: not board.running, timeout_s=6 * self._pace)
            board.cut_power_at(None)
            await board.power_cut()
        elif kind == "power cut":
            await board.power_cut()
        else:
            await board.stop()
        await self._pause(chance.uniform(0, 1))
        await board.start()

    async def _gateway(self, chance: random.Random) -> None:
        await self._pause(chance.uniform(1, 6))
        if self._over.is_set():
            return
        kind = chance.choice(("kill -9", "kill -9", "kill -9", "SIGTERM", "SIGSTOP"))
        self.faults[f"gateway: {kind}"] += 1
        if kind == "SIGSTOP":
            self.gateway.send(signal.SIGSTOP)
            await self._pause(chance.uniform(0.2, 3))
            self.gateway.send(signal.SIGCONT)
            return
        if kind == "kill -9":
            self.gateway.kill()
        else:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self.gateway.stop)
            self.gateway.kill()
        await self._pause(chance.uniform(0, 1.5))
        await until(lambda: asyncio.to_thread(self.gateway.try_start), timeout_s=60)  # the disk may be full just now

    async def _broker(self, chance: random.Random) -> None:
        await self._pause(chance.uniform(2, 9))
        if self._over.is_set():
            return
        kind = chance.choice(("kill -9", "restart", "SIGSTOP"))
        self.faults[f"broker: {kind}"] += 1
        if kind == "SIGSTOP":
            self.broker.send(signal.SIGSTOP)
            await self._pause(chance.uniform(0.2, 4))
            self.broker.send(signal.SIGCONT)
            return
        if kind == "kill -9":
            self.broker.kill()
        else:
            await asyncio.to_thread(self.broker.stop)
        await self._pause(chance.uniform(0, 2))
        await asyncio.to_thread(self.broker.start)

    async def _clock(self, chance: random.Random) -> None:
        await self._pause(chance.uniform(4, 12))
        if self._over.is_set():
            return
        years = chance.choice((-3, -1, 0, 0, 2, 10))
        self.faults["gateway: clock jump"] += 1
        self.gateway.move_wall_clock(years * YEAR_MS + chance.randint(-90_000, 90_000))

    async def _disk_full(self, chance: random.Random) -> None:
        await self._pause(chance.uniform(3, 10))
        if self._over.is_set():
            return
        self.faults["gateway: disk full"] += 1
        await asyncio.to_thread(fill, self._filler())
        await self._pause(chance.uniform(0.5, 3))
        self._filler().unlink(missing_ok=True)

    def _filler(self) -> Path:
        assert self._disk is not None
        return self._disk / "filler"


def fill(file: Path) -> None:
    """Write until there is no room for a single byte more."""
    with file.open("ab", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while out.write(b"\0" * size):
                    pass
