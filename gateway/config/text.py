"""Settings as text: JSON Schema, an example file, and what is in force. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from gateway.config.sections import Config, MqttConfig, Settings

_WIDTH = 100

_EXAMPLE_HEAD = """\
# Settings of mpy-gateway. Every key may be left out: the default, or an example, stands behind the #.
# A variable MPY_GATEWAY_<SECTION>__<KEY> overrides a key, and the option --set section.key=value overrides both.
"""


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}


def show(config: Config) -> str:
    """What is in force, as a file that would set the same: valid TOML. Beside each key that is set stands where.

    There is no secret to hide: the settings hold none, only the names of files that do.
    """
    lines = [f"# state directory: {_comment(str(config.state))}"]
    for name in Settings.model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            lines += ["", f"[{name}]", *_in_force(config, (name,), section)]
        else:
            for key, outlet in section.items():
                lines += ["", f"[{name}.{key}]", *_in_force(config, (name, key), outlet)]
    return "\n".join(lines) + "\n"


def _in_force(config: Config, path: tuple[str, ...], section: BaseModel) -> Iterator[str]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        origin = config.origin((*path, key))
        line = f"# {key} is not set" if value is None else f"{key} = {toml_value(value)}"
        yield f"{line}  # {_comment(origin)}" if origin else line


def example() -> str:
    """A file with every key, its meaning and its default, commented out. Valid TOML, as it is and uncommented."""
    text = _EXAMPLE_HEAD
    for name in Settings.model_fields:
        default = Settings.model_fields[name].default
        model = type(default) if isinstance(default, BaseModel) else MqttConfig
        header = f"[{name}]" if isinstance(default, BaseModel) else f"#[{name}.home]"
        text += f"\n{_wrapped(model.__doc__ or '')}{header}\n"
        text += "".join(_wrapped(about) + f"#{key} = {value}\n" for key, about, value in _keys(model))
    return text


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Key, description and example value of each field. A field without a default has `examples`."""
    for key, info in model.model_fields.items():
        value = info.examples[0] if info.examples else info.default
        yield key, info.description or "", toml_value(value)


def _wrapped(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH))


def toml_value(value: object) -> str:
    """`value` as TOML writes it; what is neither number, boolean nor list is written as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON's escapes are TOML's; only DEL is allowed raw in JSON alone
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def _comment(text: str) -> str:
    """`text` inside a comment, where TOML allows no control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)
