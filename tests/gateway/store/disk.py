"""A disk that loses what was not synced: what a power cut may leave of a recording. Pure but for `lay_out`.

The rules are those of POSIX, not of one file system: a file's bytes are safe once that file is synced, a name once its
directory is. Of what was not synced, any part may be there: any of the writes, of a write any of its sectors of
512 bytes, in any order. Names come and go in the order they were asked for, as far as they got.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.gateway.store.recording import Op

SECTOR_BYTES = 512


@dataclass
class File:
    """One file, whatever its name: what is safe, and what was asked for since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)

    def after(self, ops: Iterable[Op]) -> bytearray:
        data = bytearray(self.safe)
        for op in ops:
            apply(data, op)
        return data


def apply(data: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del data[op.offset :]
        data.extend(bytes(max(0, op.offset - len(data))))
        return
    data.extend(bytes(max(0, op.offset + len(op.data) - len(data))))
    data[op.offset : op.offset + len(op.data)] = op.data


Choice = Callable[[list[Op]], list[Op]]
"""What is left of the writes of one file."""


class Disk:
    """Feed it a recording op by op. `lay_out` makes a directory of what a power cut now may leave."""

    def __init__(self) -> None:
        self.now: dict[str, File | None] = {"": None}
        """By path; None for a directory."""
        self._safe: dict[str, File | None] = {"": None}
        self._pending: list[Op] = []
        self.acked: list[object] = []

    def feed(self, op: Op) -> None:
        match op.kind:
            case "ack":
                self.acked.append(op.data)
            case "open":
                if op.path not in self.now:
                    self._change(Op("link", op.path, data=File()))
            case "mkdir":
                if op.path not in self.now:
                    self._change(Op("link", op.path, data=None))
            case "unlink":
                if op.path in self.now:  # else a file that is not recorded: the lock, say
                    self._change(op)
            case "rename":
                if op.path in self.now:
                    self._change(op._replace(data=(op.data, self.now[op.path])))
            case "dirsync":
                self._sync_names(op.path)
            case "write" | "truncate":
                self._file(op.path).pending.append(op)
            case "sync":
                file = self._file(op.path)
                file.safe, file.pending = file.after(file.pending), []

    def _file(self, path: str) -> File:
        file = self.now[path]
        assert file is not None
        return file

    def _change(self, op: Op) -> None:
        self._pending.append(op)
        _name(self.now, op)

    def _sync_names(self, directory: str) -> None:
        left = []
        for op in self._pending:
            if directory in _directories(op):
                _name(self._safe, op)
            else:
                left.append(op)
        self._pending = left

    def lay_out(self, directory: Path, writes: Choice, names: Callable[[int], int]) -> None:
        """`names` says how many of so many changes of names are kept."""
        tree = dict(self._safe)
        for op in self._pending[: names(len(self._pending))]:
            _name(tree, op)
        for path, file in sorted(tree.items()):
            if _parent(path) not in tree:
                continue  # its directory has gone
            if file is None:
                (directory / path).mkdir(exist_ok=True)
            else:
                (directory / path).write_bytes(file.after(writes(file.pending)))


def _directories(op: Op) -> set[str]:
    paths = [op.path, op.data[0]] if op.kind == "rename" else [op.path]
    return set(map(_parent, paths))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(tree: dict[str, File | None], op: Op) -> None:
    if op.kind == "link":
        tree[op.path] = op.data
    else:
        tree.pop(op.path, None)
        if op.kind == "rename":
            new, file = op.data
            tree[new] = file


# ---- what may be left ---------------------------------------------------------------------------------------------


def everything(ops: list[Op]) -> list[Op]:
    """As after kill -9."""
    return ops


def nothing(ops: list[Op]) -> list[Op]:
    return []


def last_only(ops: list[Op]) -> list[Op]:
    return ops[-1:]


def any_part(rng: random.Random) -> Choice:
    """Each write kept or not, some of them torn. How likely is drawn once per file."""

    def choose(ops: list[Op]) -> list[Op]:
        kept_share = rng.choice((0.1, 0.5, 0.9))
        left: list[Op] = []
        for op in ops:
            if rng.random() < kept_share:
                left += torn(op, rng) if rng.random() < 0.3 else [op]
        return left

    return choose


def torn(op: Op, rng: random.Random) -> list[Op]:
    """Some sectors of a write, on the borders a disk has."""
    if op.kind != "write":
        return [op]
    pieces, end = [], op.offset + len(op.data)
    start = op.offset
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if rng.random() < 0.5:
            pieces.append(op._replace(offset=start, data=op.data[start - op.offset : stop - op.offset]))
        start = stop
    return pieces
