"""Asks a broker whether it still answers: one CONNECT of MQTT 3.1.1, its CONNACK, and goodbye.

A process that is stopped or hangs keeps its ports, and who connects waits in the queue: only an answer tells.
"""

from __future__ import annotations

import asyncio

from gateway.mqtt.gate import Login

_CLIENT_ID = "mpy-gateway-probe"
_DISCONNECT = b"\xe0\0"


async def answers(host: str, port: int, login: Login, within_s: float) -> bool:
    """Whether anything is answered within the time: also a broker that is full and closes at once is alive."""
    connect = _connect(login)
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(connect)
                await reader.read(4)
                writer.write(_DISCONNECT)
                await writer.drain()
            finally:
                writer.close()
    except ConnectionError:
        return True
    except (OSError, TimeoutError):
        return False
    return True


def _connect(login: Login) -> bytes:
    texts = (text.encode() for text in (_CLIENT_ID, login.username, login.password))
    body = b"\0\4MQTT\4\xc2\0\x3c" + b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    return bytes((0x10, len(body))) + body
