"""What the tests need from the system: programs and ports.

A missing program skips its tests with the reason; in CI that is a failure."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
from pathlib import Path

import pytest

_PACKAGES = {"certutil": "libnss3-tools"}


def need_program(name: str, *others: str) -> str:
    """Path of the first program found. Skips the test where there is none, fails it when CI=true."""
    for candidate in (name, *others):
        if path := shutil.which(candidate) or shutil.which(candidate, path="/usr/sbin:/sbin"):
            return path
    reason = f"{name} is not installed (on Debian: apt install {_PACKAGES.get(name, name)})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port of this machine that nobody listens on just now, and that the kernel gives to nobody by itself: a program
    that ends and starts again finds it free."""
    lowest_of_the_kernels = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = lowest_of_the_kernels - 1 - secrets.randbelow(12_000)  # random itself is seeded alike in all workers
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
