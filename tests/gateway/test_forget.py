"""Forgetting a device: nothing of it is left, in no file, at no broker, on no page, and its name is as new."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from gateway.app import Gateway
from gateway.config import load_config
from gateway.errors import ConfigError
from gateway.profile import find_node, load_profile
from gateway.store.devices import Devices
from gateway.store.sqlite import SqliteStore
from tests.aio import run, until
from tests.flow.commands import mpy_gateway
from tests.gateway.device.door import SUBPROTOCOL, Device
from tests.gateway.mqtt.world import Client, Mosquitto, in_thread

PROFILE = load_profile(find_node("climate-node"))
NAME = "old-greenhouse"
SETTINGS = ("devices.port=0", "people.port=0", "store.commit_ms=5", "limits.quarantine_rows=50")


@asynccontextmanager
async def running(state: Path, broker_port: int) -> AsyncIterator[Gateway]:
    broker = f"mqtt.home.url=mqtt://127.0.0.1:{broker_port}"
    gateway = Gateway(load_config(None, overrides=[*SETTINGS, broker], environ={}, state=state))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


async def enter(gateway: Gateway, token: str, name: str = NAME, **hello: Any) -> Device:
    socket = await connect(
        gateway.devices_url,
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # the library's own kind of text
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
        proxy=None,
    )
    device = Device(socket, name)
    await device.hello(**hello)
    device.welcome = await device.receive("welcome")
    return device


async def live_through_much(device: Device, seq: int = 0) -> None:
    """Samples, refused values, a refused frame, an event and a gap, all of them acknowledged."""
    await device.samples(seq, *[20.25, 9e9] * 50)
    await device.samples(seq + 100, "no number at all")
    await device.send(
        {"type": "event", "boot": 1, "seq": seq + 101, "t": 200_000, "code": "boot", "data": {"cause": 7}}
    )
    await device.send({"type": "gap", "boot": 1, "from": seq + 102, "to": seq + 110, "why": "full"})
    while (await device.receive("ack"))["seq"] < seq + 110:
        pass


async def rest(gateway: Gateway, method: str, path: str) -> tuple[int, Any]:
    def in_a_thread() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.people.port, timeout=20)
        connection.request(method, path, headers={"Authorization": f"Bearer {gateway.people.cli_token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    return await in_thread(in_a_thread)


def files_with(state: Path, text: str) -> list[str]:
    """Files of the state directory that hold `text` anywhere, in a deleted row too."""
    return [file.name for file in state.iterdir() if file.is_file() and text.encode() in file.read_bytes()]


def test_nothing_of_a_forgotten_device_is_left_and_its_name_is_as_new(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def scenario(broker: Mosquitto, client: Client) -> None:
        async with running(state, broker.port) as gateway:
            token = await gateway.devices.add(NAME, PROFILE)
            other = await enter(gateway, await gateway.devices.add("bystander", PROFILE), "bystander")
            device = await enter(gateway, token)
            await live_through_much(device)
            await live_through_much(other)
            answering = asyncio.create_task(gateway.dispatcher.send(NAME, "ping", timeout_s=30))
            await device.receive("command")
            await until(lambda: client.retained(f"mpy-gateway/{NAME}/state"), what="the state at the broker")
            await until(lambda: sum(client.identities().values()) == 202, what="the samples at the broker")
            assert files_with(state, NAME)

            status, said = await rest(gateway, "DELETE", f"/api/devices/{NAME}")
            assert (status, said["text"].partition(".")[0]) == (200, f"{NAME} is forgotten")
            assert "overwritten when" not in said["text"]
            assert (await device.closed())[0] == 4003
            assert (await answering).error_code == "device.removed"
            assert (await rest(gateway, "GET", f"/api/devices/{NAME}/samples"))[0] == 404
            for leaf in ("state", "availability"):
                await until(lambda leaf=leaf: client.retained(f"mpy-gateway/{NAME}/{leaf}") == b"", what="the clearing")
            await gateway.bridges[0]._save()
            assert files_with(state, NAME) == []
            assert files_with(state, "no number at all") != []  # of the other one
            assert {batch.device for batch in await gateway.store.read("")} == {"bystander"}

            again = await gateway.devices.add(NAME, PROFILE)
            _, fresh = await rest(gateway, "GET", f"/api/devices/{NAME}")
            assert (fresh["latest"], fresh["last_seen_ms"], fresh["hardware"]) == ({}, None, None)
            assert not any(fresh["counts"].values())
            for what in ("quarantine", "gaps", "events", "commands"):
                status, answer = await rest(gateway, "GET", f"/api/devices/{NAME}/{what}")
                assert (status, [*answer.values()]) == (200, [NAME, []])
            device = await enter(gateway, again)
            assert device.welcome["boots"] == [{"boot": 1, "committed": -1}]
            before = len(client.messages)
            await device.samples(0, 21)
            await device.acked(0)
            await until(lambda: len(client.messages) > before, what="the new samples at the broker")
            await until(lambda: client.retained(f"mpy-gateway/{NAME}/state"), what="the new state")
            await live_through_much(other, 111)  # who had nothing to do with it goes on

    with Mosquitto(tmp_path) as broker, Client(broker.port) as client:
        run(scenario(broker, client.subscribe("mpy-gateway/#")), timeout_s=60)


def test_what_a_broker_retains_is_cleared_when_it_is_there_again(tmp_path: Path) -> None:
    """Also where the gateway was restarted meanwhile, and the name is in use again."""
    state = tmp_path / "state"

    async def scenario(broker: Mosquitto) -> None:
        async with running(state, broker.port) as gateway:
            device = await enter(gateway, await gateway.devices.add(NAME, PROFILE))
            await device.samples(0, 20)
            await device.acked(0)
            await until(lambda: gateway.bridges[0].stats()["published"] == 1, what="publishing")
            await until(lambda: not gateway.bridges[0].stats()["under_way"], what="what is retained")
            broker.kill()
            await until(lambda: gateway.bridges[0].stats()["state"] != "connected", what="the broker's end")
            await device.samples(1, 20)  # waits for the broker, and never gets there
            await device.acked(1)
            await gateway.forget(NAME)
            await gateway.devices.add(NAME, PROFILE)
        broker.start()
        with Client(broker.port) as client:
            client.subscribe(f"mpy-gateway/{NAME}/#")
            await until(lambda: client.retained(f"mpy-gateway/{NAME}/state"), what="the old state, from its disk")
            async with running(state, broker.port) as gateway:
                offline = f"mpy-gateway/{NAME}/availability"
                await until(lambda: client.retained(f"mpy-gateway/{NAME}/state") == b"", what="the clearing")
                await until(lambda: client.retained(offline) == b"offline", what="the new one's availability")
                assert not client.identities()
                await until(lambda: not gateway.bridges[0].stats()["under_way"], what="what is retained")
                await gateway.bridges[0]._save()
                assert not await gateway.store.list("forgotten/")

    config = "allow_anonymous true\npersistence true\nautosave_interval 1\nautosave_on_changes true\n"
    with Mosquitto(tmp_path, config=f"{config}persistence_location {tmp_path}/\nuser root") as broker:
        run(scenario(broker), timeout_s=60)


def test_a_device_is_forgotten_with_no_gateway_running(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def live(broker: Mosquitto) -> None:
        async with running(state, broker.port) as gateway:
            await live_through_much(await enter(gateway, await gateway.devices.add(NAME, PROFILE)))

    with Mosquitto(tmp_path) as broker:
        run(live(broker))
    assert files_with(state, NAME)
    ended = mpy_gateway("devices", "forget", NAME, "--yes", "--state", str(state))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{NAME} is forgotten.")
    assert files_with(state, NAME) == []
    again = mpy_gateway("devices", "forget", NAME, "--yes", "--state", str(state))
    assert (again.returncode, NAME in again.stderr) == (1, True)


def test_a_forgetting_that_was_cut_short_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is still there, revoked, and nothing it knows is needed twice."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(tmp_path / "state", broker.port) as gateway:
                token = await gateway.devices.add(NAME, PROFILE)
                await live_through_much(await enter(gateway, token))

                async def fails(_device: str) -> None:
                    raise ConfigError("cut short")

                with monkeypatch.context() as patched:
                    patched.setattr(gateway.people, "forget", fails)
                    with pytest.raises(ConfigError, match="cut short"):
                        await gateway.forget(NAME)
                (info,) = await gateway.devices.list()
                assert (info.id, info.revoked) == (NAME, True)
                await gateway.forget(NAME)
                assert await gateway.devices.list() == []
                with pytest.raises(ConfigError, match="there is no device"):
                    await gateway.forget(NAME)

    run(scenario())


def test_what_is_under_way_when_a_device_is_forgotten_is_not_stored(tmp_path: Path) -> None:
    """A board that sends as fast as it can is forgotten again and again."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(tmp_path / "state", broker.port) as gateway:
                for _ in range(2):
                    device = await enter(gateway, await gateway.devices.add(NAME, PROFILE))

                    async def pour(device: Device = device) -> None:
                        for seq in range(0, 10_000, 10):
                            await device.samples(seq, *[20] * 10)

                    pouring = asyncio.create_task(pour())
                    await device.receive("ack")
                    assert await gateway.forget(NAME)
                    await asyncio.gather(pouring, return_exceptions=True)
                    assert await gateway.store.read("") == []
                    assert gateway.store.latest(NAME) == {}

                async def nothing_left() -> bool:
                    await gateway.bridges[0]._save()  # that the broker has cleared what it retained
                    return files_with(tmp_path / "state", NAME) == []

                await until(nothing_left, what="the clearing", timeout_s=25)

    run(scenario(), timeout_s=50)


def test_a_store_without_a_gateway_forgets_and_keeps_its_cursors(tmp_path: Path) -> None:
    """Ids are never used again: a cursor behind the forgotten rows is not taken for one of a lost log."""
    from tests.gateway.store.samples import batch, samples, seqs

    async def scenario() -> None:
        store = SqliteStore(tmp_path, commit_ms=1)
        await store.open()
        await Devices(store).add("greenhouse", PROFILE)
        for device in ("greenhouse", "cellar"):
            epoch = await store.claim(device, "gw")
            await store.append(epoch, batch(*samples(0, 9), device=device))
        end = await store.end()
        await store.forget("cellar")
        await store.close()
        store = SqliteStore(tmp_path, commit_ms=1)
        await store.open()
        assert await store.end() == end
        assert await store.read(end) == []
        assert seqs(await store.read("")) == [*range(10)]
        epoch = await store.claim("cellar", "gw")
        await store.append(epoch, batch(*samples(5, 6), device="cellar"))
        assert [record.seq for one in await store.read(end) for record in one.records] == [0, 5, 6]  # a gap, then these
        await store.close()

    run(scenario())
