"""The Autobahn cases against the firmware's WebSocket client, running on MicroPython."""

from __future__ import annotations

import asyncio

from kosoku import FailureError, run_fuzzingserver

from tests.aio import run
from tests.firmware import interpreter

COMPRESSION = ["12.*", "13.*"]  # not offered: a board has no memory for it
FIRMWARE_LIMIT = 16384
LARGEST_MESSAGE = 16 * 1024 * 1024
CASES = 301  # in kosoku 0.1, without compression


async def fuzz(
    cases: list[str], excluded: list[str], max_message: int, heap: str
) -> dict[str, tuple[str, str, int | None]]:
    """Per case: verdict, verdict of the closing handshake, and the close code our client sent."""
    async with run_fuzzingserver(cases, excluded, host="127.0.0.1", port=0) as server:
        client = await asyncio.create_subprocess_exec(
            *interpreter.command(heap),
            str(interpreter.SCRIPTS / "echo.py"),
            *("127.0.0.1", str(server.port), "autobahn", str(max_message)),
            env=interpreter.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed, _ = await client.communicate()
            assert client.returncode == 0, printed.decode()
            try:
                results = await server.get_result()
            except FailureError as error:
                results = error.results
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
    return {
        result.case_id: (result.behavior.value, result.behavior_close.value, result.remote_close_code)
        for result in results
    }


PASSED = {"OK", "INFORMATIONAL"}


def not_passed(results: dict[str, tuple[str, str, int | None]]) -> dict[str, tuple[str, str, int | None]]:
    return {case: verdict for case, verdict in results.items() if not set(verdict[:2]) <= PASSED}


def test_every_case_passes_with_room_for_its_messages() -> None:
    results = run(fuzz(["*"], COMPRESSION, LARGEST_MESSAGE, heap="100m"), timeout_s=55)
    assert len(results) == CASES
    assert not not_passed(results)


def test_messages_above_the_limit_of_a_board_are_closed_with_1009() -> None:
    results = run(fuzz(["9.*", "10.*"], COMPRESSION, FIRMWARE_LIMIT, heap=interpreter.HEAP), timeout_s=30)
    too_large = {case for case in results if results[case][2] == 1009}
    assert too_large == set(not_passed(results))
    assert too_large
