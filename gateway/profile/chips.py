"""What is known of a chip beside its driver: `chips/<chip>.toml` in the node's folder, else ours."""

from __future__ import annotations

from pathlib import Path

from gateway.profile.locate import chip_file
from gateway.profile.model import ChipFacts
from gateway.profile.tables import TomlFile


def chip_facts(chip: str, node_dir: Path) -> ChipFacts | None:
    """None where there is no such file. Raises ProfileError with everything that is wrong in it."""
    path = chip_file(chip, node_dir)
    if path is None:
        return None
    file = TomlFile.read(path)
    file.known_keys("chip", "pins")
    content = {"name": chip, **file.data.get("chip", {}), "pins": file.data.get("pins", {})}
    facts = file.table(ChipFacts, ("chip",), content)
    file.must_be_right()
    assert facts is not None  # noqa: S101 - for mypy: what is wrong has been raised
    return facts
