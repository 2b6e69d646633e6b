"""The page in a real browser, against the real people's door with the real store behind it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Page, expect

from gateway.model import Event, Gap, Refusal, Sample

from .conftest import Visitor
from .door import Door, batch

T = TypeVar("T")
Visit = Callable[..., Visitor]


class DoorInThread:
    """A `Door` on a loop of its own, since the browser's driver blocks the test's thread."""

    def __init__(self, state: Path, **config: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._state = state
        self.door = self.do(self._open(**config))

    async def _open(self, **config: Any) -> Door:
        door = Door(self._state, **config)
        await door.start()
        return door

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def restart(self) -> None:
        """As after a crash of the gateway's machine: same state, same port."""
        port = self.door.server.port
        self.do(self.door.stop())
        self.door = self.do(self._open(port=port))

    def close(self) -> None:
        self.do(self.door.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def measure(self, *samples: Sample | Event | Gap) -> None:
        self.do(self.door.commit(batch(*samples)))

    def connect(self) -> None:
        async def on_its_loop() -> None:  # presence and store live there
            await self.door.connect()

        self.do(on_its_loop())


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[DoorInThread]:
    gateway = DoorInThread(tmp_path)
    yield gateway
    gateway.close()


def sample(s: int, *, refused: tuple[Refusal, ...] = (), **values: float) -> Sample:
    """Taken `s` seconds after T0, with that number."""
    return Sample(s, s * 1000, values or {"temperature": 20 + s / 100, "humidity": 48.5, "pressure": 1013.2}, refused)


def log_in(visitor: Visitor, gateway: DoorInThread) -> Page:
    """Open the one-time link, as the terminal prints it, and the device's page."""
    visitor.page.goto(gateway.door.server.one_time_link())
    expect(visitor.page.locator(".feed")).to_have_attribute("data-kind", "live")
    visitor.page.get_by_role("link", name="greenhouse").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("greenhouse")
    return visitor.page


def figure(page: Page, title: str) -> Any:
    return page.get_by_role("region", name=title).locator(".figure")


def test_what_is_committed_appears(visit: Visit, gateway: DoorInThread) -> None:
    gateway.measure(*(sample(s) for s in range(50)))
    page = log_in(visit(), gateway)
    expect(figure(page, "Temperature")).to_have_text("20.49")
    extent = page.get_by_role("region", name="Temperature").locator(".extent")
    expect(extent).to_have_text("low 20.00\u202f°Chigh 20.49\u202f°C")  # of the history, which REST gave
    gateway.measure(sample(50, temperature=31.25))
    expect(figure(page, "Temperature")).to_have_text("31.25")
    expect(extent).to_contain_text("31.25")


def test_what_was_refused_lost_and_happened_is_told_whether_before_or_after_one_looks(
    visit: Visit, gateway: DoorInThread
) -> None:
    hot = Refusal("temperature", "140.2", "value.range", "temperature 140.2 is outside -40..85 °C")
    wet = Refusal("humidity", "-3", "value.range", "humidity -3 is outside 0..100 %")
    gateway.measure(sample(0, refused=(hot,), humidity=48.0), Event(1, 1500, "sensor.failed", "climate", {"errno": 19}))
    gateway.measure(Gap(2, 2, 1, None, "unexplained"))
    page = log_in(visit(), gateway)
    quarantine, events = page.get_by_role("region", name="Quarantine"), page.get_by_role("region", name="Events")
    expect(quarantine.locator("tbody tr")).to_contain_text([hot.reason])
    expect(events).to_contain_text("Sensor climate failed: errno 19")
    lost = page.get_by_role("region", name="Lost").locator("li")
    expect(lost).to_contain_text(["1 sample lost: they never came, and nobody knows why"])
    gateway.measure(sample(3, refused=(wet,), temperature=21.0), Gap(4, 53, 50, None, "full"), sample(54))
    expect(quarantine.locator("tbody tr")).to_contain_text([wet.reason, hot.reason])
    expect(lost).to_contain_text(["50 samples lost: memory full", "1 sample lost"])
    expect(lost).to_have_text([re.compile(" to ")] * 2)
    delivery = page.get_by_role("region", name="Delivery")
    expect(delivery).to_contain_text("Refused2 values")
    expect(delivery).to_contain_text("51 samples in 2 gaps")


def test_commands_reach_the_device_and_their_results_come_back(visit: Visit, gateway: DoorInThread) -> None:
    gateway.measure(sample(0))
    page = log_in(visit(), gateway)
    commands = page.get_by_role("region", name="Commands")
    expect(commands).to_contain_text("The device is offline")
    gateway.connect()
    expect(page.locator(".presence")).to_have_text(re.compile("^Online"))
    commands.get_by_role("button").first.click()
    expect(commands.locator(".outcome.done")).to_contain_text("uptime_ms 81\u202f234")
    commands.get_by_role("button", name="Restart").click()
    commands.get_by_role("button", name="Restart now").click()
    expect(commands.locator(".outcome.failed")).to_have_text("Failed: not now")
    asked = commands.locator(".asked li")
    expect(asked).to_contain_text(["Restart failed: not now", "Ping done in"])
    assert [command.name for command in gateway.door.commands] == ["ping", "restart"]


def test_after_a_restart_of_the_gateway_the_page_is_back_without_a_new_login(
    visit: Visit, gateway: DoorInThread
) -> None:
    gateway.measure(sample(0, temperature=20.5))
    visitor = visit()
    page = log_in(visitor, gateway)
    visitor.network_may_fail = True
    gateway.restart()
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live", timeout=15_000)
    gateway.measure(sample(1, temperature=25.5))
    expect(figure(page, "Temperature")).to_have_text("25.50")


def test_without_a_login_the_page_says_how_to_get_in(visit: Visit, gateway: DoorInThread) -> None:
    page = visit().page
    page.goto(gateway.door.server.url)
    expect(page.get_by_text("mpy-gateway link")).to_be_visible()
