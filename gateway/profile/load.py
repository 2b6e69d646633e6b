"""Reads a profile and its board. All problems are reported together, each with file, line and key."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.errors import ConfigError
from gateway.problems import Problems, did_you_mean, dotted
from gateway.profile import driver, locate
from gateway.profile.check import Parts, check
from gateway.profile.model import Board, BoardFacts, Bus, Delivery, Node, Output, Pin, Profile, Quantity, Sensor, Table
from gateway.toml_lines import KeyPath, line_of, syntax_error

T = TypeVar("T", bound=Table)


class ProfileError(ConfigError):
    """A profile or board file is wrong. The text has one line per problem: `file:line: key.path: sentence`."""


def load_profile(path: Path) -> Profile:
    """The profile in the file `path`, checked, with its board inside. Raises ProfileError with all that is wrong."""
    file = _File.read(path)
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
        delivery=parts.delivery,
    )


def load_board(path: Path) -> Board:
    """The board in the file `path`. Raises ProfileError with everything that is wrong."""
    file = _File.read(path)
    board = _read_board(file)
    if board is None or file.problems.found:
        raise ProfileError("\n".join(file.report()))
    return board


@dataclass(slots=True)
class _File:
    """A TOML file under check."""

    path: Path
    text: str
    data: dict[str, Any]
    problems: Problems = field(default_factory=Problems)

    @classmethod
    def read(cls, path: Path) -> _File:
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ProfileError(f"{path}: is not UTF-8 text") from error
        try:
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            line, sentence = syntax_error(error, text)
            raise ProfileError(f"{path}:{line}: not valid TOML: {sentence}") from error

    def report(self) -> list[str]:
        """The problems as lines of text, in the order of the file."""
        placed = [(line_of(self.text, p.path) or 1, dotted(p.path), p.sentence) for p in self.problems.found]
        return [f"{self.path}:{line}: {key}: {sentence}" for line, key, sentence in sorted(placed)]

    def known_keys(self, *known: str) -> None:
        for key in self.data:
            if key not in known:
                self.problems.add((key,), "unknown key" + did_you_mean(key, known))

    def table(self, model: type[T], path: KeyPath, data: object) -> T | None:
        """`data`, which stands at `path`, as `model`. None, with the problems noted, where it is wrong."""
        try:
            return model.model_validate_json(json.dumps(data, default=str))
        except ValidationError as error:
            self.problems.add_all(error, model, path)
            return None

    def tables(self, model: type[T], path: KeyPath, data: object) -> dict[str, T]:
        """The good ones among the tables in `data`. Their names are their keys; a title is by default the name."""
        if not isinstance(data, dict):
            self.problems.add(path, "must be a table of tables")
            return {}
        good = {}
        for name, content in data.items():
            here = (*path, name)
            table = self.table(model, here, self._named(model, here, content))
            if table is not None:
                good[name] = table
        return good

    def _named(self, model: type[Table], path: KeyPath, content: object) -> object:
        if not isinstance(content, dict):
            return content
        if "name" in content:
            self.problems.add((*path, "name"), "a table's name is its key: leave this out")
        name = str(path[-1])
        title = {"title": name.replace("_", " ").capitalize()} if "title" in model.model_fields else {}
        return {**title, **content, "name": name}


def _read_profile(file: _File) -> tuple[Node | None, Parts, list[str]]:
    """The good parts of a profile, and what is wrong with its board's file."""
    file.known_keys("node", "buses", "sensors", "outputs", "delivery")
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
        delivery=file.table(Delivery, ("delivery",), data.get("delivery", {})) or Delivery(),
    )
    if not data.get("sensors"):
        file.problems.add(("sensors",), "is missing: a node has at least one sensor, such as [sensors.climate]")
    return node, parts, board_report


def _with_quantities(file: _File, sensors: object) -> object:
    """`sensors` with only their good quantities, so that a wrong one does not hide what else is wrong."""
    if not isinstance(sensors, dict):
        return sensors
    return {
        name: {**content, "quantities": _good_quantities(file, name, content)} if isinstance(content, dict) else content
        for name, content in sensors.items()
    }


def _good_quantities(file: _File, sensor: str, content: dict[str, Any]) -> dict[str, Any]:
    path = ("sensors", sensor, "quantities")
    given = content.get("quantities", {})
    if given == {}:
        file.problems.add(path, "is missing: a sensor measures at least one quantity")
    return {name: quantity.model_dump() for name, quantity in file.tables(Quantity, path, given).items()}


def _find_board(node: Node, file: _File) -> tuple[Board | None, list[str]]:
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


def _read_board(file: _File) -> Board | None:
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
    return file.table(Board, (), {**facts.model_dump(), "pins": {n: p.model_dump() for n, p in good.items() if p}})


def _check_drivers(parts: Parts, file: _File) -> None:
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
