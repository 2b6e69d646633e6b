"""The board on the bench: an emulated one behind its serial port, or with `pytest --device PORT` a real one.

What only an emulated board can do (lose its power in the middle of a flash operation) skips on a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.emulator import EmulatedBoard
from gateway.profile import find_node, load_profile
from gateway.provision.usb import Session

T = TypeVar("T")
WIFI = {"ssid": "bench", "password": "bench-password"}
PATH = find_node("climate-node")
PROFILE = load_profile(PATH)


class BenchBoard:
    """A board with nothing on it. The methods may be called from any thread."""

    port: str

    def __init__(self, port: str) -> None:
        self.port = port

    @property
    def emulated(self) -> EmulatedBoard:
        pytest.skip("needs an emulated board")

    def wipe(self, **files: bytes) -> None:
        """Nothing on it but `files` (`main` is /main.py); then it is started."""
        with Session(self.port) as session:
            session.enter()
            session.remove(session.files())
            self._put(session, files)

    def put(self, **files: bytes) -> None:
        with Session(self.port) as session:
            session.enter()
            self._put(session, files)

    @staticmethod
    def _put(session: Session, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            session.write(f"/{name}.py", content)

    def power_cut(self) -> None:
        _ = self.emulated

    def power_on(self) -> None:
        _ = self.emulated


class EmulatedBench(BenchBoard):
    """In a thread with a loop of its own, so that tests may block."""

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.power_on()
        super().__init__(board.port)

    @property
    def emulated(self) -> EmulatedBoard:
        return self._board

    def wipe(self, **files: bytes) -> None:
        """From outside: also where no program could be stopped."""
        self.power_cut()
        self._board.flash.erase()
        if files:
            content = {f"/{name}.py": content for name, content in files.items()}
            self._board.flash.install(content, self._board.directory / "bench.json")
            (self._board.directory / "bench.json").unlink()
        self.power_on()

    def power_cut(self) -> None:
        self._do(self._board.power_cut())

    def power_on(self) -> None:
        self._do(self._board.start())

    def end(self) -> None:
        self._do(self._board.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@contextlib.contextmanager
def bench_board(request: pytest.FixtureRequest, directory: Path, *, seed: int = 7) -> Iterator[BenchBoard]:
    """For a fixture."""
    if port := request.config.getoption("--device"):
        yield BenchBoard(port)
        return
    board = EmulatedBoard(PROFILE, PATH.parent, {}, directory=directory, seed=seed, serial=True, blank=True, air=[WIFI])
    bench = EmulatedBench(board)
    try:
        yield bench
    finally:
        bench.end()
