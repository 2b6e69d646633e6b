"""`time` on the emulated board is an ESP32's, not the unix port's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.emulator import Interpreter, board
from tests.gateway.emulator.bench import output


def test_ticks_have_thirty_bits_and_wrap_soon_after_the_start(
    tmp_path: Path, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "_wrap_in_ms", lambda seed, boot: 400)
    program = """
import time
start = last = time.ticks_ms()
wrapped = 0
while not wrapped or time.ticks_ms() < 50:
    now = time.ticks_ms()
    assert 0 <= now < 1 << 30 and 0 <= time.ticks_us() < 1 << 30
    if now < last:
        wrapped += 1
    assert 0 <= time.ticks_diff(now, last) < 100
    last = now
    time.sleep_ms(1)
print(start, wrapped, time.ticks_diff(last, start), last < start)
"""
    start, wrapped, elapsed_ms, smaller = output(tmp_path, interpreter, program)[0].split()
    assert (1 << 30) - 400 <= int(start) < 1 << 30
    assert (wrapped, smaller) == ("1", "True")
    assert 50 <= int(elapsed_ms) < 2000


def test_seeds_and_boots_wrap_at_their_own_times() -> None:
    waits = {board._wrap_in_ms(seed, boot) for seed in range(20) for boot in range(1, 4)}
    assert len(waits) > 50
    assert all(2_000 <= wait <= 120_000 for wait in waits)
    assert board._wrap_in_ms(3, 1) == board._wrap_in_ms(3, 1)


def test_ticks_are_computed_modulo_the_period(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
top = (1 << 30) - 1
print(time.ticks_add(top, 1), time.ticks_add(0, -1) == top, time.ticks_diff(5, top), time.ticks_diff(top, 5))
print(time.ticks_diff(1 << 29, 0), time.ticks_diff((1 << 29) - 1, 0))
for delta in (1 << 29, -(1 << 29)):
    try:
        time.ticks_add(0, delta)
    except OverflowError as error:
        print(error)
"""
    assert output(tmp_path, interpreter, program) == [
        "0 True 6 -6",
        f"{-(1 << 29)} {(1 << 29) - 1}",
        "ticks interval overflow",
        "ticks interval overflow",
    ]


def test_time_is_whole_seconds_since_2000_and_power_up_is_2000(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time, machine
print(type(time.time()), time.time() < 2, time.localtime()[:6] < (2000, 1, 1, 0, 0, 2), len(time.gmtime()))
print(time.gmtime(0), time.gmtime(772545600))
machine.RTC().datetime((2026, 2, 28, 5, 23, 59, 59, 0))
print(time.localtime()[:6], time.time(), time.time_ns() // 10**9 == time.time(), machine.RTC().datetime()[:7])
import utime
print(utime is time)
"""
    assert output(tmp_path, interpreter, program) == [
        "<class 'int'> True True 8",
        "(2000, 1, 1, 0, 0, 0, 5, 1) (2024, 6, 24, 12, 0, 0, 0, 176)",
        "(2026, 2, 28, 23, 59, 59) 825638399 True (2026, 2, 28, 5, 23, 59, 59)",
        "True",
    ]


def test_mktime_undoes_gmtime_and_carries_over(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
for day in range(0, 40000, 13):
    seconds = day * 86400 + day * 37 % 86400
    assert time.mktime(time.gmtime(seconds)) == seconds, seconds
print(time.gmtime(time.mktime((2024, 1, 32, 0, 0, 0, 0, 0)))[:3], time.gmtime(time.mktime((2023, 14, 30, 0, 0, 0)))[:3])
"""
    assert output(tmp_path, interpreter, program) == ["(2024, 2, 1) (2024, 3, 1)"]


def test_sleeping_takes_its_time_and_no_memory(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import gc, time
start = time.ticks_us()
time.sleep(0.02); time.sleep_ms(20); time.sleep_us(20000); time.sleep_ms(-5)
took_us = time.ticks_diff(time.ticks_us(), start)
print(took_us if not 60000 <= took_us < 5000000 else True)
gc.collect()
before = gc.mem_alloc()
for _ in range(100):
    time.ticks_diff(time.ticks_add(time.ticks_ms(), 5), time.ticks_us()); time.sleep_ms(0); time.time()
print(gc.mem_alloc() - before < 100)
"""
    assert output(tmp_path, interpreter, program) == ["True", "True"]
