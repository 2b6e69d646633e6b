"""The system's Chromium, driven by Playwright: real page, real drawing, no other network than loopback."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

from tests.programs import need_program

ARGUMENTS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


def launch(playwright: Playwright) -> Browser:
    """Start Chromium. Skips the test where there is none (fails it when CI=true)."""
    return playwright.chromium.launch(executable_path=need_program("chromium", "chromium-browser"), args=ARGUMENTS)
