"""The firmware's WebSocket client against a server that is not ours: Node's `ws`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.firmware import interpreter
from tests.programs import need_program

PEERS = Path(__file__).parent / "peers"


class Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self.port = int(self._lines.readline())

    def saw(self) -> dict[str, Any]:
        """What the server saw of the connection that has just ended."""
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    node, npm = need_program("node"), need_program("npm")
    folder = tmp_path_factory.mktemp("peer")
    for name in ("echo.mjs", "package.json", "package-lock.json"):
        shutil.copy(PEERS / name, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with subprocess.Popen([node, str(folder / "echo.mjs")], stdout=subprocess.PIPE, text=True) as process:
        yield Server(process)
        process.kill()


def talk(server: Server, path: str, messages: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(interpreter.run_script("peer.py", str(server.port), path, str(messages)))
    return found


def test_text_and_binary_come_back_and_the_client_closes(server: Server) -> None:
    assert talk(server, "/", 20) == {"echoed": 20, "own": 0, "code": 1000, "reason": "done"}
    assert server.saw() == {"received": 20, "code": 1000, "reason": "done"}


def test_both_directions_at_once_on_one_long_connection(server: Server) -> None:
    assert talk(server, "/talk", 5000) == {"echoed": 5000, "own": 500, "code": 1000, "reason": "done"}
    assert server.saw() == {"received": 5000, "code": 1000, "reason": "done"}


def test_the_server_closes(server: Server) -> None:
    # The second of its two messages is never echoed, so our client does not close by itself.
    assert talk(server, "/bye", 2) == {"echoed": 1, "own": 0, "code": 4321, "reason": "bye"}
    assert server.saw()["code"] == 4321
