"""Units as Home Assistant knows them, and what was meant by others."""

from __future__ import annotations

import unicodedata

import pytest

from gateway.profile.units import UNITS, unit_problem


@pytest.mark.parametrize("unit", ["°C", "%", "hPa", "lx", "ppm", "μg/m³", "μS/cm", "dBm", "W", "B", "s", "°", ""])
def test_common_units_are_known(unit):
    assert unit_problem(unit) is None


@pytest.mark.parametrize(
    ("unit", "meant"),
    [
        ("C", "°C"),
        ("c", "°C"),
        ("ºC", "°C"),
        ("℃", "°C"),
        ("degC", "°C"),
        ("Celsius", "°C"),
        ("F", "°F"),
        ("percent", "%"),
        ("hpa", "hPa"),
        ("HPA", "hPa"),
        ("ug/m3", "μg/m³"),
        ("\u00b5g/m\u00b3", "μg/m³"),
        ("μg/m^3", "μg/m³"),
        ("us/cm", "μS/cm"),
        ("lux", "lx"),
        ("m3", "m³"),
        ("Seconds", "s"),
        ("bytes", "B"),
        (" %", "%"),
    ],
)
def test_a_near_miss_is_told_what_was_meant(unit, meant):
    assert f'did you mean "{meant}"?' in (unit_problem(unit) or "")


def test_where_two_were_meant_both_are_named():
    assert 'did you mean "MW" or "mW"?' in (unit_problem("mw") or "")


def test_the_exact_case_is_the_better_guess():
    assert unit_problem("m w") == '"m w" is not a unit that Home Assistant knows; did you mean "MW" or "mW"?'
    assert 'did you mean "mW"?' in (unit_problem("m W") or "")


def test_characters_that_look_alike_are_named():
    assert "U+00B5" in (unit_problem("\u00b5V") or "")
    assert "U+00BA" in (unit_problem("\u00baC") or "")


@pytest.mark.parametrize("unit", ["pH", "AQI", "none", "-", "1"])
def test_what_has_no_unit_is_told_to_write_none(unit):
    assert 'what has no unit is written ""' in (unit_problem(unit) or "")


def test_what_nobody_can_guess_is_told_where_to_look():
    assert "hardware/README.md" in (unit_problem("furlong") or "")


def test_our_table_uses_the_right_one_of_the_characters_that_look_alike():
    for unit in UNITS:
        assert not set(unit) & {"\u00b5", "\u00ba", "\u2103", "\u2126"}, unit
        assert unicodedata.normalize("NFC", unit) == unit
