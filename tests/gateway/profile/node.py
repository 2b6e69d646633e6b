"""A node in a folder of its own, to be changed and loaded."""

from __future__ import annotations

from pathlib import Path

from gateway.profile import ProfileError, load_profile
from tests.nodes import plain_climate

CLIMATE = plain_climate()
DRIVERS = {
    "bme280": 'QUANTITIES = (("temperature", 2), ("humidity", 2), ("pressure", 2))\n',
    "vitals": 'QUANTITIES = (("rssi", 0), ("free_heap", 0), ("uptime", 0), ("reset_cause", 0))\n',
}


def write_node(folder: Path, *changes: tuple[str, str], text: str = CLIMATE) -> Path:
    """The climate node's profile with each `(old, new)` put in place, and drivers of its own. Returns its path."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    (folder / "sensors").mkdir(exist_ok=True)
    for chip, source in DRIVERS.items():
        (folder / "sensors" / f"{chip}.py").write_text(source)
    path = folder / "profile.toml"
    path.write_text(text, "utf-8")
    return path


def problems(folder: Path, *changes: tuple[str, str], text: str = CLIMATE) -> list[str]:
    """What `load_profile` has to say, without the folder's name and the line numbers."""
    path = write_node(folder, *changes, text=text)
    try:
        load_profile(path)
    except ProfileError as error:
        return [line.removeprefix(f"{path}:").partition(": ")[2] for line in str(error).splitlines()]
    return []


def line_of(part: str, text: str = CLIMATE) -> int:
    """The line on which `part` stands."""
    return text[: text.index(part)].count("\n") + 1
