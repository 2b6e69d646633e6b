"""Small helpers for asynchronous tests: a runner with a deadline, and waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float = 30) -> T:
    """Run `coroutine` on a fresh loop; a test that hangs fails instead of waiting for ever."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())


async def until(
    condition: Callable[[], T] | Callable[[], Awaitable[T]],
    *,
    timeout_s: float = 10,
    what: str = "the condition",
    every_s: float = 0.01,
) -> T:
    """Wait until `condition()`, asked every `every_s`, is true and return what it gave. Fails with `what` after
    `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s")
        await asyncio.sleep(every_s)
