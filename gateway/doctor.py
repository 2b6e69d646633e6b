"""What is well, what is not, and what to do about it: from facts that somebody else has gathered. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.words import event_words, size, span

NEEDS_BYTES: Final = 200 << 20
"""Of free space: less, and a disk that fills up is a matter of days."""
SLOW_MS: Final = 100.0
"""To write 4 KB so that it stays. A worn SD card looks like this, and samples wait for it."""
RENEW_DAYS: Final = 14
"""Certificates of our own are renewed long before that."""
RESETS: Final[Mapping[int, tuple[str, str]]] = {
    1: ("it was switched on, or its reset button was pressed", ""),
    2: ("it restarted, or its program crashed", ""),
    3: ("its watchdog reset it, as its program hung", "mpy-gateway logs shows what it said before"),
    4: ("it woke from deep sleep", ""),
    5: ("its program was started anew", ""),
}
"""The event `boot` says which (firmware/device/port.py)."""


class Level(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    about: str
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    free_bytes: int
    whole_bytes: int
    write_ms: float | None
    """To write 4 KB so that it stays; None: it cannot be written."""
    kind: str
    """`an SD card`, `a hard disk`, `an SSD`; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Port:
    port: str
    what: str
    problem: str


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    info: Mapping[str, Any] | None
    """As REST has it; None: there is none of that name."""
    events: Sequence[Mapping[str, Any]] = ()
    """Newest first."""


@dataclass(frozen=True, slots=True)
class Facts:
    now_ms: int
    state: str
    unanswered: str
    """Why the gateway does not answer; empty where it does."""
    devices_url: str
    """Where boards connect: of the gateway that runs, else of the settings."""
    is_loopback: bool
    status: Mapping[str, Any]
    """As `/api/status` has it; empty where no gateway runs."""
    synchronised: bool
    """The clock, as the kernel has it."""
    disk: Disk | None
    certificates: Mapping[str, int] = field(default_factory=dict)
    """Days that each has left."""
    name: str = ""
    """Under which boards find the gateway on the network; empty: it does not tell."""
    ports: Sequence[Port] = ()
    device: Device | None = None


def findings(facts: Facts) -> list[Finding]:
    found = [
        *_gateway(facts),
        *_brokers(facts.status.get("brokers") or {}, facts.now_ms),
        *_notices(facts.status.get("notices") or []),
        *_door(facts.status.get("door") or {}, facts.now_ms),
        _clock(facts),
        *_disk(facts.disk),
        *_certificates(facts.certificates),
        *_ports(facts.ports),
    ]
    return found + (_device(facts.device, facts) if facts.device else [])


def worst(found: Sequence[Finding]) -> Level:
    levels = {finding.level for finding in found}
    return next((level for level in (Level.FAULT, Level.WARNING) if level in levels), Level.OK)


def _gateway(facts: Facts) -> list[Finding]:
    if facts.unanswered:
        return [Finding(Level.FAULT, "gateway", facts.unanswered)]
    found = [Finding(Level.OK, "gateway", f"runs on {facts.state}; boards connect to {facts.devices_url}")]
    if facts.is_loopback:
        todo = 'devices.host = "0.0.0.0" in mpy-gateway.toml, and start it again'
        text = "only programs on this very machine reach the devices' door: boards on Wi-Fi do not"
        found.append(Finding(Level.WARNING, "network", text, todo))
    elif facts.name:
        found.append(Finding(Level.OK, "network", f"tells that it is {facts.name} (mDNS)"))
    else:
        text = "does not tell the network where it is (gateway.announce): a board does not find it at a new address"
        found.append(Finding(Level.WARNING, "network", text, "gateway.announce = true, or a fixed address"))
    return found


def _brokers(brokers: Mapping[str, Any], now_ms: int) -> list[Finding]:
    found = []
    for name, figures in sorted(brokers.items()):
        if figures.get("state") == "connected":
            found.append(Finding(Level.OK, "broker", f"{name} is connected ({figures.get('url')})"))
        else:  # for long: also among the notices, with what waits for it
            since = figures.get("since_ms")
            how_long = f" for {span(now_ms - since)}" if since else ""
            why = f": {figures['why']}" if figures.get("why") else ""
            text = f"{name} ({figures.get('url')}) is not connected{how_long}{why}"
            found.append(Finding(Level.FAULT, "broker", text, f"does it run there? Settings: [mqtt.{name}]"))
    return found


_TOLD: Final = re.compile(
    r"^The broker \S+ is not connected|came with a token that is not known|and was refused\. If it"
)


def _notices(notices: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """What the gateway itself says already, but for what is told of brokers and refused boards here, with more."""
    levels = {"error": Level.FAULT, "warning": Level.WARNING}
    return [
        Finding(levels[one["level"]], "gateway", one["text"])
        for one in notices
        if one["level"] in levels and not _TOLD.search(one["text"])
    ]


def _door(door: Mapping[str, Any], now_ms: int) -> list[Finding]:
    refused = door.get("refused") or {}
    found = []
    for failures in door.get("bad_tokens") or []:
        many = "1 connection" if failures["count"] == 1 else f"{failures['count']:,} connections"
        ago = span(now_ms - failures["last_ms"])
        text = f"{failures['address']} sent a token that is not known: {many}, the last {ago} ago"
        found.append(Finding(Level.WARNING, "refused", text, "if it is a board of yours: mpy-gateway flash it again"))
    for other in door.get("other_boards") or []:
        device = other["device"]
        text = f"another board ({other['hardware']}, from {other['address']}) came as {device} (4011)"
        todo = f"if it takes its place: mpy-gateway devices replace {device}"
        found.append(Finding(Level.WARNING, "refused", text, todo))
    if tls := refused.get("tls"):
        text = f"TLS failed {tls:,} times since the start"
        todo = "a board that does not know this gateway's authority looks like this: mpy-gateway flash it again"
        found.append(Finding(Level.WARNING, "refused", text, todo))
    return found


def _clock(facts: Facts) -> Finding:
    if facts.synchronised:
        return Finding(Level.OK, "clock", "synchronised")
    text = "no time server keeps it true: without a battery clock, times are estimated until one does"
    return Finding(Level.WARNING, "clock", text, "sudo timedatectl set-ntp true, and a network with time servers")


def _disk(disk: Disk | None) -> list[Finding]:
    if disk is None:
        return []
    kind = f" on {disk.kind}" if disk.kind else ""
    if disk.write_ms is None:
        return [Finding(Level.FAULT, "disk", f"cannot be written{kind}", "is it full, or mounted read-only?")]
    text = f"{size(disk.free_bytes)} of {size(disk.whole_bytes)} free{kind}, {disk.write_ms:.1f} ms a write"
    if disk.free_bytes < NEEDS_BYTES:
        todo = "make room, or let it keep less: store.retention_days, store.max_mb"
        return [Finding(Level.FAULT, "disk", text, todo)]
    if disk.write_ms > SLOW_MS:
        return [Finding(Level.WARNING, "disk", f"{text}: slow", "a card that is worn out looks like this: take an SSD")]
    return [Finding(Level.OK, "disk", text)]


_RENEWED: Final = "the gateway renews it when it runs; is this machine's date right?"


def _certificates(days: Mapping[str, int]) -> list[Finding]:
    found = []
    for name, left in days.items():
        if left < 0:
            found.append(Finding(Level.FAULT, "certificate", f"{name}: has expired", _RENEWED))
        elif left < RENEW_DAYS:
            found.append(Finding(Level.WARNING, "certificate", f"{name}: {left} days left", _RENEWED))
        else:
            found.append(Finding(Level.OK, "certificate", f"{name}: {left} days left"))
    return found


def _ports(ports: Sequence[Port]) -> list[Finding]:
    return [
        Finding(Level.FAULT if one.problem else Level.OK, "port", f"{one.port} ({one.what})", one.problem)
        for one in ports
    ]


def _device(device: Device, facts: Facts) -> list[Finding]:
    if facts.unanswered:
        return [Finding(Level.WARNING, device.id, "nothing is known of it while the gateway does not run")]
    info = device.info
    if info is None:
        return [Finding(Level.FAULT, device.id, "there is no such device", "mpy-gateway devices list shows all")]
    return [_presence(device.id, info, facts), *_last_boot(device), *_sensors(device), *_lost(device.id, info)]


def _presence(name: str, info: Mapping[str, Any], facts: Facts) -> Finding:
    if info["online"]:
        return Finding(Level.OK, name, f"is connected, for {span(facts.now_ms - info['since_ms'])}")
    if info.get("asleep_until_ms"):
        return Finding(Level.OK, name, f"sleeps, and is expected in {span(info['asleep_until_ms'] - facts.now_ms)}")
    todo = f"mpy-gateway logs PORT shows what it says; it should dial {facts.devices_url}"
    if info["last_seen_ms"] is None:
        return Finding(Level.FAULT, name, "has never connected", todo)
    return Finding(Level.FAULT, name, f"is away, for {span(facts.now_ms - info['last_seen_ms'])}", todo)


def _last_boot(device: Device) -> list[Finding]:
    for event in device.events:
        if event["code"] == "boot":
            words, todo = RESETS.get(event["data"].get("reset_cause"), ("it started", ""))
            level = Level.WARNING if todo else Level.OK
            return [Finding(level, device.id, f"last boot: {words}", todo.replace("logs", f"logs {device.id}"))]
    return []


def _sensors(device: Device) -> list[Finding]:
    """By the newest word of each."""
    newest: dict[str, Mapping[str, Any]] = {}
    for event in device.events:
        if event["code"] in ("sensor.failed", "sensor.ok") and event["sensor"]:
            newest.setdefault(event["sensor"], event)
    return [
        Finding(Level.FAULT, device.id, event_words(event["code"], event["sensor"], event["data"]), "look at its wires")
        for event in newest.values()
        if event["code"] == "sensor.failed"
    ]


def _lost(name: str, info: Mapping[str, Any]) -> list[Finding]:
    lost = (info.get("counts") or {}).get("lost") or 0
    quarantined = (info.get("counts") or {}).get("quarantined") or 0
    found = []
    if lost:
        text = f"{lost:,} of its samples were lost since it was added"
        found.append(Finding(Level.WARNING, name, text, "its page says when and why"))
    if quarantined:
        text = f"{quarantined:,} values were not accepted"
        found.append(Finding(Level.WARNING, name, text, "its page says which and why"))
    return found
