"""Places at which a gateway kills itself: put into a process of its own from outside, so that the program knows nothing
of them. Each hooks what a step cannot do without: SQLite's statements, the WebSocket's and the broker's sockets."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

POINTS = (
    "before commit",
    "after commit, before ack",
    "after ack, before publish",
    "after publish, before PUBACK",
    "after PUBACK, before cursor",
)


def install(point: str, times: int) -> None:
    """Die when `point` is come to for the `times`-th time."""
    left = times

    def here() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(2, f"CRASH: {point}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    _INSTALL[point](here)


def _around_commit(*, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None) -> None:
    """`before` and `after` each COMMIT that has samples in it."""

    class Connection(sqlite3.Connection):
        has_samples = False

        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
            commits = sql == "COMMIT" and self.has_samples
            if commits:
                before()
            cursor = super().execute(sql, *more)
            if commits:
                self.has_samples = False
                after()
            return cursor

        def executemany(self, sql: str, *more: Any) -> sqlite3.Cursor:
            cursor = super().executemany(sql, *more)
            if sql.startswith("INSERT INTO batches") and cursor.rowcount > 0:
                self.has_samples = True
            return cursor

    real = sqlite3.connect
    sqlite3.connect = lambda *words, **options: real(*words, **options, factory=Connection)  # type: ignore[assignment]


def _before_commit(here: Callable[[], None]) -> None:
    _around_commit(before=here)


def _after_commit(here: Callable[[], None]) -> None:
    _around_commit(after=here)


def _after_ack(here: Callable[[], None]) -> None:
    """Something was acknowledged, and the next samples for the broker stay here."""
    from websockets.asyncio.server import ServerConnection

    from gateway.mqtt.connection import Connection

    acked = False
    send, publish = ServerConnection.send, Connection.publish

    async def sent(self: Any, message: Any, *more: Any, **options: Any) -> None:
        nonlocal acked
        await send(self, message, *more, **options)
        acked = acked or (b'"ack"' in message and b'"seq"' in message)

    def published(self: Any, message: Any) -> Any:
        nonlocal acked
        if acked and message.topic.endswith("/samples"):
            acked = False
            here()
        return publish(self, message)

    ServerConnection.send = sent  # type: ignore[method-assign]
    Connection.publish = published  # type: ignore[method-assign]


def _after_publish(here: Callable[[], None]) -> None:
    """The bytes have gone into the broker's socket, and no answer was read."""
    import paho.mqtt.client as paho

    real = paho.Client._sock_send

    def sent(self: Any, data: Any) -> int:
        count: int = real(self, data)
        if b"/samples" in bytes(data[:count]) and data[0] >> 4 == 3:
            here()
        return count

    paho.Client._sock_send = sent  # type: ignore[method-assign]


def _after_puback(here: Callable[[], None]) -> None:
    """The broker's answer is here, and nobody has heard of it. (The cursor is written every ten seconds.)"""
    from gateway.mqtt.connection import Connection

    real = Connection._on_publish

    def answered(self: Any, *arguments: Any) -> None:
        here()
        real(self, *arguments)

    Connection._on_publish = answered  # type: ignore[method-assign]


_INSTALL = dict(zip(POINTS, (_before_commit, _after_commit, _after_ack, _after_publish, _after_puback), strict=True))
