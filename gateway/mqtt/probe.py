"""Asks a broker whether it still answers: one CONNECT of MQTT 3.1.1, its CONNACK, and goodbye.

A process that is stopped or hangs keeps its ports, and who connects waits in the queue: only an answer tells.
"""

from __future__ import annotations

import asyncio

_CLIENT_ID = b"mpy-gateway-probe"
_BODY = b"\0\4MQTT\4\2\0\x3c" + len(_CLIENT_ID).to_bytes(2, "big") + _CLIENT_ID
_CONNECT = bytes((0x10, len(_BODY))) + _BODY
_DISCONNECT = b"\xe0\0"


async def answers(host: str, port: int, within_s: float) -> bool:
    """Whether anything is answered within the time: also a broker that is full and closes at once is alive."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_CONNECT)
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
