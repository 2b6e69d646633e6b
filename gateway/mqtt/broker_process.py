"""The embedded broker's own process: rumqttd for MQTT 5, and before it doors for MQTT 3.1.1 and 5.

    python -m gateway.mqtt.broker_process '{"config": "...", "upstream": [...], "doors": [5, 6], "max_bytes": 1114112}'

`config` is rumqttd's, `upstream` the address it listens on, `doors` descriptors of listening sockets. Prints `ready`
once both serve. Lives as long as its standard input is open: rumqttd knows no other way of being stopped, and whoever
started us may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from iotcore.iotcore import IotCoreBroker

from gateway.mqtt import v311

CHUNK_BYTES = 65_536
CONNECT_WITHIN_S = 10
READY_WITHIN_S = 10
MAX_CLIENTS = 1_000

Translate = Callable[[int, bytes], bytes]


class Door:
    """Takes clients of both versions. 3.1.1 is translated on the way, MQTT 5 only looked at (v311.py)."""

    def __init__(self, upstream: tuple[str, int], max_bytes: int) -> None:
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first byte to its last."""
        self._clients += 1
        try:
            if self._clients <= MAX_CLIENTS:
                await self._serve(reader, writer)
        except (v311.Malformed, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client's doing, or it is gone: MQTT 3.1.1 has nothing to say but closing (4.8)
        finally:
            self._clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter = v311.Splitter(self._max_bytes)
        async with asyncio.timeout(CONNECT_WITHIN_S):
            packets = await self._first_packets(reader, splitter)
        (first, body), *others = packets
        level = v311.protocol_level(first, body)
        if level not in (4, 5):
            writer.write(v311.refused_connack(1))
            return await writer.drain()
        there, back = (v311.upgraded, v311.downgraded) if level == 4 else (v311.passed, None)
        broker_reader, broker_writer = await asyncio.open_connection(*self._upstream)
        try:
            broker_writer.write(v311.connect(first, body) + b"".join(there(*packet) for packet in others))
            await _both(
                _translate(reader, splitter, there, broker_writer),
                _translate(broker_reader, v311.Splitter(2 * self._max_bytes), back, writer)
                if back
                else _copy(broker_reader, writer),
            )
        finally:
            broker_writer.close()

    async def _first_packets(self, reader: asyncio.StreamReader, splitter: v311.Splitter) -> list[tuple[int, bytes]]:
        """The first packet, which must be a CONNECT, and what has come behind it."""
        while data := await reader.read(CHUNK_BYTES):
            packets = list(splitter.packets(data))
            first = packets[0][0] if packets else splitter.rest()[0]
            if first >> 4 != v311.CONNECT:
                break
            if packets:
                return packets
        raise v311.Malformed("something other than MQTT")


async def _both(*directions: Coroutine[Any, Any, None]) -> None:
    """Run both directions until one of them ends."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _translate(
    reader: asyncio.StreamReader, splitter: v311.Splitter, translate: Translate, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(b"".join(translate(*packet) for packet in splitter.packets(data)))
        await writer.drain()


def _run_rumqttd(config: str) -> None:
    try:
        IotCoreBroker(config_path=config).run_forever()
    except BaseException as error:  # a panic of rumqttd is a BaseException, and without it we are nothing
        print(f"rumqttd: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # blocks until the parent closes its end, or is gone
    os._exit(0)


async def _until_listening(address: tuple[str, int]) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(*address)
                writer.close()
                return
            await asyncio.sleep(0.01)


async def run(config: str, upstream: tuple[str, int], doors: list[int], max_bytes: int) -> None:
    """Serve until the process is ended."""
    threading.Thread(target=_run_rumqttd, args=(config,), daemon=True).start()
    await _until_listening(upstream)
    door = Door(upstream, max_bytes)
    for descriptor in doors:
        await asyncio.start_server(door.serve, sock=socket.socket(fileno=descriptor), limit=CHUNK_BYTES)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    options = json.loads(sys.argv[1])
    # Ctrl-C reaches every process of a terminal, systemd's SIGTERM every one of a service, and the gateway still has to
    # say goodbye here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.disable()  # rumqttd logs a line per packet, and takes Python's lock for each
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(run(options["config"], tuple(options["upstream"]), options["doors"], options["max_bytes"]))


if __name__ == "__main__":
    main()
