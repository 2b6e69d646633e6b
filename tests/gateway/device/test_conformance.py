"""RFC 6455 by the Autobahn cases (kosoku): the devices' listener as it is set up, an echo in place of our handler."""

from __future__ import annotations

import contextlib
from fnmatch import fnmatch

import pytest
from kosoku import FailureError, run_fuzzingclient
from websockets.exceptions import ConnectionClosed

from gateway.config import Limits
from gateway.device.listener import DeviceSocket, Listener
from tests.aio import run

COMPRESSION = ["12.*", "13.*"]
TOO_LARGE = [
    *(f"9.{kind}.{case}" for kind in (1, 2) for case in range(2, 7)),  # 256 KiB to 16 MiB in one frame
    *("9.3.*", "9.4.*"),  # 4 MiB in fragments
    *("9.5.*", "9.6.*"),  # 1 MiB in small writes
]
"""Cases whose message is above our 65,536 bytes. Each is seen to be closed with 1009."""


@pytest.mark.timeout(120)
def test_every_case_passes_but_those_above_our_limit_which_close_with_1009() -> None:
    async def echo(socket: DeviceSocket) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(message)

    async def scenario() -> None:
        listener = Listener(echo, Limits())
        await listener.start("127.0.0.1", 0)
        with pytest.raises(FailureError) as failure:  # the listed cases, at least
            await run_fuzzingclient(f"ws://127.0.0.1:{listener.port}", exclude_cases=COMPRESSION, concurrency=4)
        listener.close()
        await listener.wait_closed()
        results = failure.value.results
        assert len(results) > 300
        listed = {result.case_id for result in results if any(fnmatch(result.case_id, glob) for glob in TOO_LARGE)}
        assert {result.case_id for result in results if not result.passed} == listed
        assert {result.remote_close_code for result in results if result.case_id in listed} == {1009}
        print(f"kosoku: {len(results)} cases, {len(results) - len(listed)} passed, {len(listed)} closed with 1009")

    run(scenario(), timeout_s=100)
