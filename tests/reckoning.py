"""Pure: what a board's chips measured against what a subscriber got. Each measurement must be delivered, or be inside a
gap, or inside the bound of one; and nothing may be delivered that no chip measured.

The truth is the emulated board's own log (gateway/emulator/README.md). It knows no sequence numbers, and MQTT knows no
truth: they are matched by values and order, boot by boot.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HUMIDITY_STEP, PRESSURE_STEP = 0.015, 0.1
"""%, hPa. Driver and model round differently, pressure in 32 and in 64 bits: so far apart they may come out."""


@dataclass(frozen=True)
class Measured:
    """One line of the truth log."""

    sensor: str
    boot: int
    at_ms: int
    wdt_feeds: int
    values: dict[str, float]


def truth(lines: Iterable[str]) -> list[Measured]:
    """The truth log, in order. A last line that a power cut tore is left out: it was in no one's hands yet."""
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found.append(Measured(entry["sensor"], entry["boot"], entry["at_ms"], entry["wdt_feeds"], entry["values"]))
    return found


@dataclass
class BootDelivered:
    """What came of one boot_id."""

    boot: int
    samples: dict[int, tuple[int, str, dict[str, float]]] = field(default_factory=dict)
    """By seq: time (Unix ms), quality, values that were measured."""
    events: set[int] = field(default_factory=set)
    gaps: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Closed ones, by their first seq."""
    open_gap: dict[str, Any] | None = None
    refused: list[tuple[int, int]] = field(default_factory=list)


class Delivered:
    """What a subscriber got of one device. Repeats are counted, and must be what they repeat."""

    def __init__(self) -> None:
        self.boots: dict[str, BootDelivered] = {}
        self.repeated = 0
        self.contradictions: list[str] = []
        self.corrections = 0
        """Samples whose time was corrected."""

    @property
    def samples(self) -> int:
        """Different ones."""
        return sum(len(boot.samples) for boot in self.boots.values())

    def take(self, topic: str, body: dict[str, Any]) -> None:
        """One message of <base>/<device>/<topic>."""
        boot = self.boots.setdefault(body["boot_id"], BootDelivered(body["boot"]))
        if topic == "samples":
            self._samples(boot, body)
        elif topic == "event":
            boot.events.add(body["seq"])
        elif topic == "corrected":
            self._correct(boot, body)
        elif topic == "quarantine":
            boot.refused.append((body["from"], body["to"]))
        elif body["to"] is None:
            if boot.open_gap is not None and body["at_most"] != boot.open_gap["at_most"]:
                self.contradictions.append(f"two ends of boot {body['boot_id']}: {boot.open_gap} and {body}")
            boot.open_gap = body
        else:
            boot.gaps[body["from"]] = body

    def _samples(self, boot: BootDelivered, body: dict[str, Any]) -> None:
        columns = body["values"]
        for i, seq in enumerate(body["seq"]):
            values = {name: column[i] for name, column in columns.items() if column[i] is not None}
            if (known := boot.samples.get(seq)) is None:
                boot.samples[seq] = (body["at"][i], body["quality"], values)
                continue
            self.repeated += 1
            if known[2] != values:
                self.contradictions.append(f"({body['boot_id']}, {seq}) was {known[2]} and is {values}")
            elif known[1] == "synced" and known[0] != body["at"][i]:
                self.contradictions.append(f"({body['boot_id']}, {seq}) is synced, and moved")
            elif known[1] == "estimated":
                boot.samples[seq] = (body["at"][i], body["quality"], values)

    def _correct(self, boot: BootDelivered, body: dict[str, Any]) -> None:
        """As gateway/mqtt/TOPICS.md tells a subscriber to do it."""
        for seq, (at_ms, quality, values) in boot.samples.items():
            if body["from"] <= seq <= body["to"] and quality == "estimated":
                boot.samples[seq] = (at_ms + body["moved_ms"], body["quality"], values)
                self.corrections += 1


@dataclass
class Reckoning:
    """The outcome for one device. Good where `lost`, `invented` and `holes` are 0 and there are no `problems`."""

    taken: int = 0
    delivered: int = 0
    repeated: int = 0
    gaps: int = 0
    in_gaps: int = 0
    """Measurements that a closed gap counts."""
    lost: int = 0
    invented: int = 0
    interrupted: int = 0
    """Converted by the chip, but the power went in the very turn of the program's loop that measured it."""
    not_measured: int = 0
    """Delivered as that, and no chip had converted anything: a sensor that did not answer."""
    unlogged: int = 0
    """Delivered as not measured, and not in the truth log: Ctrl-C came before the chip had written that, too."""
    unknown_tail: int = 0
    """Gone with a boot's end, within the bound that its open gap states."""
    holes: int = 0
    """Sequence numbers that nothing delivered accounts for."""
    worst_time_ms: int = 0
    """How far off a `synced` or `corrected` time was at most, by the board's own view of the world."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class End:
    """How a boot of the board ended."""

    boot: int
    wdt_feeds: int
    """The firmware feeds its watchdog once in each turn of its loop: what was measured since is interrupted work."""


def reckon(
    measured: Sequence[Measured],
    ends: Sequence[End],
    got: Delivered,
    *,
    power_loss: str,
    taken: int,
    boot_ids: Mapping[str, int] | None = None,
) -> Reckoning:
    """Everything of one board. `taken` is the chips' own count, `boot_ids` what is known of which boot has which."""
    outcome = Reckoning(taken=taken, delivered=got.samples, repeated=got.repeated, problems=list(got.contradictions))
    by_boot: dict[int, list[Measured]] = {}
    for entry in measured:
        by_boot.setdefault(entry.boot, []).append(entry)
    feeds_at_end = {end.boot: end.wdt_feeds for end in ends}
    if taken - len(measured) > len(ends):
        outcome.problems.append(f"{taken - len(measured)} measurements are not in the truth log")
    of_boot = _pair(by_boot, got, outcome, boot_ids or {})
    for boot_id, delivered in got.boots.items():
        _holes(boot_id, delivered, outcome)
        outcome.problems += _journal_kept(delivered)
        outcome.gaps += len(delivered.gaps) + (delivered.open_gap is not None)
        if boot_id not in of_boot and delivered.samples:
            outcome.invented += len(delivered.samples)
            outcome.problems.append(f"no boot of the board measured what {boot_id} delivered")
    ids = {number: boot_id for boot_id, number in of_boot.items()}
    for number, entries in by_boot.items():
        delivered = got.boots.get(ids.get(number, ""), BootDelivered(-1))
        tail = _match(number, entries, delivered, outcome)
        if tail:
            _tail(tail, delivered, feeds_at_end.get(number), power_loss, outcome)
    # Counted by the chip, and the power went before the log was written.
    outcome.interrupted += max(0, taken - len(measured) - outcome.unlogged)
    outcome.not_measured = max(0, outcome.unlogged - (taken - len(measured)))
    outcome.unlogged -= outcome.not_measured
    return outcome


def _pair(
    by_boot: dict[int, list[Measured]], got: Delivered, outcome: Reckoning, boot_ids: Mapping[str, int]
) -> dict[str, int]:
    """boot_id -> boot of the board: by what was measured; where too little was delivered to tell, by the boots around
    it."""
    seen: dict[tuple[Any, ...], set[int]] = {}
    for number, entries in by_boot.items():
        for entry in entries:
            if entry.sensor != "vitals":
                seen.setdefault(_key(entry.values), set()).add(number)
    ballots: list[tuple[int, int, str, int]] = []
    for boot_id, delivered in got.boots.items():
        telling = [values for _, _, values in delivered.samples.values() if "temperature" in values]
        votes: Counter[int] = Counter()
        for values in telling:
            votes.update(seen.get(_key(values), ()))
        ranked = votes.most_common(2)
        if ranked and ranked[0][1] >= 0.5 * len(telling):
            lead = ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0)
            if lead:
                ballots.append((lead, ranked[0][1], boot_id, ranked[0][0]))
    found: dict[str, int] = {boot_id: boot_ids[boot_id] for boot_id in got.boots if boot_id in boot_ids}
    for _, count, boot_id, number in sorted(ballots, reverse=True):
        if boot_id in found:
            continue
        if number not in found.values():
            found[boot_id] = number
        elif count > 3:
            outcome.problems.append(f"boot {number} of the board came under two identities")
    shifts = {got.boots[boot_id].boot: number - got.boots[boot_id].boot for boot_id, number in found.items()}
    for boot_id, delivered in got.boots.items():
        if boot_id not in found:
            near = min(shifts, key=lambda known: abs(known - delivered.boot), default=None)
            number = delivered.boot + (shifts[near] if near is not None else 0)
            if number in by_boot and number not in found.values():
                found[boot_id] = number
    return found


def _key(values: dict[str, float]) -> tuple[Any, ...]:
    """Exact for climate; the vitals of a board say too little about which they are."""
    if "temperature" not in values:
        return ("vitals", values.get("rssi"))
    return (round(values["temperature"] * 100), int(values["humidity"] * 100 + 0.5))


def _same(entry: Measured, values: dict[str, float]) -> bool:
    """Whether `values`, which were delivered, are what was measured."""
    if entry.sensor == "vitals":
        return "uptime" in values and values.get("rssi", entry.values["rssi"]) == entry.values["rssi"]
    return (
        "temperature" in values
        and round(values["temperature"] * 100) == round(entry.values["temperature"] * 100)
        and abs(values["humidity"] - entry.values["humidity"]) <= HUMIDITY_STEP
        and abs(values["pressure"] - entry.values["pressure"]) <= PRESSURE_STEP
    )


def _match(number: int, entries: list[Measured], delivered: BootDelivered, outcome: Reckoning) -> list[Measured]:
    """Walk both in order. Returns what of `entries` comes after the last that was delivered, or is owned up to."""
    at, previous, empty = 0, -1, 0
    for seq in sorted(delivered.samples):
        said_lost = _said_lost(delivered, previous, seq)
        at_ms, quality, values = delivered.samples[seq]
        if not values:  # said to be not measured. Each may stand for one that was converted, and could not be read
            empty += 1
            continue
        place = next(
            (at + skip for skip in _skips(said_lost, len(entries) - at) if _same(entries[at + skip], values)), None
        )
        if place is None:
            outcome.invented += 1
            outcome.problems.append(f"boot {number}, seq {seq}: no chip measured {values}")
            continue
        missing = place - at
        outcome.unlogged += max(0, empty - missing)
        missing = max(0, missing - empty)
        if missing > said_lost:
            outcome.lost += missing - said_lost
            outcome.problems.append(
                f"boot {number}: {missing} measurements before seq {seq} are missing, gaps say {said_lost}"
            )
        outcome.in_gaps += min(missing, said_lost)
        if quality != "estimated":
            outcome.worst_time_ms = max(outcome.worst_time_ms, abs(at_ms - entries[place].at_ms))
        at, previous, empty = place + 1, seq, 0
    # Behind the last sample there may be closed gaps, too, and samples that were not measured.
    outcome.unlogged += max(0, empty - (len(entries) - at))
    at = min(len(entries), at + empty)
    said_lost = min(_said_lost(delivered, previous, None), len(entries) - at)
    outcome.in_gaps += said_lost
    return entries[at + said_lost :]


def _skips(expected: int, left: int) -> Iterable[int]:
    """How many measurements to pass over, the most probable number first."""
    if expected < left:
        yield expected
    yield from (skip for skip in range(left) if skip != expected)


def _journal_kept(delivered: BootDelivered) -> list[str]:
    """Gaps that no promise allows: what was on flash and could not be read."""
    return [f"a gap because of {gap['why']}: {gap}" for gap in delivered.gaps.values() if gap["why"] == "other"]


def _said_lost(delivered: BootDelivered, after: int, before: int | None) -> int:
    """How many samples the closed gaps between two sequence numbers own up to."""
    total = 0
    for first, gap in delivered.gaps.items():
        if first > after and (before is None or first < before):
            total += gap["to"] - first + 1 if gap["count"] is None else gap["count"]
    for first, last in delivered.refused:
        if first > after and (before is None or first < before):
            total += last - first + 1
    return total


def _tail(
    tail: list[Measured],
    delivered: BootDelivered,
    feeds_at_end: int | None,
    power_loss: str,
    outcome: Reckoning,
) -> None:
    """What was measured last in a boot, and never came."""
    bound = delivered.open_gap["at_most"] if delivered.open_gap else 0
    interrupted = 0
    if power_loss == "none":
        interrupted = sum(entry.wdt_feeds == feeds_at_end for entry in tail)
    outcome.interrupted += interrupted
    missing = len(tail) - interrupted
    if missing <= bound:
        outcome.unknown_tail += missing
        return
    outcome.lost += missing
    outcome.problems.append(
        f"boot {tail[0].boot}: the last {len(tail)} measurements are missing ({interrupted} of them interrupted), "
        f"its end states {bound} at most"
    )


def _holes(boot_id: str, delivered: BootDelivered, outcome: Reckoning) -> None:
    """Within one boot_id the numbers of samples, events, gaps and refused frames leave no hole."""
    covered = set(delivered.samples) | delivered.events
    for first, gap in delivered.gaps.items():
        covered.update(range(first, gap["to"] + 1))
    for first, last in delivered.refused:
        covered.update(range(first, last + 1))
    if delivered.open_gap is not None:
        covered.add(delivered.open_gap["from"])
    if not covered:
        return
    holes = max(covered) + 1 - len(covered)
    if holes:
        outcome.holes += holes
        first = next(seq for seq in range(max(covered)) if seq not in covered)
        outcome.problems.append(f"{boot_id}: {holes} sequence numbers are unaccounted for, {first} the first")
