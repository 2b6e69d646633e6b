"""A browser for the page's tests, and the page's own tools (compiler, axe-core), which no user needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gateway.dashboard.pages import STATIC_DIR
from tests.browser import launch
from tests.programs import need_program

WEB = Path(__file__).parents[3] / "gateway" / "dashboard" / "web"


@pytest.fixture(scope="session")
def web_tools(pytestconfig: pytest.Config) -> Path:
    """A copy of the page's sources with all its npm packages. A developer's own node_modules is left alone."""
    need_program("node")
    npm = need_program("npm")
    lock = (WEB / "package-lock.json").read_bytes()
    assert pytestconfig.cache is not None
    copy = pytestconfig.cache.mkdir(f"web-{hashlib.sha256(lock).hexdigest()[:16]}")
    shutil.rmtree(copy / "src", ignore_errors=True)
    shutil.rmtree(copy / "test", ignore_errors=True)
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules", "build"), dirs_exist_ok=True)
    if not (copy / "node_modules" / ".complete").exists():
        arguments = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(arguments, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode and os.environ.get("CI") != "true":
            pytest.skip(f"npm could not fetch the page's test tools: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stdout + done.stderr
        (copy / "node_modules" / ".complete").touch()
    return copy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (STATIC_DIR / "index.html").is_file() and os.environ.get("CI") != "true":
        pytest.skip("the page is not built: python hatch_build.py")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


NETWORK_TROUBLE = ("WebSocket connection to", "net::ERR_CONNECTION", "Failed to load resource")


class Visitor:
    """Somebody looking at the page. What the browser complains about fails the test, except a network it cut itself."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.context.set_default_timeout(10_000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.network_may_fail = False
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("console", lambda line: self._heard(line.type, line.text))
        self.page.add_init_script("""addEventListener("securitypolicyviolation", (event) =>
            console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));""")

    def open_list(self, url: str) -> Page:
        self.page.goto(url)
        return self._once_live()

    def open_device(self, url: str, device: str = "greenhouse") -> Page:
        self.page.goto(f"{url}/#/device/{device}")
        expect(self.page.get_by_role("heading", level=1)).to_have_text(device)
        return self._once_live()

    def _once_live(self) -> Page:
        expect(self.page.locator(".feed")).to_have_attribute("data-kind", "live")
        return self.page

    def _heard(self, kind: str, text: str) -> None:
        cut = self.network_may_fail and any(words in text for words in NETWORK_TROUBLE)
        if (kind == "error" or "policy" in text) and not cut:
            self.complaints.append(f"{kind}: {text}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Make visitors: `visit(color_scheme="dark")`. At the end none of them may have anything to complain about."""
    visitors: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, **options))
        return visitors[-1]

    yield make
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == []
