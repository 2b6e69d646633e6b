from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import HandClock
from gateway.command.dispatch import Dispatcher
from gateway.command.ledger import MOST_OPEN, PLACES
from gateway.errors import NoHolder, Unavailable
from gateway.model import Command, CommandState, Result, Status
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until

DEVICE = "greenhouse"


class World:
    """A dispatcher on a real store, one registered device, and a clock that is turned by hand."""

    def __init__(self, store: SqliteStore, dispatcher: Dispatcher, clock: HandClock) -> None:
        self.store, self.dispatcher, self.clock = store, dispatcher, clock
        self.devices = Devices(store)
        self.received: list[Command] = []
        self.acknowledged: list[str] = []
        self._epoch = 0

    async def connect(self, receive: Callable[[Command], None] | None = None) -> None:
        """The device comes; `receive` gets its commands."""
        self._epoch = await self.store.claim(DEVICE, "here")
        self.store.serve(DEVICE, self._epoch, receive or self.received.append)
        self.dispatcher.connected(DEVICE, self._epoch)

    def disconnect(self) -> None:
        self.store.unserve(DEVICE, self._epoch)
        self.dispatcher.disconnected(DEVICE, self._epoch)

    def answer(self, command: Command, status: Status = Status.DONE, **result: Any) -> None:
        self.dispatcher.answered(
            DEVICE, Result(command.id, status, **result), lambda: self.acknowledged.append(command.id)
        )

    def ask(self, name: str = "ping", timeout_s: float = 10, **args: Any) -> asyncio.Task[Result]:
        return asyncio.create_task(self.dispatcher.send(DEVICE, name, args, timeout_s, asked_by="cli"))

    async def pass_time(self, ms: int) -> None:
        self.clock.advance(ms)
        self.dispatcher._time.set()
        await asyncio.sleep(0)

    def states(self) -> list[str]:
        return [record.state.value for record in self.dispatcher.recent(DEVICE)]

    async def on_disk(self) -> list[str]:
        return [entry.value.decode() for entry in await self.store.list(f"command/{DEVICE}/")]


@contextlib.asynccontextmanager
async def world(
    tmp_path: Path, clock: HandClock | None = None, store_class: type[SqliteStore] = SqliteStore
) -> AsyncIterator[World]:
    store, clock = store_class(tmp_path, commit_ms=1), clock or HandClock()
    await store.open()
    dispatcher = Dispatcher(store, clock)
    try:
        one = World(store, dispatcher, clock)
        if await one.devices.get(DEVICE) is None:
            await one.devices.add(DEVICE, load_profile(find_node("climate-node")))
        await dispatcher.start()
        yield one
    finally:
        await dispatcher.stop()
        await store.close()


def in_world(tmp_path: Path, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with world(tmp_path, **options) as one:
            await scenario(one)

    run(main())


def test_a_command_reaches_the_holder_and_its_result_comes_back(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        await one.connect()
        asked = one.ask("identify", timeout_s=2, seconds=3)
        await until(lambda: one.received)
        (command,) = one.received
        assert (command.name, command.args, command.deadline_ms) == ("identify", {"seconds": 3}, 2_000)
        assert '"state":"sent"' in (await one.on_disk())[0]  # before it went out
        one.answer(command, data={"uptime_ms": 5})
        result = await asked
        assert (result.id, result.status, result.data) == (command.id, Status.DONE, {"uptime_ms": 5})
        assert one.acknowledged == [command.id]
        assert '"state":"done"' in (await one.on_disk())[0]

    in_world(tmp_path, scenario)


def test_the_result_is_acknowledged_after_it_is_on_disk(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        await one.connect()
        one.ask()
        await until(lambda: one.received)
        states: list[bytes] = []
        put = one.store.put

        async def slow_put(key: str, value: bytes) -> int:
            assert one.acknowledged == []
            revision = await put(key, value)
            assert one.acknowledged == []
            states.append(value)
            return revision

        one.store.put = slow_put  # type: ignore[method-assign]
        one.answer(one.received[0])
        assert one.acknowledged == []
        await until(lambda: one.acknowledged)
        assert len(states) == 1

    in_world(tmp_path, scenario)


def test_for_a_device_that_is_away_it_is_queued_until_the_device_comes(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        asked = one.ask()
        await until(lambda: one.states() == ["queued"])
        await one.pass_time(4_000)
        await one.connect()
        await until(lambda: one.received)
        assert one.received[0].deadline_ms == 6_000
        one.answer(one.received[0])
        assert (await asked).status is Status.DONE

    in_world(tmp_path, scenario)


def test_a_device_that_stays_away_lets_it_expire(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        asked = one.ask()
        await until(lambda: one.states() == ["queued"])
        await one.pass_time(9_999)
        assert one.states() == ["queued"]
        await one.pass_time(1)
        result = await asked
        assert (result.status, result.error_code) == (Status.EXPIRED, "command.expired")
        await one.connect()
        await asyncio.sleep(0.05)
        assert one.received == []

    in_world(tmp_path, scenario)


def test_a_connection_that_dies_after_sending_has_it_sent_again_with_the_same_id(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        await one.connect()
        asked = one.ask()
        await until(lambda: one.received)
        one.disconnect()
        await one.pass_time(3_000)
        await one.connect()
        await until(lambda: len(one.received) == 2)
        first, second = one.received
        assert (first.id, second.deadline_ms) == (second.id, 7_000)
        one.answer(second)
        assert (await asked).status is Status.DONE

    in_world(tmp_path, scenario)


def test_after_the_deadline_nothing_is_sent_again_and_silence_is_unknown(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        await one.connect()
        asked = one.ask()
        await until(lambda: one.received)
        one.disconnect()
        await one.pass_time(10_000)
        await one.connect()
        await asyncio.sleep(0.05)
        assert len(one.received) == 1
        assert one.states() == ["sent"]  # its result is waited for a little longer
        await one.pass_time(2_000)
        result = await asked
        assert (result.status, result.error_code) == (Status.UNKNOWN, "command.unanswered")
        one.answer(one.received[0])
        assert one.states() == ["unknown"]  # too late to change anything, but acknowledged
        await until(lambda: one.acknowledged)

    in_world(tmp_path, scenario)


def test_a_connection_that_is_closing_has_not_got_it(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        def closing(command: Command) -> None:
            raise NoHolder("closing")

        await one.connect(closing)
        asked = one.ask()
        await until(lambda: one.states() == ["queued"])
        await one.connect()
        await until(lambda: one.received)
        one.answer(one.received[0])
        assert (await asked).status is Status.DONE

    in_world(tmp_path, scenario)


def test_commands_go_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        for name in "abc":
            one.ask(name)
        await until(lambda: one.states() == ["queued"] * 3)

        async def written() -> bool:
            return len(await one.on_disk()) == 3

        await until(written)
        for name in "def":
            one.ask(name)
        await until(lambda: len(one.states()) == 6)
        await one.connect()  # three on disk, and three that are being written
        await until(lambda: len(one.received) == 6)
        assert [command.name for command in one.received] == list("abcdef")

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("", {}),
        ("Ping", {}),
        ("a/b", {}),
        ("a" * 33, {}),
        ("ping", {"nested": {"a": 1}}),
        ("ping", {"list": [1]}),
        ("ping", {"long": "x" * 201}),
        ("ping", {str(number): number for number in range(17)}),
    ],
)
def test_what_is_no_command_is_sent_to_nobody(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        result = await one.dispatcher.send(DEVICE, name, args)
        assert (result.status, result.error_code) == (Status.FAILED, "command.invalid")
        assert one.states() == []

    in_world(tmp_path, scenario)


def test_a_device_nobody_knows_is_refused_at_once(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        result = await one.dispatcher.send("attic", "ping")
        assert (result.status, result.error_code) == (Status.FAILED, "device.unknown")

    in_world(tmp_path, scenario)


def test_a_device_that_is_removed_ends_its_commands_and_takes_its_ledger_along(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        await one.connect()
        sent = one.ask()
        await until(lambda: one.received)
        one.disconnect()
        queued = one.ask("identify")
        await until(lambda: one.states() == ["queued", "sent"])
        await one.devices.remove(DEVICE)
        ends = [((result := await asked).status, result.error_code) for asked in (queued, sent)]
        assert ends == [(Status.FAILED, "device.removed"), (Status.UNKNOWN, "device.removed")]
        assert one.states() == []

        async def clean() -> bool:
            return await one.on_disk() == []

        await until(clean)
        one.answer(one.received[0])  # too late
        assert one.acknowledged == [one.received[0].id]

    in_world(tmp_path, scenario)


def test_no_more_than_so_many_are_open_and_disk_places_are_used_again(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        for number in range(MOST_OPEN):
            one.ask(f"c{number}")
        await until(lambda: len(one.states()) == MOST_OPEN)
        busy = await one.dispatcher.send(DEVICE, "ping")
        assert (busy.status, busy.error_code) == (Status.FAILED, "command.busy")
        await one.connect(one.answer)
        await until(lambda: set(one.states()) == {"done"})
        one.received.clear()
        for _ in range(PLACES):
            await one.dispatcher.send(DEVICE, "ping")
        assert one.states() == ["done"] * 50
        assert len(await one.on_disk()) == PLACES

    in_world(tmp_path, scenario)


def test_a_clean_stop_tells_those_who_wait_and_a_kill_leaves_the_rest_to_the_next_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with world(tmp_path, clock) as one:
            await one.connect()
            sent, gone = one.ask(), one.ask("identify")
            await until(lambda: len(one.received) == 2)
            one.disconnect()
            queued = one.ask("restart")
            await until(lambda: one.states()[0] == "queued")
            gone.cancel()
            await asyncio.wait((gone,))
            await one.dispatcher.stop()
            assert [(await asked).status for asked in (sent, queued)] == [Status.UNKNOWN, Status.FAILED]
            assert (await queued).error_code == "gateway.stopped"
            assert (await one.dispatcher.send(DEVICE, "ping")).error_code == "gateway.stopped"
        async with world(tmp_path, clock) as one:
            assert one.states() == ["failed", "sent", "unknown"]

    run(scenario())


def killed(tmp_path: Path, clock: HandClock) -> tuple[Command, list[str]]:
    """A gateway that is killed with one command sent and one queued: nothing is stopped, the files stay as they are."""

    async def scenario() -> tuple[Command, list[str]]:
        store = SqliteStore(tmp_path, commit_ms=1)
        await store.open()
        one = World(store, Dispatcher(store, clock), clock)
        await one.devices.add(DEVICE, load_profile(find_node("climate-node")))
        await one.connect()
        tasks = [one.ask("identify")]
        await until(lambda: one.received)
        one.disconnect()
        tasks.append(one.ask("restart"))

        async def both() -> bool:
            return len(await one.on_disk()) == 2

        await until(both)
        for task in [*tasks, *one.dispatcher._tasks]:
            task.cancel()
        await asyncio.gather(*tasks, *one.dispatcher._tasks, return_exceptions=True)
        await store.close()
        return one.received[0], [record.id for record in one.dispatcher.recent(DEVICE)]

    return run(scenario())


def test_after_a_kill_queued_commands_go_on_and_sent_ones_wait_for_their_result(tmp_path: Path) -> None:
    clock = HandClock()
    sent, ids = killed(tmp_path, clock)
    clock.advance(4_000)

    async def scenario(one: World) -> None:
        assert one.states() == ["queued", "sent"]
        await one.connect()
        await until(lambda: len(one.received) == 2)
        assert [command.id for command in one.received] == list(reversed(ids))
        assert {command.deadline_ms for command in one.received} == {6_000}
        one.answer(sent)
        one.answer(one.received[1], Status.FAILED, error_code="command.unknown")
        await until(lambda: one.states() == ["failed", "done"])

    in_world(tmp_path, scenario, clock=clock)


def test_after_a_long_kill_the_queued_expire_and_a_sent_one_may_still_be_answered(tmp_path: Path) -> None:
    clock = HandClock()
    sent, _ = killed(tmp_path, clock)
    clock.advance(3_600_000)

    async def scenario(one: World) -> None:
        await until(lambda: one.states() == ["expired", "sent"])
        await one.connect()
        await asyncio.sleep(0.05)
        assert one.received == []
        one.answer(sent)
        await until(lambda: one.states() == ["expired", "done"])

    in_world(tmp_path, scenario, clock=clock)


def test_after_a_kill_and_no_answer_a_sent_one_ends_as_unknown(tmp_path: Path) -> None:
    clock = HandClock()
    killed(tmp_path, clock)
    clock.advance(3_600_000)

    async def scenario(one: World) -> None:
        await until(lambda: one.states() == ["expired", "sent"])
        await one.pass_time(60_000)
        await until(lambda: one.states() == ["expired", "unknown"])

    in_world(tmp_path, scenario, clock=clock)


def test_changes_are_told_as_they_happen_and_coalesced(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        changes = one.dispatcher.changes()
        lazy = one.dispatcher.changes()
        asked = one.ask()
        seen = [(await anext(changes)).state]
        await one.connect()
        seen.append((await anext(changes)).state)
        one.answer(one.received[0])
        seen.append((await anext(changes)).state)
        await asked
        assert seen == [CommandState.QUEUED, CommandState.SENT, CommandState.DONE]
        assert (await anext(lazy)).state is CommandState.DONE

    in_world(tmp_path, scenario)


class FullDisk(SqliteStore):
    full = False

    async def put(self, key: str, value: bytes) -> int:
        if self.full and key.startswith("command/"):
            raise Unavailable("the disk is full")
        return await super().put(key, value)


def test_on_a_full_disk_nothing_is_sent_and_who_asks_hears_it(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        assert isinstance(one.store, FullDisk)
        await one.connect()
        one.store.full = True
        result = await one.dispatcher.send(DEVICE, "ping")
        assert (result.status, result.error_code) == (Status.FAILED, "store.unavailable")
        assert one.received == []
        one.store.full = False

        async def written() -> bool:
            return any('"state":"failed"' in text for text in await one.on_disk())

        await until(written)

    in_world(tmp_path, scenario, store_class=FullDisk)


def test_a_disk_that_fills_before_the_result_delays_the_ack_and_not_the_asker(tmp_path: Path) -> None:
    async def scenario(one: World) -> None:
        assert isinstance(one.store, FullDisk)
        await one.connect()
        asked = one.ask()
        await until(lambda: one.received)
        one.store.full = True
        one.answer(one.received[0])
        assert (await asked).status is Status.DONE
        assert one.acknowledged == []
        one.store.full = False
        await until(lambda: one.acknowledged)
        assert '"state":"done"' in (await one.on_disk())[0]

    in_world(tmp_path, scenario, store_class=FullDisk)
