"""What people read of what happened to samples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import gateway.dashboard
from gateway.device import wire
from gateway.words import ADVICE, WHY_LOST, Collapsed, gap_words, size, span

WORDS_TS = Path(gateway.dashboard.__file__).parent / "web/src/words.ts"


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ((0, 11, 12, None, "full"), "12 samples lost: memory full"),
        ((0, None, None, 64, "power_loss"), "at most 64 samples lost: power cut"),
        ((3, 3, None, None, "unexplained"), "1 sample lost: they never came, and nobody knows why"),
        ((3, None, None, None, "moths"), "samples lost: moths"),
    ],
)
def test_a_gap_says_how_many_and_why(gap: tuple[int, int | None, int | None, int | None, str], words: str) -> None:
    assert gap_words(*gap) == words


def test_every_reason_has_words_here_and_on_the_page() -> None:
    page = WORDS_TS.read_text("utf-8")
    listed = page[page.index("const WHY_LOST") : page.index("};", page.index("const WHY_LOST"))]
    assert set(re.findall(r"^  ([a-z_]+):", listed, re.M)) == set(WHY_LOST)
    assert set(ADVICE) <= set(WHY_LOST)
    ours = {"unexplained", "gateway_restored"}
    assert set(get_args(get_type_hints(wire.Gap)["why"])) <= set(WHY_LOST) - ours


def test_spans_and_sizes_are_short() -> None:
    assert [span(ms) for ms in (-5, 900, 65_000, 7_200_000, 200_000_000)] == ["0 s", "1 s", "1 min", "2 h", "2 d"]
    assert [size(n) for n in (812, 1434, 48_234_496, 21_474_836_480)] == ["812 B", "1.4 KB", "46.0 MB", "20.0 GB"]


def test_equal_lines_in_a_row_are_counted() -> None:
    collapsed = Collapsed()
    shown = [one for line in ["a", *["b"] * 13, "a"] for one in collapsed.told(line)]
    assert shown == ["a", "b", "b (again, 10 times)", "b (again, 12 times)", "a"]
