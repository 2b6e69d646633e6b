"""A picture of the wiring, as SVG: the board's used pins on the left, the parts on the right. Pure, and the same for
the same wires."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Final

from gateway.hardware.wiring import SUPPLIES, Wire

_COLOURS: Final = {
    "3V3": "#d62728", "5V": "#e8730c", "GND": "#333333",
    "scl": "#c9a100", "sda": "#1f77b4", "data": "#2ca02c", "pin": "#8e5fbf",
}  # fmt: skip
_ROW: Final = 24
_HEAD: Final = 40
_GAP: Final = 18
_BOARD: Final = (20, 190)
"""Left edge and width."""
_PARTS: Final = (450, 330)
_WIDTH: Final = _PARTS[0] + _PARTS[1] + 20
_DOT: Final = 4


def svg(title: str, found: list[Wire]) -> str:
    """The picture of these wires; `title` is the board's."""
    pins = sorted({(wire.pin, wire.header) for wire in found}, key=_place)
    groups = [(part, list(wires)) for part, wires in groupby(found, key=lambda wire: wire.part)]
    parts_height = sum(_HEAD + _ROW * len(wires) + _GAP for _, wires in groups)
    board_height = _HEAD + _ROW * len(pins) + 8
    height = max(board_height, parts_height) + 2 * _GAP
    board_top = (height - board_height) // 2
    at = {pin: board_top + _HEAD + _ROW * number + _ROW // 2 for number, pin in enumerate(pins)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>Wiring of {escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_box(_BOARD, board_top, board_height, title),
    ]
    for (pin, header), y in at.items():
        lines.append(_text(_BOARD[0] + 10, y, f"{pin}  {header}" if header else pin))
    top = (height - parts_height) // 2 + _GAP // 2
    curves: list[str] = []
    for part, wires in groups:
        lines += _box(_PARTS, top, _HEAD + _ROW * len(wires), part)
        for number, wire in enumerate(wires):
            y = top + _HEAD + _ROW * number + _ROW // 2
            lines.append(_text(_PARTS[0] + 12, y, wire.end))
            curves += _curve(at[wire.pin, wire.header], y, _COLOURS[wire.role])
        top += _HEAD + _ROW * len(wires) + _GAP
    return "\n".join([*lines, *curves, "</svg>"]) + "\n"


def _place(pin: tuple[str, str]) -> tuple[int, str, int]:
    """Supplies first, then as the pins lie on their headers."""
    name, header = pin
    if name in SUPPLIES:
        return SUPPLIES.index(name), "", 0
    place, _, number = header.replace(" ", "-").rpartition("-")
    return len(SUPPLIES), place, int(number) if number.isdigit() else 0


def _box(place: tuple[int, int], top: int, height: int, title: str) -> Iterator[str]:
    left, width = place
    yield (f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="#f4f6f8" stroke="#8a949e"/>')
    yield f'<text x="{left + 12}" y="{top + 24}" font-weight="bold">{escape(title)}</text>'


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y + 4}" xml:space="preserve">{escape(text)}</text>'


def _curve(from_y: int, to_y: int, colour: str) -> Iterator[str]:
    left, right = _BOARD[0] + _BOARD[1], _PARTS[0]
    middle = (left + right) // 2
    yield (
        f'<path d="M{left} {from_y}C{middle} {from_y} {middle} {to_y} {right} {to_y}" fill="none" '
        f'stroke="{colour}" stroke-width="2.5"/>'
    )
    for x, y in ((left, from_y), (right, to_y)):
        yield f'<circle cx="{x}" cy="{y}" r="{_DOT}" fill="{colour}"/>'
