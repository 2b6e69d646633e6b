"""Bytes and frames made by hypothesis over real sockets, at the devices' door of a whole gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.house import House, house, status_of
from tests.attacks.test_websocket import frame
from tests.fuzz import mutate
from tests.fuzz.opening import TOKEN
from tests.fuzz.test_device import HELLO, OPENINGS, STEPS
from tests.gateway.device.door import Device

LIMITS = ("limits.handshake_s=0.2", "limits.hello_s=0.2", "limits.bad_tokens_per_min=100000", "limits.errors=100000")
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, House, Device]]:
    """A gateway with an honest board. Afterwards that must still work, and the log hold no fault."""
    with asyncio.Runner() as runner:
        opened = house(tmp_path_factory.mktemp("doors") / "gateway", *LIMITS)
        home = runner.run(opened.__aenter__())
        board = runner.run(home.enter("bystander"))
        runner.run(home.add("greenhouse"))
        yield runner, home, board
        runner.run(home.works(board))
        runner.run(opened.__aexit__(None, None, None))


@QUICK
@given(st.sampled_from(sorted(OPENINGS)), st.integers(0, 2**32), st.integers(1, 3))
def test_any_bytes_of_a_handshake_end_in_an_answer_or_in_silence(
    there: tuple[asyncio.Runner, House, Device], name: str, number: int, changes: int
) -> None:
    runner, home, _ = there
    data, rng = OPENINGS[name], random.Random(number)
    for _ in range(changes):
        data = mutate.opening(data, rng)
    token = home.tokens["greenhouse"].encode()
    answer = runner.run(home.say(home.door, data.replace(TOKEN.encode(), token), within_s=5))
    assert status_of(answer) in {0, 101, 400, 401, 405, 414, 426, 431, 503, 505}, answer[:200]
    assert status_of(answer) != 101 or token in data.replace(TOKEN.encode(), token)
    assert token not in answer


@QUICK
@given(HELLO, STEPS)
def test_any_frames_of_a_device_leave_everybody_else_in_peace(
    there: tuple[asyncio.Runner, House, Device], first: str, steps: list[str]
) -> None:
    runner, home, board = there

    async def scenario() -> None:
        head = OPENINGS["a-board-that-says-hello"].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", home.door)
        writer.write(head.replace(TOKEN.encode(), home.tokens["greenhouse"].encode()))
        async with asyncio.timeout(5):
            assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
            frames = [first, *(step for step in steps if not step.startswith(("*", "+", "=")))]
            writer.writelines(frame(0x81, text.encode(errors="replace")) for text in frames)
            writer.write(frame(0x88, b"\x03\xe8"))
            with contextlib.suppress(ConnectionResetError):  # closed while frames of ours were still on their way
                while await reader.read(65_536):
                    pass
        writer.close()
        await board.works()

    runner.run(scenario())
