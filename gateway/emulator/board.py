"""An emulated board: the real MicroPython on the firmware's own files, with a flash, chips, a watchdog and a reset
button."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config import write_private
from gateway.emulator import page as hardware
from gateway.emulator.console import Console
from gateway.emulator.image import BLOCKS, Content, FlashImage
from gateway.emulator.interpreter import Interpreter, find_interpreter, need_raw_repl
from gateway.emulator.keyboard import Keyboard
from gateway.emulator.page import HardwarePage
from gateway.emulator.process import BoardProcess, Lines
from gateway.emulator.serial import SerialPort
from gateway.emulator.signalpage import Given, Signals
from gateway.emulator.timing import AT_ONCE, Timing
from gateway.errors import ConfigError
from gateway.profile import Profile
from gateway.profile.firmware import firmware_profile, pin_number
from gateway.provision.firmware import board_files

log = logging.getLogger("emulator")

CHIPS: Final = Path(__file__).with_name("chips")

POINTER_FACTOR: Final = 2
"""Pointers, and so nearly all the collector's blocks, are twice as wide as on a board: so is the heap."""
TLS_BYTES: Final = 28 * 1024
"""What mbedtls takes at most for a connection, in its handshake: beside the collector's heap, but out of the memory
that this would have otherwise. (Measured on the unix port, which takes it from the host.)"""
ROM_HEAP_BYTES: Final = 256 * 1024
"""Set aside for the emulator's own modules and models, which live in the same heap. What they leave is filled up
(rom/power.py)."""
CONSOLE_LINES: Final = 200
_ENDINGS: Final = 1000
_START_S: Final = 20.0
_LEAST_RUN_S: Final = 0.25
"""A program that resets at once, for ever, must not take the whole computer."""


class BoardFailed(ConfigError):
    """The emulated board did not come up. The text has the last lines of its console."""


@dataclass(frozen=True)
class Ending:
    """How one start of the chip ended."""

    boot: int
    """Which one: `EmulatedBoard.boots` counted them."""
    how: str
    """`power` (cut), `reset`, `soft`, `sleep`, `watchdog`, `died`."""
    flash_programs: int
    """How many were complete by then, over all boots."""
    wdt_feeds: int
    """... and how often the watchdog had been fed."""


@dataclass(frozen=True)
class FlashWear:
    """Erases per block. NOR flash is good for 100,000 of each."""

    blocks: tuple[int, ...]

    @property
    def worst(self) -> int:
        return max(self.blocks)

    @property
    def mean(self) -> float:
        return sum(self.blocks) / len(self.blocks)


class EmulatedBoard:
    """One board. `directory` keeps its flash, page and circuit; nothing else is left behind.

    settings  what goes into /settings.json
    seed      makes the hardware id, the calibration of the chips and what they measure
    console   called with each line the board prints, but for what it says to programs in its raw REPL
    firmware  whether the firmware goes onto the flash; if not, `files` are all there is
    files     by path on the board, in addition to the firmware or in place of its files
    air       the Wi-Fi networks in reach, in the form of the settings' `wifi`, which are the default
    names     what mDNS answers on the board's network: addresses by name ("gw-1.local")
    truth     keep every measurement in `truth_log`, a JSON object a line
    signals   what the chips measure, by `sensor.quantity`: text or terms (signals.py); without, a room's weather
    serial    give it a serial port, `port`, and the prompt of its interpreter behind it
    blank     put nothing onto the flash: at the first start it is erased, and what comes onto it later stays there.
              Any network with any password is in reach, or the one that MPY_GATEWAY_WIFI_SSID and _PASSWORD name
    sleep_factor  how fast the RTC counts in deep sleep. Real ones are up to 5 % off: 0.95 to 1.05; with 600 an hour's
              sleep takes 6 seconds
    timing    how long it stands still where a chip does (timing.py: CHIP, AT_ONCE)

    The methods are for one event loop.
    """

    def __init__(
        self,
        profile: Profile,
        node_dir: Path,
        settings: Mapping[str, Any],
        *,
        directory: Path,
        seed: int,
        interpreter: Interpreter | None = None,
        console: Callable[[str], None] | None = None,
        firmware: bool = True,
        files: Mapping[str, Content] | None = None,
        air: list[dict[str, str]] | None = None,
        names: Mapping[str, str] | None = None,
        truth: bool = False,
        signals: Mapping[str, Given] | None = None,
        serial: bool = False,
        blank: bool = False,
        sleep_factor: float = 1.0,
        timing: Timing = AT_ONCE,
    ) -> None:
        self.profile = profile
        self.node_dir = node_dir
        self.settings = dict(settings)
        self.directory = directory
        self.seed = seed
        self.files: dict[str, Content] = dict(files or {})
        self.air = air if air is not None else _any_air() if blank else list(self.settings.get("wifi", []))
        self._names = dict(names or {})
        self.console_tail: deque[str] = deque(maxlen=CONSOLE_LINES)
        self.ended: str | None = None
        """How main.py ended, if it did: "done", "failed" or "interrupted"; "skipped" after a soft reset in the raw
        REPL. The board waits at its prompt then, as a board does."""
        self.endings: deque[Ending] = deque(maxlen=_ENDINGS)
        """Of the newest boots, oldest first. The running one is not among them."""
        self.flash = FlashImage(directory / "flash.img")
        self.truth_log = directory / "truth.jsonl"
        self._interpreter = interpreter
        self._console = console
        self._firmware = firmware
        self._truth = truth
        self._signals = Signals(
            (f"{sensor.name}.{name}" for sensor in profile.sensors.values() for name in sensor.quantities),
            signals or {},
        )
        self.serial = serial
        self._blank = blank
        self._port: SerialPort | None = None
        self._wire = Console()
        self._lines = Lines(self._print)
        self._keyboard = Keyboard()
        self._sleep_factor = sleep_factor
        self._timing = timing
        self._page: HardwarePage | None = None
        self._process: BoardProcess | None = None
        self._booted = False
        self._cut = False  # the power went in a flash operation: the supervisor has ended, and start() may follow
        self._supervisor: asyncio.Task[None] | None = None
        self._up: asyncio.Future[None] | None = None

    # Power.

    async def start(self) -> None:
        """Bring the flash up to date and switch the power on. Returns when /boot.py is about to run.

        Where `cut_power_at` takes the power before that, the board is off again (`running` is False).

        Raises NoInterpreter, ConfigError (a driver, a model or a file is missing) or BoardFailed."""
        if self._cut:
            await self.power_cut()
        if self._supervisor is not None:
            raise ConfigError(f"the emulated board in {self.directory} is running already")
        interpreter = self._interpreter or find_interpreter()
        if self.serial:
            need_raw_repl(interpreter)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        page = self._open_page()
        self._signals.open(self.directory / "signals.page")
        page.set_names(self._names)
        new_port = self._port is None
        try:
            await asyncio.to_thread(self._fill_flash)
            if self.serial and self._port is None:
                self._port = SerialPort(self._typed, self._let_print)
            circuit = self._circuit(page)
            self._up = asyncio.get_running_loop().create_future()
            self._supervisor = asyncio.create_task(self._supervise(interpreter, page, circuit))
            await self._up
        except BaseException:
            await self.power_cut()
            if new_port:
                self._unplug()
            raise

    async def stop(self, timeout_s: float = 4) -> None:
        """Ctrl-C, time for the program to end, power off; and the port is gone."""
        process = self._process
        if process is not None and self._booted and self.ended is None:
            await self._release()
            process.interrupt()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while self.ended is None and (word := await process.word()) not in _CAUSES:
                        self._note(word)
        await self.power_cut()
        self._unplug()

    async def power_cut(self) -> None:
        """Power off, now: when this first awaits, nothing of the program runs any more."""
        if self._process is not None:
            self._process.strike()
        await self._release()
        if self._process is not None:
            await self._process.kill()
            self._process = None
            self._keyboard.detach()
            self._keyboard.forget()
            if self._page is not None:
                self._note_ending("power", self._page)
        self._cut = False
        if self._page is not None:
            self._page.close()
            self._page = None
        self._signals.close()

    async def off(self) -> None:
        """Return when the board runs no more, however that came: also where it could not be restarted, or the power
        went in a flash operation."""
        if self._supervisor is not None:
            await asyncio.wait([self._supervisor])

    async def brown_out(self, torn: float | None = None, wait_s: float = 2) -> None:
        """The supply sags for a moment: the chip resets itself as after power-up, and its RTC memory is gone. With
        `torn` in the next flash operation, as `cut_power_at` does; where none comes within `wait_s`, all the same."""
        if torn is not None:
            await self.cut_power_within(wait_s, 1, torn)
        await self.power_cut()
        await self.start()

    async def cut_power_within(self, wait_s: float, operation: int, torn: float) -> None:
        """`cut_power_at`, or the power goes after `wait_s` where the board does not do so much."""
        self.cut_power_at(operation, torn)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.off()
        self.cut_power_at(None)
        await self.power_cut()

    def cut_power_at(self, operation: int | None, torn: float = 0.5) -> None:
        """Take the power away inside a flash operation: the `operation`-th erase or program from now on (1 is the
        next), when the part `torn` (0 to 1) of its bytes is done. None: never. Holds over stops and starts, until it
        has happened once; then the board is off."""
        if (operation is not None and operation < 1) or not 0 <= torn <= 1:
            raise ValueError("operation counts from 1, torn goes from 0 to 1")
        with self._writing() as page:
            page.set("flash_cut_at", 0)
            page.set("flash_cut_torn", round(torn * 65536))
            done = page.get("flash_erases") + page.get("flash_programs")
            page.set("flash_cut_at", 0 if operation is None else done + operation)

    def fault(self, sensor: str, fault: str | None) -> None:
        """Something is wrong with the chip of `sensor` from now on, until None: nothing.

        missing  it does not acknowledge
        stuck    it has lost its clock and holds its bus down, until it gets nine clocks or the power goes
        crc      one bit of each answer arrives wrong
        nack     it does not acknowledge every other time, by chance
        garbage  its answers are noise

        Holds over resets; readable and settable when the board is off. Chance comes from `seed`."""
        if sensor not in self.profile.sensors:
            raise ConfigError(f'the emulated board {self.name} has no sensor "{sensor}"')
        if fault is not None and fault not in hardware.FAULTS:
            raise ConfigError(f'"{fault}" is no fault of a sensor; there are: {", ".join(hardware.FAULTS)}')
        with self._writing() as page:
            page.set_fault(sensor, fault)

    def out_of_reach(self, gone: bool) -> None:
        """Whether its Wi-Fi networks are: what was joined is lost, and joined again by the chip itself when they are
        back. (What is open on the network stays open: the board's program is to close it.)"""
        with self._writing() as page:
            page.set("wifi_gone", int(gone))

    def show_rssi(self, dbm: int | None) -> None:
        """What the radio says of its signal; None: what it is by itself."""
        with self._writing() as page:
            page.set("rssi", dbm or 0)

    def run_fast(self, ppm: int) -> None:
        """The board's clock gains so many millionths; less than 0: it loses. Ticks go on from where they are."""
        with self._writing() as page:
            page.set("clock_ppm", ppm)

    def faults(self) -> dict[str, str]:
        """What is wrong just now, by sensor; a chip that was stuck and has been freed is not in it any more."""
        with self._reading() as page:
            found = {name: page.fault(name) if page else None for name in self.profile.sensors}
        return {name: fault for name, fault in found.items() if fault is not None}

    @property
    def running(self) -> bool:
        """The power is on and the program has not died. True also at the prompt and in deep sleep."""
        return self._supervisor is not None and not self._supervisor.done()

    @property
    def pid(self) -> int | None:
        """Of the interpreter, for as long as it runs; also its process group."""
        return self._process.pid if self._process is not None else None

    @property
    def port(self) -> str:
        """The path of its serial port: the same until `stop()`, through resets and power cuts."""
        if self._port is None:
            raise ConfigError(f"the emulated board in {self.directory} has no serial port")
        return self._port.path

    # What a person with a multimeter sees. All of it stays readable when the board is off.

    @property
    def name(self) -> str:
        return str(self.settings.get("device") or self.directory.name)

    @property
    def unique_id(self) -> bytes:
        """What machine.unique_id() gives: 6 bytes, different for seeds that differ in their lower 24 bits."""
        return hardware_id(self.seed)

    def taken(self) -> dict[str, int]:
        """Measurements per sensor over all boots, counted by the chips at the moment each was triggered."""
        with self._reading() as page:
            return {name: page.taken(name) if page else 0 for name in self.profile.sensors}

    @property
    def led(self) -> bool:
        """Whether the first LED of the profile is lit. False without one, and without power."""
        for output in self.profile.outputs.values():
            if output.kind == "led":
                return self.running and self.level(pin_number(output.pin)) == (output.active == "high")
        return False

    def level(self, pin: int | str) -> bool:
        """What the board puts out on a GPIO, or on that of an output of the profile; with PWM, what it does more than
        half of the time."""
        with self._reading() as page:
            return self.running and page is not None and page.level(self._pin(pin))

    def duty(self, pin: int | str) -> float:
        """How much of the time it is high, 0 to 1, with PWM or without."""
        with self._reading() as page:
            if page is None or not self.running:
                return 0.0
            hz, duty = page.pwm(self._pin(pin))
            return duty / 65536 if hz else float(page.level(self._pin(pin)))

    def frequency_hz(self, pin: int | str) -> int:
        """Of its PWM; 0 without."""
        with self._reading() as page:
            return page.pwm(self._pin(pin))[0] if page and self.running else 0

    def pixels(self, pin: int | str, order: str = "GRB") -> list[tuple[int, ...]]:
        """What a strip of WS2812 pixels on this GPIO shows: (red, green, blue), or with white behind them for `GRBW`.
        Up to 340 pixels, on up to 4 strips. They keep their colours until the power goes."""
        with self._reading() as page:
            sent = page.pixels(self._pin(pin)) if page and self.running else b""
        places = [order.index(colour) for colour in "RGBW"[: len(order)]]
        return [tuple(sent[at + place] for place in places) for at in range(0, len(sent) - len(order) + 1, len(order))]

    def drive(self, pin: int | str, level: bool | None) -> None:
        """Pull a GPIO up or down from outside, or let go of it (None). Only while the power is on."""
        if self._page is None:
            raise ConfigError(f"the emulated board in {self.directory} is off")
        self._page.drive(self._pin(pin), level)

    async def press(self, pin: int | str, ms: float = 100, *, level: bool | None = None) -> None:
        """Press a button, which pulls its GPIO to `level` (None: as the profile says, else low), and let go after
        `ms`."""
        button = self.profile.inputs.get(pin) if isinstance(pin, str) else None
        self.drive(pin, level if level is not None else button is not None and button.active == "high")
        try:
            await asyncio.sleep(ms / 1000)
        finally:
            if self._page is not None:
                self._page.drive(self._pin(pin), None)

    def signal(self, quantity: str, given: Given | None) -> None:
        """From now on the chip measures this for `sensor.quantity`; None: what it does by itself. Also while the board
        runs, and over its restarts. Raises ConfigError."""
        self._signals.give(quantity, given)

    def name_on_network(self, name: str, address: str | None) -> None:
        """From now on mDNS answers `address` for `name`, or (None) nothing."""
        self._names.pop(name, None)
        if address is not None:
            self._names[name] = address
        if self._page is not None:
            self._page.set_names(self._names)

    @property
    def date(self) -> datetime.datetime:
        """What the board's own clock says: it starts at 2000 when the power comes, and knows what it was set to."""
        us = time.monotonic_ns() // 1000 + self._read("rtc_offset_us")
        return datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=us)

    @property
    def boots(self) -> int:
        """Starts of the chip, whatever the reason."""
        return self._read("boots")

    @property
    def reset_cause(self) -> int:
        """Of the running or last boot; the numbers are machine.reset_cause()'s."""
        return self._read("reset_cause")

    @property
    def flash_erases(self) -> int:
        """Blocks erased by the board itself."""
        return self._read("flash_erases")

    @property
    def flash_programs(self) -> int:
        """Writes of the board itself that were completed, whatever their size."""
        return self._read("flash_programs")

    @property
    def flash_bytes(self) -> int:
        """What those wrote."""
        return self._read("flash_bytes")

    def flash_wear(self) -> FlashWear:
        """How often the board itself has erased each block of its flash."""
        with self._reading() as page:
            return FlashWear(page.block_erases() if page else (0,) * BLOCKS)

    @property
    def flash_operations(self) -> int:
        """Erases and programs together: what `cut_power_at` counts."""
        return self.flash_erases + self.flash_programs

    # Inside.

    def _pin(self, pin: int | str) -> int:
        """The number of a GPIO, which may be named by what hangs on it."""
        if isinstance(pin, int):
            return pin
        named = {name: output.pin for name, output in self.profile.outputs.items()}
        named |= {name: button.pin for name, button in self.profile.inputs.items()}
        if pin not in named:
            raise ConfigError(f'nothing of the profile is called "{pin}"; there are {", ".join(named)}')
        return pin_number(named[pin])

    def _fill_flash(self) -> None:
        if not self._blank:
            self.flash.install(self._contents(), self.directory / "installed.json")
        elif not self.flash.exists():
            self.flash.erase()

    def _contents(self) -> dict[str, Content]:
        contents: dict[str, Content] = dict(board_files(self.profile, self.node_dir)) if self._firmware else {}
        contents["/profile.json"] = json.dumps(firmware_profile(self.profile))
        contents["/settings.json"] = json.dumps(self.settings)
        return contents | self.files

    def _circuit(self, page: HardwarePage) -> dict[str, Any]:
        """What is soldered where: all that the board's side is told. It stands in circuit.json, for whoever wonders."""
        description = firmware_profile(self.profile)
        place = self.directory.resolve()
        tls_bytes = TLS_BYTES if self._blank or self.settings.get("gateway", {}).get("tls") else 0
        board = self.profile.board
        return {
            "page": str(place / "hardware.page"),
            "flash": str(place / "flash.img"),
            "signals": str(place / "signals.page"),
            "quantities": self._signals.count,
            "truth": str(place / self.truth_log.name) if self._truth else None,
            "chips_dir": str(CHIPS),
            "offsets": hardware.offsets(),
            "heap_bytes": (board.heap_bytes - tls_bytes) * POINTER_FACTOR,
            "flash_bytes": board.flash_bytes,
            "machine": f"Emulated {board.title} with {board.chip.upper()}",
            "seed": self.seed & 0xFFFFFF,
            "unique_id": list(self.unique_id),
            "buses": description["buses"],
            "outputs": description["outputs"],
            "inputs": description["inputs"],
            "sensors": [
                sensor
                | {
                    "model_dir": str(self._model(sensor["chip"]).parent),
                    "signals": {
                        self.profile.quantities[name].of_chip: at
                        for name, at in self._signals.headers(sensor["name"]).items()
                    },
                    "taken_at": hardware.slot_at(page.slot(sensor["name"])) + hardware.TAKEN,
                }
                for sensor in description["sensors"]
            ],
            "air": self.air,
            "timing": dataclasses.asdict(self._timing),
        }

    def _model(self, chip: str) -> Path:
        """The node's own model comes before ours."""
        places = (self.node_dir.resolve() / "models" / f"{chip}.py", CHIPS / f"{chip}.py")
        for place in places:
            if place.is_file():
                return place
        raise ConfigError(
            f'no model of the chip "{chip}" for the emulated board: write {places[0]}; '
            "gateway/emulator/README.md says how"
        )

    async def _supervise(self, interpreter: Interpreter, page: HardwarePage, circuit: dict[str, Any]) -> None:
        """Start the chip, and again after each reset, until it is switched off or dies."""
        assert self._up is not None  # noqa: S101 - start() has just made it
        ending = "power"
        page.power_up()
        try:
            while ending != "cut":
                stays_raw = self._wire.raw_repl and ending in ("soft", "interrupted")
                circuit["repl"] = None if self._port is None else "raw" if stays_raw else "friendly"
                circuit["main"] = not stays_raw and ending != "interrupted"
                ending = await self._boot(interpreter, page, circuit, _CAUSES[ending])
        except Exception as error:  # the edge of the task: whoever waits in start() hears it, later the log does
            if self._up.done() and isinstance(error, BoardFailed):
                log.error("%s", error)
            elif self._up.done():
                log.exception("%s: the emulated board stands still", self.name)
            else:
                self._up.set_exception(error)

    async def _boot(self, interpreter: Interpreter, page: HardwarePage, circuit: dict[str, Any], cause: int) -> str:
        """One boot, from its start to its end. Returns how it ended."""
        started_s = time.monotonic()
        page.set("boots", page.get("boots") + 1)
        page.set("reset_cause", cause)
        if self._keyboard.take_ctrl_c():
            circuit["main"] = False
        circuit["wrap_in_ms"] = _wrap_in_ms(self.seed, page.get("boots"))
        write_private(self.directory / "circuit.json", json.dumps(circuit, indent=1))
        self.ended, self._booted = None, False
        heap_bytes = circuit["heap_bytes"] + ROM_HEAP_BYTES
        self._wire, self._lines = Console(), Lines(self._print)
        await asyncio.sleep(self._timing.boot_ms / 1000)
        self._process = process = BoardProcess(
            interpreter, self.directory.resolve(), heap_bytes, self._output, keyboard=self._port is not None
        )
        try:
            async with asyncio.timeout(_START_S):
                word = await process.word()
        except TimeoutError:
            word = "silent"
        if word not in ("booted", "cut"):
            await process.kill()
            raise BoardFailed(f"the emulated board {self.name} did not start: " + "\n".join([*self.console_tail][-8:]))
        self._booted = word == "booted"
        if circuit["repl"] == "raw":
            process.type(b"\x01")
        if self._booted:
            self._keyboard.attach(process)
        if self._up is not None and not self._up.done():
            self._up.set_result(None)
        ending = await self._ending(process, page) if self._booted else word
        self._booted = False
        self._keyboard.detach()
        await process.kill()
        self._note_ending("power" if ending == "cut" else ending, page)
        if ending == "sleep":
            await self._sleep(page)
            self._keyboard.forget()
        if ending == "cut":
            self._cut = True
            return ending
        await asyncio.sleep(max(0.0, started_s + _LEAST_RUN_S - time.monotonic()))
        if ending == "soft":  # pins and watchdog stay as they are
            self._output(b"MPY: soft reboot\r\n")
        elif ending != "interrupted":
            page.reset()
        return ending

    async def _sleep(self, page: HardwarePage) -> None:
        """Deep sleep: nothing has power but the RTC, which counts on and keeps its memory."""
        sleep_ms = page.get("sleep_ms")
        page.reset()
        began_us = time.monotonic_ns() // 1000
        await asyncio.sleep(sleep_ms / 1000 / self._sleep_factor if sleep_ms else float("inf"))
        slept_us = time.monotonic_ns() // 1000 - began_us
        page.set("rtc_offset_us", page.get("rtc_offset_us") + round(slept_us * (self._sleep_factor - 1)))

    async def _ending(self, process: BoardProcess, page: HardwarePage) -> str:
        """Wait for the end of the program, and be its watchdog."""
        while True:
            timeout_ms = page.get("wdt_timeout_ms")
            left_s = page.get("wdt_deadline_us") / 1e6 - time.monotonic() if timeout_ms else None
            if left_s is not None and left_s <= 0:
                self._print(f"emulated board: watchdog, not fed for {timeout_ms} ms")
                return "watchdog"
            try:
                async with asyncio.timeout(left_s):
                    word = await process.word()
            except TimeoutError:  # fed meanwhile, perhaps
                continue
            self._note(word)
            if word in _CAUSES:
                if word == "died" and self._port is not None and process.interrupted():
                    return "interrupted"
                if word == "died":
                    self._print(f"emulated board: the interpreter ended by itself ({process.exit_status()})")
                return word

    def _note(self, word: str) -> None:
        if word.startswith("ended "):
            self.ended = word.removeprefix("ended ")

    def _note_ending(self, how: str, page: HardwarePage) -> None:
        boot = page.get("boots")
        if 0 < page.get("flash_cut_at") <= page.get("flash_erases") + page.get("flash_programs") + 1:
            page.set("flash_cut_at", 0)  # it has happened, whether or not the board's last word was still heard
        if not self.endings or self.endings[-1].boot != boot:
            self.endings.append(Ending(boot, how, page.get("flash_programs"), page.get("wdt_feeds")))

    # The serial port.

    def _output(self, data: bytes) -> None:
        """What the interpreter prints; nothing at its end."""
        sent = data
        if self._port is not None:
            sent = self._wire.feed(data)
            self._port.send(sent)
            if self._port.full and self._process is not None:
                self._process.hold_console(True)
        if (sent or not data) and not self._wire.raw_repl:
            self._lines.feed(sent)

    def _let_print(self) -> None:
        if self._process is not None:
            self._process.hold_console(False)

    def _typed(self, data: bytes) -> None:
        if self._process is not None:  # else the power is off
            self._keyboard.typed(data)

    def _print(self, line: str) -> None:
        self.console_tail.append(line)
        if self._console is not None:
            self._console(line)

    def _unplug(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    async def _release(self) -> None:
        """No more restarts."""
        if self._supervisor is not None:
            supervisor, self._supervisor = self._supervisor, None
            supervisor.cancel()
            await asyncio.wait([supervisor])

    def _open_page(self) -> HardwarePage:
        self._page = self._page or HardwarePage(self.directory / "hardware.page")
        return self._page

    @contextlib.contextmanager
    def _writing(self) -> Iterator[HardwarePage]:
        """The page, made and opened for a moment when the board is off."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        page = self._page or HardwarePage(self.directory / "hardware.page")
        try:
            yield page
        finally:
            if page is not self._page:
                page.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[HardwarePage | None]:
        """The page, opened for a moment when the board is off; None when it has never been on."""
        if self._page is not None:
            yield self._page
        elif (path := self.directory / "hardware.page").exists():
            with contextlib.closing(HardwarePage(path, only_look=True)) as page:
                yield page
        else:
            yield None

    def _read(self, field: str) -> int:
        with self._reading() as page:
            return page.get(field) if page else 0


_CAUSES: Final[dict[str, int]] = {
    "power": hardware.POWER_ON,
    "reset": hardware.HARD_RESET,
    "soft": hardware.SOFT_RESET,
    "sleep": hardware.DEEP_SLEEP,
    "watchdog": hardware.WATCHDOG,
    "cut": hardware.POWER_ON,  # cut_power_at: the next one waits for start()
    "died": hardware.HARD_RESET,  # a crash: ESP_RST_PANIC, which machine.reset_cause() calls a hard reset
    "interrupted": hardware.SOFT_RESET,  # Ctrl-C ended the interpreter: only memory is lost, and main.py does not run
}
"""How a boot can end, and what the next one gives as its cause."""


def hardware_id(seed: int) -> bytes:
    """The 6 bytes of the board that `seed` makes."""
    # An odd factor maps the 24-bit numbers onto each other one to one. 02: locally administered, so never a sold
    # board's.
    mixed = (seed * 0x9E3779B1 + 0x6D2B79) & 0xFFFFFF
    return bytes.fromhex("02e532") + mixed.to_bytes(3, "big")


def _any_air() -> list[dict[str, str]]:
    """The networks in reach of a board that nobody has told one."""
    ssid = os.environ.get("MPY_GATEWAY_WIFI_SSID")
    if ssid:
        return [{"ssid": ssid, "password": os.environ.get("MPY_GATEWAY_WIFI_PASSWORD", "")}]
    return [{"any": "1"}]


def _wrap_in_ms(seed: int, boot: int) -> int:
    """How long after its start this boot's ticks_ms() wraps: within two minutes, for half of the boots within twenty
    seconds."""
    chance = random.Random(seed * 1_000_003 + boot)
    return chance.choice((chance.randint(2_000, 20_000), chance.randint(20_000, 120_000)))
