"""Where firmware, boards and nodes are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.errors import ConfigError
from gateway.problems import did_you_mean

_PACKAGE = Path(__file__).resolve().parent.parent


def hardware_dir() -> Path:
    """The folder with `boards/` and one folder per node."""
    return _shipped("hardware")


def firmware_dir() -> Path:
    """The folder with what goes onto a board: `boot.py`, `main.py`, `device/`."""
    return _shipped("firmware")


def _shipped(name: str) -> Path:
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _PACKAGE.parent / name


def nodes() -> list[str]:
    """Names of the nodes that come with the package."""
    return sorted(path.parent.name for path in hardware_dir().glob("*/profile.toml"))


def find_node(name: str | Path) -> Path:
    """The `profile.toml` of a node that comes with the package, of a folder, or itself. Raises ConfigError."""
    given = Path(os.path.expanduser(name))  # unlike Path.expanduser, it takes a "~nobody" as it is
    for candidate in (given, given / "profile.toml", hardware_dir() / given / "profile.toml"):
        if candidate.is_file():
            return candidate
    if given.exists():
        raise ConfigError(f"{given}: there is no profile.toml in this folder")
    hint = did_you_mean(str(name), nodes()) or f"; there are {', '.join(nodes())}, or name a folder with a profile.toml"
    raise ConfigError(f'no node is called "{name}"{hint}')


def find_board(name: str, node_dir: Path) -> Path | None:
    """`<name>.toml` of a board: beside the profile, else in `boards/` beside the node's folder, else among ours."""
    for folder in (node_dir, node_dir.parent / "boards", hardware_dir() / "boards"):
        if (file := folder / f"{name}.toml").is_file():
            return file
    return None


def boards(node_dir: Path) -> list[str]:
    """Names of the boards a profile in `node_dir` could name."""
    folders = (node_dir.parent / "boards", hardware_dir() / "boards")
    return sorted({file.stem for folder in folders for file in folder.glob("*.toml")})


def chip_file(chip: str, node_dir: Path) -> Path | None:
    """`<chip>.toml` with what is known of a chip: the node's own comes before ours."""
    for folder in (node_dir, hardware_dir()):
        if (file := folder / "chips" / f"{chip}.toml").is_file():
            return file
    return None


def driver(chip: str, node_dir: Path) -> Path | None:
    """The driver of `chip`: the node's own comes before ours."""
    for file in driver_places(chip, node_dir):
        if file.is_file():
            return file
    return None


def driver_places(chip: str, node_dir: Path) -> tuple[Path, Path]:
    """Where the driver of `chip` may be, in the order of looking."""
    return node_dir / "sensors" / f"{chip}.py", firmware_dir() / "device" / "sensors" / f"{chip}.py"


def user_drivers(profile_path: Path) -> dict[str, list[Path]]:
    """A node's own Python files: `sensors` (drivers, for the board) and `models` (of chips, for the emulated board)."""
    folder = profile_path.parent
    return {kind: sorted((folder / kind).glob("*.py")) for kind in ("sensors", "models")}
