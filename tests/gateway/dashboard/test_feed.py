"""The live feed over real sockets: nothing lost between snapshot and changes, and nobody waits for a slow browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from gateway.errors import Unavailable
from gateway.model import Batch, Sample
from gateway.presence import LogLine
from tests.aio import run, until

from .door import T0_MS, Door, batch, climate_profile, close_code, messages, next_of, open_door, sample


def test_the_snapshot_comes_first_and_the_changes_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(sample(0, temperature=20.5)))
            async with door.feed() as socket:
                first = json.loads(await socket.recv())
                assert [message["type"] for message in first] == ["snapshot", "status"]
                assert first[1]["brokers"][0]["name"] == "embedded"
                device = first[0]["devices"][0]
                assert device["latest"]["temperature"]["value"] == 20.5
                assert device == (await door.ask("/api/devices/greenhouse", headers=door.bearer)).json
                await door.commit(batch(sample(1, temperature=21.5)))
                message = await next_of(socket, "samples")
                assert (message["seq"], message["values"]) == ([1], {"temperature": [21.5]})

    run(main())


def test_every_committed_sample_reaches_every_feed_whenever_it_was_opened(tmp_path: Path) -> None:
    """Feeds are opened while commits go on: what the snapshot shows and what follows leave no hole."""
    total, feeds, together = 1500, 4, 5
    committed = 0

    async def watch(door: Door, begin: int) -> None:
        await until(lambda: committed >= begin, what=f"sample {begin}")
        async with door.feed() as socket:
            stream = messages(socket)
            snapshot = await anext(stream)
            shown = snapshot["devices"][0]["latest"].get("temperature")
            through = (shown["at_ms"] - T0_MS) // 1000 if shown else -1
            got: set[int] = set()
            async for message in stream:
                if message["type"] == "samples":
                    got.update(message["seq"])
                if total - 1 in got:
                    break
            missing = set(range(through + 1, total)) - got
            assert not missing, f"opened after {begin}, snapshot through {through}: {sorted(missing)[:5]} missing"

    async def commit(door: Door) -> None:
        nonlocal committed
        for first in range(0, total, together):
            await door.commit(*(batch(sample(first + i)) for i in range(together)))
            committed = first + together

    async def main() -> None:
        async with open_door(tmp_path) as door, asyncio.TaskGroup() as tasks:
            for number in range(feeds):
                tasks.create_task(watch(door, number * total // feeds))
            tasks.create_task(commit(door))

    run(main())


def test_at_most_twenty_frames_a_second_reach_a_browser(tmp_path: Path) -> None:
    total = 200

    async def frames(socket: ClientConnection) -> int:
        count = got = 0
        while got < total:
            frame = json.loads(await socket.recv())
            got += sum(len(message["seq"]) for message in frame if message["type"] == "samples")
            count += 1
        return count

    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            await socket.recv()
            loop = asyncio.get_running_loop()
            started = loop.time()
            counting = asyncio.create_task(frames(socket))
            for seq in range(total):
                await door.commit(batch(sample(seq)))
            assert await counting <= (loop.time() - started) * 20 + 2

    run(main())


WIDE = {f"quantity_{i}": 0.123456789 for i in range(200)}
"""The values of a sample that is 5 KB on the feed."""


def test_a_browser_that_reads_nothing_is_sent_away_and_the_others_miss_nothing(tmp_path: Path) -> None:
    total, together = 3000, 20
    got: list[int] = []

    async def watch(socket: ClientConnection) -> None:
        async for message in messages(socket):
            if message["type"] == "samples":
                got.extend(message["seq"])

    async def main() -> None:
        async with (
            open_door(tmp_path, queue_bytes=1_000_000) as door,
            door.feed(max_queue=1) as slow,
            door.feed() as quick,
        ):
            await slow.recv()
            await quick.recv()
            watching = asyncio.create_task(watch(quick))
            for first in range(0, total, together):
                await door.commit(batch(*(Sample(first + i, (first + i) * 1000, WIDE) for i in range(together))))
                await until(lambda: len(got) > first - 100, what="the quick browser")  # noqa: B023 - awaited here
            await until(lambda: len(got) >= total, what="the last sample")
            assert got == list(range(total))
            await until(lambda: door.server._feed.browsers == 1, what="the slow browser's end")
            assert await close_code(slow) in {4006, 1006}
            assert quick.close_code is None
            watching.cancel()

    run(main())


def test_a_slow_browser_that_reads_again_in_time_learns_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, queue_bytes=20_000) as door, door.feed() as socket:
            await socket.recv()
            await door.commit(*(batch(sample(seq), device=f"device-{seq}") for seq in range(150)))
            assert await close_code(socket) == 4006

    run(main())


def test_presence_and_provisional_values_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            await socket.recv()
            info = await door.connect()
            came = await next_of(socket, "presence")
            assert (came["online"], came["connection"]["address"]) == (True, "192.168.1.17:51234")
            door.presence.latest("greenhouse", T0_MS + 50_000, {"temperature": 25.0})
            latest = await next_of(socket, "latest")
            assert (latest["values"], latest["provisional"]) == ({"temperature": 25.0}, True)
            door.presence.disconnected("greenhouse", info.epoch)
            async for message in messages(socket):
                if message["type"] == "presence" and not message["online"]:
                    assert message["connection"] is None
                    break

    run(main())


def test_a_line_of_a_devices_log_is_told_to_who_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            await socket.recv()
            door.presence.say("greenhouse", LogLine("warning", "wifi: reconnecting", 84_000, T0_MS))
            assert await next_of(socket, "log") == {
                "type": "log", "device": "greenhouse", "at_ms": T0_MS, "uptime_ms": 84_000, "level": "warning",
                "text": "wifi: reconnecting",
            }  # fmt: skip

    run(main())


def test_a_command_is_told_at_each_step(tmp_path: Path) -> None:
    body = {"name": "ping", "timeout_s": 30}

    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            told = (message["row"] async for message in messages(socket) if message["type"] == "command")
            path = "/api/devices/greenhouse/commands"
            asking = asyncio.create_task(door.ask(path, method="POST", headers=door.bearer, body=body))
            queued = await anext(told)
            assert (queued["name"], queued["state"], queued["ended_ms"]) == ("ping", "queued", None)
            await door.connect()
            row = queued
            while row["state"] != "done":  # what changes between two looks is told once, so `sent` may be missing
                row = await anext(told)
                assert row["id"] == queued["id"]
                assert row["state"] in {"sent", "done"}
            assert (await asking).json["id"] == row["id"]

    run(main())


def test_heartbeats_counts_and_new_devices_come_by_themselves(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            await socket.recv()
            await door.commit(batch(sample(0)))
            await door.devices.add("cellar", climate_profile())
            await door.devices.remove("greenhouse")
            kinds = {}
            async for message in messages(socket):
                kinds[message["type"]] = message
                if {"counts", "device", "removed", "heartbeat"} <= kinds.keys():
                    break
            assert kinds["counts"]["counts"]["samples"] == 1
            assert kinds["device"]["info"]["id"] == kinds["device"]["device"] == "cellar"
            assert kinds["removed"]["device"] == "greenhouse"
            assert kinds["heartbeat"]["at_ms"] == door.clock.wall_ms()

    run(main())


def test_the_feed_goes_on_after_the_store_was_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as socket:
            await socket.recv()
            read = door.store.read

            async def unavailable(cursor: str, *, device: str | None = None, limit: int = 100) -> list[Batch]:
                raise Unavailable("the disk is full")

            door.store.read = unavailable  # type: ignore[method-assign]
            await door.commit(batch(sample(0)))
            await until(lambda: "the disk is full" in caplog.text, what="a warning in the log")
            door.store.read = read  # type: ignore[method-assign]
            assert (await next_of(socket, "samples"))["seq"] == [0]

    run(main())


def test_what_a_browser_sends_is_ignored_and_too_much_of_it_ends_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            async with door.feed() as socket:
                await socket.recv()
                await socket.send("hello?")
                await socket.send(b"\x00\x01")
                await door.commit(batch(sample(0)))
                assert (await next_of(socket, "samples"))["seq"] == [0]
                await socket.send("x" * 5000)
                assert await close_code(socket) == 1009
            await until(lambda: door.server._feed.browsers == 0, what="the browser's end")

    run(main())


def test_a_gateway_that_stops_says_so_and_a_browser_that_reads_nothing_does_not_hold_it_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door, door.feed() as polite, door.feed(max_queue=1) as stuck:
            await polite.recv()
            await stuck.recv()
            reading = asyncio.create_task(close_code(polite))
            await door.commit(batch(*(Sample(seq, seq * 1000, WIDE) for seq in range(600))))
            loop = asyncio.get_running_loop()
            started = loop.time()
            await door.server.stop()
            assert loop.time() - started < 3
            assert await reading == 1001

    run(main())


def test_browsers_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            for _ in range(20):
                async with door.feed() as socket:
                    await socket.recv()
            gone = await door.feed()
            gone.transport.abort()
            await until(lambda: door.server._feed.browsers == 0, what="the end of all feeds")
            await until(lambda: len(asyncio.all_tasks()) < 12, what="the end of their tasks")

    run(main())
