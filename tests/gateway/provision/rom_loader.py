"""An ESP32's ROM loader behind a pseudo-terminal, for esptool's real command line.

Written from Espressif's description (esptool's "Serial Protocol"; the TRMs' register lists). The stub that esptool
loads into RAM is not run: its first words and its answers are given in its place, as that page describes them. Flash
behaves as NOR does: writing only clears bits, so what was not erased before comes out wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import select
import struct
import threading
import tty
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SYNC_DATA: Final = b"\x07\x07\x12\x20" + 32 * b"\x55"
SECTOR: Final = 4096
MAC: Final = bytes.fromhex("240ac4123456")

_WRONG_MESSAGE, _WRONG_CHECKSUM = 0x05, 0x07


@dataclass(frozen=True)
class Model:
    """What differs between chips."""

    chip_id: int | None
    """Answered to GET_SECURITY_INFO, which the first ESP32 does not have."""
    spi: int
    """Base of the flash's SPI controller, and the offsets of its registers."""
    usr2: int
    w0: int
    registers: dict[int, int]


_MAC_LOW, _MAC_HIGH = int.from_bytes(MAC[2:], "big"), int.from_bytes(MAC[:2], "big")
MODELS: Final = {
    "esp32": Model(
        None, 0x3FF42000, 0x24, 0x80,
        {
            0x40001000: 0x00F01D83,  # what tells an ESP32 from others
            0x3FF40014: 347,  # UART divider: 40 MHz / 115200
            0x3FF5A004: _MAC_LOW, 0x3FF5A008: _MAC_HIGH,
        },
    ),
    "esp32c3": Model(
        5, 0x60002000, 0x20, 0x58, {0x60008844: _MAC_LOW, 0x60008848: _MAC_HIGH, 0x60008850: 3 << 18}
    ),
    "esp32s3": Model(9, 0x60002000, 0x20, 0x58, {0x60007044: _MAC_LOW, 0x60007048: _MAC_HIGH}),
}  # fmt: skip


@dataclass
class RomLoader:
    """`with RomLoader("esp32") as loader`: a chip in download mode at `loader.port`.

    `dies_after`: says nothing any more after so many data packets. `deaf`: never says anything."""

    chip: str = "esp32"
    flash_bytes: int = 4 << 20
    dies_after: int | None = None
    deaf: bool = False
    then: str | None = None
    """The port of a board with MicroPython, whose place this takes when an image was written and its MD5 asked for."""
    flash: bytearray = field(init=False)
    commands: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.flash = bytearray(os.urandom(4096)) * (self.flash_bytes // 4096)  # what somebody has left there
        self.model = MODELS[self.chip]
        self.registers = dict(self.model.registers)
        self.is_stub = False
        self.packets = 0
        self._at = self._left = 0
        self._inflate = zlib.decompressobj()
        self._do: dict[int, Callable[[bytes], tuple[int, bytes] | None]] = {
            0x02: self._flash_begin, 0x03: self._flash_data, 0x04: self._nothing,
            0x05: self._nothing, 0x06: self._mem_end, 0x07: self._mem_data,
            0x08: self._sync, 0x09: self._write_reg, 0x0A: self._read_reg,
            0x0B: self._nothing, 0x0D: self._nothing, 0x0F: self._nothing,
            0x10: self._defl_begin, 0x11: self._defl_data, 0x12: self._nothing, 0x13: self._md5,
        }  # fmt: skip
        if self.model.chip_id is not None:
            self._do[0x14] = self._security_info

    def __enter__(self) -> RomLoader:
        self._ours, theirs = pty.openpty()
        tty.setraw(theirs)
        self.port = os.ttyname(theirs)
        self._theirs = theirs
        self._thread = threading.Thread(target=self._serve, name="rom-loader")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        os.write(self._theirs, b"\xc0")  # wakes the reader up
        self._thread.join(5)
        os.close(self._ours)
        os.close(self._theirs)

    # The line: SLIP frames

    _ended = False

    def _serve(self) -> None:
        rest = b""
        while not self._ended:
            with contextlib.suppress(OSError):
                data = os.read(self._ours, 65536)
                if b"\xc0" not in data and not rest and b"\x03" in data:  # somebody types, and nothing is to be started
                    if self._started(data):
                        return
                    os.write(self._ours, b"invalid header: 0xffffffff\r\n")
                    continue
                rest += data
            *frames, rest = rest.split(b"\xc0")
            for frame in frames:
                if frame and not self.deaf and not self._ended:
                    self._frame(frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))

    def _started(self, typed: bytes) -> bool:
        """From here on it is the other board, until the end."""
        if self.then is None or 0x13 not in self.commands:
            return False
        board = os.open(self.then, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(board, typed)
            while not self._ended:
                for ready in select.select([board, self._ours], [], [])[0]:
                    data = os.read(ready, 65536)
                    if not self._ended:
                        os.write(board if ready == self._ours else self._ours, data)
        finally:
            os.close(board)
        return True

    def _say(self, packet: bytes) -> None:
        data = b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"
        while data:
            data = data[os.write(self._ours, data) :]

    def _frame(self, frame: bytes) -> None:
        if len(frame) < 8:
            return
        direction, command, length, checksum = struct.unpack_from("<BBHI", frame)
        data = frame[8:]
        if direction != 0 or length != len(data):
            return
        self.commands.append(command)
        if command in (0x03, 0x07, 0x11):
            self.packets += command != 0x07
            if self.dies_after is not None and self.packets > self.dies_after:
                self.deaf = True
                return
            if _checksum(data[16:]) != checksum:
                self._answer(command, 0, b"", _WRONG_CHECKSUM)
                return
        act = self._do.get(command) or (self._erase_flash if self.is_stub and command == 0xD0 else None)
        result = act(data) if act else None
        if result is None:
            self._answer(command, 0, b"", _WRONG_MESSAGE)
            return
        self._answer(command, *result)
        if command == 0x08:
            for _ in range(7):
                self._answer(command, *result)
        if command == 0x06 and self.is_stub:
            self._say(b"OHAI")

    def _answer(self, command: int, value: int, data: bytes, error: int = 0) -> None:
        status = bytes((error != 0, error)) + (b"" if self.is_stub and command != 0x06 else bytes(2))
        self._say(struct.pack("<BBHI", 1, command, len(data) + len(status), value) + data + status)

    # Commands: value and data of the answer; None: refused

    def _nothing(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""

    def _sync(self, data: bytes) -> tuple[int, bytes] | None:
        return (0 if self.is_stub else 0x20120707, b"") if data == SYNC_DATA else None

    def _read_reg(self, data: bytes) -> tuple[int, bytes]:
        return self.registers.get(struct.unpack("<I", data)[0], 0), b""

    def _write_reg(self, data: bytes) -> tuple[int, bytes]:
        address, value = struct.unpack_from("<II", data)
        self.registers[address] = value
        if address == self.model.spi and value & 1 << 18:  # the SPI controller is to carry out a command of the user
            self.registers[address] = 0
            if self.registers[self.model.spi + self.model.usr2] & 0xFF == 0x9F:  # JEDEC id: a Winbond of that size
                size = self.flash_bytes.bit_length() - 1
                self.registers[self.model.spi + self.model.w0] = size << 16 | 0x40 << 8 | 0xEF
        return 0, b""

    def _security_info(self, data: bytes) -> tuple[int, bytes]:
        return 0, struct.pack("<IB7BII", 0, 0, *bytes(7), self.model.chip_id, 3)

    def _mem_data(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""

    def _mem_end(self, data: bytes) -> tuple[int, bytes]:
        self.is_stub = struct.unpack("<II", data)[1] != 0
        return 0, b""

    def _flash_begin(self, data: bytes) -> tuple[int, bytes] | None:
        size, _, _, offset = struct.unpack_from("<IIII", data)
        if offset + size > self.flash_bytes:
            return None
        self._erase(offset, size)
        self._at = offset
        return 0, b""

    def _flash_data(self, data: bytes) -> tuple[int, bytes]:
        self._program(data[16 : 16 + struct.unpack_from("<I", data)[0]])
        return 0, b""

    def _defl_begin(self, data: bytes) -> tuple[int, bytes] | None:
        self._inflate = zlib.decompressobj()
        return self._flash_begin(data)

    def _defl_data(self, data: bytes) -> tuple[int, bytes]:
        self._program(self._inflate.decompress(data[16:]))
        return 0, b""

    def _md5(self, data: bytes) -> tuple[int, bytes]:
        address, size = struct.unpack_from("<II", data)
        digest = hashlib.md5(self.flash[address : address + size])
        return 0, digest.digest() if self.is_stub else digest.hexdigest().encode()

    def _erase_flash(self, data: bytes) -> tuple[int, bytes]:
        self._erase(0, self.flash_bytes)
        return 0, b""

    # The flash

    def _erase(self, offset: int, size: int) -> None:
        first, end = offset // SECTOR * SECTOR, -(-(offset + size) // SECTOR) * SECTOR
        self.flash[first:end] = b"\xff" * (end - first)

    def _program(self, data: bytes) -> None:
        there = int.from_bytes(self.flash[self._at : self._at + len(data)], "big")
        self.flash[self._at : self._at + len(data)] = (there & int.from_bytes(data, "big")).to_bytes(len(data), "big")
        self._at += len(data)


def _checksum(data: bytes) -> int:
    state = 0xEF
    for byte in data:
        state ^= byte
    return state
