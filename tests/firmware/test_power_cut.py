"""The power goes at every flash operation: journal, outbox and boot record in one interpreter (mpy/flash_cuts.py)."""

from __future__ import annotations

import json

import pytest

from tests.firmware import interpreter

KINDS = (("unsent", False), ("none", False), ("unsent", True), ("none", True))
"""Setting, and whether the flash is so full that the oldest segments make way."""


def cuts(
    setting: str, full: bool, first_seed: int, scenarios: int, every: int, timeout_s: float = 50
) -> dict[str, int]:
    """Tries every such cut of these scenarios; fails where anything was lost, invented or not counted."""
    arguments = [setting, str(first_seed), str(scenarios), str(every)] + ["full"] * full
    printed = interpreter.run_script("flash_cuts.py", *arguments, heap="16m", timeout_s=timeout_s)
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    print(f"{setting}{', full' * full}: {found}")
    return found


@pytest.mark.parametrize(("setting", "full"), KINDS)
def test_a_power_cut_loses_nothing_that_was_promised_and_the_rest_is_within_its_bound(setting: str, full: bool) -> None:
    every = {"unsent": 7, "none": 23}[setting] * (3 if full else 1)
    found = cuts(setting, full, first_seed=1, scenarios=3, every=every)
    assert found["cuts"] >= 45
    assert not full or found["gaps"] > 0


@pytest.mark.campaign
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("setting", "full"), KINDS)
def test_the_power_cut_at_far_more_flash_operations_and_inside_them(setting: str, full: bool) -> None:
    """All of them (EVERY 1) take minutes: see mpy/flash_cuts.py."""
    every = {("unsent", False): 1, ("none", False): 4, ("unsent", True): 5, ("none", True): 11}[setting, full]
    found = cuts(setting, full, first_seed=100, scenarios=3, every=every, timeout_s=150)
    assert found["cuts"] > 3 * found["operations"] // every - 3
