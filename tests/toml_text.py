"""Writes TOML, for tests that make files by the thousand."""

from __future__ import annotations


def toml(document: dict) -> str:
    """A document, one line per key of the top."""
    return "".join(f"{toml_value(key)} = {toml_value(value)}\n" for key, value in document.items())


def toml_value(value: object) -> str:
    """`value` on one line; no control characters in its texts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
