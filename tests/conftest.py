"""Shared by all tests. Loopback only; ports are free ones; nothing is written outside tmp_path."""

from __future__ import annotations

import signal

import pytest

# A shell starts its background jobs with Ctrl-C ignored, and programs inherit that: ours would not hear it in tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        metavar="PORT",
        help="run the tests of flashing on the real board at PORT, which loses its files (with -n 0; Wi-Fi from "
        "MPY_GATEWAY_WIFI_SSID and _PASSWORD)",
    )
