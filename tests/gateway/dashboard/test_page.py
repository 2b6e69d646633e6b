"""The page in a real browser, against a gateway that does as it is told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from starlette.responses import JSONResponse

from .conftest import Visitor
from .scripted import BOOT_ID, ScriptedDevice, ScriptedGateway, now_ms

Visit = Callable[..., Visitor]

LIGHT = "rgb(246, 246, 243)"
DARK = "rgb(16, 20, 19)"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def greenhouse() -> ScriptedDevice:
    return ScriptedDevice("greenhouse")


@pytest.fixture
def gateway(greenhouse: ScriptedDevice) -> Iterator[ScriptedGateway]:
    gateway = ScriptedGateway(greenhouse, ScriptedDevice("attic", online=False))
    gateway.start()
    yield gateway
    gateway.stop()


def panel(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


def drawn(page: Page, title: str) -> list[int]:
    """Columns of a chart's canvas in which its line is drawn, as shares of the width in percent."""
    return (
        panel(page, title)
        .locator("canvas")
        .evaluate("""(canvas) => {
        const accent = getComputedStyle(canvas).getPropertyValue("--accent").match(/[0-9.]+/g).map(Number);
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        const columns = new Set();
        for (let i = 0; i < data.length; i += 4) {
            const near = accent.every((part, j) => Math.abs(part - data[i + j]) < 40) && data[i + 3] > 150;
            if (near) columns.add(Math.floor(((i / 4) % width) / width * 100));
        }
        return [...columns].sort((a, b) => a - b);
    }""")
    )


def wait_for_line(page: Page, title: str, *, columns: int = 60) -> list[int]:
    deadline = time.monotonic() + 10
    while len(found := drawn(page, title)) < columns:
        assert time.monotonic() < deadline, f"the line of {title} covers only {found}"
        page.wait_for_timeout(50)
    return found


# --- what it shows


def test_the_list_shows_who_is_there_with_newest_values_and_their_age(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_list(gateway.url)
    expect(page.get_by_text("1 of 2 online")).to_be_visible()
    there, away = (
        page.get_by_role("listitem").filter(has_text="greenhouse"),
        page.get_by_role("listitem").filter(has_text="attic"),
    )
    expect(there).to_contain_text("Online for 2 h 5 min")
    expect(there.locator(".age")).to_have_text("now")
    expect(there.locator(".value.old")).to_have_count(0)
    expect(away).to_contain_text("Offline, last seen 14 min ago")
    expect(away.locator(".value.old")).to_have_count(3)


def test_live_values_arrive(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_device(gateway.url)
    value = panel(page, "Temperature").locator(".figure")
    expect(value).to_have_text(re.compile(r"^\d\d\.\d\d$"))
    seen = value.text_content()
    expect(value).not_to_have_text(seen or "")
    expect(panel(page, "Temperature").locator(".age")).to_have_text("now")


def test_a_value_that_grows_old_looks_old(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_device(gateway.url)
    temperature = panel(page, "Temperature")
    expect(temperature.locator(".value")).not_to_have_class(re.compile("old"))
    gateway.mute(greenhouse)
    expect(temperature.locator(".value")).to_have_class(re.compile("old"), timeout=9000)
    expect(temperature.locator(".age")).to_have_text(re.compile(r"^\d s ago$"))
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live")


def test_charts_draw_the_past_and_go_on(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_device(gateway.url)
    for title in ("Temperature", "Humidity", "Air pressure"):
        wait_for_line(page, title)
    before = panel(page, "Temperature").locator("canvas").evaluate("(canvas) => canvas.toDataURL()")
    page.wait_for_function(
        "(before) => document.querySelector('.panel canvas').toDataURL() !== before", arg=before, timeout=5000
    )


def test_a_gap_is_drawn_as_a_gap(visit: Visit) -> None:
    gateway = ScriptedGateway(ScriptedDevice("greenhouse", away=(200, 100)))
    gateway.start()
    try:
        page = visit().open_device(gateway.url)
        columns = wait_for_line(page, "Temperature", columns=40)
        missing = set(range(columns[0], columns[-1])) - set(columns)
        assert 25 <= len(missing) <= 35, missing  # 100 s of 300 s, less the axis
        assert missing == set(range(min(missing), max(missing) + 1)), "one piece"
    finally:
        gateway.stop()


def test_another_range_loads_its_own_history(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_device(gateway.url)
    wait_for_line(page, "Temperature")
    with page.expect_request(re.compile("/samples")) as request:
        page.get_by_label("24 h", exact=True).check()
    since = int(re.search(r"from_ms=(\d+)", request.value.url)[1])  # type: ignore[index]  # a failed match fails the test
    assert abs(now_ms() - since - 86_400_000) < 60_000
    wait_for_line(page, "Temperature")
    expect(page.get_by_role("img", name="Chart of Temperature, the last 24 h")).to_be_visible()


def test_the_value_under_the_pointer_is_told_in_all_charts_of_the_device(
    visit: Visit, gateway: ScriptedGateway
) -> None:
    page = visit().open_device(gateway.url)
    wait_for_line(page, "Temperature")
    panel(page, "Temperature").locator(".u-over").hover()
    for title, unit in (("Temperature", "°C"), ("Humidity", "%"), ("Air pressure", "hPa")):
        point = re.compile(rf"^(\d+ \w+ )?\d\d:\d\d:\d\d  [\d.]+\u202f{unit}$")
        expect(panel(page, title).locator(".hover")).to_have_text(point, use_inner_text=False)
    page.mouse.move(0, 0)
    expect(panel(page, "Humidity").locator(".hover")).to_be_hidden()


def test_vitals_are_in_human_words(visit: Visit, gateway: ScriptedGateway) -> None:
    vitals = visit().open_device(gateway.url).get_by_role("region", name="Vitals")
    expect(vitals).to_contain_text("power on")
    expect(vitals).to_contain_text(re.compile(r"Free memory1\d\d\.\d KB"))
    expect(vitals).to_contain_text(re.compile(r"Wi-Fi signal\u2212\d\d dBm"))
    expect(vitals).to_contain_text(re.compile(r"Uptime\d+ (h|min|s)"))


def test_refused_values_are_shown_with_their_reasons_newest_first(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.refuse("-41.7", at_ms=now_ms() - 60_000)
    page = visit().open_device(gateway.url)
    rows = page.get_by_role("region", name="Quarantine").locator("tbody tr")
    expect(rows).to_have_count(1)
    gateway.say(greenhouse.refuse("140.2"))
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("temperature 140.2 is outside -40..85 °C")
    expect(rows.first).to_contain_text("value.range")


def test_text_from_devices_stays_text(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_device(gateway.url)
    gateway.say(greenhouse.refuse("<img src=x onerror=alert(1)>"))
    row = page.get_by_role("region", name="Quarantine").locator("tbody tr")
    expect(row.locator(".raw")).to_have_text("<img src=x onerror=alert(1)>")
    expect(row.locator("img")).to_have_count(0)


def test_many_refused_values_are_shown_few_at_first(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    for number in range(30):
        greenhouse.refuse(str(100 + number))
    quarantine = visit().open_device(gateway.url).get_by_role("region", name="Quarantine")
    expect(quarantine.locator("tbody tr")).to_have_count(8)
    quarantine.get_by_role("button", name="Show all 30 refused values").click()
    expect(quarantine.locator("tbody tr")).to_have_count(30)
    quarantine.get_by_role("button", name="Show fewer").click()
    expect(quarantine.locator("tbody tr")).to_have_count(8)


def test_events_gaps_and_counts_are_told(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_device(gateway.url)
    failed = {"at_ms": now_ms(), "boot_id": BOOT_ID, "seq": 7, "code": "sensor.failed", "sensor": "climate"}
    why = {"errno": 19, "why": "missing", "address": 0x76}
    counts = {"samples": 5, "events": 2, "gaps": 2, "lost": 114, "quarantined": 3, "uncertain": 64}
    gateway.say(
        {"type": "event", "device": "greenhouse", "rows": [{**failed, "data": why}]},
        greenhouse.lose(),
        {"type": "counts", "device": "greenhouse", "counts": counts},
    )
    events = page.get_by_role("region", name="Events")
    expect(events).to_contain_text("Started: power on")
    expect(events).to_contain_text("Sensor climate failed: no chip answers at 0x76")
    expect(page.get_by_role("region", name="Lost")).to_contain_text("12 samples lost: memory full")
    expect(page.get_by_role("region", name="Delivery")).to_contain_text("50 to 114 samples in 2 gaps")


def test_what_was_lost_before_the_page_was_opened_is_listed_and_shaded_with_its_words(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.away = (200, 100)
    greenhouse.lose(ago_s=(200, 100))
    greenhouse.lose(ago_s=(90, 60), to=None, count=None, at_most=64, why="power_loss", boot_id="0" * 16)
    page = visit().open_device(gateway.url)
    rows = page.get_by_role("region", name="Lost").locator("li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("At most 64 samples lost: power cut")
    clock = r"(\d+ \w+ )?\d\d:\d\d:\d\d"
    expect(rows.last).to_have_text(re.compile(rf"^{clock} to {clock}12 samples lost: memory full$"))
    temperature = panel(page, "Temperature")
    lost = temperature.get_by_role("img", name="12 samples lost: memory full")
    box, chart = lost.bounding_box(), temperature.locator(".u-over").bounding_box()
    assert box is not None
    assert chart is not None
    assert box["width"] / chart["width"] == pytest.approx(100 / 300, abs=0.02)
    assert (box["y"], box["height"]) == (pytest.approx(chart["y"], abs=1), pytest.approx(chart["height"], abs=1))
    lost.hover()
    expect(temperature.locator(".hover")).to_have_text(re.compile("^12 samples lost: memory full, "))
    page.mouse.move(0, 0)
    expect(temperature.locator(".hover")).to_be_hidden()


def test_what_was_lost_can_be_read_by_keyboard(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.lose(ago_s=(90, 60), at_most=64, count=None, to=None, why="power_loss")
    greenhouse.lose(ago_s=(200, 100))
    page = visit().open_device(gateway.url)
    temperature = panel(page, "Temperature")
    expect(temperature.locator(".lost span")).to_have_count(2)
    page.get_by_label("5 min", exact=True).focus()
    page.keyboard.press("Tab")
    expect(temperature.locator(".hover")).to_contain_text("12 samples lost")
    page.keyboard.press("ArrowRight")
    expect(temperature.locator(".hover")).to_contain_text("At most 64 samples lost: power cut")
    page.keyboard.press("Tab")
    expect(temperature.locator(".hover")).to_be_hidden()
    expect(panel(page, "Humidity").locator(".hover")).to_contain_text("12 samples lost")


def test_a_gap_that_is_still_open_ends_where_samples_follow(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    gateway.mute(greenhouse)
    page = visit().open_device(gateway.url)
    rows = page.get_by_role("region", name="Lost").locator("li")
    with page.expect_request(re.compile("/gaps")):  # REST may know the end by now
        gateway.say(greenhouse.lose(ago_s=(60, 0), after_ms=None))
    expect(rows).to_contain_text("since")
    gateway.say({**greenhouse.samples(), "seq": [912]})
    expect(rows).to_contain_text(" to ")


def test_the_list_says_nothing_lost_only_where_that_is_true(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    never = ScriptedDevice("brand-new", online=False)
    never.seen = False
    bound = ScriptedDevice("cellar")
    bound.lose(to=None, count=None, at_most=64, why="power_loss")
    gateway.devices |= {"brand-new": never, "cellar": bound}
    page = visit().open_list(gateway.url)

    def said(device: str) -> Locator:
        return page.get_by_role("listitem").filter(has_text=device).locator(".device-newest .muted")

    expect(said("greenhouse")).to_have_text("nothing lost")
    expect(said("brand-new")).to_have_text("never seen")
    expect(said("cellar")).to_have_text("at most 64 samples lost")


def test_times_that_are_not_certain_are_told_beside_the_value_and_at_the_chart(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.unsure = [
        {"from_ms": now_ms() - 200_000, "to_ms": now_ms() - 150_000, "quality": "corrected"},
    ]
    page = visit().open_device(gateway.url)
    temperature = panel(page, "Temperature")
    expect(temperature.locator(".extent")).to_contain_text("some: time corrected")
    expect(temperature.locator(".tag")).to_have_count(0)
    greenhouse.quality = "estimated"
    expect(temperature.locator(".tag")).to_have_text("time estimated")
    expect(temperature.locator(".extent")).to_contain_text("some: time corrected, time estimated")
    expect(page.get_by_role("region", name="Delivery")).to_contain_text("estimated by arrival")


def test_a_correction_loads_the_history_again(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    page = visit().open_device(gateway.url)
    wait_for_line(page, "Temperature")
    with page.expect_request(re.compile("/samples")), page.expect_request(re.compile("/gaps")):
        gateway.say(
            {"type": "corrected", "device": "greenhouse", "boot": 17, "boot_id": BOOT_ID, "from": 0, "to": 9}
            | {"moved_ms": -3120}
        )


def test_late_samples_land_at_their_time_without_asking_and_the_newest_stays(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.away = (200, 100)
    page = visit().open_device(gateway.url)
    wait_for_line(page, "Temperature", columns=40)
    gateway.mute(greenhouse)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    late = [greenhouse.born_ms - ago_ms for ago_ms in range(200_000, 100_000, -1000)]
    gateway.say(
        {**greenhouse.samples(), "boot": 16, "boot_id": "0" * 16, "seq": list(range(100)), "at_ms": late}
        | {"values": {"temperature": [11.11] * 100}}
    )
    wait_for_line(page, "Temperature", columns=80)
    assert [url for url in asked if "/samples" in url] == []
    expect(panel(page, "Temperature")).to_contain_text("11.11")  # the lowest in the chart
    expect(panel(page, "Temperature").locator(".figure")).not_to_have_text("11.11")


# --- the gateway itself


DISK_FULL = "The disk is full: nothing is acknowledged; boards keep their samples. Free some space."


def test_an_error_of_the_gateway_is_told_on_every_page_until_it_is_over(visit: Visit, gateway: ScriptedGateway) -> None:
    trouble = {
        **gateway.panel,
        "notices": [{"level": "error", "text": DISK_FULL, "since_ms": now_ms() - 65_000, "id": ""}],
    }
    gateway.panel = trouble
    page = visit().open_list(gateway.url)
    expect(page.get_by_role("alert")).to_have_text(DISK_FULL)
    page.get_by_role("link", name="greenhouse").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("greenhouse")
    expect(page.get_by_role("alert")).to_have_text(DISK_FULL)
    page.locator(".to-gateway").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Gateway")
    expect(page.get_by_role("region", name="To know")).to_contain_text(
        re.compile(rf"{re.escape(DISK_FULL)} For 1 min \d+ s\.")
    )
    gateway.say({"type": "status", **gateway.panel, "notices": []})
    expect(page.get_by_role("alert")).to_have_text("")
    expect(page.get_by_role("region", name="To know")).to_contain_text("All is well.")


def test_what_has_happened_is_told_until_somebody_dismisses_it(visit: Visit, gateway: ScriptedGateway) -> None:
    moved = {"level": "error", "text": "A damaged file was moved aside.", "since_ms": now_ms(), "id": "samples.db.1"}
    gateway.panel["notices"] = [moved]
    page = visit().open_list(gateway.url)
    expect(page.get_by_role("alert")).to_contain_text("A damaged file was moved aside.")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_have_text("")
    assert gateway.dismissed == ["samples.db.1"]


def test_the_gateways_disk_and_brokers_have_a_page(visit: Visit, gateway: ScriptedGateway) -> None:
    gateway.panel["store"] |= {"pruned_samples": 500, "untaken": {"home": 120}}
    why = "connection refused"
    away = {"state": "waiting", "why": why, "since_ms": now_ms() - 240_000, "backlog": 1204, "aside": 2}
    aside = [{"topic": "mpy-gateway/greenhouse/samples", "why": "packet too large"}]
    home = gateway.panel["brokers"][0] | {"name": "home", **away, "last_aside": aside}
    gateway.panel["brokers"].append(home)
    gateway.panel["notices"] = [{"level": "warning", "text": "Not connected.", "since_ms": None, "id": ""}]
    page = visit().open_list(f"{gateway.url}/#/gateway")
    disk = page.get_by_role("region", name="Disk")
    expect(disk).to_contain_text("Free20.0 GB")
    expect(disk).to_contain_text("Deleted by age or size500 samples")
    expect(disk).to_contain_text("Deleted before home took them120 samples")
    broker = page.get_by_role("region", name="Broker home")
    expect(broker).to_contain_text(re.compile(r"Not connected for 4 min( \d+ s)?: connection refused"))
    expect(broker).to_contain_text("Behind1204 samples")
    expect(broker).to_contain_text("packet too large")
    expect(page.get_by_role("region", name="Broker embedded")).to_contain_text(re.compile("Connected for 2 h"))
    expect(page.get_by_role("link", name="Gateway 1 notice")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_provisional_value_is_marked(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_device(gateway.url)
    ahead = {"type": "latest", "device": "greenhouse", "at_ms": now_ms() + 30_000, "values": {"temperature": 33.33}}
    gateway.say({**ahead, "provisional": True})
    expect(panel(page, "Temperature")).to_contain_text("33.33 °Cnowprovisional")


def test_devices_come_and_go_while_one_looks(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_list(gateway.url)
    gateway.say(
        {"type": "device", "device": "cellar", "info": ScriptedDevice("cellar", online=False).whole()},
        {"type": "removed", "device": "attic"},
    )
    gateway.devices["cellar"] = ScriptedDevice("cellar", online=False)
    expect(page.locator(".device-name a")).to_have_text(["cellar", "greenhouse"])


def test_without_any_device_it_says_how_to_add_one(visit: Visit) -> None:
    gateway = ScriptedGateway()
    gateway.start()
    try:
        page = visit().open_list(gateway.url)
        expect(page.get_by_text("No device yet")).to_be_visible()
        expect(page.get_by_text("mpy-gateway devices add")).to_be_visible()
    finally:
        gateway.stop()


def test_a_device_that_does_not_exist_is_told(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_device(gateway.url, "nobody")
    expect(page.get_by_text("There is no such device")).to_be_visible()


# --- commands


def test_a_command_shows_that_it_is_busy_and_then_its_result(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.answers.clear()
    commands = visit().open_device(gateway.url).get_by_role("region", name="Commands")
    ping = commands.get_by_role("button", name="Ping")
    ping.click()
    expect(commands).to_contain_text("Waiting for the device")
    ping.click(force=True)  # asked twice is sent once
    greenhouse.answers.set()
    expect(commands.locator(".outcome.done")).to_have_text(re.compile(r"^Done in \d+ ms · uptime_ms 81\u202f234$"))
    assert greenhouse.commands == [{"name": "ping", "args": {}, "timeout_s": 10}]


def test_a_commands_arguments_are_sent_and_kept_within_their_limits(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    commands = visit().open_device(gateway.url).get_by_role("region", name="Commands")
    seconds, blink = commands.get_by_label("seconds"), commands.get_by_role("button", name="Blink")
    seconds.fill("61")
    blink.click()
    seconds.fill("12")
    blink.click()
    expect(commands.locator(".outcome.done")).to_have_count(1)
    assert [command["args"] for command in greenhouse.commands] == [{"seconds": 12}]
    expect(seconds).to_have_value("12")  # no render undoes what was typed


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"status": "failed", "error": {"code": "busy", "text": "not now"}}, "Failed: not now"),
        ({"status": "unknown"}, "No answer: nobody knows whether it was carried out"),
        ({"status": "expired"}, "Not begun in time, and it will not be"),
        ({"status": "done", "name": 7}, "result.name: expected text"),
    ],
)
def test_a_command_that_fails_says_why(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice, answer: dict[str, Any], text: str
) -> None:
    greenhouse.result = lambda _: {"id": "c1", "name": "identify", "data": {}, "error": None, **answer}
    commands = visit().open_device(gateway.url).get_by_role("region", name="Commands")
    commands.get_by_role("button", name="Blink").click()
    expect(commands.locator(".outcome.failed")).to_have_text(text)


def test_a_command_the_gateway_refuses_says_why(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    problem = {"error": {"code": "command.unknown", "text": "greenhouse has no command 'ping'."}}
    greenhouse.result = lambda _: JSONResponse(problem, 400)
    visitor = visit()
    visitor.network_may_fail = True  # the browser notes the 400
    commands = visitor.open_device(gateway.url).get_by_role("region", name="Commands")
    commands.get_by_role("button", name="Ping").click()
    expect(commands.locator(".outcome.failed")).to_have_text("greenhouse has no command 'ping'.")


def test_a_command_for_an_offline_device_is_queued_and_says_so(visit: Visit, gateway: ScriptedGateway) -> None:
    attic = gateway.devices["attic"]
    attic.answers.clear()
    attic.result = lambda command: {"id": "c1", "name": "ping", "status": "expired", "data": {}, "error": None}
    commands = visit().open_device(gateway.url, "attic").get_by_role("region", name="Commands")
    expect(commands.locator(".outcome").first).to_have_text(
        "The device is offline: it gets the command when it comes back."
    )
    commands.get_by_role("button", name="Ping").click()
    expect(commands.locator(".outcome").first).to_have_text(
        "Queued: the device gets it if it comes back within 10 min."
    )
    attic.answers.set()
    expect(commands.locator(".outcome.failed")).to_have_text("Not begun in time, and it will not be")
    assert attic.commands == [{"name": "ping", "args": {}, "timeout_s": 600}]


def test_a_restart_is_asked_twice(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_device(gateway.url)
    commands = page.get_by_role("region", name="Commands")
    commands.get_by_role("button", name="Restart").focus()
    page.keyboard.press("Enter")
    expect(commands.get_by_role("button", name="Restart now")).to_be_focused()
    expect(commands).to_contain_text("Sure?")
    commands.get_by_role("button", name="Cancel").click()
    expect(commands).not_to_contain_text("Sure?")
    assert greenhouse.commands == []
    commands.get_by_role("button", name="Restart").click()
    commands.get_by_role("button", name="Restart now").click()
    expect(commands.locator(".outcome.done")).to_be_visible()
    assert [command["name"] for command in greenhouse.commands] == ["restart"]


def test_what_was_asked_before_is_listed_with_who_asked_and_how_it_ended(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    error = {"code": "command.expired", "text": "the device was not connected in time"}
    greenhouse.ask("expired", asked_by="cli", error=error, asked_ms=now_ms() - 60_000)
    page = visit().open_device(gateway.url)
    rows = page.locator(".asked li")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Blink seconds 5 not begun in time, and it will not be")
    expect(rows).to_contain_text("by the command line")
    sent = greenhouse.ask("sent")
    gateway.say(sent)
    expect(rows.first).to_contain_text("sent, waiting for the answer")
    expect(rows.first).to_contain_text("by MQTT home")
    gateway.say({**sent, "row": {**sent["row"], "state": "done", "ended_ms": sent["row"]["asked_ms"] + 32}})
    expect(rows.first).to_contain_text("Blink seconds 5 done in 32 ms")
    expect(rows).to_have_count(2)


# --- trouble


def test_a_gateway_that_falls_silent_is_told_and_the_page_recovers(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_device(gateway.url)
    gateway.silent = True
    expect(page.get_by_role("status").first).to_have_text("Stale: the gateway has gone silent", timeout=9000)
    expect(page.locator(".feed-detail")).to_contain_text(re.compile(r"No data since \d\d:\d\d:\d\d"))
    expect(page.locator("main")).to_have_class("not-live")
    expect(page.locator(".presence")).to_have_text("Was online")
    gateway.silent = False
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live")
    expect(page.locator("main")).not_to_have_class("not-live")
    assert gateway.opened >= 2
    expect(panel(page, "Temperature").locator(".age")).to_have_text("now")


def test_a_gateway_that_stops_is_told_and_found_again_after_its_restart(visit: Visit, gateway: ScriptedGateway) -> None:
    visitor = visit()
    page = visitor.open_device(gateway.url)
    wait_for_line(page, "Temperature")
    visitor.network_may_fail = True
    gateway.stop()
    expect(page.get_by_role("status").first).to_contain_text("Disconnected")
    expect(page.locator("main")).to_have_class("not-live")
    page.wait_for_timeout(1500)  # at least one attempt fails
    gateway.start()
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live")
    expect(panel(page, "Temperature").locator(".age")).to_have_text("now")
    wait_for_line(page, "Temperature")


def test_one_need_not_wait_for_the_next_try(visit: Visit, gateway: ScriptedGateway) -> None:
    visitor = visit()
    visitor.page.add_init_script("Math.random = () => 0.999;")  # the longest waits: 1 s, 2 s, 4 s
    page = visitor.open_list(gateway.url)
    visitor.network_may_fail = True
    gateway.stop()
    expect(page.locator(".feed-detail")).to_contain_text("Trying again in 4 s")
    gateway.start()
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live", timeout=2000)


def test_an_ended_session_says_how_to_come_back(visit: Visit, gateway: ScriptedGateway) -> None:
    visitor = visit()
    page = visitor.open_list(gateway.url)
    visitor.network_may_fail = True
    gateway.stop()
    gateway.logged_in = False
    gateway.start()
    expect(page.get_by_role("status").first).to_have_text("Logged out", timeout=40_000)  # it may be between two tries
    expect(page.locator(".feed").get_by_role("link", name="Log in")).to_have_attribute("href", "/login")


def test_frames_that_make_no_sense_are_counted_and_harm_nothing(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_list(gateway.url)
    gateway.say_text("{not json")
    gateway.say(
        {"type": "heartbeat", "at_ms": "soon"},
        {"type": "news", "of": "the future"},
        {"type": "removed", "device": "attic"},
    )
    expect(page.locator("footer")).to_contain_text("2 messages could not be read")
    expect(page.locator(".device")).to_have_count(1)
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live")


# --- for everybody


def test_nothing_is_wider_than_a_small_screen(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice
) -> None:
    greenhouse.refuse("x" * 200)
    gateway.devices["a" * 32] = ScriptedDevice("a" * 32, online=False)
    moved = {"level": "error", "text": f"Moved aside to /{'x' * 120}.", "since_ms": now_ms(), "id": "samples.db.1"}
    gateway.panel["notices"] = [moved]
    visitor = visit(**PHONE)

    def too_wide() -> dict[int, int]:
        """Widths of the screen at which the page is wider, and how wide it is then."""
        found = {}
        for width in (320, 390, 640, 768, 1024):
            visitor.page.set_viewport_size({"width": width, "height": 800})
            if (shown := visitor.page.evaluate("() => document.scrollingElement.scrollWidth")) > width:
                found[width] = shown
        return found

    page = visitor.open_list(gateway.url)
    expect(page.locator(".device")).to_have_count(3)
    assert too_wide() == {}
    visitor.open_device(gateway.url)
    wait_for_line(page, "Temperature", columns=30)
    expect(page.locator("tbody tr")).to_have_count(1)
    assert too_wide() == {}
    visitor.open_list(f"{gateway.url}/#/gateway")
    assert too_wide() == {}
    page.set_viewport_size({"width": 320, "height": 800})
    banner, top = page.get_by_role("alert").bounding_box(), page.locator(".top").bounding_box()
    assert banner is not None
    assert top is not None
    assert banner["y"] >= top["y"] + top["height"]


def test_a_long_value_does_not_reach_into_its_chart(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit(viewport={"width": 1280, "height": 900}).open_device(gateway.url)
    wait_for_line(page, "Air pressure")
    value = panel(page, "Air pressure").locator(".panel-value .unit").bounding_box()
    chart = panel(page, "Air pressure").locator(".panel-chart").bounding_box()
    assert value is not None
    assert chart is not None
    assert value["x"] + value["width"] < chart["x"]


def ground(page: Page) -> str:
    return str(page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor"))


def test_it_is_dark_where_the_system_is(visit: Visit, gateway: ScriptedGateway) -> None:
    assert ground(visit().open_list(gateway.url)) == LIGHT
    page = visit(color_scheme="dark").open_device(gateway.url)
    assert ground(page) == DARK
    wait_for_line(page, "Temperature")  # in the dark theme's colour
    page.emulate_media(color_scheme="light")
    assert ground(page) == LIGHT
    wait_for_line(page, "Temperature")


def test_the_theme_can_be_chosen_and_is_remembered(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_list(gateway.url)
    button = page.get_by_role("button", name="Theme")
    button.click()
    expect(button).to_have_text("Theme: light")
    button.click()
    expect(button).to_have_text("Theme: dark")
    assert ground(page) == DARK
    page.reload()
    expect(page.get_by_role("button", name="Theme")).to_have_text("Theme: dark")
    assert ground(page) == DARK


FOCUS_SEEN = """() => {
    const { activeElement: one } = document;
    // A row of the list shows the focus of its link, and a segment that of its radio button.
    const shown = one.type === "radio" ? getComputedStyle(one.nextElementSibling)
        : getComputedStyle(one, one.matches(".device-name a") ? "::after" : null);
    return one === document.body || shown.outlineStyle !== "none";
}"""


def test_all_of_it_works_by_keyboard(visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice) -> None:
    page = visit().open_list(gateway.url)

    def focused() -> str:
        return str(page.evaluate("() => document.activeElement.textContent.trim() || document.activeElement.id"))

    def tab_to(text: str, *, most: int = 12) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS_SEEN), f"the focus on '{focused()}' cannot be seen"
            if focused() == text:
                return
        pytest.fail(f"no way to '{text}' with the Tab key")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    tab_to("attic")
    page.keyboard.press("ArrowDown")
    assert focused() == "greenhouse"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    assert focused() == "greenhouse"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("greenhouse")
    page.keyboard.press("Tab")
    expect(page.get_by_label("5 min", exact=True)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("1 h", exact=True)).to_be_checked()
    tab_to("Ping")
    page.keyboard.press("Enter")
    expect(page.locator(".outcome.done")).to_be_visible()
    assert focused() == "Ping", "a command does not take the focus away"
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Devices")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    visit: Visit, gateway: ScriptedGateway, greenhouse: ScriptedDevice, web_tools: Path, scheme: str
) -> None:
    axe = (web_tools / "node_modules" / "axe-core" / "axe.min.js").read_text()
    greenhouse.refuse()
    visitor = visit(color_scheme=scheme)

    def violations(page: Page) -> list[str]:
        page.evaluate(axe)  # past the policy: what is evaluated is no script of the page
        found = page.evaluate("async () => (await axe.run()).violations")
        return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]

    greenhouse.lose()
    for state in ("done", "failed", "queued"):
        greenhouse.ask(state)
    greenhouse.unsure = [{"from_ms": now_ms() - 200_000, "to_ms": now_ms(), "quality": "estimated"}]
    gateway.panel["notices"] = [
        {"level": level, "text": f"{level} {DISK_FULL}", "since_ms": now_ms(), "id": level}
        for level in ("error", "warning")
    ]
    assert violations(visitor.open_list(gateway.url)) == []
    assert violations(visitor.open_list(f"{gateway.url}/#/gateway")) == []
    page = visitor.open_device(gateway.url)
    page.get_by_role("button", name="Ping").click()
    expect(page.locator(".outcome.done")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    wait_for_line(page, "Temperature")
    assert violations(page) == []
    visitor.network_may_fail = True
    gateway.stop()
    expect(page.get_by_role("status").first).to_contain_text("Disconnected")
    page.wait_for_timeout(300)  # colours fade over
    assert violations(page) == []
    gateway.start()


def test_motion_is_left_out_where_it_is_not_wanted(visit: Visit, gateway: ScriptedGateway) -> None:
    moving = "() => getComputedStyle(document.querySelector('.lamp')).animationName"
    assert visit().open_list(gateway.url).evaluate(moving) == "alive"
    assert visit(reduced_motion="reduce").open_list(gateway.url).evaluate(moving) == "none"


@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE["viewport"]], ids=["desk", "phone"])
def test_nothing_jumps_while_the_page_fills_and_when_the_feed_is_lost(
    visit: Visit, gateway: ScriptedGateway, size: dict[str, int]
) -> None:
    visitor = visit(viewport=size)
    visitor.page.add_init_script(
        """window.jumped = 0; window.jumpers = [];
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
            if (entry.hadRecentInput) return;  // what a click opens may push the rest away
            window.jumped += entry.value;
            window.jumpers.push(...entry.sources.map(({ node }) => node?.className || node?.nodeName));
        })).observe({ type: "layout-shift", buffered: true });"""
    )
    page = visitor.open_list(gateway.url)
    page.get_by_role("link", name="greenhouse").click()
    wait_for_line(page, "Temperature", columns=30)
    visitor.network_may_fail = True
    gateway.stop()
    expect(page.get_by_role("status").first).to_contain_text("Disconnected")
    page.wait_for_timeout(300)
    gateway.start()
    assert page.evaluate("() => window.jumped") < 0.02, page.evaluate("() => window.jumpers")


def test_the_state_of_the_feed_is_announced_without_its_ticking(visit: Visit, gateway: ScriptedGateway) -> None:
    page = visit().open_list(gateway.url)
    status = page.get_by_role("status").first
    expect(status).to_have_attribute("aria-live", "polite")
    expect(status).to_have_text("Live")
    expect(page.locator(".feed-detail")).to_have_attribute("aria-hidden", "true")
