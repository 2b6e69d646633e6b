"""A gateway of the least kind, in the hands of a test: accepts, keeps what comes, acknowledges when told to."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


class Gateway:
    def __init__(self) -> None:
        self.port = 0
        self.acks = True
        self.window = 256
        self.time_ms: int | None = None
        """What `welcome` says it is."""
        self.knows: set[str] | None = None
        """The tokens it takes; others get HTTP 401. None: any."""
        self.shown: list[str] = []
        """The tokens it was shown, refused ones too."""
        self.hellos: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        """Everything but hello, in order."""
        self.records: dict[str, dict[int, Any]] = {}
        """By boot_id and seq: (t, {quantity: value}) of a sample, the frame of an event or gap."""
        self.echoes: list[bytes] = []
        self.sizes: list[int] = []
        """Of the text frames that came."""
        self.closed: list[tuple[int | None, str]] = []
        self.socket: ServerConnection | None = None

    @property
    def events(self) -> list[str]:
        return [frame["code"] for frame in self.frames if frame["type"] == "event"]

    @property
    def samples(self) -> list[tuple[int, dict[str, Any]]]:
        """(t, values) of every sample, once, of all boots."""
        return [record for boot in self.records.values() for record in boot.values() if isinstance(record, tuple)]

    def clocks(self) -> dict[int, int]:
        """Answers to clock questions: id and t."""
        return {frame["id"]: frame["t"] for frame in self.frames if frame["type"] == "clock"}

    def results(self) -> dict[str, dict[str, Any]]:
        return {frame["id"]: frame for frame in self.frames if frame["type"] == "result"}

    def boot(self) -> dict[int, Any]:
        """Records of the newest boot."""
        return self.records[self.hellos[-1]["boots"][-1]["id"]]

    def committed(self, boot_id: str) -> int:
        """The highest seq up to which nothing is missing."""
        seq = -1
        records = self.records.get(boot_id, {})
        while seq + 1 in records:
            record = records[seq + 1]
            covers = isinstance(record, dict) and record["type"] == "gap" and record["to"] is not None
            seq = record["to"] if covers else seq + 1
        return seq

    async def say(self, message: dict[str, Any] | str | bytes) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def command(self, id: str, name: str, **args: Any) -> None:
        await self.say({"type": "command", "id": id, "name": name, "args": args, "deadline_ms": 10_000})

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.shown.append(token)
        if self.knows is None or token in self.knows:
            return None
        return socket.respond(http.HTTPStatus.UNAUTHORIZED, "unknown token")

    async def _serve(self, socket: ServerConnection) -> None:
        self.socket = socket
        boots: dict[int, str] = {}
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                if isinstance(text, bytes):
                    self.echoes.append(text)
                    continue
                self.sizes.append(len(text))
                frame = json.loads(text)
                if frame["type"] == "hello":
                    self.hellos.append(frame)
                    boots = {boot["boot"]: boot["id"] for boot in frame["boots"]}
                    await self._welcome(boots)
                    continue
                self.frames.append(frame)
                if "seq" in frame or frame["type"] == "gap":
                    self._keep(self.records.setdefault(boots[frame["boot"]], {}), frame)
                    if self.acks:
                        seq = self.committed(boots[frame["boot"]])
                        await self.say({"type": "ack", "boot": frame["boot"], "seq": seq})
                elif frame["type"] == "result":
                    await self.say({"type": "ack", "result": frame["id"]})
        self.closed.append((socket.close_code, socket.close_reason or ""))

    async def _welcome(self, boots: dict[int, str]) -> None:
        await self.say({"type": "clock", "id": 1})
        listed = [{"boot": number, "committed": self.committed(id)} for number, id in boots.items()]
        limits = {"frame_bytes": 65536, "samples": 1000}
        welcome = {"type": "welcome", "gateway": "g", "time": self.time_ms, "window": self.window}
        await self.say({**welcome, "boots": listed, "limits": limits})

    @staticmethod
    def _keep(records: dict[int, Any], frame: dict[str, Any]) -> None:
        if frame["type"] != "samples":
            records[frame.get("seq", frame.get("from"))] = frame
            return
        for i, t in enumerate(frame["t"]):
            values = {name: column[i] for name, column in frame["values"].items() if column[i] is not None}
            records[frame["seq"] + i] = (t, values)


@contextlib.asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[Gateway]:
    gateway = Gateway()
    server = await serve(
        gateway._serve, "127.0.0.1", 0, ssl=tls, process_request=gateway._admit,
        subprotocols=["mpy-gateway.v1"], compression=None, close_timeout=1,
    )  # fmt: skip
    gateway.port = next(iter(server.sockets)).getsockname()[1]
    try:
        yield gateway
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), 5)
