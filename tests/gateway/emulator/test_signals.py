"""Scripted signals: what text means, and that the board's side measures it, as told and when it is told."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.emulator.signalpage import Given, Signals
from gateway.emulator.signals import (
    Constant,
    Curve,
    Default,
    Drift,
    Noise,
    Recorded,
    Signal,
    Step,
    Stuck,
    parse,
    seconds,
    signal_of,
)
from gateway.errors import ConfigError
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, micropython, output, powered, printed

CSV = "seconds,value\n# a heating\n0, 18.5\n\n10, 20.5\n12.5, 20\n"


def read(name: str) -> str:
    if name != "heating.csv":
        raise ConfigError(f"{name} cannot be read: no such file")
    return CSV


RECORDED = Recorded(((0, 18.5), (10, 20.5), (12.5, 20)))


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("21.5", Signal((Constant(21.5),))),
        ("constant:-3", Signal((Constant(-3),))),
        ("curve:20,5,period=24h", Signal((Curve(20, 5, 86400),))),
        ("curve:20,5,24h,phase=90min", Signal((Curve(20, 5, 86400, 5400),))),
        ("step:20,25,at=10s", Signal((Step(20, 25, 10),))),
        ("drift:-0.5,per=1h", Signal((Drift(-0.5, 3600),))),
        ("stuck:at=250ms,for=5", Signal((Stuck(0.25, 5),))),
        ("stuck:at=1d", Signal((Stuck(86400),))),
        ("csv:heating.csv", Signal((RECORDED,))),
        ("csv:heating.csv,repeat", Signal((Recorded(RECORDED.points, repeat=True),))),
        ("default + noise:0.1 + stuck:at=60s", Default() + Noise(0.1) + Stuck(60)),
    ],
)
def test_text_and_terms_are_the_same_signal(text: str, signal: Signal) -> None:
    assert parse(text, read) == signal


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("warm", 'the signal "warm": `warm` is not a number, or one of default, constant, curve'),
        ("20 + step:20,25", 'the signal "step:20,25": something is missing: step:BEFORE,AFTER,at=TIME'),
        ("step:20,25,when=3", "`when=3` is not one of its parts: step:BEFORE,AFTER,at=TIME"),
        ("step:20,25,10,11", "`11` is not one of its parts"),
        ("step:20,25,at=10w", "`10w` is not a time: 500ms, 10s, 2min, 1h, 1d"),
        ("step:20,25,at=-1s", "-1 s is no time to wait"),
        ("noise:x", "`x` is not a number as width"),
        ("csv:gone.csv", "gone.csv cannot be read: no such file"),
        ("csv:heating.csv,twice", "it is csv:FILE or csv:FILE,repeat"),
        (math.nan, "nan is out of what can be emulated"),
        (2e6, "2e+06 is out of what can be emulated"),
        ("curve:1,1,period=0s", "at least 2 ms"),
        ("drift:1,per=0s", "a drift needs a time"),
        (Noise(-1), "not negative"),
        (Stuck(1) + Stuck(2), "`stuck` once at most"),
        (Signal((Constant(1),) * 17), "16 terms at most"),
        (Recorded(()), "1 to 100000 points, not 0"),
        (Recorded(((0, 1), (0.0001, 2))), "rise from point to point"),
        (Recorded(((0, 1),), repeat=True), "lasts longer than 0 s"),
    ],
)
def test_a_wrong_signal_is_a_sentence(given: Given, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        signal_of(given, read)
    assert sentence in str(caught.value)


def test_a_wrong_line_of_a_recording_is_named() -> None:
    with pytest.raises(ConfigError, match="heating, line 3: a line is `seconds,value`, not `2;19`"):
        parse("csv:heating", lambda name: "s,v\n1,18\n2;19\n")


def test_times_have_units() -> None:
    texts = ("250ms", "10s", "10", "2min", "1.5h", "1d")
    assert [seconds(text) for text in texts] == [0.25, 10, 10, 120, 5400, 86400]


PROGRAM = """
import json, gc
import hardware, scripted
from chips import Random
class Clock:
    def ticks_us(self):
        return 10 ** 9 + self.t_ms * 1000
scripted._unix = clock = Clock()
scripts = scripted.Scripts({path!r}, {count})
random = Random(7)
for number, times in {asked}:
    row = []
    for clock.t_ms in times:
        row.append(scripts.value(8 * number, 1000000 + clock.t_ms, random))
    print(json.dumps(row))
gc.collect(); gc.disable()
before = gc.mem_alloc()
for number in range({count}):
    scripts.value(8 * number, 1000000, random)
print(gc.mem_alloc() - before)
"""


def test_the_boards_side_measures_each_kind(
    tmp_path: Path, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.emulator.signalpage.time.monotonic_ns", lambda: 10**12)
    waves = range(0, 8000, 250)
    cases: list[tuple[Given, list[int], list[float]]] = [
        (21.5, [0, 10**9], [21.5, 21.5]),
        (Curve(20, 5, 8, phase_s=1), [*waves], [20 + 5 * math.sin(math.tau * (t - 1000) / 8000) for t in waves]),
        (Step(-20, 25, 10), [0, 9999, 10000, 10**10], [-20, -20, 25, 25]),
        (Constant(1) + Drift(-0.5, 3600), [0, 3600_000, 5400_000], [1, 0.5, 0.25]),
        (Drift(1, 1), [0, 2000], [1000, 1004]),  # on top of the default: 1000 and a thousandth each millisecond
        (RECORDED, [0, 5000, 10000, 11250, 12500, 99999], [18.5, 19.5, 20.5, 20.25, 20, 20]),
        (Recorded(RECORDED.points, repeat=True), [12499, 12500, 17500, 30000], [20, 18.5, 19.5, 19.5]),
        (Recorded(((5, 3),)), [0, 5000, 6000], [3, 3, 3]),
        (Drift(1, 1) + Constant(0) + Stuck(5, 3), [0, 4000, 4900, 5000, 7999, 8000], [0, 4, 4.9, 4.9, 4.9, 8]),
        (Drift(1, 1) + Constant(0) + Stuck(5), [6000, 10**9], [5, 5]),  # not measured before it got stuck
        (Default() + Step(0, 2, 1), [0, 2000], [1000, 1004]),
        (Curve(0, 1e6, 4), [1000, 3000], [1e6, -1e6]),
    ]
    signals = Signals((f"x.q{number}" for number in range(len(cases) + 1)), {})
    signals.open(tmp_path / "signals.page")
    for number, (given, _, _) in enumerate(cases):
        signals.give(f"x.q{number}", given)
    asked = [(number, times) for number, (_, times, _) in enumerate(cases)] + [(len(cases), [0, 5])]
    program = PROGRAM.format(path=str(tmp_path / "signals.page"), count=len(cases) + 1, asked=asked)
    *rows, garbage = micropython(interpreter, program).splitlines()
    assert json.loads(rows.pop()) == [1_000_000, 1_000_005]  # no signal: the default
    for row, (given, _, values) in zip(rows, cases, strict=True):
        near = 10 if isinstance(given, Curve) else 1  # the sine is within 0.2 % of the amplitude
        assert json.loads(row) == pytest.approx([value * 1000 for value in values], abs=near, rel=0)
    assert int(garbage) <= 64
    signals.close()


def test_noise_is_the_same_for_the_same_seed_and_of_its_width(tmp_path: Path, interpreter: Interpreter) -> None:
    signals = Signals(["x.q"], {"x.q": Constant(5) + Noise(2)})
    signals.open(tmp_path / "signals.page")
    asked = [(0, list(range(400)))]
    program = PROGRAM.format(path=str(tmp_path / "signals.page"), count=1, asked=asked)
    first, second = (json.loads(micropython(interpreter, program).splitlines()[0]) for _ in range(2))
    assert first == second
    assert 3000 <= min(first) < 4500 < 5500 < max(first) <= 7000
    assert sum(first) / 400 == pytest.approx(5000, abs=150)
    signals.close()


MEASURE = """
import machine
from array import array
from device.sensors import bme280
sensor = bme280.Sensor(machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21)), {"address": 0x76})
values = array("i", [0, 0, 0])
def show():
    sensor.read_into(values)
    print(*values)
"""


def test_a_chip_measures_what_was_given_and_what_is_given_while_it_runs(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    given: dict[str, Given] = {"climate.temperature": "-12.34", "climate.humidity": 45, "climate.pressure": "980.2"}
    program = MEASURE + "import time\nwhile True:\n    show()\n    time.sleep_ms(5)\n"

    async def scenario() -> None:
        board = make_board(
            tmp_path, interpreter, program, firmware=True, signals=given, files={"/boot.py": "", "/main.py": program}
        )
        async with powered(board):
            await printed(board, "-1234 4")
            for value in (60, 61.5, 10):
                board.signal("climate.temperature", value)
                await printed(board, f"{value * 100:.0f} 4")
            board.signal("climate.temperature", None)
            await until(lambda: 1500 < int(board.console_tail[-1].split()[0]) < 3000, what="a room")
            with pytest.raises(ConfigError, match=r"there are climate\.temperature, climate\.humidity"):
                board.signal("climate.light", 3)
            board.signal("climate.temperature", 33)
            await board.power_cut()
            board.signal("climate.humidity", 70)
            await board.start()
            await printed(board, "3300 ")

    run(scenario())


def test_a_stuck_chip_repeats_itself_noise_and_all(tmp_path: Path, interpreter: Interpreter) -> None:
    program = MEASURE + "for _ in range(20):\n    show()\n"
    options = {"firmware": True, "files": {"/boot.py": ""}}
    lines = output(tmp_path / "a", interpreter, program, signals={"climate.temperature": "stuck:at=0s"}, **options)
    assert len({line.split()[0] for line in lines}) == 1
    lines = output(tmp_path / "b", interpreter, program, **options)
    assert len({line.split()[0] for line in lines}) > 1


def test_a_page_that_changes_often_does_not_grow(tmp_path: Path) -> None:
    file = tmp_path / "signals.page"
    signals = Signals(["x.a", "x.b"], {})
    signals.open(file)
    sizes = []
    for number, name in itertools.product(range(50), ("x.a", "x.b")):
        signals.give(name, None if number % 7 == 0 else Constant(number) + Noise(number % 3) + Drift(1, 1))
        signals.give(name, number)
        sizes.append(file.stat().st_size)
    assert sizes[-1] == sizes[20] < 600
    signals.close()
