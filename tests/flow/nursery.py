"""Gateways that start quickly, to be killed often: a process that has everything loaded forks for each.

    python -m tests.flow.nursery      # one JSON object a line: {"words": [...], "log": "...", "crash": null}

Each is a process of its own, in a session of its own, and runs the program's own command line. When the nursery's
standard input ends, it takes all it started with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.flow.commands import FREE_PORTS, environment, set_options

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """Starts the gateways of one test, one after the other. Use as a context manager."""

    def __init__(self, state: Path, *settings: str) -> None:
        self.state = state
        self.log = state.parent / "gateway.log"
        self._words = ["run", "--state", str(state), *set_options(*FREE_PORTS, *settings)]
        self._process: subprocess.Popen[str] | None = None
        self.pid = 0

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
            start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _ask(self, **question: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *, crash: tuple[str, int] | None = None, wait: bool = True) -> None:
        """`crash`: the crash point at which it kills itself, and at which time it comes there."""
        (self.state / "run.json").unlink(missing_ok=True)
        self.pid = self._ask(words=self._words, log=str(self.log), crash=crash)
        deadline = time.monotonic() + 30
        while wait and not (self.state / "run.json").exists():
            assert time.monotonic() < deadline, f"the gateway did not start:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.005)

    def kill(self) -> None:
        """As `kill -9`: this one process, and not what it has started."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.ended() == signal.SIGKILL

    def ended(self, timeout_s: float = 20) -> int:
        """Wait for its end; the signal it died of, or minus its exit code."""
        status: int | None = self._ask(reap=self.pid, timeout_s=timeout_s)
        assert status is not None, f"the gateway did not end:\n{self.log.read_text()[-3000:]}"
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        assert self.ended() == 0

    def left_behind(self) -> bool:
        """Whether anything of the gateway's session is still there."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


def main() -> None:
    from gateway import app, cli  # noqa: F401  # all that a gateway needs, loaded once
    from gateway.cli import serve  # noqa: F401

    children: set[int] = set()
    for line in sys.stdin:
        question = json.loads(line)
        if "reap" in question:
            answer: Any = _reap(question["reap"], question["timeout_s"])
        else:
            answer = _fork(question)
            children.add(answer)
        print(json.dumps(answer), flush=True)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _fork(question: dict[str, Any]) -> int:
    if pid := os.fork():
        return pid
    os.setsid()
    log = os.open(question["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    if question["crash"]:
        from tests.flow.crash_points import install

        install(*question["crash"])
    from gateway.cli import run

    code = 70
    try:
        code = run(question["words"])
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap(pid: int, timeout_s: float) -> int | None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.002)
    return None


if __name__ == "__main__":
    main()
