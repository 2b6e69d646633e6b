"""Settings as text: JSON Schema, an example file, and what is in force. Pure."""

from __future__ import annotations

from typing import Any

from gateway.config.sections import Settings


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
