"""An event loop in a thread, for whoever knows no asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines of the caller's one after the other, and whatever tasks these start meanwhile."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        """Wait for it, and return or raise what it does. Raises TimeoutError."""

        async def bounded() -> T:
            async with asyncio.timeout(timeout_s):
                return await coroutine

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """A plain function of something that belongs to the loop."""

        async def calling() -> T:
            return function(*arguments)

        return self.run(calling())

    def until(self, condition: Callable[[], T | Awaitable[T]], timeout_s: float, what: str) -> T:
        """Wait until `condition()`, asked in the loop, is true, and return what it gave. Raises TimeoutError, which
        says `what` was waited for."""

        async def waiting() -> T:
            while True:
                value = condition()
                found: T = await value if isinstance(value, Awaitable) else value
                if found:
                    return found
                await asyncio.sleep(0.02)

        try:
            return self.run(waiting(), timeout_s)
        except TimeoutError:
            raise TimeoutError(f"no {what} within {timeout_s:g} s") from None

    def close(self) -> None:
        async def rest() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_default_executor()

        self.run(rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
