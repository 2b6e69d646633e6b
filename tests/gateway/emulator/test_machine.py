"""`machine` on the emulated board: pins, bus, watchdog, clock, memory and resets, as an ESP32 has them."""

from __future__ import annotations

from pathlib import Path

from gateway.emulator import Interpreter
from gateway.profile import load_profile
from tests.aio import run, until
from tests.gateway.emulator.bench import NODE, make_board, output, powered, printed

BUS = "import machine\nbus = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))\n"


def test_the_bus_finds_its_chip_and_refuses_absent_addresses(tmp_path: Path, interpreter: Interpreter) -> None:
    program = (
        BUS
        + """
print(bus.scan(), bus.readfrom_mem(0x76, 0xD0, 1), bus.writeto(0x76, b"\\xd0"), bus.readfrom(0x76, 1))
calls = (
    lambda: bus.readfrom(0x77, 1),
    lambda: bus.readfrom_mem(0x77, 0xD0, 1),
    lambda: bus.readfrom_mem_into(0x77, 0xD0, bytearray(1)),
    lambda: bus.writeto(0x77, b"\\0"),
    lambda: bus.writeto_mem(0x77, 0xE0, b"\\xb6"),
    lambda: bus.readfrom_into(0x77, bytearray(1)),
)
for call in calls:
    try:
        call()
    except OSError as error:
        print(error.errno, end=" ")
print()
soft = machine.SoftI2C(scl=machine.Pin(22), sda=machine.Pin(21), freq=100000)
print(soft.scan(), machine.I2C(0).scan(), machine.I2C(0, scl=machine.Pin(21), sda=machine.Pin(22)).scan())
try:
    machine.I2C(0, scl=22, sda=21)
except TypeError as error:
    print(error)
"""
    )
    assert output(tmp_path, interpreter, program) == [
        "[118] b'`' 1 b'`'",
        "19 19 19 19 19 19 ",
        "[118] [] []",
        "expecting a pin",
    ]


def test_pins_are_seen_from_outside_and_driven_from_outside(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine, time
led = machine.Pin(2, machine.Pin.OUT, value=0)
button = machine.Pin(0, machine.Pin.IN, machine.Pin.PULL_UP)
edges = []
button.irq(lambda pin: edges.append(pin.value()), machine.Pin.IRQ_FALLING)
print("idle", button.value(), led.value())
led.on()
print("lit")
while button.value():
    time.sleep_ms(1)
print("pressed", edges)
led.toggle()
signal = machine.Signal(led, invert=True)
print("dark", led(), signal.value())
while not button():
    time.sleep_ms(1)
signal.on(); signal.off()
print("released", edges, led.value())
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "lit")
            assert board.led
            board.drive(0, False)
            await printed(board, "dark")
            assert not board.led
            board.drive(0, None)
            await until(lambda: board.ended, what="the end of main.py")
            assert board.led
            await board.stop()
        assert list(board.console_tail) == ["idle 1 0", "lit", "pressed [0]", "dark 0 1", "released [0] 1"]
        assert not board.led  # no power

    run(scenario())


def test_each_reset_has_its_cause_and_keeps_what_it_should(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine, os, time
cause = machine.reset_cause()
steps = len(machine.RTC().memory())
print("boot", cause, machine.RTC().memory(), time.time() >= 1000, "kept" in os.listdir("/"), time.ticks_ms() > 1 << 29)
machine.RTC().memory(b"." * (steps + 1))
if steps == 0:
    machine.RTC().datetime((2000, 1, 1, 5, 0, 30, 0, 0))
    open("/kept", "w").close()
    try:
        machine.reset()
    except BaseException:
        print("never")
    finally:
        print("never")
if steps == 1:
    machine.soft_reset()
if steps == 2:
    machine.deepsleep(30)
if steps == 3:
    raise SystemExit
print("end")
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "end")
            boots = [line for line in board.console_tail if line.startswith("boot")]
            assert boots == [
                "boot 1 b'' False False True",
                "boot 2 b'.' True True True",
                "boot 5 b'..' True True True",
                "boot 4 b'...' True True True",
                "boot 5 b'....' True True True",
            ]
            assert "never" not in board.console_tail
            assert (board.boots, board.reset_cause) == (5, 5)
            await board.power_cut()
            board.console_tail.clear()
            await board.start()
            await printed(board, "boot 1 b'' False True True")

    run(scenario())


def test_in_deep_sleep_only_the_rtc_has_power(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine, time
rtc = machine.RTC()
if machine.reset_cause() == machine.DEEPSLEEP_RESET:
    began_ms = int(rtc.memory())
    print("slept", 60000 <= time.time_ns() // 1000000 - began_ms < 75000, machine.Pin(2).value(), machine.wake_reason())
else:
    led = machine.Pin(2, machine.Pin.OUT, value=1)
    button = machine.Pin(0, machine.Pin.IN, machine.Pin.PULL_UP)
    while button.value():
        time.sleep_ms(1)
    machine.WDT(timeout=120)
    rtc.memory(str(time.time_ns() // 1000000))
    machine.deepsleep(60000)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program, sleep_factor=200)  # 0.3 s for a minute
        async with powered(board):
            await until(lambda: board.level(2), what="the LED")
            board.drive(0, False)
            await until(lambda: not board.level(2), what="a pin that nobody drives any more")
            assert board.boots == 1
            await printed(board, "slept True 0 4")
            assert [end.how for end in board.endings] == ["sleep"]

    run(scenario())


def test_the_watchdog_bites_a_program_that_hangs_and_not_one_that_feeds_it(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = """
import machine, time
print("cause", machine.reset_cause())
watchdog = machine.WDT(timeout=150)
for _ in range(30):
    watchdog.feed()
    time.sleep_ms(10)
print("fed for twice its time")
while machine.reset_cause() == 1:
    try:
        while True:
            pass
    except BaseException:
        pass
watchdog = machine.WDT(timeout=60000)
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            assert board.reset_cause == 3
            assert [line for line in board.console_tail if "watchdog" in line] == [
                "emulated board: watchdog, not fed for 150 ms"
            ]

    run(scenario())


def test_the_watchdog_survives_a_soft_reset_and_the_prompt(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine
print("cause", machine.reset_cause())
if machine.reset_cause() == 1:
    machine.WDT(timeout=600)
    machine.soft_reset()
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "cause 3")
            assert [line for line in board.console_tail if "cause" in line] == ["cause 1", "cause 5", "cause 3"]

    run(scenario())


def test_hardware_ids_differ_by_seed_and_stay(tmp_path: Path, interpreter: Interpreter) -> None:
    program = "import machine; print(machine.unique_id().hex())"
    ids = [output(tmp_path, interpreter, program, seed=seed)[0] for seed in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]
    assert len(bytes.fromhex(ids[0])) == 6
    profile = load_profile(NODE)
    boards = [make_board(tmp_path, interpreter, "", seed=seed, profile=profile) for seed in range(500)]
    assert len({board.unique_id for board in boards}) == 500


def test_what_is_not_emulated_is_not_there(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine
for name in ("SPI", "UART", "Timer", "DAC"):
    print(hasattr(machine, name), end=" ")
"""
    assert output(tmp_path, interpreter, program) == ["False False False False "]
