"""What the firmware's journal asks of the flash: erases and bytes, per operation and per day at the default rate.

    python -m tests.bench.flash [--report FILE]

Counted by a block device in RAM under littlefs, in the real MicroPython (tests/firmware/mpy/flash_bench.py): these are
figures of the file system, not of this machine. gateway/profile/wear.py rests on them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.firmware import interpreter


def measure() -> dict[str, Any]:
    printed = interpreter.run_script("flash_bench.py", heap="32m", timeout_s=300)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    report = measure()
    print(json.dumps(report, indent=1))
    if options.report:
        options.report.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
