"""Shared by all tests. Loopback only; ports are free ones; nothing is written outside tmp_path."""

from __future__ import annotations

import signal

# A shell starts its background jobs with Ctrl-C ignored, and programs inherit that: ours would not hear it in tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
