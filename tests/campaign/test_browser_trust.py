"""A real browser at the people's door over TLS: refused until it knows the gateway's authority, then without a word."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect, sync_playwright

from tests.browser import ARGUMENTS
from tests.flow.commands import mpy_gateway, running_gateway
from tests.programs import need_program

pytestmark = pytest.mark.campaign


@contextmanager
def browser_of(home: Path) -> Iterator[Page]:
    """Chromium with this home directory, where its authorities are."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            home / "profile",
            executable_path=need_program("chromium", "chromium-browser"),
            args=ARGUMENTS,
            env={**os.environ, "HOME": str(home)},
        )
        try:
            yield context.new_page()
        finally:
            context.close()


def test_a_browser_that_knows_the_authority_gets_in_without_a_warning_and_others_do_not(tmp_path: Path) -> None:
    certutil = need_program("certutil")
    state, authority = tmp_path / "state", tmp_path / "ca.crt"
    with running_gateway(state, "people.tls=true"):

        def link() -> str:
            return mpy_gateway("link", "--state", str(state)).stdout.strip()

        with browser_of(tmp_path / "stranger") as page, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            page.goto(link())
        assert mpy_gateway("ca", str(authority), "--state", str(state)).returncode == 0
        database = tmp_path / "knows" / ".pki" / "nssdb"
        database.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "gateway", "-i", str(authority)]):
            subprocess.run([certutil, *words, "-d", f"sql:{database}"], check=True)
        with browser_of(tmp_path / "knows") as page:
            page.goto(link())
            expect(page.get_by_text("Live", exact=True).first).to_be_visible()  # the feed, over wss
            (cookie,) = page.context.cookies()
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
