"""The file of a backup: a plain tar that any tar can list. First `manifest.json`, then the parts it names, in order.

A backup can come from anywhere, so it is read strictly: only plain files of the names below, in the order and of the
sizes and hashes of the manifest, and nothing of tar's extensions. Encryption wraps the stream (sealed.py), and does not
change it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.errors import ConfigError

FORMAT = 2
"""1, before there was TLS: with hashes of tokens, never sealed, and not with the authority."""
SAMPLES, REGISTRY, SETTINGS = "samples.db", "registry.db", "mpy-gateway.toml"
DATABASES = (SAMPLES, REGISTRY)
AUTHORITY = ("tls/ca.key", "tls/ca.pem")
"""Boards pin this authority: without it a restored gateway would lock every one of them out. Both, or neither."""
SMALL = (SETTINGS, *AUTHORITY)
MANIFEST = "manifest.json"
MANIFEST_BYTES = 1 << 16
SMALL_BYTES = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 1 << 20


class Part(msgspec.Struct, frozen=True):
    """One file in a backup. `schema` is that of a database (`PRAGMA user_version`), else 0."""

    name: str
    bytes: int
    sha256: str
    schema: int


class Manifest(msgspec.Struct, frozen=True):
    """What a backup consists of, where it comes from and when it was made."""

    format: int
    version: str
    gateway: str
    made_ms: int
    parts: list[Part]
    secrets: bool = True
    """Whether it holds what lets somebody in. Without, it is data only. (Format 1 says nothing: it does.)"""

    @property
    def bytes(self) -> int:
        """Of all parts together."""
        return sum(part.bytes for part in self.parts)


class Source(Protocol):
    """What an archive is read from. `read` returns fewer bytes at the end alone."""

    def read(self, size: int, /) -> bytes: ...


class Target(Protocol):
    """What an archive is written to."""

    def write(self, data: bytes, /) -> int: ...


def describe(path: Path, name: str, schema: int) -> Part:
    """The part called `name` that the file at `path` will be."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(name, os.fstat(file.fileno()).st_size, digest, schema)


def write(file: Target, manifest: Manifest, parts: Iterable[tuple[Part, Path]]) -> None:
    """The whole archive. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    file.write(_header(MANIFEST, len(text), manifest.made_ms) + text + _padding(len(text)))
    for part, path in parts:
        file.write(_header(part.name, part.bytes, manifest.made_ms))
        with path.open("rb") as source:
            _copy(source, file, part)
        file.write(_padding(part.bytes))
    file.write(bytes(2 * _BLOCK))


def read_manifest(file: Source) -> Manifest:
    """Raises ConfigError: this is no backup, or one of a newer version."""
    name, size = _next(file)
    if name != MANIFEST or size > MANIFEST_BYTES:
        raise NotABackup
    text = _exactly(file, size)
    _exactly(file, len(_padding(size)))
    try:
        if (version := msgspec.json.decode(text, type=_Format).format) > FORMAT:
            raise ConfigError(f"it was made by a newer mpy-gateway (backup format {version}, this one knows {FORMAT})")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:  # RecursionError: lists in lists in lists
        raise NotABackup from error
    names = [part.name for part in manifest.parts]
    known = {*DATABASES, *SMALL}
    if (
        len(set(names)) != len(names)
        or not set(DATABASES) <= set(names) <= known
        or set(AUTHORITY) & set(names) not in (set(), set(AUTHORITY))
    ):
        raise ConfigError("it does not consist of what a backup consists of")
    if any(part.bytes < 0 or (part.name in SMALL and part.bytes > SMALL_BYTES) for part in manifest.parts):
        raise ConfigError("the sizes in it cannot be true")
    return manifest


def unpack(file: Source, manifest: Manifest, directory: Path) -> None:
    """All parts into `directory`, which is ours alone, each as the manifest says. Raises ConfigError, OSError."""
    for part in manifest.parts:
        if _next(file) != (part.name, part.bytes):
            raise ConfigError(f"what should be {part.name} is something else")
        (directory / part.name).parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory / part.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            _copy(file, target, part)
            target.flush()
            os.fsync(target.fileno())
        _exactly(file, len(_padding(part.bytes)))
    if any(_exactly(file, _BLOCK)):
        raise ConfigError("something follows that its manifest does not name")


class NotABackup(ConfigError):
    """Whatever it is, we did not write it."""

    def __init__(self) -> None:
        super().__init__("it is no backup made by `mpy-gateway backup`")


class _Format(msgspec.Struct):
    format: int


def _header(name: str, size: int, made_ms: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, made_ms // 1000
    return info.tobuf(tarfile.GNU_FORMAT)  # one block, whatever the size


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _next(file: Source) -> tuple[str, int]:
    """Name and size of the entry that begins here."""
    block = _exactly(file, _BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise NotABackup from error
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise ConfigError("it holds something other than plain files")
    return info.name, info.size


def _exactly(file: Source, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ConfigError("it ends too early: it was not copied whole")
    return data


def _copy(source: Source, target: Target, part: Part) -> None:
    """`part.bytes` bytes, which must have the part's hash."""
    digest, left = hashlib.sha256(), part.bytes
    while left:
        chunk = _exactly(source, min(left, _CHUNK_BYTES))
        target.write(chunk)
        digest.update(chunk)
        left -= len(chunk)
    if digest.hexdigest() != part.sha256:
        raise ConfigError(f"{part.name} in it is damaged: its SHA-256 is not the one that was written down")
