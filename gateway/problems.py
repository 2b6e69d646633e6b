"""What is wrong with a file of ours, said so that a person can mend it: where, which key, one sentence. Pure.

Shared by profiles and configuration. pydantic finds most of the problems; this turns its errors into our sentences.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.toml_lines import KeyPath

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_MOST_SHOWN = 60
"""Characters of a wrong value that are repeated in its message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `sentence` says what must be, without the key."""

    path: KeyPath
    sentence: str


@dataclass(slots=True)
class Problems:
    """Collected while checking, reported together."""

    found: list[Problem] = field(default_factory=list)

    def add(self, path: Sequence[str | int], sentence: str) -> None:
        self.found.append(Problem(tuple(path), _printable(sentence)))  # it may repeat what is wrong

    def add_all(self, error: ValidationError, model: type[BaseModel], under: KeyPath = ()) -> None:
        """Everything pydantic found wrong with data for `model`, which stands at `under` in its file."""
        for detail in error.errors():
            path = tuple(part for part in detail["loc"] if part != "[key]")
            self.add((*under, *path), _sentence(detail, model, path))


def dotted(path: Iterable[str | int]) -> str:
    """`sensors.climate.range[0]`, with quotes around what TOML wants quoted."""
    return "".join(map(_step, path)).removeprefix(".")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _BARE_KEY.fullmatch(part) else f".{_printable(_shown(part))}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "period_ms"?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys a table at `path` inside `model` may have; none where anything goes."""
    found = model_at(model, path)
    return list(found.model_fields) if found else []


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the table at `path` inside `model`; None where that is no table with fixed keys."""
    here: Any = model
    for part in path:
        if _is_model(here):
            if part not in here.model_fields:
                return None
            here = here.model_fields[part].annotation
        elif typing.get_origin(here) is dict:
            here = typing.get_args(here)[1]
        else:
            return None
    return here if _is_model(here) else None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "a number, and finite",
    "string_type": 'text in "quotes"',
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": 'a path in "quotes"',
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


def _sentence(detail: ErrorDetails, model: type[BaseModel], path: KeyPath) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(path[-1]), keys_at(model, path[:-1]))
    if kind == "missing":
        return "is missing"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_shown(value)}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {_number(context[bound])}, not {_shown(value)}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), chr(34))}, not {_shown(value)}"
    if kind == "value_error":
        return str(context["error"])
    return detail["msg"][0].lower() + detail["msg"][1:]


def _number(value: float) -> str:
    return f"{value:_}" if isinstance(value, int) else f"{value:g}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
