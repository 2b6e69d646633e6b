"""Over TLS from end to end: what `devices add` writes lets a device in, our own command line knows its gateway, and
emulated boards, which are real MicroPython, verify it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl

import pytest
from websockets.asyncio.client import connect

from gateway.emulator import NoInterpreter, find_interpreter
from tests.aio import run
from tests.flow.commands import FREE_PORTS, Running, mpy_gateway, running_gateway, set_options

TLS = ("devices.tls=true", "people.tls=true")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory):
    with running_gateway(tmp_path_factory.mktemp("tls") / "state", *TLS) as running:
        yield running


def ask(gateway: Running, *words: str) -> str:
    ended = mpy_gateway(*words, "--state", str(gateway.state))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_device_made_by_devices_add_verifies_its_gateway_and_is_seen_by_the_command_line(gateway, tmp_path) -> None:
    ask(gateway, "devices", "add", "script", "--node", "climate-node", "--files", str(tmp_path / "board"))
    settings = json.loads((tmp_path / "board" / "settings.json").read_text())
    told = settings["gateway"]
    assert told["tls"] is True
    assert re.fullmatch(r"gw-[0-9a-f]{8}\.mpy-gateway", told["name"])
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing but what lies on the board, and every check of Python's
    trust.load_verify_locations(cadata=(tmp_path / "board" / "ca.der").read_bytes())

    async def session() -> None:
        url = str(gateway.run["devices_url"])
        assert url.startswith("wss://127.0.0.1:")
        headers = {"Authorization": f"Bearer {settings['token']}"}
        async with connect(
            url, ssl=trust, server_hostname=told["name"], subprotocols=["mpy-gateway.v1"], additional_headers=headers
        ) as socket:  # type: ignore[list-item]
            boots = [{"boot": 1, "id": "9f3c11d2c01b6a55", "first": 0, "next": 0}]
            await socket.send(json.dumps({"type": "hello", "device": "script", "hardware": "h", "boots": boots}))
            while json.loads(await socket.recv())["type"] != "welcome":
                pass
            status = json.loads(await asyncio.to_thread(ask, gateway, "status", "--json"))
            assert [row["device"] for row in status["connections"]] == ["script"]

    run(session())


def test_links_are_https_and_the_certificate_stands_beside_them_for_our_own_programs(gateway) -> None:
    assert ask(gateway, "link").startswith("https://127.0.0.1:")
    assert gateway.run["people_certificate"] == str(gateway.state / "tls" / "people.pem")
    log = gateway.state.with_suffix(".log").read_text()
    assert "https://127.0.0.1:" in log
    assert "http://" not in log
    assert "ws://" not in log


def test_the_command_line_talks_to_nobody_who_shows_another_certificate(gateway, tmp_path) -> None:
    """A program that took the port of a gateway that was killed: it must not get the token."""
    read = gateway.state / "tls" / "people.pem"
    kept = read.read_bytes()
    read.write_bytes((gateway.state / "tls" / "devices.pem").read_bytes())
    try:
        ended = mpy_gateway("status", "--state", str(gateway.state))
    finally:
        read.write_bytes(kept)
    assert ended.returncode == 1
    assert "its certificate is another" in ended.stderr


def test_a_door_in_the_clear_and_boards_that_cannot_know_the_authority_are_told(tmp_path) -> None:
    """`127.1` is this machine, but not an address of which the settings know that. The board was added before there
    was TLS."""
    state = tmp_path / "state"
    assert mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state)).returncode == 0
    page_in_the_clear = ("people.host=127.1", "people.tls=false", "people.insecure=true")
    with running_gateway(state, "devices.tls=true", *page_in_the_clear) as gateway:
        log = gateway.state.with_suffix(".log").read_text()
        assert "WARN  gateway people.insecure: what passes 127.1:0 can be read by anyone" in log
        assert "Boards that were set up before do not know it" in log
        told = {notice["id"]: notice for notice in json.loads(ask(gateway, "status", "--json"))["notices"]}
        assert set(told) == {"", "tls.authority"}
        assert told[""]["text"].startswith("people.insecure: "), "it stands as long as it holds: nobody can dismiss it"
        assert "`mpy-gateway ca ca.der`" in told["tls.authority"]["text"]


def test_emulated_boards_speak_tls_and_nothing_is_lost(tmp_path) -> None:
    try:
        find_interpreter()
    except NoInterpreter as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    report = tmp_path / "report.json"
    ended = mpy_gateway("demo", "--for", "5", "--report", str(report), *set_options(*FREE_PORTS, *TLS))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = json.loads(report.read_text())["devices"].values()
    assert row["taken"] == row["committed"] == row["published"] == row["seen"] >= 3, row
    assert "wss://127.0.0.1:" in ended.stdout
