"""What a board puts out, read from outside: PWM as an ESP32 has it (ports/esp32/machine_pwm.c), pixels; and buttons."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.errors import ConfigError
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, output, powered, printed


def test_pwm_keeps_duty_and_frequency_as_an_esp32_does(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
from machine import Pin, PWM
pwm = PWM(Pin(5))
print(pwm.freq(), pwm.duty_u16(), pwm.duty(), pwm.duty_ns(), pwm)
pwm.duty_u16(12345)             # 13 bits at 5 kHz: steps of 8
print(pwm.duty_u16())
pwm.duty(1023)
print(pwm.duty(), pwm.duty_u16())
pwm.init(freq=50, duty_ns=1500000)
print(pwm.freq(), pwm.duty_u16(), pwm.duty_ns())
pwm.freq(100)                   # what was given in time stays so
print(pwm.duty_ns(), pwm.duty_u16())
other = PWM(Pin(6), freq=1000, duty_u16=65535)
again = PWM(Pin(5))
print(other.duty_u16(), again.freq())
calls = (
    lambda: PWM(5),
    lambda: pwm.duty(1024),
    lambda: pwm.duty_u16(65536),
    lambda: pwm.duty_ns(10000001),
    lambda: pwm.freq(0),
    lambda: PWM(Pin(7), freq=40000001),
    lambda: [PWM(Pin(10 + n), freq=2000 + n) for n in range(7)],
)
for call in calls:
    try:
        call()
    except (TypeError, ValueError, RuntimeError) as error:
        print(error)
pwm.deinit()
try:
    pwm.duty()
except RuntimeError as error:
    print(error, pwm)
"""
    assert output(tmp_path, interpreter, program) == [
        "5000 32768 512 100000 PWM(Pin(5), freq=5000, duty_u16=32768)",
        "12344",
        "1023 65535",
        "50 4915 1499939",
        "1499939 9830",
        "65535 100",
        "expecting a pin",
        "duty must be from 0 to 1023",
        "duty_u16 must be from 0 to 65536",
        "duty_ns must be from 0 to 10000000 ns",
        "frequency must be from 1Hz to 40MHz",
        "frequency must be from 1Hz to 40MHz",
        "out of PWM timers:8",
        "PWM is inactive PWM(Pin(5))",
    ]


def test_outputs_are_read_from_outside(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine, neopixel, time
from machine import Pin, PWM
dimmer = PWM(Pin(5), freq=1000, duty_u16=16384)
inverted = PWM(Pin(6), freq=1000, duty_u16=16384, invert=True)
strip = neopixel.NeoPixel(Pin(13), 3)
strip[0] = (1, 2, 3)
strip[2] = (255, 0, 16)
strip.write()
rgbw = neopixel.NeoPixel(Pin(14), 2, bpp=4)
rgbw.fill((4, 5, 6, 7))
rgbw.write()
print("on", strip[2], len(strip), machine.reset_cause())
if machine.reset_cause() == 1:
    while Pin(0, Pin.IN, Pin.PULL_UP).value():
        time.sleep_ms(1)
    dimmer.deinit()
    Pin(6, Pin.OUT, value=1)
    short = neopixel.NeoPixel(Pin(13), 1)
    short[0] = (9, 9, 9)
    short.write()
    print("off")
    while not Pin(0, Pin.IN, Pin.PULL_UP).value():
        time.sleep_ms(1)
    machine.soft_reset()
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "on (255, 0, 16) 3 1")
            assert (board.duty(5), board.frequency_hz(5), board.level(5)) == (0.25, 1000, False)
            assert (board.duty(6), board.level(6)) == (0.75, True)
            assert board.pixels(13) == [(1, 2, 3), (0, 0, 0), (255, 0, 16)]
            assert board.pixels(14, "GRBW") == [(4, 5, 6, 7)] * 2
            assert board.pixels(15) == []
            board.drive(0, False)
            await printed(board, "off")
            assert (board.duty(5), board.frequency_hz(5), board.level(5)) == (0, 0, False)
            assert (board.duty(6), board.frequency_hz(6), board.level(6)) == (1, 0, True)
            assert board.pixels(13) == [(9, 9, 9), (0, 0, 0), (255, 0, 16)]  # what is not sent again stays
            board.drive(0, None)
            await printed(board, "on (255, 0, 16) 3 5")
            assert board.duty(5) == 0.25
            with pytest.raises(ConfigError, match='nothing of the profile is called "lamp"; there are led'):
                board.level("lamp")
            assert board.level("led") == board.level(2)
            await board.power_cut()
            assert (board.duty(5), board.pixels(13)) == (0, [])

    run(scenario())


def test_a_press_is_seen_however_short_it_is(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
from machine import Pin
presses = [0]
def pressed(pin):
    presses[0] += 1
    print("pressed", presses[0])
Pin(0, Pin.IN, Pin.PULL_UP).irq(pressed, Pin.IRQ_FALLING)
print("up")
while presses[0] < 4:
    for _ in range(20000):      # the program is busy, and does not look
        pass
    time.sleep_ms(1)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "up")
            for number, ms in enumerate((0, 0, 0, 30), 1):
                await board.press(0, ms)
                await printed(board, f"pressed {number}")
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        assert [line for line in board.console_tail if "pressed" in line] == [f"pressed {n}" for n in (1, 2, 3, 4)]

    run(scenario())
