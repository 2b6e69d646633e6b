"""The flash of an emulated board: a littlefs image in a file, laid out as MicroPython lays out an ESP32's.

littlefs-python comes with the `emulator` extra and is imported when an image is first opened.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.config import private_opener, write_private
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from littlefs import LFSConfig, LittleFS, UserContext

Content = Path | bytes | str
"""What goes into a file: another file's content, or itself."""

BLOCK_BYTES: Final = 4096
BLOCKS: Final = 512
"""2 MB: what an ESP32 with 4 MB of flash leaves for files (`vfs` in MicroPython's ports/esp32/partitions-4MiB.csv)."""
_SIZE: Final = BLOCKS * BLOCK_BYTES
GEOMETRY: Final[dict[str, Any]] = {
    "block_size": BLOCK_BYTES,
    "block_count": BLOCKS,
    # VfsLfs2's own defaults (extmod/vfs_lfsx.c: make_new), and its cache of four times those. Files up to the cache's
    # size stay inline in their directory, so another cache would be another wear.
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
}


class FlashImage:
    """The files in the image at `path`. The board must be off."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def erase(self) -> None:
        """As from the factory: no file system at all."""
        try:
            with open(self._path, "wb", opener=private_opener) as file:  # it holds the board's token
                for _ in range(BLOCKS):
                    file.write(b"\xff" * BLOCK_BYTES)
        except OSError as error:
            raise ConfigError(
                f"cannot make the emulated flash {self._path}, {_SIZE >> 20} MB: {error.strerror or error}"
            ) from error

    def exists(self) -> bool:
        return self._path.exists() and self._path.stat().st_size == _SIZE

    def files(self) -> dict[str, bytes]:
        """Every file, by its absolute path."""
        found: dict[str, bytes] = {}
        with self._mounted() as flash:
            for path in _paths(flash):
                with flash.open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def read(self, path: str) -> bytes:
        with self._mounted() as flash, flash.open(path, "rb") as file:
            content: bytes = file.read()
            return content

    def install(self, files: Mapping[str, Content], record: Path) -> list[str]:
        """Bring `files` (by path on the board) onto the flash, and return the paths that were written or removed.

        A file is written when it is missing or its source has changed since it was last written here, so that what the
        board changed itself stays. What came here before and is no longer in `files` is removed. `record` remembers."""
        contents = {path: _bytes(content) for path, content in files.items()}
        hashes = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
        before: dict[str, str] = json.loads(record.read_text()) if record.exists() and self._path.exists() else {}
        changed = []
        with self._mounted() as flash:
            present = set(_paths(flash))
            for path, content in contents.items():
                if before.get(path) != hashes[path] or path not in present:
                    if folder := path.rpartition("/")[0]:
                        flash.makedirs(folder, exist_ok=True)
                    with flash.open(path, "wb") as file:
                        file.write(content)
                    changed.append(path)
            for path in sorted(present & before.keys() - contents.keys()):
                flash.remove(path)
                changed.append(path)
        write_private(record, json.dumps(hashes, indent=1))
        return changed

    @contextmanager
    def _mounted(self) -> Iterator[LittleFS]:
        try:
            from littlefs import LittleFS, LittleFSError  # noqa: PLC0415 - only emulated boards need it
        except ImportError as error:
            raise ConfigError("emulated boards need littlefs-python: pip install 'mpy-gateway[emulator]'") from error

        if not self.exists():
            self.erase()
        with self._path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            flash = LittleFS(_blocks(memory), mount=False, **GEOMETRY)
            try:
                flash.mount()
            except LittleFSError:  # blank, or damaged beyond mounting: a board formats it then, too
                flash.format()
                flash.mount()
            try:
                yield flash
            except LittleFSError as error:
                if error.code == LittleFSError.Error.LFS_ERR_NOSPC:
                    raise ConfigError(f"the files do not fit the {_SIZE >> 20} MB of the emulated flash") from error
                raise
            finally:
                flash.unmount()


def _blocks(memory: mmap.mmap) -> UserContext:
    """What littlefs-python reaches the flash through. (Its own file context syncs the host's disk at every step.)"""
    from littlefs import UserContext  # noqa: PLC0415 - only emulated boards need it

    class Blocks(UserContext):
        def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> bytearray:
            at = block * BLOCK_BYTES + off
            return bytearray(memory[at : at + size])

        def prog(self, cfg: LFSConfig, block: int, off: int, data: bytes) -> int:
            at = block * BLOCK_BYTES + off
            memory[at : at + len(data)] = bytes(data)
            return 0

        def erase(self, cfg: LFSConfig, block: int) -> int:
            at = block * BLOCK_BYTES
            memory[at : at + BLOCK_BYTES] = b"\xff" * BLOCK_BYTES
            return 0

        def sync(self, cfg: LFSConfig) -> int:
            return 0

    return Blocks(0)


def _bytes(content: Content) -> bytes:
    if isinstance(content, Path):
        try:
            return content.read_bytes()
        except OSError as error:
            raise ConfigError(f"{content}: cannot be read: {error.strerror or error}") from error
    return content.encode() if isinstance(content, str) else content


def _paths(flash: LittleFS) -> Iterator[str]:
    for folder, _, names in flash.walk("/"):
        for name in names:
            yield f"{folder.rstrip('/')}/{name}"
