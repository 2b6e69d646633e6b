"""Shell: one session with a board on a serial port, through MicroPython's raw REPL. Only this file imports mpremote.

mpremote brings what goes over the wire (raw paste, with the board's own flow control); what is around it is here: to
get the REPL from a board in whatever state, to give its watchdog patience before anything long, and to read and write
files so that a board cut at any moment has the old file or the new one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mpremote.transport import TransportError  # type: ignore[import-untyped]
from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped]
from serial import SerialException  # type: ignore[import-untyped]

from gateway.errors import ConfigError
from gateway.logs import clean
from gateway.provision.plan import Found

BAUD: Final = 115200
CHUNK_BYTES: Final = 2048
"""Of a file in one script: the board holds it three times over while it compiles that."""
ENTER_S: Final = 25.0
ANSWER_S: Final = 5.0
"""A board that says nothing for so long while it should has gone. It may erase flash and collect garbage meanwhile."""
POLITE_S: Final = 6.0
"""Our firmware ends in order at the first Ctrl-C, which saves what it holds; a second one would tear that."""
_BANNER: Final = b"raw REPL; CTRL-B to exit\r\n"
_CTRL_A, _CTRL_C, _CTRL_D = b"\x01", b"\x03", b"\x04"
_ENOSPC: Final = 28
_HEARD_BYTES: Final = 4000
_NO_PROGRAM: Final = re.compile(rb"invalid header: 0x|flash read err, 1000|ets_main\.c \d+")
"""What an ESP32's ROM says, over and over, where there is nothing to start."""
_QUIET_S: Final = 0.03
_PATIENCE, _TOOLS = Path(__file__).with_name("on_board.py").read_text("utf-8").split("\n# --\n")
"""What runs on the board for us: for its watchdog, before anything that takes long; then the rest."""


class UsbError(ConfigError):
    """The board, its port or its cable. The text says what to do."""


class NoPort(UsbError):
    """The port cannot be opened."""


class Silent(UsbError):
    """Nothing that answers is MicroPython: there may be none on the board."""


class NoRepl(UsbError):
    """There is a program that cannot be stopped."""


class BoardGone(UsbError):
    """It answered, and does not any more."""


class BoardFull(UsbError):
    """Its flash took no more."""


class BoardError(UsbError):
    """The board could not do it: the text ends with what it said."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a board says of itself. Sizes in bytes; 0 where it does not know."""

    version: tuple[int, int, int]
    """Of MicroPython."""
    machine: str
    """As in "Generic ESP32 module with ESP32"."""
    system: str
    """`esp32`, `rp2` ..."""
    hardware: str
    """The chip's own id, 12 hex digits on an ESP32: what the firmware's hello says."""
    mpy: int
    """Which format of .mpy it loads, 0: none."""
    flash_bytes: int
    files_bytes: int
    free_bytes: int
    memory_bytes: int

    @property
    def chip(self) -> str:
        """`esp32`, `esp32c3`, `rp2040` ...: as boards/*.toml name them. Empty where it does not say."""
        words = self.machine.lower().rpartition(" with ")[2].replace("-", "")
        found = re.search(r"(esp32(?:[chps]\d+)?|esp8266|rp2040|rp2350)", words)
        return found[1] if found else ""


Progress = Callable[[int], None]
"""Called with so many bytes that have arrived on the board."""


class _Transport(SerialTransport):  # type: ignore[misc]  # mpremote has no types
    """mpremote's, which waits no longer for a board than `answer_s`."""

    answer_s = ANSWER_S

    def read_until(self, *what: Any, timeout: float | None = None, **how: Any) -> Any:
        return super().read_until(*what, timeout=timeout or self.answer_s, **how)


class Session:
    """The port, open; and after `enter` the board's raw REPL. Use as a context manager.

    Every method raises a UsbError, and none waits for ever."""

    def __init__(self, port: str, *, answer_s: float | None = None, polite_s: float = POLITE_S) -> None:
        self.port = port
        self._answer_s = ANSWER_S if answer_s is None else answer_s
        self._polite_s = polite_s
        self._heard = b""  # the newest of what came while nobody had the REPL
        self._stopped = False  # the board's program, by us
        self._gone = False
        self._transport = self._open()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Whatever has happened: a board that was stopped goes on, if it can be told so."""
        if self._stopped and not self._gone:
            with contextlib.suppress(UsbError):
                self._interrupt(time.monotonic() + 3, lambda: None)  # it may be in the middle of something
                self._guarded(lambda: self._transport.exec_raw_no_follow("import machine\nmachine.reset()\n"), "")
        self._close_port()

    def _close_port(self) -> None:
        with contextlib.suppress(OSError, SerialException):
            self._transport.close()

    # The REPL

    def enter(self, timeout_s: float = ENTER_S, waiting: Callable[[], None] = lambda: None) -> None:
        """Stop whatever runs and get the raw REPL, with a heap that nobody uses. `waiting` is called once, where the
        board does not stop at once. Raises Silent or NoRepl."""
        until_s = time.monotonic() + timeout_s
        self._interrupt(until_s, waiting)
        self._stopped = True
        self._run(_PATIENCE)
        # What the program has left (threads, timers, a full heap) goes with a soft reset, which runs boot.py, too.
        # Where that does not come back, boot.py itself is broken: then we take the board as it is.
        self._send(_CTRL_D)
        if self._banner(min(self._answer_s, 5)):
            self._prepare()
            return
        self._interrupt(max(until_s, time.monotonic() + 10), waiting)
        self._prepare()

    def _interrupt(self, until_s: float, waiting: Callable[[], None]) -> None:
        self._heard = b""
        self._send(b"\r" + _CTRL_C + b"\r" + _CTRL_A)
        if self._banner(1):
            return
        if _NO_PROGRAM.search(self._heard):
            raise self._no_repl()
        waiting()
        if self._banner(min(self._polite_s, until_s - time.monotonic())):
            return
        self._press_reset()
        while time.monotonic() < until_s:
            # Programs that catch Ctrl-C are caught while they handle one, boot loops at the begin of their boot.py.
            for _ in range(3):
                self._send(2 * _CTRL_C)
                self._listen_for(0.2)
            self._send(b"\r" + _CTRL_A)
            if self._banner(0.3):
                return
        raise self._no_repl()

    def _press_reset(self) -> None:
        """As the button does, by the USB bridge: RTS pulls the chip's EN down on all common ESP32 boards. What has no
        such line is left as it is."""
        with contextlib.suppress(OSError, SerialException):
            self._transport.serial.dtr = False
            self._transport.serial.rts = True
            time.sleep(0.1)
            self._transport.serial.rts = False

    def _banner(self, wait_s: float) -> bool:
        """Whether the raw REPL's greeting comes, and nothing behind it: several Ctrl-A may be under way. Leaves the
        prompt of one unread, which mpremote wants to see."""
        until_s = time.monotonic() + wait_s
        heard = b""
        while time.monotonic() < until_s:
            data = self._listen(_QUIET_S)
            heard = (heard + data)[-_HEARD_BYTES:]
            if not data and heard.endswith(_BANNER + b">"):
                self._send(_CTRL_A)
                return self._guarded(lambda: self._transport.serial.read_until(_BANNER), "").endswith(_BANNER)  # type: ignore[no-any-return]
        return False

    def _prepare(self) -> None:
        """Patience again, as boot.py may have made a watchdog of its own; then what we use on the board."""
        self._run(_PATIENCE)
        self._run(_TOOLS)

    def _no_repl(self) -> UsbError:
        whole = self._heard.rpartition(b"\n")[0] or self._heard  # the last line may be half of one
        lines = [line.strip() for line in whole.decode("utf-8", "replace").splitlines() if line.strip()]
        if _NO_PROGRAM.search(self._heard):
            return Silent(
                f"there is no MicroPython on the board at {self.port}: its flash is empty, or holds no program"
            )
        if not lines:
            return Silent(
                f"nothing answers on {self.port}: there is no MicroPython on the board, or its program hangs. Press "
                "its reset button while this command waits, or write MicroPython anew"
            )
        return NoRepl(
            f"the program on the board at {self.port} does not stop at Ctrl-C. Press the board's reset button while "
            f"this command waits, or begin anew: mpy-gateway erase {self.port}. It said last: {clean(lines[-1], 100)}"
        )

    # What is on the board

    def facts(self) -> Facts:
        found = self._ask("facts()")
        version, machine = found.pop("version"), clean(found.pop("machine"))
        return Facts(version=tuple(version[:3]), machine=machine, **found)

    def files(self) -> dict[str, Found]:
        """Every file, by its path; with hashes, but for samples that wait to be sent and for what is larger than any
        file of ours."""
        return {path: Found(size, sha256) for path, size, sha256 in self._ask("files()")}

    def read(self, path: str, limit: int = 16384) -> bytes | None:
        """The beginning of a file; None where there is none."""
        text = self._ask(f"read({path!r},{limit})")
        return None if text is None else base64.b64decode(text)

    def write(self, path: str, content: bytes, progress: Progress = lambda _: None) -> None:
        """Put a file in place, as a whole or not at all: written beside, its hash read back, then renamed."""
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)] or [b""]
        end = f"end({path!r},{hashlib.sha256(content).hexdigest()!r})\n"
        doing = f"while {path} was written"
        for number, chunk in enumerate(chunks):
            script = "begin()\n" if number == 0 else ""
            script += f"put('{base64.b64encode(chunk).decode()}')\n"
            self._run(script + (end if number == len(chunks) - 1 else ""), doing)
            progress(len(chunk))

    def remove(self, paths: Iterable[str]) -> None:
        """And the folders that are empty then."""
        self._run(f"remove({list(paths)!r})\n", "while files were removed")

    # The end

    def restart(self) -> None:
        """A reset of the chip: main.py runs again. Then `console` says what it says."""
        self._guarded(lambda: self._transport.exec_raw_no_follow("restart()\n"), "when it was to restart")
        self._stopped = False

    def console(self, wait_s: float) -> bytes:
        """What came within `wait_s`, at once when something did. A port that goes away with a reset, as a chip's own
        USB does, is opened again."""
        try:
            return self._read_some(wait_s)
        except (OSError, SerialException):
            self._close_port()
            time.sleep(wait_s)
            with contextlib.suppress(NoPort):
                self._transport = self._open()
            return b""

    # Parts of these

    def _open(self) -> Any:
        try:
            transport = _Transport(self.port, baudrate=BAUD, exclusive=True)
        except (TransportError, OSError, SerialException, ValueError) as error:
            if not Path(self.port).exists():
                raise NoPort(
                    f"there is no port {self.port}: is the board plugged in? mpy-gateway boards shows what is"
                ) from error
            raise NoPort(
                f"{self.port} cannot be opened: another program uses it (a terminal, mpremote, another flash)"
            ) from error
        transport.answer_s = self._answer_s
        # It would wait for ever: for a few bytes, and until its own are taken.
        transport.serial.timeout = transport.serial.write_timeout = self._answer_s
        return transport

    def _ask(self, expression: str) -> Any:
        said = self._run(f"print(json.dumps({expression}))\n")
        try:
            return json.loads(said)
        except ValueError as error:
            raise BoardError(f"the board at {self.port} gave no answer that can be read: {clean(said, 80)}") from error

    def _run(self, script: str, doing: str = "") -> str:
        """Run it on the board; returns what it printed."""
        self._guarded(lambda: self._transport.exec_raw_no_follow(script), doing)
        said, failed = self._guarded(lambda: self._transport.follow(2 * self._answer_s), doing)
        if failed:
            raise self._failure(failed.decode("utf-8", "replace"))
        return str(said.decode("utf-8", "replace"))

    def _guarded(self, act: Callable[[], Any], doing: str) -> Any:
        try:
            return act()
        except (TransportError, OSError, SerialException, struct.error) as error:
            self._gone = True
            raise BoardGone(
                f"the board at {self.port} stopped answering{' ' * bool(doing)}{doing}: look at its cable and power, "
                "then run the same command again: it goes on where it was"
            ) from error

    def _failure(self, traceback: str) -> UsbError:
        last = traceback.strip().splitlines()[-1] if traceback.strip() else "nothing"
        if f"OSError: {_ENOSPC}" in last or "ENOSPC" in last:
            return BoardFull(
                f"the flash of the board at {self.port} is full: remove files of your own, or empty it with "
                f"`mpy-gateway erase {self.port}`; then run the same command again"
            )
        if "VerifyError" in last:
            return BoardError(
                f"what arrived on the board at {self.port} is not what was sent: try another cable or port, and again"
            )
        return BoardError(f"the board at {self.port} says: {clean(last)}")

    def _send(self, data: bytes) -> None:
        try:
            self._transport.serial.write(data)
        except (OSError, SerialException) as error:
            self._gone = True
            raise BoardGone(
                f"the port {self.port} has gone: plug the board in again, and run the same command"
            ) from error

    def _listen(self, wait_s: float) -> bytes:
        try:
            data = self._read_some(wait_s)
        except (OSError, SerialException) as error:
            self._gone = True
            raise BoardGone(
                f"the port {self.port} has gone: plug the board in again, and run the same command"
            ) from error
        self._heard = (self._heard + data)[-_HEARD_BYTES:]
        return data

    def _listen_for(self, time_s: float) -> None:
        until_s = time.monotonic() + time_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._listen(left_s)

    def _read_some(self, wait_s: float) -> bytes:
        """Whatever comes within `wait_s`, and all of what is there then."""
        serial = self._transport.serial
        serial.timeout = wait_s
        try:
            first = serial.read(1)
            return bytes(first + serial.read(serial.in_waiting)) if first else b""
        finally:
            serial.timeout = self._answer_s
