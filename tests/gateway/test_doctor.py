"""What is well, and what to do where it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.dashboard.panel import panel
from gateway.doctor import Device, Disk, Facts, Finding, Level, Port, findings, worst

NOW_MS = 1_790_000_000_000
INFO: dict[str, Any] = {
    "online": True, "since_ms": NOW_MS - 60_000, "last_seen_ms": NOW_MS, "asleep_until_ms": None,
    "counts": {"lost": 0, "quarantined": 0},
}  # fmt: skip
WELL = Facts(
    now_ms=NOW_MS,
    state="/var/lib/mpy-gateway",
    unanswered="",
    devices_url="wss://192.168.1.2:8766",
    is_loopback=False,
    status={"brokers": {"home": {"state": "connected", "url": "mqtts://broker.local"}}, "notices": [], "door": {}},
    synchronised=True,
    disk=Disk(10 << 30, 32 << 30, 2.0, "an SD card"),
    certificates={"of the devices door": 700},
    name="gw-7f3a.local",
    ports=(Port("/dev/ttyUSB0", "CP210x USB bridge", ""),),
    device=Device("greenhouse", INFO, ({"code": "boot", "sensor": None, "data": {"reset_cause": 1}},)),
)


def only(facts: Facts) -> Finding:
    """The one that is not well."""
    (found,) = [one for one in findings(facts) if one.level is not Level.OK]
    return found


def door(**figures: Any) -> Facts:
    return replace(WELL, status=WELL.status | {"door": figures})


def device(*events: dict[str, Any], **info: Any) -> Facts:
    return replace(WELL, device=Device("greenhouse", INFO | info, events))


def event(code: str, sensor: str | None = None, **data: Any) -> dict[str, Any]:
    return {"code": code, "sensor": sensor, "data": data}


def test_all_is_well() -> None:
    found = findings(WELL)
    assert worst(found) is Level.OK
    assert {one.about for one in found} == {
        "gateway", "network", "broker", "clock", "disk", "certificate", "port", "greenhouse",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "level", "text", "todo"),
    [
        (replace(WELL, is_loopback=True), Level.WARNING, "boards on Wi-Fi do not", 'devices.host = "0.0.0.0"'),
        (replace(WELL, name=""), Level.WARNING, "does not tell the network", "gateway.announce"),
        (replace(WELL, synchronised=False), Level.WARNING, "no time server", "timedatectl"),
        (replace(WELL, disk=Disk(1 << 20, 1 << 34, 2.0, "")), Level.FAULT, "1.0 MB of 16.0 GB free", "retention_days"),
        (replace(WELL, disk=Disk(1 << 34, 1 << 35, 300, "an SD card")), Level.WARNING, "on an SD card", "take an SSD"),
        (replace(WELL, disk=Disk(0, 1 << 34, None, "")), Level.FAULT, "cannot be written", "is it full"),
        (replace(WELL, certificates={"of the authority": -1}), Level.FAULT, "has expired", "date right"),
        (replace(WELL, certificates={"of the authority": 3}), Level.WARNING, "3 days left", "date right"),
        (replace(WELL, ports=(Port("/dev/ttyUSB0", "x", "type this"),)), Level.FAULT, "/dev/ttyUSB0", "type this"),
        (
            door(bad_tokens=[{"address": "10.0.0.9", "count": 3, "last_ms": NOW_MS - 30_000}]),
            Level.WARNING, "10.0.0.9 sent a token that is not known: 3 connections, the last", "flash it again",
        ),
        (
            door(other_boards=[{"device": "cellar", "hardware": "24", "address": "10.0.0.8", "at_ms": NOW_MS}]),
            Level.WARNING, "came as cellar (4011)", "devices replace cellar",
        ),
        (door(refused={"tls": 7, "token": 0}), Level.WARNING, "TLS failed 7 times", "authority"),
        (device(online=False), Level.FAULT, "is away, for", "wss://192.168.1.2:8766"),
        (device(online=False, last_seen_ms=None), Level.FAULT, "has never connected", "wss://192.168.1.2:8766"),
        (device(event("boot", reset_cause=3)), Level.WARNING, "its watchdog reset it", "logs greenhouse"),
        (
            device(event("sensor.failed", "climate", why="missing", address=0x76)),
            Level.FAULT, "sensor climate failed: no chip answers at 0x76", "wires",
        ),
        (device(counts={"lost": 5, "quarantined": 0}), Level.WARNING, "5 of its samples were lost", "its page"),
        (device(counts={"lost": 0, "quarantined": 2}), Level.WARNING, "2 values were not accepted", "its page"),
        (replace(WELL, device=Device("x", None)), Level.FAULT, "no such device", "devices list"),
    ],
)  # fmt: skip
def test_what_is_not_well_says_what_to_do(facts: Facts, level: Level, text: str, todo: str) -> None:
    found = only(facts)
    assert found.level is level
    assert text in found.text
    assert todo in found.todo


def test_a_sensor_that_works_again_and_a_device_that_sleeps_are_well() -> None:
    mended = (event("sensor.ok", "climate"), event("sensor.failed", "climate", why="crc"))  # newest first
    asleep = device(*mended, online=False, asleep_until_ms=NOW_MS + 60_000)
    assert worst(findings(asleep)) is Level.OK


def test_a_gateway_that_does_not_run_is_the_one_thing_to_say() -> None:
    facts = replace(WELL, unanswered="no gateway runs on /x. Start one with: mpy-gateway run", status={})
    found = findings(facts)
    assert [one.text for one in found if one.level is Level.FAULT] == [facts.unanswered]


def test_what_the_gateway_says_itself_is_said_once() -> None:
    """The words of its panel, which are told here with more."""
    status = {
        "brokers": {"home": {"state": "waiting", "url": "mqtt://b", "why": "refused", "since_ms": NOW_MS - 60_000}},
        "door": {
            "bad_tokens": [{"address": "10.0.0.9", "count": 300, "last_ms": NOW_MS}],
            "other_boards": [{"device": "cellar", "hardware": "24", "address": "10.0.0.8", "at_ms": NOW_MS}],
        },
        "warnings": ["devices.insecure: passwords go in the clear"],
    }
    notices = msgspec.to_builtins(panel(status, NOW_MS).notices)
    assert len(notices) == 4
    found = findings(replace(WELL, status=status | {"notices": notices}))
    texts = [one.text for one in found if one.level is not Level.OK]
    assert len(texts) == 4
    assert sum("home" in text for text in texts) == 1
    assert (
        texts.count("devices.insecure: passwords go in the clear.")
        + texts.count("Devices.insecure: passwords go in the clear.")
        == 1
    )
