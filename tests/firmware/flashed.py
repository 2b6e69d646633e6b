"""The firmware as it is flashed, run by the interpreter from a folder: what is loaded, and how long that takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.profile import find_node, load_profile
from gateway.profile.firmware import firmware_profile
from gateway.provision.firmware import board_files
from tests.firmware import interpreter
from tests.firmware.certificates import NAME, Authority


def write_flashed(folder: Path, node: str = "climate-node") -> dict[str, bytes]:
    """What is flashed for `node`, by its path on the board, and in `folder`."""
    path = find_node(node)
    files = board_files(load_profile(path), path.parent)
    for name, data in files.items():
        place = folder / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return files


def start(folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """What mpy/start.py prints of one start with TLS, and `loaded_bytes`."""
    path = find_node("climate-node")
    flash = folder / "flash"
    flash.mkdir(exist_ok=True)
    gateway = {"host": "127.0.0.1", "port": 9, "tls": True, "name": NAME}
    settings = {"device": "greenhouse", "token": "T" * 43, "gateway": gateway, "wifi": []}
    (flash / "settings.json").write_text(json.dumps(settings))
    (flash / "profile.json").write_text(json.dumps(firmware_profile(load_profile(path))))
    (flash / "ca.der").write_bytes(Authority().der)
    ran = subprocess.run(
        [*interpreter.command(), str(interpreter.SCRIPTS / "start.py"), str(flash)],
        env=interpreter.environment(folder), capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert ran.stdout.rstrip().endswith("}"), ran.stdout + ran.stderr  # its exit code says nothing
    assert ran.stdout.rstrip().endswith("}"), ran.stdout + ran.stderr  # the exit code says nothing here
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found | {"loaded_bytes": loaded_bytes(files, found["modules"])}


def loaded_bytes(files: dict[str, bytes], modules: Iterable[str]) -> int:
    """How much `.mpy` these modules are."""
    loaded = {"/" + name.replace(".", "/") for name in modules}
    compiled = {path.removesuffix(".mpy").removesuffix("/__init__"): data for path, data in files.items()}
    return sum(len(data) for path, data in compiled.items() if path in loaded)
