"""The journal over restarts, on a littlefs in RAM inside the real MicroPython."""

from __future__ import annotations

from tests.firmware import interpreter


def test_journal_outbox_and_boot_record_over_restarts() -> None:
    interpreter.run_tests("flash_journal.py", heap="8m")
