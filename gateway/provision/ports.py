"""Which boards are plugged in, and what keeps us from one. What is known is a table; looking is the rest."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gateway.errors import ConfigError

_BRIDGES: Final[dict[tuple[int, int], str]] = {
    (0x10C4, 0xEA60): "CP210x USB bridge",
    (0x10C4, 0xEA70): "CP2105 USB bridge",
    (0x1A86, 0x7523): "CH340 USB bridge",
    (0x1A86, 0x5523): "CH341 USB bridge",
    (0x1A86, 0x55D3): "CH343 USB bridge",
    (0x1A86, 0x55D4): "CH9102 USB bridge",
    (0x0403, 0x6001): "FT232R USB bridge",
    (0x0403, 0x6010): "FT2232 USB bridge",
    (0x0403, 0x6014): "FT232H USB bridge",
    (0x0403, 0x6015): "FT231X USB bridge",
    (0x067B, 0x2303): "PL2303 USB bridge",
    (0x067B, 0x23A3): "PL2303GS USB bridge",
    (0x303A, 0x1001): "ESP32 by its own USB",
    (0x303A, 0x4001): "ESP32 with MicroPython, by its own USB",
    (0x2E8A, 0x0005): "Raspberry Pi Pico with MicroPython",
    (0x2E8A, 0x0003): "Raspberry Pi Pico that waits for a UF2 file",
}
"""Vendor and product of what boards have between USB and chip, or are themselves."""
_VENDORS: Final = {0x303A: "ESP32 by its own USB", 0x2E8A: "Raspberry Pi board"}
"""... of which any product may be a board."""
_NO_BOARDS: Final = re.compile(
    r"zig-?bee|z-?wave|conbee|raspbee|skyconnect|sonoff|hubz|debug ?probe|cmsis-dap|modem|gps|gnss", re.IGNORECASE
)
"""Radio sticks of home automation have the bridges that boards have, and must not be written to by mistake."""
_EMULATED: Final = "/dev/pts/"
PICO_DRIVE: Final = Path("/dev/disk/by-label/RPI-RP2")
"""A Pico whose BOOTSEL button was held: a drive, no port."""


class Listed(Protocol):
    """What pyserial knows of a port."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None
    product: str | None


@dataclass(frozen=True, slots=True)
class Board:
    """A port behind which there may be a board."""

    port: str
    what: str
    usb: str
    """`10c4:ea60`; empty of what is not on USB."""
    serial_number: str
    problem: str
    """Why it cannot be used now, and what to do; empty where it can."""


def recognised(vid: int | None, pid: int | None, product: str | None) -> str | None:
    """What a port is, in words; None: nothing a board is ever behind."""
    if vid is None or pid is None or _NO_BOARDS.search(product or ""):
        return None
    if known := _BRIDGES.get((vid, pid)) or _VENDORS.get(vid):
        return known
    words = (product or "").lower()
    if any(word in words for word in ("uart", "serial", "jtag", "esp32", "micropython")):
        return product
    return None


def is_emulated(port: str) -> bool:
    """Whether a port is a pseudo-terminal: an emulated board, which is on this very machine."""
    return port.startswith(_EMULATED)


def boards(listed: Iterable[Listed] | None = None) -> list[Board]:
    """All that may be boards, by their port. `listed`: of pyserial where it is not given."""
    if listed is None:
        from serial.tools.list_ports import comports  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

        listed = comports()
    found = []
    for port in listed:
        what = recognised(port.vid, port.pid, port.product)
        if what is not None and port.vid is not None and port.pid is not None:
            usb = f"{port.vid:04x}:{port.pid:04x}"
            found.append(Board(port.device, what, usb, port.serial_number or "", problem(port.device, usb)))
    return sorted(found, key=lambda board: board.port)


def choose(port: str | None, listed: Iterable[Listed] | None = None) -> str:
    """The port that was named, or that of the only board. Raises ConfigError, with what to do."""
    if port is not None:
        if Path(port).exists() and (sentence := problem(port)):
            raise ConfigError(f"{port}: {sentence}")
        return port
    found = boards(listed)
    if not found and PICO_DRIVE.exists():
        raise ConfigError(
            "a Pico waits for MicroPython, as a drive called RPI-RP2: copy the .uf2 file of its board onto that, then "
            "run the same command again"
        )
    if not found:
        raise ConfigError(
            "no board is plugged in, as far as this machine can see. Look at the cable (many have no wires for data), "
            "and at `sudo dmesg | tail` while you plug it in (does brltty take it away? `sudo apt remove brltty`); a "
            "board by another way is named: /dev/ttyS0"
        )
    usable = [board for board in found if not board.problem]
    if len(found) == 1 and not usable:
        raise ConfigError(f"{found[0].port} ({found[0].what}): {found[0].problem}")
    if len(usable) == 1:
        return usable[0].port
    shown = "; ".join(f"{board.port} ({board.what}{f', {n}' if (n := board.serial_number) else ''})" for board in found)
    raise ConfigError(f"there are several boards, so name the port of the one that is meant: {shown}")


def problem(port: str, usb: str = "") -> str:
    """Why `port` cannot be opened, as far as can be told without opening it; empty where nothing speaks against it."""
    if not os.access(port, os.R_OK | os.W_OK):
        return _not_allowed(port, usb)
    if Path(port).is_file():
        return "this is a file, and no serial port: mpy-gateway boards shows what is plugged in"
    if holders := list(_holders(port)):
        return f"{' and '.join(holders)} has it open: end that first"
    return ""


def _not_allowed(port: str, usb: str) -> str:
    import grp  # noqa: PLC0415 - not everywhere, and only here

    try:
        status = os.stat(port)
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "it cannot be looked at"
    if group != "root" and status.st_mode & 0o060 == 0o060:
        if getpass.getuser() in grp.getgrgid(status.st_gid).gr_mem:
            return (
                f"you are in its group {group}, but only since the last login: log out and in again, or type `newgrp "
                f"{group}` for this terminal"
            )
        return (
            f"you may not use it: it belongs to the group {group}. Type `sudo usermod -aG {group} $USER`, then log out "
            "and in again"
        )
    vendor = usb.partition(":")[0] or "10c4"
    rule = f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", MODE="0660", GROUP="dialout"'
    return (
        f"you may not use it, and no group may: a udev rule is missing. Put the line {rule} into "
        "/etc/udev/rules.d/60-boards.rules, type `sudo udevadm control --reload`, and plug the board in again"
    )


def _holders(port: str) -> Iterator[str]:
    """Programs of this machine that have it open, as far as /proc tells us: `screen (1234)`. Never ourselves."""
    real = os.path.realpath(port)
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if any(os.readlink(entry) == real for entry in (process / "fd").iterdir()):
                yield f"{(process / 'comm').read_text().strip()} ({process.name})"
