"""hardware/README.md and the nodes' pages say what is so."""

from __future__ import annotations

import re

import pytest

from gateway.profile import find_node, hardware_dir, load_board, load_profile, locate, model
from gateway.profile.units import UNITS

README = (hardware_dir() / "README.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^### (.*?)$(.*?)(?=^##|\Z)", README))
TABLES = {
    "[node]": model.Node,
    "[buses.i2c0]": model.Bus,
    "[sensors.NAME]": model.Sensor,
    "[sensors.NAME.quantities]": model.Quantity,
    "[outputs.NAME]": model.Output,
    "[inputs.NAME]": model.Input,
    "[power]": model.Power,
    "[delivery]": model.Delivery,
    "[board]": model.BoardFacts,
    "[pins]": model.Pin,
    "chips/CHIP.toml": model.ChipFacts,
}


@pytest.mark.parametrize(("section", "table"), TABLES.items())
def test_every_key_of_a_profile_and_a_board_is_documented_and_no_other(section, table):
    described = {
        key for row in re.findall(r"(?m)^\| (`.*?) \|", SECTIONS[section]) for key in re.findall(r"`(\w+)`", row)
    }
    named_by_its_table = set() if section in ("[node]", "[board]", "[power]", "[delivery]") else {"name"}
    assert described == set(table.model_fields) - named_by_its_table


@pytest.mark.parametrize(("section", "table"), TABLES.items())
def test_documented_defaults_are_the_defaults(section, table):
    for keys, default in re.findall(r"(?m)^\| (`[^|]*?) \| `?\"?(\w+)\"?`? \|", SECTIONS[section]):
        for key in re.findall(r"`(\w+)`", keys):
            found = table.model_fields[key].default
            if isinstance(found, bool | int | str):
                assert str(found).lower() == default, key


def test_every_unit_is_listed_and_no_other():
    assert set(re.findall(r"`([^`]+)`", SECTIONS["Units"].split("says it.")[1])) == UNITS - {""}


@pytest.mark.parametrize("name", locate.nodes())
def test_a_nodes_page_has_its_wiring_and_what_it_measures(name):
    path = find_node(name)
    profile = load_profile(path)
    page = (path.parent / "README.md").read_text("utf-8")
    used = [
        pin
        for part in (profile.buses, profile.sensors, profile.outputs)
        for t in part.values()
        for pin in t.pins.values()
    ]
    for pin in used:
        assert re.search(rf"\| {pin} +\| {profile.board.pins[pin].header} +\|", page), pin
    for quantity in profile.quantities.values():
        span = f"{quantity.low:.10g} to {quantity.high:.10g}"
        row = f"| `{quantity.name}` | {quantity.unit} | {span} | {quantity.precision:.10g} |"
        assert row.replace("|  |", "| |") in page
    for sensor in profile.sensors.values():
        assert f"`{sensor.chip}`" in page
        assert sensor.address is None or f"0x{sensor.address:02x}" in page
    assert f"({name}/README.md)" in README


def test_every_board_is_listed():
    for path in (hardware_dir() / "boards").glob("*.toml"):
        board = load_board(path)
        assert f"(boards/{path.name})" in README
        assert board.title in README
        assert f"{board.supply_ma} mA" in README
