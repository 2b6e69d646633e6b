"""What is made from profiles: fresh in the tree, and right."""

from __future__ import annotations

import csv
import io
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.hardware.parts import bom_csv, parts, total_eur
from gateway.hardware.picture import svg
from gateway.hardware.power import battery_days, loads
from gateway.hardware.render import filled, index_file, node_files
from gateway.hardware.wiring import Wire, wires
from gateway.profile import Profile, find_node, hardware_dir, load_profile, locate
from tests.flow.commands import mpy_gateway
from tests.gateway.profile.node import write_node


@pytest.mark.parametrize("name", locate.nodes())
def test_the_pages_in_the_tree_are_fresh(name: str) -> None:
    for file, text in node_files(find_node(name)).items():
        assert file.read_text("utf-8") == text, f"mpy-gateway hardware render {name}"


@pytest.mark.parametrize("name", locate.nodes())
def test_a_nodes_page_has_all_sections(name: str) -> None:
    page = (hardware_dir() / name / "README.md").read_text("utf-8")
    for section in ("parts", "wiring", "power", "firmware", "quantities"):
        assert f"<!-- end of {section} -->" in page


def test_the_index_is_fresh() -> None:
    for file, text in index_file(hardware_dir()).items():
        assert file.read_text("utf-8") == text, "mpy-gateway hardware render"


def node(directory: Path, *changes: tuple[str, str]) -> Profile:
    directory.mkdir(exist_ok=True)
    return load_profile(write_node(directory, *changes))


def test_an_led_and_a_button_are_wired_by_their_level(tmp_path: Path) -> None:
    profile = node(
        tmp_path,
        ("[outputs.led]", '[inputs.key]\nkind = "button"\npin = "GPIO4"\n[outputs.led]'),
        ('pin = "GPIO2"\nactive = "high"', 'pin = "GPIO5"\nactive = "low"'),
    )
    found = wires(profile, {})
    assert Wire("LED", "short leg, through the resistor", "GPIO5", "J3-10", "pin") in found
    assert Wire("LED", "long leg", "3V3", "J2-1", "3V3") in found
    assert Wire("Key", "the other side", "GND", "J2-14 or J3-1", "GND") in found
    assert Wire("BME280", "SCL", "GPIO22", "J3-3", "scl") in found  # of a chip of which nothing is known: its bus


def test_the_picture_has_every_wire_and_is_xml() -> None:
    found = [
        Wire("A & B", "IN <1>", "GPIO4", "J1-2", "pin"),
        Wire("A & B", "GND", "GND", "J1-1", "GND"),
        Wire("C", "GND", "GND", "J1-1", "GND"),
    ]
    root = ElementTree.fromstring(svg("Board", found))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}path")) == 3
    assert [text.text for text in root.findall(f"{space}text")] == [
        "Board", "GND  J1-1", "GPIO4  J1-2", "A & B", "IN <1>", "GND", "C", "GND",
    ]  # fmt: skip


def test_the_list_of_parts_is_csv_with_prices_that_add_up(tmp_path: Path) -> None:
    found = parts(node(tmp_path), {})
    rows = list(csv.DictReader(io.StringIO(bom_csv(found))))
    assert [row["of"] for row in rows] == ["node.board", "outputs.led", ""]
    assert sum(int(row["count"]) * float(row["price_eur"]) for row in rows) == pytest.approx(total_eur(found))


def test_a_battery_lasts_longer_where_it_sleeps_and_sends_less_often(tmp_path: Path) -> None:
    def days(number: int, power: str) -> float | None:
        slow = [("period_ms = 1000\n", "period_ms = 600000\n"), ("period_ms = 10000\n", "period_ms = 600000\n")]
        return battery_days(node(tmp_path / str(number), *slow, ("[delivery]", f"[power]\n{power}\n[delivery]")), {})

    assert days(0, 'supply = "usb"') is None
    awake = days(1, 'supply = "battery"\nbattery_mah = 2500')
    asleep = days(2, 'supply = "battery"\nbattery_mah = 2500\ndeep_sleep = true')
    seldom = days(3, 'supply = "battery"\nbattery_mah = 2500\ndeep_sleep = true\nsend_every_s = 3600')
    assert awake is not None
    assert asleep is not None
    assert seldom is not None
    assert awake < 2 < asleep < seldom


def test_what_it_takes_begins_with_the_board(tmp_path: Path) -> None:
    board, climate, *_ = loads(node(tmp_path), {})
    assert (board.most_ma, climate.most_ma) == (240, 10)  # 10: a chip of which nothing is known


def test_only_what_stands_between_marks_is_written_and_a_mark_without_its_end_is_said() -> None:
    begin, end = "<!-- wiring: made by mpy-gateway hardware render -->", "<!-- end of wiring -->"
    page = Path("README.md")
    assert filled(page, f"mine\n{begin}\nold\n{end}\nmine too", {"wiring": "new"}) == (
        f"mine\n{begin}\nnew\n{end}\nmine too"
    )
    assert filled(page, "mine alone", {"wiring": "new"}) == "mine alone"
    with pytest.raises(ConfigError, match="needs one line"):
        filled(page, f"{begin}\nold", {"wiring": "new"})


def test_a_node_of_ones_own_gets_a_page_that_can_be_checked(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(find_node("climate-node").parent, own, ignore=shutil.ignore_patterns("README.md", "*.svg", "*.csv"))
    stale = mpy_gateway("hardware", "render", "--check", str(own))
    assert stale.returncode == 1
    assert "out of date" in stale.stderr
    assert mpy_gateway("hardware", "render", str(own)).returncode == 0
    assert "| BME280: SDA | GPIO21 | J3-6 |" in (own / "README.md").read_text("utf-8")
    assert mpy_gateway("hardware", "render", "--check", str(own)).returncode == 0
