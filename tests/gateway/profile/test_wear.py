"""How long the flash lasts: what a profile may ask of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.profile import find_node, load_profile
from gateway.profile.wear import erases_a_day, life_years

FLASH_BYTES = 4 << 20


def profile(directory: Path, period_ms: int, power_loss: str) -> Path:
    text = find_node("climate-node").read_text()
    text = text.replace("period_ms = 1000\n", f"period_ms = {period_ms}\n").replace('"unsent"', f'"{power_loss}"')
    if period_ms == 10:  # as fast as can be, and two of them
        text = text.replace("period_ms = 10000\n", "period_ms = 10\n")
    path = directory / "profile.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("period_ms", "power_loss"), [(1000, "none"), (1000, "unsent"), (20, "unsent")])
def test_what_lasts_is_taken(tmp_path: Path, period_ms: int, power_loss: str) -> None:
    assert load_profile(profile(tmp_path, period_ms, power_loss)).delivery.power_loss == power_loss


@pytest.mark.parametrize(
    ("period_ms", "power_loss", "advice"),
    [(100, "none", 'say power_loss = "unsent", or take a longer period'), (10, "unsent", "take a longer period")],
)
def test_what_wears_the_flash_out_within_5_years_is_refused_with_file_line_and_key(
    tmp_path: Path, period_ms: int, power_loss: str, advice: str
) -> None:
    path = profile(tmp_path, period_ms, power_loss)
    line = 1 + path.read_text().splitlines().index(f"period_ms = {period_ms}")
    with pytest.raises(ConfigError) as refused:
        load_profile(path)
    start = f'{path}:{line}: sensors.climate.period_ms: with power_loss = "{power_loss}" these periods wear the flash'
    assert start in str(refused.value)
    assert str(refused.value).endswith(advice)


def test_every_way_to_write_more_shortens_the_life() -> None:
    slow, fast = [10_000], [1_000]
    assert life_years(FLASH_BYTES, slow, 3, "none") > life_years(FLASH_BYTES, fast, 3, "none")
    assert life_years(FLASH_BYTES, fast, 3, "unsent") > life_years(FLASH_BYTES, fast, 3, "none")
    assert erases_a_day(fast, 25, "none", online=True) > 10 * erases_a_day(fast, 24, "none", online=True)
    assert erases_a_day(fast, 3, "none", online=False) > erases_a_day(fast, 3, "none", online=True)
    assert erases_a_day(fast, 3, "unsent", online=False) > erases_a_day(fast, 3, "unsent", online=True)
