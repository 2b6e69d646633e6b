"""The whole firmware on an emulated board, against a gateway of a few lines."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatedBoard
from gateway.profile import Profile, find_node
from tests.aio import run, until
from tests.firmware import interpreter
from tests.firmware.gateway import Gateway, running
from tests.nodes import plain_profile

TOKEN = "T" * 43
RAM_SAMPLES = 128
PROFILE = find_node("climate-node")


def profile(**periods_ms: int) -> Profile:
    """The climate node without light, with other periods and a small ring."""
    loaded = plain_profile()
    sensors = {
        name: sensor.model_copy(update={"period_ms": periods_ms.get(name, sensor.period_ms)})
        for name, sensor in loaded.sensors.items()
    }
    delivery = loaded.delivery.model_copy(update={"ram_samples": RAM_SAMPLES})
    return loaded.model_copy(update={"sensors": sensors, "delivery": delivery})


def board(port: int, directory: Path, lines: list[str], **periods_ms: int) -> EmulatedBoard:
    interpreter.command()  # skips the test where there is no interpreter
    settings = {
        "device": "greenhouse",
        "token": TOKEN,
        "gateway": {"host": "127.0.0.1", "port": port, "tls": False},
        "wifi": [{"ssid": "home", "password": "secret"}],
    }
    return EmulatedBoard(
        profile(**periods_ms),
        PROFILE.parent,
        settings,
        directory=directory,
        seed=7,
        console=lines.append,
        air=[{"ssid": "home", "password": "secret"}],
    )


@contextlib.asynccontextmanager
async def connected(tmp_path: Path, **periods_ms: int) -> AsyncIterator[tuple[Gateway, EmulatedBoard, list[str]]]:
    lines: list[str] = []
    async with running() as gateway:
        one = board(gateway.port, tmp_path, lines, **periods_ms)
        await one.start()
        try:
            await until(lambda: gateway.samples, timeout_s=25, what="the first sample")
            yield gateway, one, lines
        finally:
            await one.stop()


def readings(gateway: Gateway, quantity: str) -> list[tuple[int, Any]]:
    return [(t, values[quantity]) for t, values in gateway.samples if quantity in values]


def test_samples_arrive_by_the_plan_and_a_clean_end_leaves_none_behind(tmp_path: Path) -> None:
    async def flow() -> None:
        async with connected(tmp_path, climate=100, vitals=400) as (gateway, one, lines):
            await until(lambda: len(readings(gateway, "temperature")) >= 12, what="12 readings")
            await one.stop()
            await until(lambda: gateway.closed, what="the closing handshake")
            assert gateway.closed == [(1000, "")]
            assert gateway.hellos[0]["hardware"] == one.unique_id.hex()
            assert gateway.events[0] == "boot"
            assert len(gateway.samples) == sum(one.taken().values())
            times = [t for t, _ in readings(gateway, "temperature")]
            assert statistics.median(b - a for a, b in pairwise(times)) == pytest.approx(100, abs=10)
            assert lines[-1].endswith("0 records not acknowledged"), lines

    run(flow(), timeout_s=55)


def test_after_cut_connections_every_sample_is_there_once_and_in_its_place(tmp_path: Path) -> None:
    async def flow() -> None:
        async with connected(tmp_path, climate=50, vitals=200) as (gateway, one, _):
            for cut in range(3):
                have = len(gateway.samples)
                gateway.acks = cut != 1  # one connection dies with nothing acknowledged
                await until(lambda have=have: len(gateway.samples) > have + 10, what="more samples")
                gateway.acks = True
                assert gateway.socket is not None
                gateway.socket.transport.abort()
                await until(lambda cut=cut: len(gateway.hellos) > cut + 1, timeout_s=15, what="the reconnect")
            await until(lambda: len(gateway.samples) > 60, what="the backlog")
            await one.stop()
            assert len({hello["boots"][0]["id"] for hello in gateway.hellos}) == 1
            records = gateway.boot()
            assert sorted(records) == list(range(len(records)))
            assert len(gateway.samples) == sum(one.taken().values())
            times = [records[seq][0] for seq in sorted(records) if isinstance(records[seq], tuple)]
            assert times == sorted(times)

    run(flow(), timeout_s=55)


def test_commands_are_answered_and_a_restart_begins_a_new_boot(tmp_path: Path) -> None:
    async def flow() -> None:
        async with connected(tmp_path, climate=100) as (gateway, one, _):
            await gateway.command("c1", "ping")
            await gateway.command("c2", "dance")
            await gateway.command("c3", "identify", seconds=1)
            await until(lambda: len(gateway.results()) == 3, what="three results")
            assert set(gateway.results()["c1"]["data"]) == {"uptime_ms", "free_heap"}
            assert gateway.results()["c2"]["error"]["code"] == "command.unknown"
            await until(lambda: one.led, what="the LED")
            await gateway.command("c4", "restart")
            await until(lambda: len(gateway.hellos) == 2, timeout_s=20, what="the next boot")
            assert gateway.results()["c4"]["status"] == "done"
            before, after = (hello["boots"][-1] for hello in gateway.hellos)
            assert (after["boot"], after["first"]) == (before["boot"] + 1, 0)
            assert after["id"] != before["id"]
            assert gateway.closed[0][0] == 1000
            await until(lambda: len(gateway.events) == 2, what="the event of the boot")
            assert gateway.boot()[0]["data"] == {"reset_cause": 2}

    run(flow(), timeout_s=55)


def test_a_hostile_gateway_does_not_stop_the_node(tmp_path: Path) -> None:
    """Rubbish of every kind, also at the level of WebSocket frames; afterwards it samples on in the same boot."""
    chance = random.Random(20)
    rubbish: list[str | bytes] = [
        b"\x00\xff" * 50,
        "[" * 16_000,
        '{"type":"ack","boot":1,"seq":99999999}',
        '{"type":"error","code":"\\ud800","text":"\\u0000\\ud800","retry":false}',
        '{"type":"command","id":"x","name":"\\ud800\\u0000","args":{},"deadline_ms":5}',
        '{"type":"settings","desired":{"\\ud800":1}}',
        '{"type":"welcome","window":1e9,"boots":null}',
        *(
            "".join(chance.choice('{}[]":,0123456789.eE-+truefalsn \\u') for _ in range(chance.randrange(300)))
            for _ in range(60)
        ),
        "x" * 20_000,  # above the limit: closed with 1009
    ]

    async def flow() -> None:
        async with connected(tmp_path, climate=100) as (gateway, one, lines):
            for item in rubbish:
                await gateway.say(item)
            await until(lambda: len(gateway.hellos) == 2 and gateway.closed, timeout_s=20, what="the reconnect")
            assert gateway.closed[0][0] == 1009
            for _ in range(2):  # a frame with reserved bits: closed with 1002
                assert gateway.socket is not None
                gateway.socket.transport.write(b"\xff\x03abc")
                have = len(gateway.hellos)
                await until(lambda have=have: len(gateway.hellos) > have, timeout_s=20, what="another reconnect")
            have = len(gateway.samples)
            await until(lambda: len(gateway.samples) > have + 5, what="samples after all that")
            assert len({hello["boots"][0]["id"] for hello in gateway.hellos}) == 1
            assert not any("Traceback" in line for line in lines), lines
            await one.stop()
            assert len(gateway.samples) == sum(one.taken().values())

    run(flow(), timeout_s=55)


def test_a_longer_outage_than_the_ring_holds_goes_to_flash_and_nothing_is_lost(tmp_path: Path) -> None:
    async def flow() -> None:
        lines: list[str] = []
        async with running() as gateway:
            gateway.acks = False
            gateway.window = 5
            one = board(gateway.port, tmp_path, lines, climate=10, vitals=5000)
            await one.start()
            try:
                await until(
                    lambda: one.taken()["climate"] > 2 * RAM_SAMPLES, timeout_s=30, what="more samples than fit"
                )
                latest = [frame for frame in gateway.frames if frame["type"] == "latest"]
                assert len(latest) > 2
                assert {"temperature", "humidity", "pressure"} <= set(latest[-1]["values"])
                gateway.acks, gateway.window = True, 256
                assert gateway.socket is not None
                gateway.socket.transport.abort()
                await until(lambda: len(gateway.samples) > 2 * RAM_SAMPLES, timeout_s=20, what="the backlog")
            finally:
                await one.stop()
            assert [frame for frame in gateway.frames if frame["type"] == "gap"] == []
            assert sum(one.taken().values()) == len(gateway.samples)
            assert one.flash_erases > 0
            assert gateway.committed(gateway.hellos[-1]["boots"][-1]["id"]) == max(gateway.boot())

    run(flow(), timeout_s=55)


def test_with_none_a_power_cut_costs_one_sample_at_most_and_the_next_boot_sends_the_rest(tmp_path: Path) -> None:
    async def flow() -> None:
        lines: list[str] = []
        async with running() as gateway:
            gateway.acks = False
            one = board(gateway.port, tmp_path, lines, climate=100, vitals=1000)
            delivery = one.profile.delivery.model_copy(update={"power_loss": "none"})
            one.profile = one.profile.model_copy(update={"delivery": delivery})
            await one.start()
            try:
                await until(lambda: one.taken()["climate"] >= 30, timeout_s=25, what="30 samples")
                await one.power_cut()
                gateway.records.clear()  # nothing was acknowledged: all of it comes again
                gateway.acks = True
                await one.start()
                await until(lambda: len(gateway.samples) > 40, timeout_s=25, what="both boots")
            finally:
                await one.stop()
            (end,) = [frame for frame in gateway.frames if frame["type"] == "gap"]
            assert (end["to"], end["at_most"], end["why"]) == (None, 1, "power_loss")
            assert 0 <= sum(one.taken().values()) - len(gateway.samples) <= 1

    run(flow(), timeout_s=58)


def test_networks_are_tried_in_the_order_of_the_settings(tmp_path: Path) -> None:
    async def flow() -> None:
        lines: list[str] = []
        async with running() as gateway:
            one = board(gateway.port, tmp_path, lines)
            one.settings["wifi"] = [{"ssid": "away", "password": "not in reach"}, *one.settings["wifi"]]
            await one.start()
            try:
                await until(lambda: gateway.hellos, timeout_s=15, what="a connection")
            finally:
                await one.stop()
            assert [line.split()[-1] for line in lines if "wifi: joining" in line] == ["away", "home"]

    run(flow(), timeout_s=40)


def test_a_broken_settings_file_is_one_sentence_and_the_prompt(tmp_path: Path) -> None:
    async def flow() -> None:
        lines: list[str] = []
        one = board(1, tmp_path, lines)
        one.files["/settings.json"] = b'device = "greenhouse"'
        await one.start()
        try:
            await until(lambda: one.ended, timeout_s=20, what="the end of main.py")
            assert one.ended == "done"
            assert [line for line in lines if line] == [
                "mpy-gateway: /settings.json is not JSON: flash the board again (mpy-gateway flash)"
            ]
        finally:
            await one.stop()

    run(flow(), timeout_s=40)


def test_two_thirds_of_a_boards_memory_suffice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running() as gateway:
            small = board(gateway.port, tmp_path, [])
            facts = small.profile.board.model_copy(update={"heap_bytes": 2 * small.profile.board.heap_bytes // 3})
            small.profile = small.profile.model_copy(update={"board": facts})
            await small.start()
            await until(lambda: len(gateway.samples) >= 4, timeout_s=20, what="samples")
            await small.stop()

    run(scenario())
