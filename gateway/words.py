"""What happened to samples, in words for people: the log, `mpy-gateway tail` and `status` say it alike. Pure.

The page has the same words in its own language: dashboard/web/src/words.ts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Scalar = str | float | bool | None

WHY_LOST: Final = {
    "full": "memory full",
    "power_loss": "power cut",
    "refused": "the gateway could not read them",
    "erased": "the board's flash was erased",
    "other": "for a reason of the board's own",
    "unexplained": "they never came, and nobody knows why",
    "gateway_restored": "the gateway was restored from an older backup",
}
"""Why samples no longer exist. A reason that is not here is shown as it is."""

ADVICE: Final = {
    "full": "a longer outage than the board has room for; `delivery` in its profile gives it more",
    "power_loss": '`delivery.power_loss = "none"` in its profile keeps each sample on flash before it is sent',
    "refused": "the lines before this one say which frames were refused, and why",
    "unexplained": "a board that restarts without keeping its samples looks like this",
    "gateway_restored": "what was stored after the backup was made is gone; a newer backup would have it",
}
"""What can be done so that it does not happen again."""


WHY_FAILED: Final = {
    "missing": "no chip answers{at}",
    "bus_stuck": "its bus{bus} is stuck",
    "crc": "what came from it was garbled on the way (CRC error)",
    "range": "what it measures is outside of its data sheet's range",
    "busy": "it never becomes ready",
    "wrong_chip": "another chip answers{at} than its profile says",
}
"""Why a sensor could not be read: `why` of the event `sensor.failed`. One that is not here is shown as it is."""

FAILED_ADVICE: Final = {
    "missing": "check its power, its wires and its address",
    "bus_stuck": "a chip, or a wire, holds a line of it low; the board tries to free it",
    "crc": "long or loose wires look like this",
    "range": "too much for this chip or its options, or a chip that lost its power in between, or is damaged",
    "busy": "switch the power off and on again; a damaged chip looks like this",
    "wrong_chip": "check which chip is wired there, and `chip` and `address` in the profile",
}


def event_words(code: str, sensor: str | None, data: Mapping[str, Scalar]) -> str:
    """ "sensor climate failed: no chip answers at 0x76"; an event of a kind we do not know as it is."""
    if code == "sensor.failed":
        return f"sensor {sensor} failed: {_failure(data)}"
    if code == "sensor.ok":
        return f"sensor {sensor} works again"
    if code == "samples.missed" and isinstance(count := data.get("count"), int):
        return f"{samples(count)} of {sensor} missed: they were due and could not be taken"
    details = ", ".join(f"{key} {value}" for key, value in data.items())
    return f"{code}{f' ({sensor})' if sensor else ''}{': ' if details else ''}{details}"


def _failure(data: Mapping[str, Scalar]) -> str:
    why, address, pin, bus = (data.get(key) for key in ("why", "address", "pin", "bus"))
    if not isinstance(why, str):
        return str(data["error"]) if "error" in data else f"errno {data.get('errno')}"
    at = f" at {address:#04x}" if isinstance(address, int) else f" on GPIO{pin}" if pin is not None else ""
    where = f" {bus}" if bus else ""
    words = WHY_FAILED.get(why)
    return words.format(at=at or (f" on{where}" if where else ""), bus=where) if words else why  # of one that is new


def gap_words(first: int, to: int | None, count: int | None, at_most: int | None, why: str) -> str:
    """ "12 samples lost: memory full", "at most 64 samples lost: power cut"."""
    reason = WHY_LOST.get(why, why)
    if count is None and at_most is None and to is not None:
        count = to - first + 1
    if count is not None:
        return f"{samples(count)} lost: {reason}"
    return f"samples lost: {reason}" if at_most is None else f"at most {samples(at_most)} lost: {reason}"


def crowded_out(refused: Mapping[str, int]) -> int:
    """How many were turned away at the devices' door for its limits alone: neither for a token nor by TLS."""
    return sum(count for why, count in refused.items() if why not in ("token", "tls"))


def samples(count: int) -> str:
    return f"{count:,} sample{'' if count == 1 else 's'}"


def span(milliseconds: float) -> str:
    """A time span as people say it: 3 s, 12 min, 5 h, 2 d."""
    seconds = max(0, milliseconds / 1000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes as people say them: 812 B, 1.4 KB, 46.0 MB."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


class Collapsed:
    """Lines of which each is the same as the one before are told once, then counted."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._again = 0

    def told(self, line: str) -> list[str]:
        """What to show now that `line` has come. Of a long row of equal lines the 10th, 100th ... are shown too."""
        if line == self._last:
            self._again += 1
            return [f"{line} (again, {self._again} times)"] if self._again in _MILESTONES else []
        left = self._again if self._again not in _MILESTONES else 0
        found = [f"{self._last} (again, {left} times)"] if self._last is not None and left else []
        self._last, self._again = line, 0
        return [*found, line]


_MILESTONES: Final = frozenset(10**power for power in range(1, 10))


def rotation_words(device: str, rotation: str, *, connected: bool) -> str:
    """How far a device is with its new token (`Rotation` of store/devices.py)."""
    if not rotation:
        return f"{device} has its new token; the old one opens nothing any more"
    if rotation == "sent":
        return f"{device} was sent a new token and has not come with it yet; until it does, the old one stays valid"
    if connected:
        return f"{device} could not be sent its new token now (the log says why): it gets it when it connects next"
    return f"{device} is not connected: it gets its new token when it comes; until it uses it, the old one stays valid"


def forgotten_words(device: str, *, is_clean: bool) -> str:
    """What was erased, and what was not."""
    left = "" if is_clean else " Its last pages are overwritten when the gateway restarts (something was reading)."
    return (
        f"{device} is forgotten.{left} Not erased: backups, files named before-restore-... and samples.db.damaged-...,"
        " and what brokers and their subscribers have stored"
    )
