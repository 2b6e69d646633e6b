"""Which faults happen to emulated boards, and when: the same for the same seed. Knows no clock and no board."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import ConfigError
from gateway.problems import did_you_mean


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one board. It ends by itself, `for_s` after `at_s` or sooner."""

    at_s: float
    """From the start of the schedule."""
    board: str
    kind: str
    """One of KINDS."""
    what: str
    """`gone`, `weak` · `off`, `torn`, `brown-out` · `fast`, `slow` · one of a sensor (page.py: FAULTS)."""
    for_s: float
    sensor: str = ""
    """On which one, of kind `bus`."""
    value: float = 0
    """`weak`: dBm; `torn`, `brown-out`: how much of the flash operation is done; `fast`, `slow`: millionths."""
    operation: int = 0
    """`torn`: in which flash operation from then on, if there are as many."""

    @property
    def words(self) -> str:
        """`Wi-Fi out of reach for 8.4 s`"""
        return _WORDS[self.what].format(fault=self, percent=self.value * 100)


_WORDS: Final = {
    "gone": "Wi-Fi out of reach for {fault.for_s:.1f} s",
    "weak": "Wi-Fi signal of {fault.value:.0f} dBm for {fault.for_s:.1f} s",
    "off": "power cut for {fault.for_s:.1f} s",
    "torn": "power cut in flash operation {fault.operation}, {percent:.0f} % of it done, for {fault.for_s:.1f} s",
    "brown-out": "brown-out, the flash operation {percent:.0f} % done",
    "fast": "clock {fault.value:.0f} ppm fast for {fault.for_s:.1f} s",
    "slow": "clock {fault.value:.0f} ppm slow for {fault.for_s:.1f} s",
    "missing": "{fault.sensor} does not answer for {fault.for_s:.1f} s",
    "stuck": "{fault.sensor} holds its bus down, for {fault.for_s:.1f} s at most",
    "crc": "{fault.sensor} is read with a wrong bit for {fault.for_s:.1f} s",
    "nack": "{fault.sensor} answers every other time for {fault.for_s:.1f} s",
    "garbage": "{fault.sensor} is read as noise for {fault.for_s:.1f} s",
}
KINDS: Final = ("wifi", "power", "clock", "bus")
BUS_FAULTS: Final = ("missing", "stuck", "crc", "nack", "garbage")
_TORN: Final = (0.0, 0.3, 0.7, 1.0)


def kinds_of(text: str) -> tuple[str, ...]:
    """`wifi,power` as a user writes it. Raises ConfigError."""
    kinds = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f'there is no fault "{kind}": {", ".join(KINDS)}{did_you_mean(kind, KINDS)}')
    return kinds


def schedule(
    kinds: Sequence[str],
    seed: int,
    boards: Sequence[str],
    sensors: Sequence[str] = (),
    *,
    bus_faults: Sequence[str] = BUS_FAULTS,
    pace: float = 1.0,
) -> Iterator[Fault]:
    """Faults in the order of time, for ever. Each kind on each board has a sequence of its own, in which one fault ends
    before the next begins. `sensors` are those on a bus; `pace` stretches all times."""
    streams = [
        _stream(kind, random.Random(f"{seed} {board} {kind}"), board, sensors, bus_faults, pace)
        for board, kind in itertools.product(boards, kinds)
        if kind != "bus" or sensors
    ]
    return heapq.merge(*streams, key=lambda fault: fault.at_s)


def _stream(
    kind: str, chance: random.Random, board: str, sensors: Sequence[str], bus_faults: Sequence[str], pace: float
) -> Iterator[Fault]:
    at_s = chance.uniform(2, 15)
    while True:
        fault = _MAKERS[kind](chance, at_s, board, sensors, bus_faults)
        yield replace(fault, at_s=at_s * pace, for_s=fault.for_s * pace)
        at_s = fault.at_s + fault.for_s + chance.uniform(5, 25)


_Maker = Callable[[random.Random, float, str, Sequence[str], Sequence[str]], Fault]


def _wifi(chance: random.Random, at_s: float, board: str, *_: Sequence[str]) -> Fault:
    if chance.random() < 0.7:
        return Fault(at_s, board, "wifi", "gone", chance.choice((0.3, 2, 6, 20)) * chance.uniform(0.7, 1.3))
    return Fault(at_s, board, "wifi", "weak", chance.uniform(5, 20), value=chance.randint(-95, -85))


def _power(chance: random.Random, at_s: float, board: str, *_: Sequence[str]) -> Fault:
    what = chance.choice(("off", "torn", "brown-out"))
    torn = 0.0 if what == "off" else chance.choice(_TORN)
    operation = chance.randint(1, 60) if what == "torn" else 0
    return Fault(at_s, board, "power", what, chance.uniform(0.2, 5), value=torn, operation=operation)


def _clock(chance: random.Random, at_s: float, board: str, *_: Sequence[str]) -> Fault:
    what = chance.choice(("fast", "slow"))
    return Fault(at_s, board, "clock", what, chance.uniform(10, 40), value=chance.randint(50, 500))


def _bus(chance: random.Random, at_s: float, board: str, sensors: Sequence[str], bus_faults: Sequence[str]) -> Fault:
    return Fault(at_s, board, "bus", chance.choice(bus_faults), chance.uniform(0.5, 8), sensor=chance.choice(sensors))


_MAKERS: Final[dict[str, _Maker]] = {"wifi": _wifi, "power": _power, "clock": _clock, "bus": _bus}
