"""Emulated boards and a gateway for plain tests: no asyncio, no network, nothing left behind.

What `mpy_board` of the pytest plugin gives (gateway/pytest_plugin.py); for other test runners, use it as it is here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from gateway.app import Gateway
from gateway.config import load_config
from gateway.emulator.board import EmulatedBoard
from gateway.emulator.image import Content
from gateway.emulator.signalpage import Given
from gateway.emulator.thread import LoopThread
from gateway.model import Event, Result, Sample, Value
from gateway.profile import find_node, load_profile

T = TypeVar("T")

_WIFI: Final = {"ssid": "emulated", "password": "emulated-password"}
_SETTINGS: Final = (
    "devices.port=0",
    "people.port=0",
    "broker.port=0",
    "broker.port_v5=0",
    "gateway.announce=false",
    "store.commit_ms=20",
)
KEPT: Final = 100_000
"""How many samples, and how many events, of a board are kept."""
_STAMP_MS: Final = 30
"""A board knows the time a little less exactly than this: what seems taken so soon after a moment may be older."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One sample, as the gateway has stored it."""

    at_ms: int
    """Unix milliseconds at which it was taken."""
    values: Mapping[str, float]
    """By quantity; one that was not measured, or refused, is not in it."""
    refused: Mapping[str, str]
    """What validation refused, and why, by quantity."""


class Workbench:
    """A gateway that only this machine can reach, and boards for it, in a thread of their own. `directory` keeps their
    files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._thread = LoopThread("workbench")
        self._boards: list[Board] = []
        settings = directory / "mpy-gateway.toml"
        settings.write_text("")
        config = load_config(settings, overrides=_SETTINGS, environ={}, state=directory / "state")
        self.gateway = Gateway(config)
        """It lives in the workbench's thread."""
        try:
            self._thread.run(self.gateway.start())
        except BaseException:
            self._thread.close()
            raise

    def board(
        self,
        node: str | Path,
        *,
        name: str | None = None,
        seed: int = 1,
        signals: Mapping[str, Given] | None = None,
        files: Mapping[str, Content] | None = None,
        serial: bool = False,
    ) -> Board:
        """A running board with our firmware, already connected.

        node     a folder with a profile.toml, or the name of one of our nodes
        name     the device's; board-1 and so on without
        signals  what its chips measure, by `sensor.quantity`: 21.5, "step:20,25,at=2s", ...
        files    by path on the board, beside the firmware or in place of its files
        serial   with a serial port for mpremote, `port`
        """
        path = find_node(str(node))
        profile = load_profile(path)
        name = name or f"board-{len(self._boards) + 1}"
        token = self._thread.run(self.gateway.devices.add(name, profile))
        host, _, port = self.gateway.devices_url.split("/")[2].rpartition(":")
        settings = {
            "device": name,
            "token": token,
            "gateway": {"host": host, "port": int(port), "tls": False},
            "wifi": [_WIFI],
        }
        emulated = EmulatedBoard(
            profile,
            path.parent,
            settings,
            directory=self.directory / name,
            seed=seed,
            signals=signals,
            files=files,
            serial=serial,
        )
        board = Board(emulated, self.gateway, self._thread)
        self._boards.append(board)
        board.start()
        board.wait_until(lambda: board.samples, what=f"sample of {name} at the gateway")
        return board

    def close(self) -> None:
        for board in self._boards:
            board.stop()
        self._thread.run(self.gateway.stop())
        self._thread.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Board:
    """An emulated board, and what the gateway has of it. Each method returns when it is done."""

    def __init__(self, emulated: EmulatedBoard, gateway: Gateway, thread: LoopThread) -> None:
        self.emulated = emulated
        """All that it can do; it belongs to the workbench's thread."""
        self.samples: list[tuple[str, Measured]] = []
        """What the gateway has stored, with the name of the sensor, in order."""
        self.events: list[tuple[str, str | None]] = []
        """Code and sensor of what the board told, such as ("sensor.failed", "soil")."""
        self._newest: dict[str, float] = {}
        self._gateway = gateway
        self._thread = thread
        self._sensors = {
            quantity: sensor.name for sensor in emulated.profile.sensors.values() for quantity in sensor.quantities
        }
        self._listening = thread.call(lambda: asyncio.create_task(self._listen()))

    # What a person does.

    def start(self) -> None:
        """Switch the power on."""
        self._thread.run(self.emulated.start())

    def power_cut(self) -> None:
        """Switch it off, whatever the board is doing."""
        self._thread.run(self.emulated.power_cut())

    def stop(self) -> None:
        """Ctrl-C, time for a clean end, power off."""
        self._thread.run(self.emulated.stop())
        self._thread.call(self._listening.cancel)

    def press(self, button: str | int, ms: float = 100) -> None:
        """Press an input of the profile, or what is at a GPIO, for so long."""
        self._thread.run(self.emulated.press(button, ms))

    def signal(self, quantity: str, given: Given | None) -> None:
        """From now on the chip measures this for `sensor.quantity`; None: what it does by itself."""
        self._thread.call(self.emulated.signal, quantity, given)

    def fault(self, sensor: str, fault: str | None) -> None:
        """Something is wrong with a chip from now on, until None: see EmulatedBoard.fault."""
        self._thread.call(self.emulated.fault, sensor, fault)

    # What a person sees.

    def level(self, output: str | int) -> bool:
        """What the board puts out, at an output of the profile or a GPIO."""
        return self._thread.call(self.emulated.level, output)

    def duty(self, output: str | int) -> float:
        """How much of the time it is high, 0 to 1."""
        return self._thread.call(self.emulated.duty, output)

    def pixels(self, output: str | int, order: str = "GRB") -> list[tuple[int, ...]]:
        """What a strip of pixels shows: (red, green, blue) each."""
        return self._thread.call(self.emulated.pixels, output, order)

    @property
    def led(self) -> bool:
        return self._thread.call(lambda: self.emulated.led)

    @property
    def console(self) -> list[str]:
        """The last lines that it printed."""
        return self._thread.call(lambda: list(self.emulated.console_tail))

    @property
    def port(self) -> str:
        """Path of its serial port."""
        return self.emulated.port

    # What the gateway has.

    def value(self, quantity: str) -> float | None:
        """The newest that the gateway has stored; None where there is none yet."""
        return self._newest.get(quantity)

    def wait_for_samples(self, sensor: str, count: int = 1, timeout_s: float = 20) -> list[Measured]:
        """The next samples of `sensor` that are taken from now on, once the gateway has stored them. Raises
        TimeoutError."""
        after_ms = time.time() * 1000 + _STAMP_MS

        def taken() -> list[Measured]:
            new = [one for name, one in self.samples if name == sensor and one.at_ms >= after_ms]
            return new[:count] if len(new) >= count else []

        return self._told(taken, timeout_s, f"{count} new samples of {sensor}")

    def wait_for_event(self, code: str, sensor: str | None = None, timeout_s: float = 20) -> None:
        """Wait until the board has told of `code`, now or before. Raises TimeoutError."""
        self._told(
            lambda: any(event[0] == code and sensor in (None, event[1]) for event in self.events), timeout_s, code
        )

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 20, what: str = "such thing") -> None:
        """Wait until `condition()` is true. Raises TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise self._too_late(f"no {what} within {timeout_s:g} s")
            time.sleep(0.02)

    def send(self, command: str, **arguments: Value | str | bool) -> Result:
        """Send a command, and return its answer: `status` ("done"), `data`, `error_code`, `error_text`."""
        return self._thread.run(self._gateway.dispatcher.send(self.emulated.name, command, arguments))

    async def _listen(self) -> None:
        async for batch in self._gateway.store.live([self.emulated.name]):
            for record in batch.records:
                if isinstance(record, Event):
                    self.events.append((record.code, record.sensor))
                elif isinstance(record, Sample):
                    self._newest |= record.values
                    refused = {one.quantity: one.reason for one in record.refused}
                    named = next(
                        (self._sensors[name] for name in (*record.values, *refused) if name in self._sensors), ""
                    )
                    self.samples.append((named, Measured(batch.at_ms(record.t_ms), record.values, refused)))
            del self.events[:-KEPT], self.samples[:-KEPT]

    def _told(self, condition: Callable[[], T], timeout_s: float, what: str) -> T:
        try:
            return self._thread.until(condition, timeout_s, what)
        except TimeoutError as error:
            raise self._too_late(str(error)) from None

    def _too_late(self, sentence: str) -> TimeoutError:
        return TimeoutError("\n  ".join([f"{sentence}. The board's last lines:", *self.console[-10:]]))
