"""The hardware page: a small file through which a board's chips and its host see each other.

It holds what a real board shows to the world (pin levels, how often each sensor was read) and what outlives its program
(reset cause, watchdog, RTC memory). The board's process writes it in place with plain file I/O, one system call per
field, so that what was written before a SIGKILL stays; the host maps it. Little-endian. Nothing in it ever moves: a new
field goes to a free place.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError

SIZE: Final = 16384
MAGIC: Final = b"mpyboard"

FIELDS: Final[dict[str, tuple[int, str]]] = {
    # name: (offset, struct format). The board's side gets the offsets of this table with the circuit, so there is one
    # table.
    "boots": (8, "<I"),  # starts of the chip, whatever the reason; written by the host before each
    "reset_cause": (12, "<I"),  # of the running boot, as machine.reset_cause() has it
    "wdt_timeout_ms": (16, "<I"),  # 0: not armed
    "wdt_feeds": (20, "<I"),
    "wdt_deadline_us": (24, "<Q"),  # on CLOCK_MONOTONIC
    "rtc_offset_us": (32, "<q"),  # CLOCK_MONOTONIC + this = microseconds since 2000 by the board's own clock
    "sleep_ms": (40, "<Q"),  # of the deep sleep under way; 0: until a reset
    "flash_erases": (48, "<Q"),
    "wifi_status": (56, "<I"),  # as WLAN.status() has it; 0: radio off
    "rssi": (60, "<i"),  # written by the host: what the radio shows of the signal; 0: what it is by itself
    "flash_programs": (64, "<Q"),  # completed, like flash_erases
    "flash_bytes": (72, "<Q"),  # programmed
    "flash_cut_at": (80, "<Q"),  # written by the host: the power goes in this operation (erases and programs counted
    #                               together, over all boots, from 1); 0: never
    "flash_cut_torn": (88, "<I"),  # ... when so much of it is done, in 65,536ths
    "wifi_gone": (92, "<I"),  # written by the host: no network is in reach
    "clock_ppm": (96, "<i"),  # written by the host: so much too fast runs the board's clock
    "pins": (256, "64B"),  # written by the board: 1 level, 2 is an output, 4 in use, 8 open drain
    "driven": (320, "64B"),  # written by the host: 0 nothing connected, 1 pulled low, 2 pulled high
    "pwm": (384, "128I"),  # written by the board, per pin: frequency (0: none) and duty in 65,536ths
    "driven_moved": (896, "64B"),  # written by the host: how often `driven` changed
    "rtc_memory": (1024, "<I2048s"),  # length, bytes
    "sensors": (4096, ""),  # SENSOR_SLOTS of SENSOR_BYTES: name (32 bytes), taken (u64), fault (u8, written by both)
    "pixels": (8192, ""),  # STRIPS of STRIP_BYTES, written by the board: pin + 1 and how many bytes (u16 each), those
    "block_erases": (12288, "<512I"),  # per block of the flash, by the board itself
    "names": (15360, "1024s"),  # written by the host: what mDNS answers, lines of "name address", NUL-terminated
    "names_end": (16384, ""),
}
SENSOR_SLOTS: Final = 64
SENSOR_BYTES: Final = 64
TAKEN: Final = 32
"""Where in a slot the count is: right after the name."""
_FAULT: Final = TAKEN + 8
STRIPS: Final = 4
STRIP_BYTES: Final = 1024
FAULTS: Final = ("missing", "stuck", "crc", "nack", "garbage")
"""What can be wrong with a sensor; in the page the number of its place, from 1. 0: nothing."""
_PIN_LEVEL: Final = 1
_FULL_DUTY: Final = 65536

POWER_ON, HARD_RESET, WATCHDOG, DEEP_SLEEP, SOFT_RESET = 1, 2, 3, 4, 5
"""Reset causes, as an ESP32 numbers them."""


def offsets() -> dict[str, int]:
    """Where the board's side finds each field."""
    return {name: offset for name, (offset, _) in FIELDS.items()}


class HardwarePage:
    """The host's view of a page: of the one who runs the board, or with `only_look` of anyone else.

    The runner's is made when there is none, and refused with ConfigError when another host runs the board already."""

    def __init__(self, path: Path, *, only_look: bool = False) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not only_look:
                self._claim(path)
            self._memory = mmap.mmap(self._file, SIZE)
        except BaseException:
            os.close(self._file)
            raise

    def _claim(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"the emulated board in {path.parent} is running already") from error
        if os.fstat(self._file).st_size != SIZE or os.pread(self._file, len(MAGIC), 0) != MAGIC:
            os.truncate(self._file, 0)
            os.truncate(self._file, SIZE)
            os.pwrite(self._file, MAGIC, 0)

    def get(self, field: str) -> int:
        offset, layout = FIELDS[field]
        value: int = struct.unpack_from(layout, self._memory, offset)[0]
        return value

    def set(self, field: str, value: int) -> None:
        offset, layout = FIELDS[field]
        struct.pack_into(layout, self._memory, offset, value)

    def level(self, pin: int) -> bool:
        """What the board puts out on `pin`; with PWM, what it does more than half of the time."""
        hz, duty = self.pwm(pin)
        return duty > _FULL_DUTY // 2 if hz else bool(self._memory[FIELDS["pins"][0] + pin] & _PIN_LEVEL)

    def pwm(self, pin: int) -> tuple[int, int]:
        """Frequency in Hz, and how much of the time `pin` is high, in 65,536ths; (0, 0) without PWM."""
        hz, duty = struct.unpack_from("<2I", self._memory, FIELDS["pwm"][0] + 8 * pin)
        return (hz, duty) if hz else (0, 0)

    def pixels(self, pin: int) -> bytes:
        """What the strip of pixels on `pin` holds, as it came."""
        for at in range(start := FIELDS["pixels"][0], start + STRIPS * STRIP_BYTES, STRIP_BYTES):
            number, size = struct.unpack_from("<2H", self._memory, at)
            if number == pin + 1:
                return self._memory[at + 4 : at + 4 + size]
        return b""

    def drive(self, pin: int, level: bool | None) -> None:
        """Pull `pin` high or low from outside, or let go of it (None)."""
        at, driven = FIELDS["driven"][0] + pin, 0 if level is None else 1 + level
        if self._memory[at] != driven:
            self._memory[at] = driven
            moved = FIELDS["driven_moved"][0] + pin
            self._memory[moved] = (self._memory[moved] + 1) & 255

    def block_erases(self) -> tuple[int, ...]:
        offset, layout = FIELDS["block_erases"]
        return struct.unpack_from(layout, self._memory, offset)

    def set_names(self, names: Mapping[str, str]) -> None:
        """What mDNS answers on the board's network: addresses by name. ValueError when it is too much."""
        offset, layout = FIELDS["names"]
        text = "\n".join(f"{name} {address}" for name, address in names.items()).encode() + b"\0"
        if len(text) > (size := struct.calcsize(layout)):
            raise ValueError(f"an emulated network has room for {size} bytes of names")
        self._memory[offset : offset + len(text)] = text

    def slot(self, sensor: str) -> int:
        """The slot of `sensor`, which stays its own for the life of the page. Takes a free one at the first call."""
        slot = self._find(sensor.encode())
        if slot is None and (slot := self._find(b"")) is None:
            raise ConfigError(f"sensor {sensor}: an emulated board has room for {SENSOR_SLOTS} sensors in its life")
        name = sensor.encode().ljust(TAKEN, b"\0")
        self._memory[(at := slot_at(slot)) : at + TAKEN] = name
        return slot

    def taken(self, sensor: str) -> int:
        """How often the chip of `sensor` has measured, over all boots."""
        slot = self._find(sensor.encode())
        if slot is None:
            return 0
        return int.from_bytes(self._memory[(at := slot_at(slot) + TAKEN) : at + 8], "little")

    def set_fault(self, sensor: str, fault: str | None) -> None:
        """One of FAULTS, or None. ValueError where there is no such fault."""
        self._memory[slot_at(self.slot(sensor)) + _FAULT] = 0 if fault is None else 1 + FAULTS.index(fault)

    def fault(self, sensor: str) -> str | None:
        slot = self._find(sensor.encode())
        number = self._memory[slot_at(slot) + _FAULT] if slot is not None else 0
        return FAULTS[number - 1] if number else None

    def _find(self, name: bytes) -> int | None:
        for slot in range(SENSOR_SLOTS):
            if self._memory[(at := slot_at(slot)) : at + TAKEN].rstrip(b"\0") == name:
                return slot
        return None

    def power_up(self) -> None:
        """What a power cut clears: RTC memory, clock, watchdog; levels, pixels; a chip that was stuck."""
        self.reset()
        for slot in range(SENSOR_SLOTS):
            if self._memory[(at := slot_at(slot) + _FAULT)] == 1 + FAULTS.index("stuck"):
                self._memory[at] = 0
        self.set("rtc_offset_us", 0)
        self._clear("pixels", STRIPS * STRIP_BYTES)
        self._clear("rtc_memory", 4)

    def reset(self) -> None:
        """What any reset but a soft one clears."""
        self.set("wdt_timeout_ms", 0)
        self.set("sleep_ms", 0)
        self.set("wifi_status", 0)
        self._clear("pins", 64)
        self._clear("pwm", 512)

    def _clear(self, field: str, size: int) -> None:
        at = FIELDS[field][0]
        self._memory[at : at + size] = bytes(size)

    def close(self) -> None:
        self._memory.close()
        os.close(self._file)


def slot_at(slot: int) -> int:
    """Where a sensor's slot begins."""
    return FIELDS["sensors"][0] + slot * SENSOR_BYTES
