"""A TOML file under check: its tables as models, and all its problems together, each with file, line and key."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.errors import ConfigError
from gateway.problems import Problems, did_you_mean, dotted
from gateway.profile.model import Table
from gateway.toml_lines import KeyPath, line_of, syntax_error

T = TypeVar("T", bound=Table)


class ProfileError(ConfigError):
    """A profile or board file is wrong. The text has one line per problem: `file:line: key.path: sentence`."""


@dataclass(slots=True)
class TomlFile:
    """A TOML file under check."""

    path: Path
    text: str
    data: dict[str, Any]
    problems: Problems = field(default_factory=Problems)

    @classmethod
    def read(cls, path: Path) -> TomlFile:
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

    def must_be_right(self) -> None:
        """Raises ProfileError where a problem was found."""
        if self.problems.found:
            raise ProfileError("\n".join(self.report()))

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
