"""Commands under every order of events hypothesis finds: connections that come and go, frames that are lost or come
twice, results and acknowledgements that are lost, power cuts on the board, a gateway that is killed, disks that fail.

The real dispatcher runs on a loop whose time passes by itself, with a registry in memory. The board is a model of
firmware/device/commands.py, whose own proof is tests/firmware/mpy/test_commands_cut.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.clock import HandClock
from gateway.command.dispatch import Dispatcher
from gateway.errors import NoHolder, Unavailable
from gateway.model import Command, Result, Status
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.port import CommandHandler, Entry

DEVICE = "greenhouse"
PROFILE = load_profile(find_node("climate-node"))


class QuickSelector(selectors.DefaultSelector):
    """Waits for nothing: what would be waited for has passed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passed_s += timeout or 0
        return super().select(0)


class QuickLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._quick = QuickSelector()
        super().__init__(self._quick)

    def time(self) -> float:
        return 1000 + self._quick.passed_s


class LoopClock(HandClock):
    """Monotonic time is the loop's; the date can be set."""

    def __init__(self, loop: QuickLoop) -> None:
        super().__init__()
        self._loop = loop
        self.ahead_ms = 1_790_000_000_000

    def monotonic_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def wall_ms(self) -> int:
        return self.ahead_ms + self.monotonic_ms()


class Memory:
    """The registry half of a store, whose disk can be slow or fail, and the commands' half."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.disk_s = 0.0
        self.fails = ""
        """"before": nothing is written. "after": it is written, and said to be not."""
        self.handler: CommandHandler | None = None

    async def get(self, key: str) -> Entry | None:
        return Entry(key, self.entries[key], 1) if key in self.entries else None

    async def list(self, prefix: str) -> list[Entry]:
        return [Entry(key, value, 1) for key, value in sorted(self.entries.items()) if key.startswith(prefix)]

    async def put(self, key: str, value: bytes) -> int:
        fails = self.fails if key.startswith("command/") else ""
        if fails != "before":
            self.entries[key] = value
        await asyncio.sleep(self.disk_s)
        if fails:
            raise Unavailable("the disk is full")
        return 1

    create = put

    async def delete(self, key: str, revision: int | None = None) -> bool:
        return self.entries.pop(key, None) is not None

    async def watch(self, prefix: str) -> AsyncIterator[Entry | str]:
        await asyncio.Event().wait()
        yield ""

    async def send(self, device: str, command: Command) -> None:
        if self.handler is None:
            raise NoHolder("away")
        self.handler(command)


class Board:
    """What survives a power cut, and what does not."""

    def __init__(self) -> None:
        self.flash: dict[str, bool] = {}
        """Ids begun, and whether they ended."""
        self.results: dict[str, Result] = {}
        """Not acknowledged yet."""
        self.answered: dict[str, Result] = {}
        self.acts: dict[str, int] = {}

    def power_cut(self) -> None:
        self.results.clear()
        self.answered.clear()

    def execute(self, command: Command, cut: str) -> bool:
        """False: power was cut at that place."""
        id = command.id
        if id not in self.answered:
            if id in self.flash:
                status = Status.DONE if self.flash[id] else Status.UNKNOWN
            else:
                self.flash[id] = False
                if cut == "begun":
                    return False
                self.acts[id] = self.acts.get(id, 0) + 1
                if cut == "acted":
                    return False
                self.flash[id] = True
                status = Status.DONE
            if cut == "ended":
                return False
            self.answered[id] = Result(id, status)
        self.results[id] = self.answered[id]
        return True


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = QuickLoop()
        self.clock = LoopClock(self.loop)
        self.store = Memory()
        self.board = Board()
        self.epoch = 0
        self.down: list[Command] = []
        """On their way to the board."""
        self.told: dict[str, Result] = {}
        """What who asked heard, by id."""
        self.asking: set[asyncio.Task[None]] = set()
        self.asked = self.restarts = 0
        self.sent: set[str] = set()
        self.double_fault: set[str] = set()
        """Told while the disk failed: if the gateway is killed before it can write, the ledger may say otherwise."""
        self.do(Devices(self.store, lambda: 5).add(DEVICE, PROFILE))
        self.begin()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it, and whatever follows from it within a tenth of a second."""

        async def and_settle() -> Any:
            result = await work
            await asyncio.sleep(0.1)
            return result

        return self.loop.run_until_complete(and_settle())

    def begin(self) -> None:
        self.dispatcher = Dispatcher(self.store, self.clock)  # type: ignore[arg-type]  # the half that it uses
        self.do(self.dispatcher.start())

    async def ask_and_hear(self, timeout_s: float) -> None:
        result = await self.dispatcher.send(DEVICE, "water", {}, timeout_s)
        assert result.id not in self.told, "told twice"
        self.told[result.id] = result
        if self.store.fails:
            self.double_fault.add(result.id)

    @precondition(lambda self: len(self.asking) < 3)
    @rule(timeout_s=st.sampled_from([1.0, 10.0, 60.0]))
    def ask(self, timeout_s: float) -> None:
        async def begin() -> None:
            task = asyncio.create_task(self.ask_and_hear(timeout_s))
            self.asking.add(task)
            task.add_done_callback(self.asking.discard)

        self.asked += 1
        self.do(begin())

    @precondition(lambda self: self.store.handler is None)
    @rule()
    def connect(self) -> None:
        self.epoch += 1
        self.down.clear()
        epoch = self.epoch

        def deliver(command: Command) -> None:
            if epoch != self.epoch:
                raise NoHolder("gone")
            ended = self.told.get(command.id)
            assert ended is None or command.id in self.double_fault, f"sent after {ended}"
            assert 0 < command.deadline_ms <= 60_000
            self.sent.add(command.id)
            self.down.append(command)

        async def come() -> None:
            self.store.handler = deliver
            self.dispatcher.connected(DEVICE, epoch)
            self.send_results(lost=0, acks_lost=0)

        self.do(come())

    @precondition(lambda self: self.store.handler is not None)
    @rule()
    def disconnect(self) -> None:
        self.store.handler = None
        self.dispatcher.disconnected(DEVICE, self.epoch)
        self.epoch += 1
        self.down.clear()

    @precondition(lambda self: self.down)
    @rule(cut=st.sampled_from(["", "", "", "begun", "acted", "ended"]), twice=st.booleans())
    def receive(self, cut: str, twice: bool) -> None:
        """The board gets the next command, perhaps twice, and perhaps the power goes."""
        command = self.down.pop(0)
        if twice:
            self.down.insert(0, command)
        if not self.board.execute(command, cut):
            self.power_cut()

    def power_cut(self) -> None:
        self.board.power_cut()
        self.disconnect()

    @precondition(lambda self: self.board.results)
    @rule()
    def power_cut_before_the_answer(self) -> None:
        self.power_cut()

    @precondition(lambda self: self.down)
    @rule()
    def receive_all_and_answer(self) -> None:
        while self.down:
            self.board.execute(self.down.pop(0), "")
        self.answer(lost=0, acks_lost=0)

    @precondition(lambda self: self.board.results and self.store.handler)
    @rule(lost=st.integers(0, 2), acks_lost=st.integers(0, 2))
    def answer(self, lost: int, acks_lost: int) -> None:
        async def send() -> None:
            self.send_results(lost, acks_lost)

        self.do(send())

    def send_results(self, lost: int, acks_lost: int) -> None:
        """All that are not acknowledged, but the last `lost`; of the acks the first `acks_lost` do not arrive."""
        results = list(self.board.results.values())
        for number, result in enumerate(results[: len(results) - lost]):

            def acknowledge(id: str = result.id, arrives: bool = number >= acks_lost) -> None:
                if arrives:
                    self.board.results.pop(id, None)

            self.dispatcher.answered(DEVICE, result, acknowledge)

    @precondition(lambda self: self.asking or self.board.results)
    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @precondition(lambda self: self.asking)
    @rule(hours=st.integers(-100, 100))
    def set_the_date(self, hours: int) -> None:
        self.clock.ahead_ms += hours * 3_600_000

    @precondition(lambda self: self.asking)
    @rule(disk_s=st.sampled_from([0.0, 0.0, 0.3, 5.0]), fails=st.sampled_from(["", "", "", "before", "after"]))
    def disk(self, disk_s: float, fails: str) -> None:
        self.store.disk_s, self.store.fails = disk_s, fails

    @precondition(lambda self: self.asked >= 2 * self.restarts + 2)  # seldom: it ends all who ask
    @rule(away_s=st.sampled_from([0.0, 5.0, 100.0]), clean=st.booleans())
    def restart_the_gateway(self, away_s: float, clean: bool) -> None:
        async def end() -> None:
            if clean:
                await self.dispatcher.stop()
                await asyncio.sleep(0)
            mine = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not mine]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.restarts += 1
        self.store.handler = None
        self.epoch += 1
        self.down.clear()
        self.loop.run_until_complete(end())
        self.do(asyncio.sleep(away_s))
        self.begin()

    @invariant()
    def nothing_is_done_twice(self) -> None:
        assert all(count == 1 for count in self.board.acts.values())

    @invariant()
    def what_was_told_is_true(self) -> None:
        for id, result in self.told.items():
            acted = id in self.board.acts
            if result.status is Status.DONE:
                assert acted
            elif result.status is not Status.UNKNOWN and id not in self.double_fault:
                assert not acted, result

    @precondition(lambda self: self.asked)
    @invariant()
    def no_more_is_kept_than_allowed(self) -> None:
        assert len([key for key in self.store.entries if key.startswith("command/")]) <= 82

    def teardown(self) -> None:
        """The disk mends, time passes: everything has ended, once, and as it was told."""
        self.store.disk_s, self.store.fails = 0.0, ""
        self.do(asyncio.sleep(200))
        on_disk = {}
        for key, value in self.store.entries.items():
            if key.startswith("command/"):
                record = msgspec.json.decode(value)["record"]
                on_disk[record["id"]] = record["state"]
        assert set(on_disk.values()) <= {"done", "failed", "expired", "unknown"}, on_disk
        for id, result in self.told.items():
            if id in on_disk and id not in self.double_fault:
                assert on_disk[id] == result.status.value
        assert not self.asking
        self.loop.run_until_complete(self._finish())
        self.loop.close()

    async def _finish(self) -> None:
        await self.dispatcher.stop()
        with contextlib.suppress(asyncio.CancelledError):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True)
