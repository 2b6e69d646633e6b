"""Reads a profile and its board. All problems are reported together, each with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.problems import did_you_mean
from gateway.profile import driver, locate
from gateway.profile.check import Parts, check
from gateway.profile.chips import chip_facts
from gateway.profile.model import (
    Board,
    BoardFacts,
    Bus,
    ChipFacts,
    Delivery,
    Input,
    Node,
    Output,
    Pin,
    Power,
    Profile,
    Quantity,
    Sensor,
)
from gateway.profile.tables import ProfileError, TomlFile


def load_profile(path: Path) -> Profile:
    """The profile in the file `path`, checked, with its board inside. Raises ProfileError with all that is wrong."""
    file = TomlFile.read(path)
    node, parts, board_report = _read_profile(file)
    check(parts, file.problems)
    _check_drivers(parts, file)
    report = file.report() + board_report
    if report or node is None or parts.board is None:
        raise ProfileError("\n".join(report))
    return Profile(
        node=node,
        board=parts.board,
        buses=parts.buses,
        sensors=parts.sensors,
        outputs=parts.outputs,
        inputs=parts.inputs,
        power=parts.power,
        delivery=parts.delivery,
    )


def load_board(path: Path) -> Board:
    """The board in the file `path`. Raises ProfileError with everything that is wrong."""
    file = TomlFile.read(path)
    board = _read_board(file)
    file.must_be_right()
    assert board is not None  # noqa: S101 - for mypy: what is wrong has been raised
    return board


def _read_profile(file: TomlFile) -> tuple[Node | None, Parts, list[str]]:
    """The good parts of a profile, and what is wrong with its board's file."""
    file.known_keys("node", "buses", "sensors", "outputs", "inputs", "power", "delivery")
    data = file.data
    node = file.table(Node, ("node",), data.get("node", {}))
    board, board_report = _find_board(node, file) if node else (None, [])
    named_buses = data.get("buses", {})
    parts = Parts(
        board=board,
        buses=file.tables(Bus, ("buses",), named_buses),
        named_buses=frozenset(named_buses if isinstance(named_buses, dict) else ()),
        sensors=file.tables(Sensor, ("sensors",), _with_quantities(file, data.get("sensors", {}))),
        outputs=file.tables(Output, ("outputs",), data.get("outputs", {})),
        inputs=file.tables(Input, ("inputs",), data.get("inputs", {})),
        power=file.table(Power, ("power",), data.get("power", {})) or Power(),
        delivery=file.table(Delivery, ("delivery",), data.get("delivery", {})) or Delivery(),
    )
    parts.chips = _chips(parts, file, board_report)
    if not data.get("sensors"):
        file.problems.add(("sensors",), "is missing: a node has at least one sensor, such as [sensors.climate]")
    return node, parts, board_report


def _with_quantities(file: TomlFile, sensors: object) -> object:
    """`sensors` with only their good quantities, so that a wrong one does not hide what else is wrong."""
    if not isinstance(sensors, dict):
        return sensors
    return {
        name: {**content, "quantities": _good_quantities(file, name, content)} if isinstance(content, dict) else content
        for name, content in sensors.items()
    }


def _good_quantities(file: TomlFile, sensor: str, content: dict[str, Any]) -> dict[str, Any]:
    path = ("sensors", sensor, "quantities")
    given = content.get("quantities", {})
    if given == {}:
        file.problems.add(path, "is missing: a sensor measures at least one quantity")
    return {name: quantity.model_dump() for name, quantity in file.tables(Quantity, path, given).items()}


def _find_board(node: Node, file: TomlFile) -> tuple[Board | None, list[str]]:
    node_dir = file.path.parent
    path = locate.find_board(node.board, node_dir)
    if path is None:
        known = locate.boards(node_dir)
        hint = did_you_mean(node.board, known) or f"; there are: {', '.join(known)}"
        file.problems.add(("node", "board"), f'no board is called "{node.board}"{hint}')
        return None, []
    try:
        return load_board(path), []
    except ProfileError as error:
        return None, str(error).splitlines()


def _chips(parts: Parts, file: TomlFile, report: list[str]) -> dict[str, ChipFacts]:
    """What is known of the chips in use. What is wrong with their files goes to `report`."""
    known = {}
    for chip in sorted({sensor.chip for sensor in parts.sensors.values()}):
        try:
            facts = chip_facts(chip, file.path.parent)
        except ProfileError as error:
            report.extend(str(error).splitlines())
            continue
        if facts is not None:
            known[chip] = facts
    return known


def _read_board(file: TomlFile) -> Board | None:
    file.known_keys("board", "pins")
    facts = file.table(BoardFacts, ("board",), file.data.get("board", {}))
    pins = file.data.get("pins", {})
    if not isinstance(pins, dict) or not pins:
        file.problems.add(("pins",), "must be a table of pins, and not empty")
        return None
    good = {name: file.table(Pin, ("pins", name), content) for name, content in pins.items()}
    if facts and facts.name != file.path.stem:
        file.problems.add(("board", "name"), f'must be "{file.path.stem}", as the file is called')
    if facts is None or file.problems.found:
        return None
    return file.table(Board, (), {**file.data["board"], "pins": {n: p.model_dump() for n, p in good.items() if p}})


def _check_drivers(parts: Parts, file: TomlFile) -> None:
    node_dir = file.path.parent
    for sensor in parts.sensors.values():
        path = ("sensors", sensor.name)
        source = locate.driver(sensor.chip, node_dir)
        if source is None:
            places = " nor ".join(str(place) for place in locate.driver_places(sensor.chip, node_dir))
            file.problems.add((*path, "chip"), f'no driver for "{sensor.chip}": there is neither {places}')
            continue
        for key, sentence in driver.problems(sensor, source.read_text("utf-8", errors="replace")):
            file.problems.add((*path, *key), sentence)
