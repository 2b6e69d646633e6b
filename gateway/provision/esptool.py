"""Shell: MicroPython onto an ESP32, by esptool's command line. Everything that needs the chip's ROM loader is here.

esptool is under the GPL, so it is run as a program of its own and never imported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError
from gateway.logs import clean
from gateway.provision.micropython import RELEASES, BadImage, Release, check_hash

BAUD: Final = 460800
"""What MicroPython's own instructions say."""
_READ_S: Final = 60.0
_WRITE_S: Final = 600.0
"""1.8 MB at 115200 baud takes 160 s, to erase 16 MB of slow flash another 120."""
BACK_S = 5.0
_MOST_BYTES: Final = 16 << 20
Progress = Callable[[float], None]
"""Called with the part that is done, 0 to 1."""


class EsptoolError(ConfigError):
    """It could not be read or written. The text says what to do."""


class NoLoader(EsptoolError):
    """The chip's ROM loader does not answer."""


@dataclass(frozen=True, slots=True)
class Chip:
    """What the ROM loader and esptool know of a board."""

    name: str
    """`esp32`, `esp32c3` ...: as hardware/boards has it."""
    description: str
    mac: str
    """12 hex digits: what MicroPython calls machine.unique_id()."""
    flash_bytes: int


def read_chip(port: str) -> Chip:
    """Ask the board's ROM loader. The board is reset for that, whatever runs on it, and again. Raises EsptoolError."""
    said = _run(port, ["--chip", "auto", "flash-id"], _READ_S)
    chip = re.search(r"^Chip type:\s*(.+)$", said, re.MULTILINE)
    mac = re.search(r"^(?:BASE )?MAC:\s*([0-9a-f:]{17})", said, re.MULTILINE | re.IGNORECASE)
    flash = re.search(r"^Detected flash size:\s*(\d+)(MB|KB)", said, re.MULTILINE)
    name = re.match(r"(esp32)(?:-([chps]\d+))?", chip[1].lower()) if chip else None
    if not (chip and name and mac):
        raise EsptoolError(f"esptool says nothing that can be read of the board at {port}: {_last(said)}")
    flash_bytes = int(flash[1]) << (20 if flash[2] == "MB" else 10) if flash else 0
    return Chip(name[1] + (name[2] or ""), clean(chip[1]), mac[1].replace(":", "").lower(), flash_bytes)


def write_micropython(port: str, image: Path, chip: str, *, erase: bool, progress: Progress = lambda _: None) -> None:
    """Write an image that was checked (`check_image`), and have its MD5 in flash compared; then the board starts.
    `erase`: all of the flash first, files included. Raises EsptoolError."""
    offset = f"{RELEASES[chip].offset:#x}"
    arguments = [
        "--chip",
        chip,
        "--baud",
        str(BAUD),
        "write-flash",
        *(["--erase-all"] if erase else []),
        offset,
        str(image),
    ]
    said = _run(port, arguments, _WRITE_S, progress)
    if "Hash of data verified" not in said:
        raise EsptoolError(f"esptool does not say that what it wrote is there: {_last(said)}")


def wait_for_port(port: str) -> None:
    """A chip's own USB goes away with each reset, and comes back."""
    until_s = time.monotonic() + BACK_S
    while not Path(port).exists() and time.monotonic() < until_s:
        time.sleep(0.1)


def erase_flash(port: str) -> None:
    """All of it, MicroPython included. Raises EsptoolError."""
    _run(port, ["--chip", "auto", "erase-flash"], _WRITE_S)


def fetch(release: Release, directory: Path, progress: Progress = lambda _: None) -> Path:
    """The official file, from `directory` or else from its address; what has another hash is never kept. Raises
    EsptoolError or BadImage."""
    target = directory / release.file
    if target.exists():
        check_hash(target.read_bytes(), release.sha256, str(target))
        return target
    content = bytearray()
    try:
        with urllib.request.urlopen(release.url, timeout=30) as answer:  # noqa: S310  # an address of ours, https
            whole = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(1 << 16):
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise BadImage(f"{release.url} is larger than any image: not taken")
                progress(len(content) / max(whole, len(content)))
    except (urllib.error.URLError, OSError) as error:
        why = getattr(error, "reason", error)
        raise EsptoolError(
            f"{release.url} cannot be fetched ({clean(why, 100)}): download it by another way and name it with --image"
        ) from error
    check_hash(bytes(content), release.sha256, release.url)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_suffix(".part")
    part.write_bytes(content)
    part.replace(target)
    return target


# esptool


def _run(port: str, arguments: Sequence[str], most_s: float, progress: Progress = lambda _: None) -> str:
    """What it printed. Raises EsptoolError where it failed."""
    if importlib.util.find_spec("esptool") is None:
        raise EsptoolError(f"esptool is not installed here: {sys.executable} -m pip install 'esptool>=5,<6'")
    wait_for_port(port)
    command = [sys.executable, "-m", "esptool", "--port", port, *arguments]
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    said: list[str] = []
    with (
        subprocess.Popen(  # noqa: S603  # our own Python, and arguments that no shell sees
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process,
        _ended_after(process, most_s),
    ):
        assert process.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        for line in _lines(process.stdout.fileno()):
            if part := re.search(r"(\d+(?:\.\d+)?)\s?%", line):
                progress(float(part[1]) / 100)
            elif line.strip():
                said.append(line)
    whole = "\n".join(said)
    if process.returncode != 0:
        raise _failure(whole, port)
    return whole


@contextmanager
def _ended_after(process: subprocess.Popen[bytes], most_s: float) -> Iterator[None]:
    """However it is left, the program has ended: one that goes on would hold the port."""
    timer = threading.Timer(most_s, process.kill)
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


def _lines(descriptor: int) -> Iterator[str]:
    """As they come. Progress bars end with a carriage return."""
    rest = b""
    while chunk := os.read(descriptor, 4096):
        *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
        rest = rest[-1000:]
        yield from (line.decode("utf-8", "replace") for line in lines)
    yield rest.decode("utf-8", "replace")


_BY_HAND: Final = (
    "hold the board's BOOT button, press EN (or RESET) once, let BOOT go after a second, and run the same command again"
)
_FAILURES: Final[tuple[tuple[str, type[EsptoolError], str], ...]] = (
    (
        r"This chip is (\S+), not (\S+?)\.",
        EsptoolError,
        "the board at {port} has an {1}, and {2} was expected: choose the node, or the board in its profile.toml, that "
        "fits",
    ),
    (
        r"(?:port is busy|[Ee]xclusively lock|Resource busy|Resource temporarily unavailable)",
        EsptoolError,
        "{port} is in use by another program: end that program (mpy-gateway boards names it)",
    ),
    (r"Permission denied", EsptoolError, "{port} may not be opened: mpy-gateway boards says what to type"),
    (
        r"(?:Failed to connect to|No serial data received|Wrong boot mode)",
        NoLoader,
        "the chip at {port} does not answer: " + _BY_HAND,
    ),
    (
        r"(?:MD5 of file does not match|File  md5)",
        EsptoolError,
        "what is in the flash of the board at {port} is not what was written: try again; if it stays so, its flash is "
        "worn out",
    ),
    (
        r"will not fit in",
        EsptoolError,
        "the image does not fit into the flash of the board at {port}",
    ),
    (
        r"(?:Secure Boot|[Ff]lash encryption)",
        EsptoolError,
        "the board at {port} is locked to its maker's programs (secure boot or flash encryption): it cannot be used",
    ),
    (
        r"(?:The chip stopped responding|Serial data stream stopped|Corrupt data|"
        r"Packet content transfer stopped|Invalid head of packet|Response doesn't match|"
        r"Write timeout|Failed to write|device reports readiness to read|Input/output error)",
        EsptoolError,
        "the board at {port} stopped answering in the middle: look at its cable and power, then run the same command "
        "again, which begins anew",
    ),
)


def _failure(said: str, port: str) -> EsptoolError:
    if not Path(port).exists():
        return EsptoolError(f"{port} has gone: plug the board in again, and run the same command")
    for pattern, kind, sentence in _FAILURES:
        if found := re.search(pattern, said):
            words = [found[0], *found.groups()]
            return kind(sentence.format(*words, port=port))
    return EsptoolError(f"esptool failed with the board at {port}: {_last(said)}")


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return clean(lines[-1] if lines else "it says nothing", 200)
