"""A device that answers commands, without a device server, for tests of whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.command.dispatch import Dispatcher
from gateway.model import Command, Result
from gateway.store.port import Store


def answering(
    dispatcher: Dispatcher, store: Store, device: str, epoch: int, handle: Callable[[Command], Awaitable[Result]]
) -> list[asyncio.Task[None]]:
    """`device` is connected from now on, and answers with what `handle` returns. The tasks that do it."""
    tasks: list[asyncio.Task[None]] = []

    async def answer(command: Command) -> None:
        dispatcher.answered(device, await handle(command), lambda: None)

    store.serve(device, epoch, lambda command: tasks.append(asyncio.create_task(answer(command))))
    dispatcher.connected(device, epoch)
    return tasks
