"""Devices that are not ours, written from WIRE.md alone: a Node program and a browser page."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from gateway.model import Quality, Sample, Status
from tests.aio import run, until
from tests.browser import ARGUMENTS
from tests.gateway.device.door import Door, open_door
from tests.programs import need_program

STRANGERS = Path(__file__).parent / "strangers"


@pytest.fixture(scope="module")
def node_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """device.mjs with its one package installed beside it."""
    need_program("node")
    folder = tmp_path_factory.mktemp("stranger")
    for name in ("device.mjs", "package.json", "package-lock.json"):
        shutil.copy(STRANGERS / name, folder)
    command = [need_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "device.mjs"


async def start(script: Path, door: Door, *arguments: str) -> Process:
    token = await door.add("stranger")
    return await asyncio.create_subprocess_exec(
        need_program("node"), str(script), door.url, "stranger", token, *arguments, stdout=PIPE, stderr=PIPE
    )


async def output(process: Process) -> str:
    out, err = await process.communicate()
    assert not err, err.decode()
    return out.decode()


def test_a_node_device_streams_while_it_answers_commands_and_closes(node_device: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            process = await start(node_device, door, "200")
            await until(lambda: door.presence.get("stranger"), what="the device's hello")
            done = await door.dispatcher.send("stranger", "ping")
            refused = await door.dispatcher.send("stranger", "dance")
            assert (done.status, refused.status) == (Status.DONE, Status.FAILED)
            assert refused.error_code == "command.unknown"
            assert await output(process) == "echo bulk\nclosed 1000 done\n"
            batches = await door.batches("stranger")
            samples = [record for batch in batches for record in batch.records if isinstance(record, Sample)]
            assert [sample.seq for sample in samples] == list(range(200))
            assert {batch.quality for batch in batches} == {Quality.SYNCED}
            await until(lambda: door.presence.get("stranger") is None, what="the end of the connection")

    run(scenario())


def test_a_node_device_sees_why_the_gateway_closes(node_device: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(tmp_path) as door:
            process = await start(node_device, door, "3", "stay")
            assert process.stdout is not None
            assert await process.stdout.readline() == b"echo bulk\n"
            await door.server.stop()
            assert await output(process) == "closed 1001 the gateway stops\n"

    run(scenario())


def test_a_browser_page_is_a_device_with_the_plain_websocket_api(tmp_path: Path) -> None:
    chromium = need_program("chromium", "chromium-browser")

    async def open_page(page: Page, door: Door) -> None:
        token = await door.add("page")
        await page.goto(f"{(STRANGERS / 'page.html').as_uri()}#{door.url},page,{token}")
        await expect(page.locator("#acked")).to_have_text("1")
        await expect(page.locator("#echo")).to_have_text("42")
        # the token was a subprotocol too, and is not the one that was chosen
        await expect(page.locator("#state")).to_have_text("welcome, mpy-gateway.v1")

    async def scenario() -> None:
        async with open_door(tmp_path) as door, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = await browser.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            await open_page(page, door)
            result = await door.dispatcher.send("page", "anything")
            assert result.data == {"agent": "browser"}
            await page.click("#close")
            await expect(page.locator("#state")).to_have_text("closed 1000 done")
            assert [record.last for record in await door.records("page")] == [0, 1]

            second = await browser.new_page()
            token = await door.add("page-2")
            await second.goto(f"{(STRANGERS / 'page.html').as_uri()}#{door.url},page-2,{token}")
            await expect(second.locator("#acked")).to_have_text("1")
            await door.server.stop()
            await expect(second.locator("#state")).to_have_text("closed 1001 the gateway stops")
            await browser.close()
            assert not errors

    run(scenario(), timeout_s=50)
