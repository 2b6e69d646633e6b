"""Fixtures for tests of boards, in any project that has mpy-gateway and pytest. gateway/emulator/README.md shows them.

pytest imports this in every project where mpy-gateway is installed, so it imports next to nothing before a fixture is
asked for. (That is also why it is not in gateway/emulator.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gateway.emulator.workbench import Board, Workbench


@pytest.fixture(scope="session")
def mpy_workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A gateway that only this machine can reach; `mpy_workbench.board(node)` is a board for it that stays until the
    end of the session, for fixtures of your own with a wider scope."""
    from gateway.emulator.workbench import Workbench  # noqa: PLC0415 - see above

    with Workbench(tmp_path_factory.mktemp("mpy_workbench")) as workbench:
        yield workbench


@pytest.fixture
def mpy_board(mpy_workbench: Workbench) -> Iterator[Callable[..., Board]]:
    """`mpy_board(node, **options)` is an emulated board with that node's circuit, running our firmware and connected to
    a gateway; off after the test. Options: see Workbench.board."""
    boards: list[Board] = []

    def make(node: Any, **options: Any) -> Board:
        boards.append(board := mpy_workbench.board(node, **options))
        return board

    yield make
    for board in boards:
        board.stop()
