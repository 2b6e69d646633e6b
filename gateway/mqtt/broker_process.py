"""The embedded broker's own process: rumqttd for MQTT 5, and before it doors for MQTT 3.1.1 and 5.

    python -m gateway.mqtt.broker_process

What it is to do (`Options`) is the first line of its standard input, as JSON: passwords are in there, and everybody on
this machine can read the arguments and, as the same user, the environment of a process. Prints `ready` once all doors
serve, then one line for each thing that the gateway should say in its log. Lives as long as its standard input is open:
rumqttd knows no other way of being stopped, and whoever started us may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
from iotcore.iotcore import IotCoreBroker

from gateway.mqtt.doors import Door, Refusals, Tls
from gateway.mqtt.gate import Gate
from gateway.mqtt.options import Options

READY_WITHIN_S = 10
DESCRIPTORS = 4_096
"""Two for each client. Many systems allow a program 1,024 unless it asks."""
RENEWED_EVERY_S = 60


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


def _say(sentence: str) -> None:
    print(sentence, flush=True)


async def run(options: Options) -> None:
    """Serve until the process is ended."""
    threading.Thread(target=_run_rumqttd, args=(options.config,), daemon=True).start()
    await _until_listening(options.upstream)
    gate = Gate(options.own, options.login, options.base)
    refusals = Refusals(_say)
    tls = None
    if options.certificate:
        tls = Tls(Path(options.certificate), Path(options.key) if options.key else None)
    for place in options.doors:
        context = tls.context if tls and place.tls else None
        door = Door(options.upstream, options.inner, gate, refusals, options.max_bytes, context)
        await asyncio.start_server(door.serve, sock=socket.socket(fileno=place.descriptor), limit=door.CHUNK_BYTES)
    _say("ready")
    while True:
        await asyncio.sleep(RENEWED_EVERY_S)
        if tls and (trouble := tls.renew()):
            _say(trouble)


def _more_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    # Ctrl-C reaches every process of a terminal, systemd's SIGTERM every one of a service, and the gateway still has to
    # say goodbye here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.disable()  # rumqttd logs a line per packet, and takes Python's lock for each
    os.umask(0o077)
    _more_descriptors()
    line = sys.stdin.buffer.readline()
    if not line:
        return  # who started us is gone already
    options = msgspec.json.decode(line, type=Options)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
