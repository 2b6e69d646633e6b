"""Records what SQLite and our own code ask of the file system below one directory: the library and the store are the
real ones, and every request is carried out, too.

SQLite asks through its VFS. Ours is a copy of the one it uses, with a few functions in it replaced (ctypes); the copy
becomes the default while a recording runs, so that every `sqlite3.connect` goes through it. Our own code asks through
`os`. What is written to shared memory (`-shm`) is not recorded: SQLite makes it anew after a power cut.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Op(NamedTuple):
    """One request, or something said by the test (`ack`), in the order they were made. Paths are relative."""

    kind: str
    """open (and create where there is nothing), write, truncate, sync, unlink, rename, mkdir, dirsync, ack"""
    path: str
    offset: int = 0
    """Of a write; the new size of a truncate."""
    data: Any = b""
    """Bytes of a write, new path of a rename, whatever the test said."""


_Open = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_SetSystemCall = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GetSystemCall = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_OpenDirectory = ctypes.CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
_Close = ctypes.CFUNCTYPE(c_int, c_void_p)
_Write = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = ctypes.CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, https://www.sqlite.org/c3ref/vfs.html"""

    _fields_ = [
        ("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int), ("pNext", c_void_p), ("zName", c_char_p),
        ("pAppData", c_void_p), ("xOpen", _Open), ("xDelete", _Delete), ("xAccess", c_void_p),
        ("xFullPathname", c_void_p), ("xDlOpen", c_void_p), ("xDlError", c_void_p), ("xDlSym", c_void_p),
        ("xDlClose", c_void_p), ("xRandomness", c_void_p), ("xSleep", c_void_p), ("xCurrentTime", c_void_p),
        ("xGetLastError", c_void_p), ("xCurrentTimeInt64", c_void_p), ("xSetSystemCall", _SetSystemCall),
        ("xGetSystemCall", _GetSystemCall), ("xNextSystemCall", c_void_p),
    ]  # fmt: skip


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, https://www.sqlite.org/c3ref/io_methods.html"""

    _fields_ = [
        ("iVersion", c_int), ("xClose", _Close), ("xRead", c_void_p), ("xWrite", _Write), ("xTruncate", _Truncate),
        ("xSync", _Sync), ("xFileSize", c_void_p), ("xLock", c_void_p), ("xUnlock", c_void_p),
        ("xCheckReservedLock", c_void_p), ("xFileControl", c_void_p), ("xSectorSize", c_void_p),
        ("xDeviceCharacteristics", c_void_p), ("xShmMap", c_void_p), ("xShmLock", c_void_p), ("xShmBarrier", c_void_p),
        ("xShmUnmap", c_void_p), ("xFetch", c_void_p), ("xUnfetch", c_void_p),
    ]  # fmt: skip


_kept: list[Any] = []
"""SQLite may hold on to what it was given for as long as a connection is open."""


def _library() -> ctypes.CDLL:
    """The very SQLite that Python's sqlite3 has loaded."""
    import sqlite3  # noqa: F401  # loads it

    for line in Path("/proc/self/maps").read_text().splitlines():
        if "libsqlite3" in line:
            return ctypes.CDLL(line.split(maxsplit=5)[-1])
    reason = "this Python has SQLite built in, so its file system cannot be recorded; Debian's python3 can be used"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Recorder:
    """`ops` grows while a `recording` runs."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.resolve()) + "/"
        self.ops: list[Op] = []

    def ack(self, what: Any) -> None:
        """Something was promised to be on disk."""
        self.ops.append(Op("ack", "", data=what))

    def note(self, kind: str, path: str, offset: int = 0, data: Any = b"") -> None:
        if path == self._root[:-1] or path.startswith(self._root):
            self.ops.append(Op(kind, path[len(self._root) :], offset, data))

    def relative(self, path: str) -> str:
        return path.removeprefix(self._root)


@contextmanager
def recording(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Record into `recorder` until the block ends."""
    with monkeypatch.context() as patched:
        _patch_os(recorder, patched)
        with _recording_vfs(recorder):
            yield recorder


# ---- SQLite -----------------------------------------------------------------------------------------------------


@contextmanager
def _recording_vfs(recorder: Recorder) -> Iterator[None]:
    library = _library()
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    real = library.sqlite3_vfs_find(None)
    ours = _Vfs.from_buffer_copy(real.contents)
    opened: dict[int, str] = {}
    tables: dict[int, _Methods] = {}

    def x_open(_vfs: int, name: int, file: int, flags: int, out: int) -> int:
        if not name:  # a temporary file
            return int(real.contents.xOpen(ctypes.cast(real, c_void_p), name, file, flags, out))
        path = os.fsdecode(ctypes.string_at(name))
        recorder.note("open", path)
        code = int(real.contents.xOpen(ctypes.cast(real, c_void_p), name, file, flags, out))
        if code == 0:
            opened[file] = path
            place = c_void_p.from_address(file)  # the first member of sqlite3_file: its methods
            assert place.value
            if place.value not in tables:
                tables[place.value] = _recording_methods(recorder, place.value, opened)
            place.value = ctypes.addressof(tables[place.value])
        return code

    def x_delete(_vfs: int, name: int, sync_directory: int) -> int:
        recorder.note("unlink", os.fsdecode(ctypes.string_at(name)))
        return int(real.contents.xDelete(ctypes.cast(real, c_void_p), name, sync_directory))

    real_open_directory = _OpenDirectory(real.contents.xGetSystemCall(ctypes.cast(real, c_void_p), b"openDirectory"))

    def open_directory(name: bytes, descriptor: Any) -> int:  # it is opened to be synced, at once
        recorder.note("dirsync", os.path.dirname(os.fsdecode(name)))
        return int(real_open_directory(name, descriptor))

    ours.zName = b"recording"
    ours.pNext = None
    ours.xOpen, ours.xDelete = _Open(x_open), _Delete(x_delete)
    replaced = _OpenDirectory(open_directory)
    _kept.extend((ours, ours.xOpen, ours.xDelete, replaced, tables, real_open_directory))
    set_call = real.contents.xSetSystemCall
    set_call(ctypes.cast(real, c_void_p), b"openDirectory", ctypes.cast(replaced, c_void_p))
    assert library.sqlite3_vfs_register(byref(ours), 1) == 0
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(byref(ours))
        set_call(ctypes.cast(real, c_void_p), b"openDirectory", None)


def _recording_methods(recorder: Recorder, address: int, opened: dict[int, str]) -> _Methods:
    """The methods at `address`, with those that change something recorded."""
    real = _Methods.from_address(address)
    ours = _Methods.from_buffer_copy(real)

    def x_close(file: int) -> int:
        opened.pop(file, None)
        return int(real.xClose(file))

    def x_write(file: int, data: int, size: int, offset: int) -> int:
        recorder.note("write", opened[file], offset, ctypes.string_at(data, size))
        return int(real.xWrite(file, data, size, offset))

    def x_truncate(file: int, size: int) -> int:
        recorder.note("truncate", opened[file], size)
        return int(real.xTruncate(file, size))

    def x_sync(file: int, flags: int) -> int:
        # Before it is carried out: nobody writes to a file while SQLite syncs it, and a directory that is synced
        # with it is told of in between.
        recorder.note("sync", opened[file])
        return int(real.xSync(file, flags))

    ours.xClose, ours.xWrite, ours.xTruncate, ours.xSync = (
        _Close(x_close), _Write(x_write), _Truncate(x_truncate), _Sync(x_sync),
    )  # fmt: skip
    _kept.extend((ours, ours.xClose, ours.xWrite, ours.xTruncate, ours.xSync))
    return ours


# ---- our own code -----------------------------------------------------------------------------------------------


def _patch_os(recorder: Recorder, patched: pytest.MonkeyPatch) -> None:
    def before(name: str, note: Callable[..., None]) -> None:
        real = getattr(os, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            note(*arguments)
            return real(*arguments, **options)

        patched.setattr(os, name, recorded)

    def absolute(path: Any) -> str:
        return os.path.abspath(os.fspath(path))

    def renamed(source: Any, target: Any) -> None:
        recorder.note("rename", absolute(source), data=recorder.relative(absolute(target)))

    def synced(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            recorder.note("dirsync", path)
        else:  # our own code writes a file whole and then syncs it
            recorder.note("open", path)
            recorder.note("truncate", path, 0)
            recorder.note("write", path, 0, Path(path).read_bytes())
            recorder.note("sync", path)

    before("mkdir", lambda path, *_: recorder.note("mkdir", absolute(path)))
    before("unlink", lambda path, *_: recorder.note("unlink", absolute(path)))
    before("replace", renamed)
    before("rename", renamed)
    before("fsync", synced)
