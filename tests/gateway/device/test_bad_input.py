"""Bad input over real sockets: a clear error with a stable code, a counter, and everyone else carries on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import re
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.model import Gap
from tests.aio import run, until
from tests.gateway.device.door import BOOT_ID, SUBPROTOCOL, Device, Door, open_door

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "device_to_gateway.json").read_text())
BOOTS = [
    {"boot": 16, "id": "0c5d9be1f2a34477", "first": 0, "next": 2**53 - 1},
    {"boot": 17, "id": BOOT_ID, "first": 0, "next": 2**53 - 1},
]


@asynccontextmanager
async def with_a_bystander(directory: Path, **limits: Any) -> AsyncIterator[Door]:
    """A door at which another device is connected all the time. It must work before and after."""
    async with open_door(directory, **limits) as door:
        bystander = await door.enter("bystander")
        await bystander.works()
        yield door
        await bystander.works()
        assert door.info("bystander").errors == {}


async def opened_raw(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket connection whose bytes the test writes itself."""
    token = door.tokens.get("greenhouse") or await door.add("greenhouse")
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the close frame; pings before it are skipped."""
    while True:
        opcode, length = await reader.readexactly(2)
        payload = await reader.readexactly(length)
        if opcode == 0x88:
            return int(struct.unpack("!H", payload[:2])[0])


def test_every_hostile_frame_is_answered_with_its_code_and_counted(tmp_path: Path) -> None:
    hostile = [v for v in VECTORS if not v["ok"] and "text" in v and v["code"] != "hello.invalid"]

    async def scenario() -> None:
        async with with_a_bystander(tmp_path, errors=10_000, frames_per_s=10_000) as door:
            device = await door.enter(boots=BOOTS)
            for number, vector in enumerate(hostile):
                new = f'"seq":{2_000 * number},'  # else it would be an overlap, and cut off in silence
                await device.send(re.sub(r'"seq":(0|1203|1205),', new, vector["text"]))
                assert await device.error() == vector["code"], vector["name"]
            assert door.info().errors == Counter(vector["code"] for vector in hostile)
            await device.samples(2_000, 20, boot=16)
            await device.acked(2_000, boot=16)

    run(scenario())


JOURNAL = [
    {"boot": 16, "id": "0c5d9be1f2a34477", "first": 0, "next": 40, "t": 39_000},
    {"boot": 17, "id": BOOT_ID, "first": 0, "next": 40},
]


@pytest.mark.parametrize("boot", [16, 17], ids=["of a journal", "of the running boot"])
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"temperature":[NaN]}}', "value.finite"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"temperature":[1e999]}}', "value.finite"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"temperature":["hot"]}}', "value.type"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"temperature":[400]}}', "value.range"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"colour":[4]}}', "value.unknown"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[5000],"values":{"temperature":[]}}', "frame.columns"),
        ('{"type":"samples","boot":%d,"seq":5,"t":[-1],"values":{"temperature":[1]}}', "frame.field"),
        ('{"type":"samples","boot":%d,"seq":5,"t":5000,"values":[1]}', "frame.field"),
        ('{"type":"event","boot":%d,"seq":5,"t":5000,"code":"NOT A CODE"}', "frame.field"),
    ],
)
def test_one_bad_frame_never_blocks_what_comes_after_it(boot: int, bad: str, code: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter(boots=JOURNAL)
            await device.samples(0, *[20] * 5, boot=boot)
            await device.send(bad % boot)
            await device.samples(6, *[20] * 5, boot=boot)
            assert await device.error() == code
            await until_acked(device, 10)
            await device.samples(0, 20, boot=33 - boot)
            await until_acked(device, 0)
            records = [
                record for batch in await door.batches("greenhouse") if batch.boot == boot for record in batch.records
            ]
            assert [record.seq for record in records] == list(range(11))
            (row,) = await door.history.quarantine("greenhouse", 10)
            assert (row.seq, row.code) == (5, code)

    run(scenario())


@pytest.mark.parametrize(
    "bad",
    ['{"type":"samples","boot":16,"seq":"5","t":[5000],"values":{"temperature":[1]}}', "{", '{"boot":16,"seq":5}'],
    ids=["no seq", "no JSON", "no type"],
)
def test_a_frame_nobody_can_read_becomes_a_gap_and_the_journal_goes_on(bad: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter(boots=JOURNAL)
            await device.samples(0, *[20] * 5, boot=16)
            await until_acked(device, 4)
            for _ in range(2):
                await device.send(bad)
                assert (await device.error()).startswith("frame.")
            await device.send({"type": "gap", "boot": 16, "from": 5, "to": 5, "why": "refused"})
            await device.samples(6, 20, boot=16)
            await until_acked(device, 6)
            records = await door.records("greenhouse")
            assert records[5] == Gap(seq=5, to=5, count=1, at_most=None, why="refused")
            assert len(records) == 7

    run(scenario())


def test_a_frame_that_is_too_large_ends_the_connection_and_not_the_journal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            for _ in range(2):
                device = await door.enter(boots=JOURNAL)
                await device.samples(0, *[20] * 5, boot=16)
                await until_acked(device, 4)
                await device.send('{"type":"samples","boot":16,"seq":5,"values":{"temperature":[' + "20," * 30_000)
                assert (await device.closed())[0] == 1009
            device = await door.enter(boots=JOURNAL)
            await device.send({"type": "gap", "boot": 16, "from": 5, "to": 5, "why": "refused"})
            await device.samples(6, 20, boot=16)
            await until_acked(device, 6)
            assert [record.seq for record in await door.records("greenhouse")] == list(range(7))

    run(scenario())


def test_a_hello_that_is_wrong_closes_with_4000(tmp_path: Path) -> None:
    hostile = [vector for vector in VECTORS if vector.get("code") == "hello.invalid"]

    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            for vector in hostile:
                device = await door.knock()
                await device.send(vector["text"])
                assert await device.error() == "hello.invalid", vector["name"]
                assert await device.closed() == (4000, "hello expected")

    run(scenario())


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.get("code") == "1007"], ids=lambda v: v["name"])
def test_invalid_utf_8_closes_with_1007(vector: dict[str, Any], tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter()
            await device.socket.send(base64.b64decode(vector["base64"]), text=True)
            assert (await device.closed())[0] == 1007

    run(scenario())


@pytest.mark.parametrize(
    "first", ['{"type":"samples"}', "not json", "{}", '{"type":"clock","id":1,"t":1}', b"MG\1\0abcd"]
)
def test_anything_before_hello_closes_with_4000(first: str | bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.knock()
            await device.send(first)
            assert await device.error() == "hello.expected"
            assert await device.closed() == (4000, "hello expected")

    run(scenario())


def test_a_second_hello_closes_with_4002(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter()
            await device.hello()
            assert await device.error() == "hello.again"
            assert await device.closed() == (4002, "second hello")

    run(scenario())


def test_another_devices_id_closes_with_4003(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.knock()
            await device.hello(device="bystander")
            assert await device.error() == "hello.device"
            assert await device.closed() == (4003, "device id is not this token's")

    run(scenario())


def test_binary_where_text_belongs_is_an_error_and_an_echo_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter()
            for wrong in (b"", b"{}", b"MG\1\0abc", b"MG\1\1abcd", b"MG\2\0abcd", os.urandom(2000)):
                await device.send(wrong)
                assert await device.error() == "frame.binary"
            assert door.info().errors == {"frame.binary": 6}
            await device.send(b"MG\1\0abcd" + bytes(1000))
            assert await device.socket.recv() == b"MG\1\0abcd" + bytes(1000)

    run(scenario())


def test_a_huge_frame_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            reader, writer = await opened_raw(door)
            writer.write(b"\x81\xff" + struct.pack("!Q", 1 << 40) + bytes(4))  # a terabyte is announced, nothing sent
            assert await close_code(reader) == 1009
            writer.close()

    run(scenario())


def test_a_frame_one_byte_above_the_limit_closes_with_1009_and_the_largest_one_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter()
            await device.send(" " * 65_536)
            assert await device.error() == "frame.json"
            await device.send(" " * 65_537)
            assert (await device.closed())[0] == 1009

    run(scenario())


def test_a_message_in_endless_fragments_is_bounded_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            reader, writer = await opened_raw(door)
            piece = b"\xfe" + struct.pack("!H", 8_192) + bytes(4) + b"a" * 8_192
            writer.write(b"\x01" + piece + (b"\x00" + piece) * 8)
            assert await close_code(reader) == 1009
            writer.close()

    run(scenario())


def test_a_frame_that_is_never_finished_ends_with_the_ping_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, ping_s=0.6) as door:
            reader, writer = await opened_raw(door)
            writer.write(b"\x81\xfe\xff\xff" + bytes(4) + b'{"type":')
            assert await close_code(reader) == 1011
            writer.close()

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"\x01\x81" + bytes(4) + b"a"], ids=["nothing", "half a message"])
def test_a_client_that_opens_a_connection_and_says_nothing_is_closed_with_4001(said: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, hello_s=1) as door:
            reader, writer = await opened_raw(door)
            writer.write(said)
            assert await close_code(reader) == 4001
            writer.close()

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half a handshake"])
def test_a_handshake_that_is_not_finished_is_dropped(said: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, handshake_s=1) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(said)
            assert await reader.read() == b""
            writer.close()

    run(scenario())


def test_a_client_that_never_reads_is_closed_with_4006(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "device")

    async def talk(device: Device) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await device.send(b"MG\1\0abcd" + bytes(60_000))

    async def scenario() -> None:
        async with with_a_bystander(tmp_path, ping_s=0.6) as door:
            device = await door.knock(max_queue=1, ping_interval=None)
            await device.hello()
            await until(lambda: door.presence.get("greenhouse"), what="hello")
            talking = asyncio.create_task(talk(device))
            await until(lambda: "greenhouse disconnected: 4006 too slow" in caplog.text, what="the end")
            assert door.presence.get("greenhouse") is None
            device.socket.transport.abort()
            await talking

    run(scenario())


def test_who_pings_and_never_reads_is_cut_off(tmp_path: Path) -> None:
    """The library answers pings itself: its answers would fill our memory."""

    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            _, writer = await opened_raw(door)
            pings = (b"\x89\xfd" + bytes(4) + bytes(125)) * 500
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 50_000_000:
                    writer.write(pings)
                    await writer.drain()
                    sent += len(pings)
            assert sent < 50_000_000

    run(scenario())


def test_too_many_errors_close_with_4005(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, errors=20) as door:
            device = await door.enter()
            for _ in range(25):
                await device.send("not json")
            assert await device.closed() == (4005, "too many errors")
            assert [frame["code"] for frame in device.seen if frame["type"] == "error"] == ["frame.json"] * 20

    run(scenario())


def test_a_broken_sensor_does_not_cut_off_its_neighbours(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, errors=20) as door:
            device = await door.enter()
            for seq in range(50):
                await device.samples(seq, 999)
            await until_acked(device, 49)
            assert door.info().errors == {"value.range": 50}
            assert (await door.history.counts("greenhouse")).quarantined == 50

    run(scenario())


def test_who_sends_too_fast_is_read_more_slowly_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_a_bystander(tmp_path, frames_per_s=50) as door:
            device = await door.enter()
            for seq in range(200):
                await device.samples(seq, 20)
            assert await device.error() == "frame.rate"
            await until_acked(device, 199)
            assert door.info().errors["frame.rate"] == 1
            assert [record.last for record in await door.records("greenhouse")] == list(range(200))

    run(scenario())


def test_a_flood_of_log_lines_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "device")

    async def scenario() -> None:
        async with with_a_bystander(tmp_path) as door:
            device = await door.enter()
            for _ in range(200):
                await device.send({"type": "log", "level": "info", "text": "wolf\u001b[31m\nnot a line of ours"})
            assert await device.error() == "frame.rate"
            await device.works()
            lines = [record.getMessage() for record in caplog.records if "wolf" in record.getMessage()]
            assert 50 <= len(lines) < 80
            assert lines[0] == "greenhouse says: wolf\ufffd[31m\ufffdnot a line of ours"

    run(scenario())


async def until_acked(device: Device, seq: int) -> None:
    while (await device.receive("ack"))["seq"] < seq:
        pass
