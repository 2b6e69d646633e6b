"""The command line with a wall clock that can be moved while it runs: `python -m tests.moved_clock FILE WORD...`

FILE holds by how many milliseconds the wall clock is off. All else is the program as it is."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gateway.cli import main
from gateway.clock import Clock


class MovedClock:
    LOOK_EVERY_S = 0.05

    def __init__(self, file: Path) -> None:
        self._file = file
        self._off_ms = 0
        self._looked_s = -1.0
        self._real_ms = Clock.wall_ms

    def wall_ms(self, clock: Clock) -> int:
        now_s = time.monotonic()
        if now_s - self._looked_s > self.LOOK_EVERY_S:
            self._looked_s = now_s
            if self._file.exists():
                self._off_ms = int(self._file.read_text())
        return self._real_ms(clock) + self._off_ms


if __name__ == "__main__":
    moved = MovedClock(Path(sys.argv.pop(1)))
    Clock.wall_ms = lambda clock: moved.wall_ms(clock)  # type: ignore[method-assign]  # noqa: PLW0108 - a bound method would not get the clock
    sys.argv[0] = "mpy-gateway"
    main()
