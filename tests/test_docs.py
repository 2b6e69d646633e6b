"""Docs sit beside the code and break the build when they lie."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from gateway.cli import app
from gateway.config import Limits

ROOT = Path(__file__).parent.parent
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
TRACKED = [ROOT / name for name in LISTED if (ROOT / name).is_file()]
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def test_readme_has_the_two_lines() -> None:
    readme = (ROOT / "README.md").read_text()
    for extra, then in (("emulator", "mpy-gateway demo"), ("test", "pytest")):
        line = f"python3 -m venv .venv && .venv/bin/pip install -q -e '.[{extra}]' && .venv/bin/{then}"
        assert f"\n    {line}\n" in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_in_prose_exists(page: Path) -> None:
    for name in re.findall(r"`((?:gateway|firmware|tests|hardware)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_test_that_shows_what_survives_is_there() -> None:
    """A row names a file, then tests that are in it."""
    table = (ROOT / "README.md").read_text().partition("## What survives what")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if "](tests/" in line]
    assert len(rows) >= 10
    for row in rows:
        for part in re.split(r"(?=\[test_\w+\]\()", row)[1:]:
            file = re.search(r"\]\((tests/[^)]*)\)", part)
            assert file is not None
            text = (ROOT / file[1]).read_text()
            for name in re.findall(r"`(test_\w+)`", part):
                assert f"def {name}(" in text, f"{file[1]} has no {name}"


def _commands() -> list[tuple[str, str]]:
    import gateway.cli as cli

    cli.run(["--version"])  # loads all command modules
    found = [(command.name or "", command.callback.__doc__ or "") for command in app.registered_commands]
    for group in app.registered_groups:
        found += [
            (f"{group.name} {command.name or command.callback.__name__}", command.callback.__doc__ or "")
            for command in group.typer_instance.registered_commands
        ]
    return found


def test_every_command_has_an_example_of_itself() -> None:
    for name, doc in _commands():
        assert f"Example: mpy-gateway {name}" in doc, name


def test_every_command_is_in_the_readme_or_its_groups_help() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, _ in _commands():
        assert f"mpy-gateway {name.split()[0]}" in readme, name


def test_every_code_a_device_can_get_is_in_the_protocol() -> None:
    wire = (ROOT / "gateway/device/WIRE.md").read_text()
    for path in [*(ROOT / "gateway/device").glob("*.py"), *(ROOT / "gateway/intake").glob("*.py")]:
        for code in re.findall(r'"((?:frame|value|hello|store|command)\.[a-z_]+)"', path.read_text()):
            assert f"`{code}`" in wire, f"{path.name} uses {code}"


def test_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == version


def test_every_dependency_says_why_it_is_there() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("\n")
    start = lines.index("dependencies = [")
    for line in lines[start + 1 : lines.index("]", start)]:
        assert "#" in line, line


SECURITY = (ROOT / "gateway/SECURITY.md").read_text()


def _section(title: str) -> str:
    return SECURITY.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _rows(title: str) -> list[list[str]]:
    lines = [line for line in _section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_limit_that_can_be_set_is_in_the_security_page_with_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in _rows("Limits") if row[0].startswith("`limits.")}
    defaults = {f"limits.{key}": f"{field.default:,g}" for key, field in Limits.model_fields.items()}
    large = {f"limits.{key}": f"{field.default:,}" for key, field in Limits.model_fields.items()}
    assert told.keys() == defaults.keys()
    assert not {key: value for key, value in told.items() if value not in (defaults[key], large[key])}


def test_every_other_limit_on_the_security_page_is_that_of_the_code() -> None:
    fixed = [row for row in _rows("Limits") if not row[0].startswith("`limits.")]
    assert len(fixed) > 20
    for place, default, _ in fixed:
        found = re.fullmatch(r"`([\w/]+)\.py` `(\w+)`", place)
        assert found is not None, place
        assert f"{getattr(importlib.import_module(found[1].replace('/', '.')), found[2]):,}" == default, place


def test_every_test_that_the_security_page_names_is_there() -> None:
    rows = [line for line in SECURITY.splitlines() if "](../tests/" in line]
    assert len(rows) > 35
    for row in rows:
        for part in re.split(r"(?=\[test_\w+\]\()", row)[1:]:
            file = re.search(r"\]\(\.\./(tests/[^)]*)\)", part)
            assert file is not None, part
            text = (ROOT / file[1]).read_text()
            names = re.findall(r"`(test_\w+)`", part)
            assert names, part
            for name in names:
                assert f"def {name}(" in text, f"{file[1]} has no {name}"


def test_each_provision_is_shown_by_a_test_or_says_why_it_is_not_met() -> None:
    rows = _rows("ETSI EN 303 645")
    for provision, _, state, how in rows:
        assert state in {"met", "partly", "not met"}, provision
        assert state == "not met" or "`test_" in how, provision
        assert state == "met" or "because" in how, provision
    assert len({row[0] for row in rows}) == len(rows)
    mandatory = [row for row in rows if row[0].endswith(" M")]

    def counts(some: list[list[str]]) -> str:
        states = [row[2] for row in some]
        return f"{states.count('met')} met, {states.count('partly')} partly, {states.count('not met')} not met."

    told = f"{len(rows)} provisions: {counts(rows)} Of the {len(mandatory)} mandatory ones: {counts(mandatory)}"
    assert told in SECURITY, told


def test_the_security_page_says_how_to_report_and_what_is_supported() -> None:
    page = _section("Report a problem")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for word in ("advisory", "within 7 days", "**Supported versions.**", version.rpartition(".")[0], "2028"):
        assert word in page, word
    assert "(gateway/SECURITY.md" in (ROOT / "README.md").read_text()
