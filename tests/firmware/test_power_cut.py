"""The power goes at every flash operation: journal, outbox and boot record in one interpreter (mpy/flash_cuts.py)."""

from __future__ import annotations

import json
import time

import pytest

from tests.firmware import interpreter

SETTINGS = ("unsent", "none")


def cuts(setting: str, first_seed: int, scenarios: int, every: int, timeout_s: float = 50) -> dict[str, int]:
    """Tries every such cut of these scenarios; fails where anything was lost, invented or not counted."""
    arguments = (setting, str(first_seed), str(scenarios), str(every))
    printed = interpreter.run_script("flash_cuts.py", *arguments, heap="16m", timeout_s=timeout_s)
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_power_cut_loses_nothing_that_was_promised_and_the_rest_is_within_its_bound(setting: str) -> None:
    found = cuts(setting, first_seed=1, scenarios=3, every={"unsent": 7, "none": 23}[setting])
    print(f"{setting}: {found}")
    assert found["cuts"] >= 50


@pytest.mark.campaign
@pytest.mark.timeout(400)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_power_cut_at_every_single_flash_operation_and_inside_each(setting: str) -> None:
    """Each operation of a scenario, before, in the middle of and behind its bytes, for 60 s of scenarios."""
    end_s = time.monotonic() + 60
    total: dict[str, int] = {}
    seed = 100
    while time.monotonic() < end_s:
        for key, value in cuts(setting, seed, scenarios=2, every=1, timeout_s=300).items():
            total[key] = total.get(key, 0) + value
        seed += 2
    print(f"{setting}: {total}")
    assert total["cuts"] == 3 * total["operations"]
