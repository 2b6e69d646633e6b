"""The pages of hardware/: what is made from profiles stands between two marks, and everything else is a person's.

<!-- wiring: made by mpy-gateway hardware render -->
...
<!-- end of wiring -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError
from gateway.hardware.parts import Part, bom_csv, parts, total_eur
from gateway.hardware.picture import svg
from gateway.hardware.power import AWAKE_S, SEND_S, USABLE, battery_days, loads
from gateway.hardware.wiring import wires
from gateway.profile import ChipFacts, Profile, load_board, load_profile
from gateway.profile.chips import chip_facts

_BEGIN: Final = "<!-- {}: made by mpy-gateway hardware render -->"
_END: Final = "<!-- end of {} -->"
_MICROPYTHON: Final = "MicroPython 1.25 or newer"


def node_files(profile_file: Path) -> dict[Path, str]:
    """What the files of a node should hold: its README, with the text that is there around what is made, wiring.svg and
    bom.csv. Raises ConfigError where the profile is wrong or the README has a mark without its end."""
    profile = load_profile(profile_file)
    folder = profile_file.parent
    chips = _chips(profile, folder)
    readme = folder / "README.md"
    text = readme.read_text("utf-8") if readme.exists() else _new_page(profile)
    found = wires(profile, chips)
    return {
        readme: filled(readme, text, {name: make(profile, chips) for name, make in _SECTIONS.items()}),
        folder / "wiring.svg": svg(profile.board.title, found),
        folder / "bom.csv": bom_csv(parts(profile, chips)),
    }


def index_file(hardware: Path) -> dict[Path, str]:
    """hardware/README.md with its tables of nodes and boards."""
    readme = hardware / "README.md"
    nodes = {file.parent.name: load_profile(file) for file in sorted(hardware.glob("*/profile.toml"))}
    boards = [load_board(file) for file in sorted((hardware / "boards").glob("*.toml"))]
    rows = [
        f"| [{name}]({name}/README.md) | {_measures(profile)} | {profile.board.title} | "
        f"about {total_eur(parts(profile, _chips(profile, hardware / name))):.0f} € |"
        for name, profile in nodes.items()
    ]
    supplies = [
        f"| {board.title} | [boards/{board.name}.toml](boards/{board.name}.toml) | {board.chip} | "
        f"{board.supply_ma} mA by USB, {board.gives_ma} mA at 3.3 V | {'no' if board.chip == 'rp2040' else 'yes'} |"
        for board in boards
    ]
    tables = {
        "nodes": _table(("node", "measures and switches", "board", "parts"), rows),
        "boards": _table(("board", "file", "chip", "supply", "deep sleep"), supplies),
    }
    return {readme: filled(readme, readme.read_text("utf-8"), tables)}


def filled(file: Path, text: str, made: Mapping[str, str]) -> str:
    """`text` with what is made between its marks. A section without marks is left out. Raises ConfigError."""
    for name, content in made.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        if begin not in text:
            continue
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ConfigError(f"{file}: needs one line {begin} and, behind it, one line {end}")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def _chips(profile: Profile, folder: Path) -> dict[str, ChipFacts]:
    known = {sensor.chip: chip_facts(sensor.chip, folder) for sensor in profile.sensors.values()}
    return {chip: facts for chip, facts in known.items() if facts is not None}


def _measures(profile: Profile) -> str:
    names = [q.title for s in profile.sensors.values() if s.chip not in ("vitals", "outputs") for q in
             s.quantities.values()]  # fmt: skip
    switched = [output.title for output in profile.outputs.values() if output.kind != "led"]
    return ", ".join(dict.fromkeys([*names, *switched])).lower().replace("co2", "CO2").replace("co₂", "CO₂")


def _table(heads: tuple[str, ...], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *rows])


def _parts(profile: Profile, chips: Mapping[str, ChipFacts]) -> str:
    found = parts(profile, chips)
    rows = [f"| {_count(part)} | {_price(part.count * part.price_eur)} | {part.look_for} |" for part in found]
    rows.append(f"| together | {_price(total_eur(found))} | |")
    return _table(("part", "about", "what to look for"), [re.sub(r"\|  \|$", "| |", row) for row in rows])


def _count(part: Part) -> str:
    return f"{part.count} × {part.part}" if part.count > 1 else part.part


def _price(eur: float) -> str:
    return f"{eur:.0f} €" if eur >= 1 else f"{eur:.2f} €"


def _wiring(profile: Profile, chips: Mapping[str, ChipFacts]) -> str:
    rows = [f"| {wire.part}: {wire.end} | {wire.pin} | {wire.header} |" for wire in wires(profile, chips)]
    addresses = [
        f"- {sensor.name} answers at 0x{sensor.address:02x} on {sensor.bus}."
        for sensor in profile.sensors.values()
        if sensor.address is not None
    ]
    notes = [f"- {note}" for chip in dict.fromkeys(s.chip for s in profile.sensors.values()) if chip in chips
             for note in chips[chip].notes]  # fmt: skip
    table = _table(("from", "to pin", "on header"), rows)
    lines = ["![Wiring](wiring.svg)", "", table, *([""] if addresses or notes else []), *addresses, *notes]
    return "\n".join(lines)


def _power(profile: Profile, chips: Mapping[str, ChipFacts]) -> str:
    found = loads(profile, chips)
    most = sum(load.most_ma for load in found)
    rows = [f"| {load.what} | {load.usual_ma:g} | {load.most_ma:g} |" for load in found]
    rows.append(f"| together, of {profile.board.gives_ma} | {sum(load.usual_ma for load in found):g} | {most:g} |")
    lines = [_table(("what", "mA, usually", "mA, at most"), rows)]
    days = battery_days(profile, chips)
    if days is not None:
        lines.append(
            f"\nWith {profile.power.battery_mah} mAh, {USABLE:.0%} of them usable, about {days:.0f} days: "
            f"{AWAKE_S:g} s for each sample, {SEND_S:g} s more each time it sends. "
            "Reckoned from data sheets, not measured."
        )
    return "\n".join(lines)


def _quantities(profile: Profile, chips: Mapping[str, ChipFacts]) -> str:
    rows = [
        f"| `{q.name}` | {q.unit} | {q.low:.10g} to {q.high:.10g} | {q.precision:.10g} |".replace("|  |", "| |")
        for q in profile.quantities.values()
    ]
    return _table(("quantity", "unit", "range", "step"), rows)


def _firmware(profile: Profile, chips: Mapping[str, ChipFacts]) -> str:
    drivers = ", ".join(f"`{chip}`" for chip in dict.fromkeys(s.chip for s in profile.sensors.values()))
    return f"{_MICROPYTHON} for {profile.board.title}, and `firmware/` of this version with the drivers {drivers}."


_SECTIONS: Final[dict[str, Callable[[Profile, Mapping[str, ChipFacts]], str]]] = {
    "parts": _parts,
    "wiring": _wiring,
    "power": _power,
    "firmware": _firmware,
    "quantities": _quantities,
}


def _new_page(profile: Profile) -> str:
    """A page to begin with, for a node that has none."""
    heads = {
        "parts": "Parts",
        "wiring": "Wiring",
        "power": "Power",
        "firmware": "Firmware",
        "quantities": "What it measures",
    }
    sections = [f"## {head}\n\n{_BEGIN.format(name)}\n{_END.format(name)}\n" for name, head in heads.items()]
    return "\n".join([f"# {profile.node.title}\n", "All of it is in [profile.toml](profile.toml).\n", *sections])
