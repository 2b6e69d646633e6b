"""The door as a device meets it: real sockets, real store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from gateway.clock import HandClock
from gateway.config import DevicesConfig, Limits
from gateway.device.server import DeviceServer
from gateway.errors import ConfigError, TooLarge, Unavailable
from gateway.model import Batch, CommandState, Event, Gap, Quality, Refused, Sample, Status
from gateway.store.devices import Devices
from gateway.store.registry import Registry
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.gateway.device.door import BOOT_ID, HARDWARE, PROFILE, Device, open_door

OLD_BOOT_ID = "0c5d9be1f2a34477"


class MoodyStore(SqliteStore):
    """A store whose disk the test holds up."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.running = asyncio.Event()
        self.running.set()
        self.failures = 0
        self.most_records = 10_000
        self.appended: list[int] = []
        """Records of each append."""

    async def append(self, epoch: int, batch: Batch) -> int:
        await self.running.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        if len(batch.records) > self.most_records:
            raise TooLarge("too large")
        self.appended.append(len(batch.records))
        return await super().append(epoch, batch)


async def never_comes(device: Device, kind: str) -> None:
    """Nothing of that kind has come by the time an echo has gone round."""
    await device.send(b"MG\1\0....")
    async with asyncio.timeout(5):
        while isinstance(frame := await device.socket.recv(), str):
            assert f'"type":"{kind}"' not in frame


async def until_acked(device: Device, seq: int) -> None:
    while (await device.receive("ack"))["seq"] < seq:
        pass


def seqs(records: list[Any]) -> list[int]:
    return [record.seq for record in records]


# ---- storing and acknowledging


def test_a_sample_is_stored_then_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            assert device.welcome["boots"] == [{"boot": 1, "committed": -1}]
            assert (device.welcome["gateway"], device.welcome["window"]) == ("gw-test", 1_000)
            assert device.welcome["limits"] == {"frame_bytes": 65_536, "samples": 1_000}
            assert abs(device.welcome["time"] - time.time() * 1000) < 10_000
            await device.samples(0, 20, 21)
            await device.acked(1)
            first, second = await door.records("greenhouse")
            assert isinstance(first, Sample)
            assert (first.seq, first.values) == (0, {"temperature": 20.0})
            assert (second.last, door.info().samples) == (1, 2)

    run(scenario())


def test_no_ack_is_sent_before_the_commit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            device = await door.enter()
            door.store.running.clear()
            await device.samples(0, 20)
            await never_comes(device, "ack")
            door.store.running.set()
            await device.acked(0)

    run(scenario())


def test_the_reader_does_not_wait_for_the_commit_of_its_own_frame(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            device = await door.enter()
            door.store.running.clear()
            for seq in range(50):
                await device.samples(seq, 20)
            await until(lambda: door.info().frames == 51, what="all frames read")
            door.store.running.set()
            await until_acked(device, 49)
            assert sum(door.store.appended) == 50
            assert len(door.store.appended) <= 2  # what was with the store first, and all others in one

    run(scenario())


def test_reading_stops_at_the_limit_of_frames_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore, frames_uncommitted=8) as door:
            device = await door.enter()
            door.store.running.clear()
            for seq in range(40):
                await device.samples(seq, 20)
            await until(lambda: door.info().frames == 9, what="hello and eight frames")
            await asyncio.sleep(0.05)  # time for a ninth to be read, if it were
            assert door.info().frames == 9
            door.store.running.set()
            await until_acked(device, 39)
            assert seqs(await door.records("greenhouse")) == list(range(40))

    run(scenario())


def test_a_store_that_fails_is_tried_again_in_order_and_the_device_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            device = await door.enter()
            door.store.failures = 3
            for seq in range(10):
                await device.samples(seq, 20)
            error = await device.receive("error")
            assert (error["code"], error["retry"]) == ("store.unavailable", True)
            await until_acked(device, 9)
            assert seqs(await door.records("greenhouse")) == list(range(10))
            assert door.info().errors == {"store.unavailable": 1}

    run(scenario())


def test_a_long_outage_of_the_disk_is_not_the_devices_fault_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is read any more, the answer to our ping neither, so the keepalive ends the connection with 1011."""
    caplog.set_level(logging.INFO, "device")

    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore, ping_s=0.4) as door:
            device = await door.enter()
            door.store.failures = 1_000_000
            for seq in range(200):
                await device.samples(seq, 20)
            await asyncio.sleep(2.5)
            assert "too slow" not in caplog.text
            device.socket.transport.abort()
            door.store.failures = 0
            again = await door.enter()
            committed = again.welcome["boots"][0]["committed"]
            await again.samples(committed + 1, *[20] * (200 - committed - 1))
            await until_acked(again, 199)
            records = [record for record in await door.records() if isinstance(record, Sample)]
            assert seqs(records) == list(range(200))

    run(scenario())


def test_a_batch_too_large_for_the_store_is_split(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            door.store.most_records = 3
            device = await door.enter()
            await device.samples(0, *[20] * 10)
            await device.acked(9)
            assert door.store.appended == [2, 3, 2, 3]

    run(scenario())


def test_events_and_gaps_are_acknowledged_like_samples(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            boots = [
                {"boot": 1, "id": OLD_BOOT_ID, "first": 0, "next": 20},
                {"boot": 2, "id": BOOT_ID, "first": 0, "next": 9},
            ]
            device = await door.enter(boots=boots)
            await device.send({"type": "gap", "boot": 1, "from": 0, "to": 9, "why": "full"})
            await device.samples(10, 20, boot=1)
            await device.send({"type": "gap", "boot": 1, "from": 11, "to": None, "at_most": 9, "why": "power_loss"})
            event = {"type": "event", "boot": 2, "seq": 0, "t": 5, "code": "boot", "data": {"reset_cause": 1}}
            await device.send(event)
            await device.acked(0, boot=2)
            gap, sample, end, boot = await door.records("greenhouse")
            assert gap == Gap(seq=0, to=9, count=10, at_most=None, why="full")
            assert isinstance(sample, Sample)
            assert end == Gap(seq=11, to=None, count=None, at_most=9, why="power_loss")
            assert boot == Event(seq=0, t_ms=5, code="boot", data={"reset_cause": 1})

    run(scenario())


def test_a_boot_that_is_said_to_have_ended_below_what_is_committed_has_ended(tmp_path: Path) -> None:
    """The board lost its power before it wrote down what was acknowledged."""

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            old = {"boot": 1, "id": OLD_BOOT_ID, "first": 0, "next": 100}
            device = await door.enter(boots=[old, {"boot": 2, "id": BOOT_ID, "first": 0, "next": 0}])
            await device.samples(0, *[20] * 11)
            await device.acked(10)
            await device.send({"type": "gap", "boot": 1, "from": 8, "to": None, "at_most": 12, "why": "power_loss"})
            await device.acked(11)
            end = (await door.records())[-1]
            assert end == Gap(seq=11, to=None, count=None, at_most=9, why="power_loss")

    run(scenario())


def test_a_hole_is_recorded_and_an_overlap_is_cut_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await device.samples(0, 20, 20, 20)
            await device.acked(2)
            await device.samples(1, 20, 20, 20)  # 1 and 2 again, 3 new
            await device.acked(3)
            await device.samples(0, 20)
            await device.acked(3)  # nothing new, but the ack may have been lost
            await device.samples(10, 20)
            await device.acked(10)
            records = await door.records("greenhouse")
            assert seqs(records) == [0, 1, 2, 3, 4, 10]
            assert isinstance(records[4], Gap)
            assert (records[4].to, records[4].why) == (9, "unexplained")
            assert door.info().errors == {}

    run(scenario())


def test_a_frame_of_no_use_is_kept_raw_and_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await device.samples(0, 20, 20, 20, t=[0, 1000])
            error = await device.receive("error")
            assert (error["code"], error["boot"], error["seq"]) == ("frame.columns", 1, 0)
            await device.acked(2)
            await device.send({"type": "event", "boot": 1, "seq": 3, "t": 0, "code": "NO"})
            assert await device.error() == "frame.field"
            await device.acked(3)
            columns, event = await door.records("greenhouse")
            assert isinstance(columns, Refused)
            assert (columns.seq, columns.to, columns.code) == (0, 2, "frame.columns")
            assert '"t": [0, 1000]' in columns.raw
            assert isinstance(event, Refused)
            assert {row.code for row in await door.history.quarantine("greenhouse", 10)} == {
                "frame.columns",
                "frame.field",
            }

    run(scenario())


def test_a_bad_value_is_kept_apart_and_its_neighbours_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await device.samples(0, 20, 999, 21, values={"temperature": [20, 999, 21], "humidity": [40, 41, None]})
            error = await device.receive("error")
            assert (error["code"], error["seq"], error["retry"]) == ("value.range", 1, False)
            assert error["text"] == "temperature 999 is outside -40..85 °C"
            await device.acked(2)
            _, second, _ = await door.records("greenhouse")
            assert isinstance(second, Sample)
            assert second.values == {"humidity": 41.0}
            (row,) = await door.history.quarantine("greenhouse", 10)
            assert (row.seq, row.quantity, row.value, row.code) == (1, "temperature", "999", "value.range")

    run(scenario())


# ---- connections of one device


def test_after_a_reconnect_the_device_goes_on_behind_what_is_committed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            await first.samples(0, 20, 21, 22)
            await first.acked(2)
            await first.socket.close()
            boots = [
                {"boot": 1, "id": BOOT_ID, "first": 3, "next": 3},
                {"boot": 2, "id": OLD_BOOT_ID, "first": 0, "next": 0},
            ]
            second = await door.enter(boots=boots)
            assert second.welcome["boots"] == [{"boot": 1, "committed": 2}, {"boot": 2, "committed": -1}]

    run(scenario())


def test_a_newer_connection_replaces_the_older_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            first = await door.enter()
            door.store.running.clear()
            await first.samples(0, 20)
            second = await door.enter()
            assert await first.closed() == (4009, "replaced")
            door.store.running.set()
            await second.samples(0, 21)
            await second.acked(0)
            assert [r.values for r in await door.records() if isinstance(r, Sample)] == [{"temperature": 21.0}]
            assert door.info().epoch == 2

    run(scenario())


def test_another_board_with_the_same_identity_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            stranger = await door.knock()
            await stranger.hello(hardware="another")
            assert await stranger.error() == "hello.hardware"
            assert await stranger.closed() == (4011, "identity in use")
            await first.works()
            await first.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the first one's end")
            stranger = await door.knock()
            await stranger.hello(hardware="another")
            assert await stranger.closed() == (4012, "other hardware")
            known = await door.devices.get("greenhouse")
            assert known is not None
            assert known.hardware == f"{HARDWARE}-greenhouse"

    run(scenario())


def test_more_committed_than_the_device_ever_took_closes_with_4010(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            await first.samples(0, 20, 21)
            await first.acked(1)
            forgetful = await door.knock()
            await forgetful.hello(boots=[{"boot": 1, "id": BOOT_ID, "first": 0, "next": 1}])
            assert await forgetful.error() == "hello.committed"
            assert await forgetful.closed() == (4010, "committed above next")

    run(scenario())


def test_an_unknown_profile_closes_with_4004(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.knock()
            boots = [{"boot": 1, "id": BOOT_ID, "first": 0, "next": 1, "profile": "0123456789abcdef"}]
            await device.hello(boots=boots)
            assert await device.error() == "hello.profile"
            assert await device.closed() == (4004, "unknown profile")

    run(scenario())


def test_a_jump_is_still_a_jump_after_a_reconnect(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            await first.samples(0, 20)
            await first.acked(0)
            await first.socket.close()
            second = await door.enter()
            await second.samples(1, 60)
            assert await second.error() == "value.rate"
            await second.acked(1)
            await second.samples(2, 60)
            await second.acked(2)
            assert [r.values for r in await door.records() if isinstance(r, Sample)] == [
                {"temperature": 20.0},
                {},
                {"temperature": 60.0},
            ]

    run(scenario())


# ---- time


def test_samples_are_stamped_by_the_clock_exchange(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with open_door(tmp_path, clock=clock) as door:
            device = await door.knock()
            await device.hello()
            question = await device.receive("clock")  # before the welcome
            await device.receive("welcome")
            await device.send({"type": "clock", "id": question["id"], "t": 5_000})
            await device.samples(0, 20, t=[3_000])
            await device.acked(0)
            (batch,) = await door.batches()
            assert batch.quality is Quality.SYNCED
            assert batch.at_ms(3_000) == clock.wall_ms() - 2_000
            assert (door.info().rtt_ms, door.info().quality) == (0, Quality.SYNCED)

    run(scenario())


def test_a_device_that_never_answers_is_stamped_by_arrival(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with open_door(tmp_path, clock=clock) as door:
            device = await door.enter()
            await device.samples(0, 20, 20, t=[3_000, 4_000])
            await device.acked(1)
            (batch,) = await door.batches()
            assert batch.quality is Quality.ESTIMATED
            assert batch.at_ms(4_000) == clock.wall_ms()

    run(scenario())


def test_a_gateway_that_does_not_know_the_date_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, clock=HandClock(trusted=False)) as door:
            device = await door.enter()
            assert device.welcome["time"] is None
            await device.send({"type": "clock", "id": 1, "t": 5_000})
            await device.works()
            assert [batch.quality for batch in await door.batches()] == [Quality.ESTIMATED]

    run(scenario())


def test_the_clock_is_asked_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            assert [(await device.receive("clock"))["id"] for _ in range(2)] == [2, 3]  # after 1 and 2 s

    run(scenario())


# ---- commands


def test_a_command_comes_back_with_its_result(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            sent = asyncio.create_task(door.dispatcher.send("greenhouse", "identify", {"seconds": 3}, timeout_s=5))
            command = await device.receive("command")
            assert (command["name"], command["args"]) == ("identify", {"seconds": 3})
            assert 4_000 < command["deadline_ms"] <= 5_000
            await device.send({"type": "result", "id": command["id"], "status": "done", "data": {"blinks": 6}})
            assert await device.receive("ack") == {"type": "ack", "result": command["id"]}
            result = await sent
            assert (result.status, result.data) == (Status.DONE, {"blinks": 6})

    run(scenario())


def test_a_result_that_comes_on_the_next_connection_still_ends_its_command(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            first = await door.enter()
            sent = asyncio.create_task(door.dispatcher.send("greenhouse", "restart", timeout_s=10))
            command = await first.receive("command")
            await first.socket.close()
            second = await door.enter()
            again = await second.receive("command")  # the same, with what is left of its time
            assert again.pop("deadline_ms") <= command.pop("deadline_ms")
            assert again == command
            answer = {"type": "result", "id": command["id"], "status": "unknown"}
            await second.send(answer)
            await second.receive("ack")
            assert (await sent).status is Status.UNKNOWN
            await second.send(answer)  # again, because that ack may have been lost
            assert await second.receive("ack") == {"type": "ack", "result": command["id"]}

    run(scenario())


def test_a_command_without_an_answer_ends_as_unknown_and_one_without_a_device_as_expired(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            await door.add("greenhouse")
            away = await door.dispatcher.send("greenhouse", "ping", timeout_s=0.1)
            assert (away.status, away.error_code) == (Status.EXPIRED, "command.expired")
            device = await door.enter()
            silent = await door.dispatcher.send("greenhouse", "ping", timeout_s=0.1)
            assert (silent.status, silent.error_code) == (Status.UNKNOWN, "command.unanswered")
            command = await device.receive("command")
            await device.send({"type": "result", "id": command["id"], "status": "done"})
            assert await device.receive("ack") == {"type": "ack", "result": command["id"]}  # late, and of no use
            states = [record.state for record in door.dispatcher.recent("greenhouse")]
            assert states == [CommandState.UNKNOWN, CommandState.EXPIRED]


def test_a_command_for_a_device_that_is_away_is_sent_when_it_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            await door.add("greenhouse")
            sent = asyncio.create_task(door.dispatcher.send("greenhouse", "ping", asked_by="page"))
            await until(lambda: door.dispatcher.recent("greenhouse"))
            device = await door.enter()
            command = await device.receive("command")
            await device.send({"type": "result", "id": command["id"], "status": "done"})
            assert (await sent).status is Status.DONE
            (record,) = door.dispatcher.recent("greenhouse")
            assert (record.id, record.state, record.asked_by) == (command["id"], CommandState.DONE, "page")

    run(scenario())


# ---- the rest


def test_latest_is_shown_and_never_stored(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with open_door(tmp_path, clock=clock) as door:
            device = await door.enter()
            watch = door.presence.watch()
            await device.send({"type": "latest", "boot": 1, "t": 9, "values": {"temperature": 21.5, "humidity": 400}})
            assert await device.error() == "value.range"
            change = await anext(watch)
            assert (change.device, change.latest) == ("greenhouse", (clock.wall_ms(), {"temperature": 21.5}))
            await device.works()
            assert len(await door.records()) == 1
            assert await door.history.quarantine("greenhouse", 10) == []

    run(scenario())


def test_a_line_of_the_devices_log_is_a_line_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "device")
    heard: list[tuple[str, str, int | None]] = []

    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            door.presence.hear(lambda device, line: heard.append((device, line.text, line.uptime_ms)))
            await device.send({"type": "log", "t": 1, "level": "warning", "text": "wifi: reconnecting"})
            await device.send({"type": "settings", "reported": {"led": False}})
            await device.works()

    run(scenario())
    assert heard[0] == ("greenhouse", "wifi: reconnecting", 1)
    assert ("device", logging.WARNING, "greenhouse says: wifi: reconnecting") in caplog.record_tuples
    assert "runs with the settings {'led': False}" in caplog.text


def test_a_device_that_says_that_it_sleeps_is_asleep_and_not_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await device.works()
            await device.send({"type": "sleep", "ms": 600_000})
            await device.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the end")
            assert door.presence.asleep() == ["greenhouse"]
            await door.enter(next=1)
            assert door.presence.asleep() == []

    run(scenario())


def test_presence_tells_who_is_connected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter(node="climate-node", firmware="0.1.0")
            await device.works()
            info = door.info()
            assert (info.address, info.node, info.firmware) == ("127.0.0.1", "climate-node", "0.1.0")
            assert (info.frames, info.samples, info.epoch) == (2, 1, 1)
            assert info.bytes_in > 200
            assert info.rate > 0
            await device.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the end")
            known = await door.devices.get("greenhouse")
            assert known is not None
            assert known.last_seen_ms is not None

    run(scenario())


def test_what_was_received_is_acknowledged_before_the_gateway_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            devices = [await door.enter(f"device-{number}") for number in range(3)]
            door.store.running.clear()
            for device in devices:
                await device.samples(0, 20)
                await device.samples(1, 20)
            await until(lambda: all(info.frames == 3 for info in door.presence.all()), what="all frames read")
            began_s = time.monotonic()
            stopping = asyncio.create_task(door.server.stop())
            await asyncio.sleep(0.05)
            door.store.running.set()
            await stopping
            assert time.monotonic() - began_s < 3
            for device in devices:
                assert await device.closed() == (1001, "the gateway stops")
                assert max(frame["seq"] for frame in device.seen if frame["type"] == "ack") == 1
            assert door.presence.all() == []

    run(scenario())


def test_a_disk_that_hangs_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path, store_class=MoodyStore) as door:
            device = await door.enter()
            door.store.running.clear()
            await device.samples(0, 20)
            await until(lambda: door.info().frames == 2, what="the frame read")
            began_s = time.monotonic()
            await door.server.stop()
            assert time.monotonic() - began_s < 3
            assert not any(frame["type"] == "ack" for frame in device.seen)
            door.store.running.set()

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half a handshake"])
def test_who_has_not_finished_its_handshake_does_not_hold_up_the_stop(said: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(said)
            await asyncio.sleep(0.05)
            began_s = time.monotonic()
            await door.server.stop()
            assert time.monotonic() - began_s < 3
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    run(scenario())


def test_what_a_device_sent_before_it_closed_is_committed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            for seq in range(40):
                await device.samples(seq, 20)
            await device.socket.close()

            async def all_there() -> bool:
                return seqs(await door.records()) == list(range(40))

            await until(all_there, what="all samples")

    run(scenario())


def test_a_device_can_be_disconnected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            device = await door.enter()
            await door.server.close_device("greenhouse", 4012, "it was replaced")
            assert await device.closed() == (4012, "it was replaced")

    run(scenario())


def test_a_removed_device_is_disconnected_whoever_removed_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            bystander = await door.enter("bystander")
            device = await door.enter()
            await device.works()
            silent = await door.knock()
            await door.devices.remove("greenhouse")
            assert await device.closed(timeout_s=3) == (4003, "its token is not valid any more")
            assert (await silent.closed(timeout_s=3))[0] == 4003
            with pytest.raises(InvalidStatus):
                await door.knock()
            await door.add("greenhouse")
            device = await door.enter(hardware="another")
            assert device.welcome["boots"] == [{"boot": 1, "committed": 0}]  # its samples stayed
            registry = Registry(tmp_path)  # as another process has it
            await registry.open()
            await Devices(registry).remove("greenhouse")
            await Devices(registry).add("greenhouse", PROFILE)  # before the gateway has looked
            await registry.close()
            assert await device.closed(timeout_s=3) == (4003, "its token is not valid any more")
            await bystander.works()

    run(scenario())


def test_a_replaced_device_is_whoever_comes_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            old = await door.enter()
            await door.devices.replace("greenhouse")
            await old.works()  # the old board may stay until the new one is there
            await old.socket.close()
            await until(lambda: door.presence.get("greenhouse") is None, what="the old one's end")
            await (await door.enter(hardware="another")).works()
            refused = await door.knock()
            await refused.hello()
            assert await refused.closed() == (4011, "identity in use")

    run(scenario())


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            config = DevicesConfig(port=door.server.port)
            second = DeviceServer(
                config, Limits(), door.store, door.devices, door.presence, door.dispatcher, HandClock()
            )
            with pytest.raises(ConfigError, match=rf"port {door.server.port} on 127.0.0.1 is in use"):
                await second.start()

    run(scenario())


def test_a_fault_of_ours_closes_one_connection_with_1011(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class FaultyStore(MoodyStore):
        async def append(self, epoch: int, batch: Batch) -> int:
            if batch.device == "unlucky":
                raise RuntimeError("a fault of ours")
            return await super().append(epoch, batch)

    async def scenario() -> None:
        async with open_door(tmp_path, store_class=FaultyStore) as door:
            lucky, unlucky = await door.enter("lucky"), await door.enter("unlucky")
            await unlucky.samples(0, 20)
            assert (await unlucky.closed())[0] == 1011
            await lucky.works()

    run(scenario())
    assert "unlucky: a fault in its connection" in caplog.text
