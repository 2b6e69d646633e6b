from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.errors import Unavailable
from gateway.model import Command, Result, Status
from gateway.store.sqlite import SqliteStore
from tests.aio import run


def dispatched(tmp_path: Path, handler: Any, name: str = "ping", args: Any = None, timeout_s: float = 5) -> Result:
    """The result of one command to a device that handles it so; None: no device is there."""

    async def scenario() -> Result:
        store = SqliteStore(tmp_path)
        await store.open()
        try:
            if handler is not None:
                store.serve("greenhouse", await store.claim("greenhouse", "here"), handler)
            return await Dispatcher(store, Clock()).send("greenhouse", name, args, timeout_s)
        finally:
            await store.close()

    return run(scenario())


def test_a_command_reaches_the_holder_and_its_result_comes_back(tmp_path: Path) -> None:
    seen: list[Command] = []

    async def answer(command: Command) -> Result:
        seen.append(command)
        return Result(id=command.id, status=Status.DONE, data={"uptime_ms": 5})

    result = dispatched(tmp_path, answer, "identify", {"seconds": 3}, timeout_s=2)
    assert (result.status, result.data) == (Status.DONE, {"uptime_ms": 5})
    assert (seen[0].name, seen[0].args, seen[0].deadline_ms) == ("identify", {"seconds": 3}, 2_000)
    assert result.id == seen[0].id


def test_without_a_device_it_fails_at_once(tmp_path: Path) -> None:
    result = dispatched(tmp_path, None)
    assert (result.status, result.error_code) == (Status.FAILED, "device.offline")
    assert result.error_text == "greenhouse is not connected"


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
    async def never(command: Command) -> Result:
        raise AssertionError(command)

    result = dispatched(tmp_path, never, name, args)
    assert (result.status, result.error_code) == (Status.FAILED, "command.invalid")


def test_a_device_that_does_not_answer_leaves_it_unknown(tmp_path: Path) -> None:
    async def silence(command: Command) -> Result:
        await asyncio.sleep(60)
        raise AssertionError(command)

    assert dispatched(tmp_path, silence, timeout_s=0.05).status is Status.UNKNOWN


def test_what_was_begun_at_the_last_moment_may_still_be_answered(tmp_path: Path) -> None:
    async def late(command: Command) -> Result:
        assert command.deadline_ms == 50
        await asyncio.sleep(0.3)
        return Result(id=command.id, status=Status.DONE)

    assert dispatched(tmp_path, late, timeout_s=0.05).status is Status.DONE


def test_a_store_that_cannot_ends_it_as_failed(tmp_path: Path) -> None:
    class Away:
        async def send(self, *_: Any) -> Result:
            raise Unavailable("the disk is full")

    result = run(Dispatcher(Away(), Clock()).send("greenhouse", "ping"))  # type: ignore[arg-type]  # only `send` is used
    assert (result.status, result.error_code) == (Status.FAILED, "store.unavailable")
