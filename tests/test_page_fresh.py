"""After a `git pull` an editable install may still serve the old page: this tells."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def load_hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = load_hook()


def test_the_built_page_is_that_of_the_sources() -> None:
    if hook.built() is None and os.environ.get("CI") != "true":
        pytest.skip("the page is not built: python hatch_build.py")
    assert hook.built() == hook.digest(), "the page is older than its sources: python hatch_build.py"


def test_any_change_of_a_source_makes_the_page_stale(tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(hook.WEB, web, ignore=shutil.ignore_patterns("node_modules", "build"))
    before = hook.digest(web)
    assert before == hook.digest()
    (web / "src" / "new.ts").write_text("export {};")
    assert hook.digest(web) != before


def test_tests_and_installed_packages_are_no_sources(tmp_path: Path) -> None:
    assert not any({"node_modules", "test", "build"} & set(file.parts) for file in hook.source_files())


def test_the_lockfile_names_no_registry_and_pins_every_package() -> None:
    lock = json.loads((hook.WEB / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package] == []


def test_the_lockfile_holds_the_bundlers_parts_for_every_machine_that_builds() -> None:
    names = (hook.WEB / "package-lock.json").read_text()
    for machine in ("linux-x64-gnu", "linux-arm64-gnu", "linux-x64-musl", "darwin-arm64", "win32-x64-msvc"):
        assert f"node_modules/@rolldown/binding-{machine}" in names
        assert f"node_modules/lightningcss-{machine}" in names


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("v18.20.4", False),
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.7.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.19.0", True),
        ("", False),
        ("nonsense", False),
    ],
)
def test_node_is_used_only_when_vite_runs_on_it(version: str, good: bool) -> None:
    assert hook.new_enough(version) is good


def test_a_named_node_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_NODE", "/nowhere/node")
    with pytest.raises(hook.BuildError, match=re.escape("GATEWAY_NODE=/nowhere/node is not a Node that runs")):
        hook.find_node()


def test_without_any_node_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GATEWAY_NODE", raising=False)
    if hook.node_from_pypi():
        pytest.skip("a Node from PyPI is installed here")
    with pytest.raises(hook.BuildError, match="GATEWAY_WEB=skip"):
        hook.find_node()
