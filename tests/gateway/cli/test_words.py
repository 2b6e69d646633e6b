"""What `tail` and `status` say of losses, times that are not certain, and the gateway itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.cli.status import gateway_lines
from gateway.cli.tail import Shown, lines

T0_MS = 1_790_000_000_000
GAP: dict[str, Any] = {
    "type": "gap", "device": "greenhouse", "boot": 16, "boot_id": "0" * 16, "from": 900, "to": 949, "count": 50,
    "at_most": None, "why": "full", "before_ms": T0_MS, "after_ms": T0_MS + 50_000, "received_ms": T0_MS,
}  # fmt: skip


def clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S.%f")[:-3]


def test_tail_tells_gaps_with_their_times() -> None:
    before, after = clock(T0_MS), clock(T0_MS + 50_000)
    assert lines(GAP) == [
        f"{before} greenhouse #900 50 samples lost: memory full, between {before} and {after}",
    ]
    power = GAP | {"to": None, "count": None, "at_most": 64, "why": "power_loss", "after_ms": None}
    assert lines(power) == [f"{before} greenhouse #900 at most 64 samples lost: power cut, after {before}"]
    nothing_known = GAP | {"before_ms": None, "after_ms": None}
    assert lines(nothing_known)[0].strip() == "greenhouse #900 50 samples lost: memory full"


def test_tail_marks_times_that_are_not_certain_and_tells_corrections() -> None:
    message = {
        "type": "samples", "device": "greenhouse", "boot": 16, "boot_id": "0" * 16, "seq": [7], "at_ms": [T0_MS],
        "quality": "estimated", "values": {"temperature": [21.5]},
    }  # fmt: skip
    assert lines(message) == [f"{clock(T0_MS)} greenhouse #7 temperature=21.5 (time estimated)"]
    assert lines(message | {"at_ms": [1 << 53]}) == ["??:??:??.??? greenhouse #7 temperature=21.5 (time estimated)"]
    assert lines(message | {"quality": "synced"}) == [f"{clock(T0_MS)} greenhouse #7 temperature=21.5"]
    corrected = {
        "type": "corrected",
        "device": "greenhouse",
        "boot_id": "0" * 16,
        "from": 0,
        "to": 9,
        "moved_ms": -3120,
    }
    assert lines(corrected)[0].strip() == "greenhouse #0 to #9: times corrected, 3.120 s earlier"


def test_one_device_is_one_device() -> None:
    answer = {"store": {"samples": 0, "bytes": 0}, "brokers": {}, "notices": []}
    door = {"connections": 1, "strangers": 0, "refused": {"token": 2, "tls": 3, "shut": 4, "address": 1}}
    (_, line) = gateway_lines(answer | {"door": door}, T0_MS)
    assert line.startswith("door   1 device, 0 not known yet")
    assert line.endswith("2 refused for their token, 3 failed in TLS, 5 turned away in a crowd")


def test_logs_tells_lines_with_the_time_since_boot() -> None:
    line = {"type": "log", "device": "greenhouse", "at_ms": T0_MS, "uptime_ms": 84_012, "level": "warning"}
    assert lines(line | {"text": "wifi: \x1b[31mgone"}) == [
        f"{clock(T0_MS)} greenhouse +84.012s warning: wifi: \\x1b[31mgone"
    ]
    assert lines(line | {"text": "x", "uptime_ms": None}) == [f"{clock(T0_MS)} greenhouse warning: x"]
    assert not Shown().has("log")
    assert Shown().has("samples")


def test_tail_tells_events_in_words() -> None:
    def told(code: str, sensor: str | None, data: dict[str, Any]) -> str:
        row = {"at_ms": T0_MS, "boot_id": "0" * 16, "seq": 7, "code": code, "sensor": sensor, "data": data}
        (line,) = lines({"type": "event", "device": "greenhouse", "rows": [row]})
        return line.removeprefix(f"{clock(T0_MS)} greenhouse #7 ")

    missing = {"errno": 19, "why": "missing", "bus": "i2c0", "address": 0x76}
    assert told("sensor.failed", "climate", missing) == "sensor climate failed: no chip answers at 0x76"
    assert told("sensor.ok", "climate", {}) == "sensor climate works again"
    missed = "3 samples of climate missed: they were due and could not be taken"
    assert told("samples.missed", "climate", {"count": 3}) == missed
    assert told("boot", None, {"reset_cause": 1}) == "boot: reset_cause 1"
    assert told("sensor.failed", "a", {"why": "{0.x}\x1b[2J"}) == "sensor a failed: {0.x}\\x1b[2J"


def test_tail_tells_commands() -> None:
    row = {"id": "c1", "name": "ping", "state": "expired", "asked_ms": T0_MS, "ended_ms": T0_MS + 1000}
    row |= {"error": {"code": "command.expired", "text": "the device was not connected in time"}}
    assert lines({"type": "command", "device": "greenhouse", "row": row}) == [
        f"{clock(T0_MS + 1000)} greenhouse ping: expired: the device was not connected in time"
    ]


def test_status_tells_the_disk_the_brokers_and_what_one_should_know() -> None:
    answer = {
        "store": {
            "samples": 120345, "bytes": 48_234_496, "disk_free_bytes": 21_474_836_480, "pruned_samples": 500,
            "untaken": {"home": 120},
        },
        "brokers": {"home": {
            "state": "waiting", "why": "connection refused", "since_ms": T0_MS, "url": "mqtt://home",
            "published": 99123, "backlog": 1204, "aside": 1,
            "last_aside": [{"topic": "a/b", "why": "packet too large"}],
        }},
        "notices": [{"level": "error", "text": "The disk is full.", "since_ms": T0_MS, "id": ""}],
    }  # fmt: skip
    assert gateway_lines(answer, T0_MS + 240_000) == [
        "store  120,345 samples stored in all, 46.0 MB, 20.0 GB free",
        "       500 samples deleted by age or size, as the settings say",
        "       120 samples deleted before home took them",
        "mqtt   home: waiting for 4 min: connection refused (mqtt://home), 99,123 messages published since the start",
        "       1,204 samples behind",
        "       set aside: a/b: packet too large",
        "error: The disk is full. (for 4 min)",
    ]
