"""One process of the embedded broker (broker_process.py), from its start to its end, as the gateway sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress

import msgspec

from gateway.config import PREFIX
from gateway.errors import ConfigError
from gateway.mqtt.options import Options

log = logging.getLogger("broker")

READY_WITHIN_S = 15
STOP_WITHIN_S = 2


class Child:
    """One process of the broker, from its start to its end."""

    def __init__(
        self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader
    ) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self._telling: asyncio.Task[None] | None = None
        self._stderr = asyncio.create_task(self._read_stderr())
        self._panicked = asyncio.Event()
        self.last_words = ""

    @classmethod
    async def launch(cls, options: Options) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder named gateway in the working directory must not be taken for ours
            *("-m", "gateway.mqtt.broker_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[door.descriptor for door in options.doors],
            env=_environment(),
        )
        if process.stdin is None or process.stdout is None:
            raise ConfigError("the embedded broker did not start: its process has no input or output")
        process.stdin.write(msgspec.json.encode(options) + b"\n")
        return cls(process, process.stdin, process.stdout)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process.returncode is None else None

    @property
    def ending(self) -> str:
        """How the process ended."""
        code = self._process.returncode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    async def ready(self) -> bool:
        """Wait until it serves. False when it does not come to that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                if await self._stdout.readline():
                    self._telling = asyncio.create_task(self._tell())
                    return True
        return False

    async def ended_or_panicked(self) -> None:
        ended, panicked = asyncio.create_task(self._process.wait()), asyncio.create_task(self._panicked.wait())
        try:
            await asyncio.wait((ended, panicked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            panicked.cancel()

    def kill(self, why: str) -> None:
        """It hangs: it would not hear that it should end."""
        self.last_words = why
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Leaves nothing behind."""
        self._stdin.close()  # it ends itself at the end of its input
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._stderr
        if self._telling:
            await self._telling

    async def _tell(self) -> None:
        """What it has to say belongs in our log."""
        with suppress(ValueError):  # a line without an end: it is not itself any more
            while line := await self._stdout.readline():
                log.warning("%s", line.decode(errors="replace").rstrip())

    async def _read_stderr(self) -> None:
        while self._process.stderr and (data := await self._process.stderr.read(4_096)):
            text = " ".join(data.decode(errors="replace").split())
            log.debug("the broker's process says: %s", text)
            self.last_words = text[-300:]
            if "panicked at" in text:
                self._panicked.set()


def _environment() -> dict[str, str]:
    """Without what is ours: it may name secrets, and is no business of the broker's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return {**kept, "RUST_BACKTRACE": "0"}
