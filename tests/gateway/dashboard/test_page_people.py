"""People in a real browser, at the real door: coming in, accounts, and pages elsewhere that mean no good."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from gateway.tls.authority import PEOPLE, Authority
from tests.gateway.tls.shake import issued, serving

from .conftest import Visitor
from .test_page_real import DoorInThread, sample

Visit = Callable[..., Visitor]
GOOD = "correct horse battery"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[DoorInThread]:
    gateway = DoorInThread(tmp_path)
    gateway.measure(sample(0))
    yield gateway
    gateway.close()


@pytest.fixture
def people(gateway: DoorInThread) -> DoorInThread:
    """With an admin, and a viewer called anna."""
    for name, role in (("admin", "admin"), ("anna", "viewer")):
        gateway.do(gateway.door.server.people.add(name, GOOD, role))  # type: ignore[arg-type]  # one of the two
    return gateway


def log_in(page: Page, gateway: DoorInThread, name: str, password: str = GOOD) -> None:
    page.goto(gateway.door.server.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    live(page)


def live(page: Page) -> None:
    expect(page.locator(".feed")).to_have_attribute("data-kind", "live")


def account(page: Page, gateway: DoorInThread) -> None:
    page.goto(f"{gateway.door.server.url}/#/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Account")


def test_from_the_setup_link_to_a_second_account_without_a_token_in_any_other_address(
    visit: Visit, gateway: DoorInThread
) -> None:
    visitor = visit()
    visitor.network_may_fail = True  # the browser notes the 422
    page = visitor.page
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - it sets an attribute on what it is given
    page.goto(gateway.door.server.first_link())
    page.get_by_label("Password").fill(GOOD)
    page.get_by_label("The same again").fill("something else")
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text("The two passwords are not the same.")
    page.get_by_label("Password").fill(GOOD)
    page.get_by_label("The same again").fill(GOOD)
    page.get_by_role("button").click()
    live(page)
    assert page.url == f"{gateway.door.server.url}/"
    account(page, gateway)
    page.get_by_label("What it is for").fill("grafana")
    page.get_by_label("Scope").select_option("control")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator(".secret code")).to_have_text(re.compile(r"^mpygw_[\w-]{43}$"))
    secret = page.locator(".secret code").inner_text()
    persons = page.get_by_role("region", name="People")
    persons.get_by_label("Name").fill("Bert")
    persons.get_by_label("Password").fill(GOOD)
    persons.get_by_role("button", name="Add an account").click()
    expect(persons.get_by_role("listitem")).to_contain_text(["admin admin (you)", "bert viewer"])
    tokens = page.get_by_role("region", name="API tokens")
    expect(tokens.get_by_role("listitem")).to_contain_text(["grafana control"])
    tokens.get_by_role("button", name="Revoke grafana").click()
    tokens.get_by_role("button", name="Sure? Revoke grafana").click()
    expect(tokens.get_by_role("listitem")).to_have_count(0)
    with_token = [request.url for request in asked if re.search(r"[\w-]{40}", request.url)]
    assert [url.partition("?")[0] for url in with_token] == [f"{gateway.door.server.url}/setup"]
    assert not [request for request in asked if secret in request.url]
    assert {re.match(r"\w+://[^/]+", request.url)[0] for request in asked} == {gateway.door.server.url}  # type: ignore[index]  # all match


def test_a_viewer_sees_no_buttons_for_what_would_be_refused(visit: Visit, people: DoorInThread) -> None:
    people.connect()
    page = visit().page
    log_in(page, people, "anna")
    page.get_by_role("link", name="greenhouse").click()
    commands = page.get_by_role("region", name="Commands")
    expect(commands).to_contain_text("You may look, but send no commands.")
    expect(commands.get_by_role("button")).to_have_count(0)
    account(page, people)
    expect(page.get_by_role("region", name="You")).to_contain_text("viewer: looks, changes nothing")
    expect(page.get_by_role("region", name="People")).to_have_count(0)
    expect(page.get_by_label("Scope").locator("option")).to_have_count(1)


def test_logging_out_everywhere_ends_the_other_browser_within_a_second(visit: Visit, people: DoorInThread) -> None:
    here, there = visit(), visit()
    there.network_may_fail = True
    for visitor in (here, there):
        log_in(visitor.page, people, "anna")
    account(here.page, people)
    here.page.get_by_role("button", name="Log out everywhere").click()
    expect(there.page.locator(".feed")).to_contain_text("Logged out", timeout=1500)
    there.page.get_by_role("link", name="Log in").click()
    expect(there.page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(here.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert here.context.cookies() == []


def test_a_changed_password_is_the_one_that_lets_in(visit: Visit, people: DoorInThread) -> None:
    visitor = visit()
    visitor.network_may_fail = True  # the browser notes the 401
    page = visitor.page
    log_in(page, people, "anna")
    account(page, people)
    form = page.get_by_role("region", name="Password")
    for old, said in (("not this one", "There is no account"), (GOOD, "Changed.")):
        form.get_by_label("Old password").fill(old)
        form.get_by_label("New password", exact=True).fill("staple of the day")
        form.get_by_label("New password again").fill("staple of the day")
        form.get_by_role("button").click()
        expect(form.locator(".outcome")).to_contain_text(said)
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, people, "anna", "staple of the day")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_way_in_and_in_the_account(
    visit: Visit, gateway: DoorInThread, web_tools: Path, scheme: str
) -> None:
    axe = (web_tools / "node_modules" / "axe-core" / "axe.min.js").read_text()
    visitor = visit(color_scheme=scheme, **PHONE)
    visitor.network_may_fail = True
    page = visitor.page

    def check() -> None:
        page.evaluate(axe)  # past the policy: what is evaluated is no script of the page
        found = page.evaluate("async () => (await axe.run()).violations")
        assert [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]] == []
        assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["viewport"]["width"]  # type: ignore[index]

    page.goto(gateway.door.server.first_link())
    check()
    for name, role in (("admin", "admin"), ("anna", "viewer")):
        gateway.do(gateway.door.server.people.add(name, GOOD, role))  # type: ignore[arg-type]
    page.goto(f"{gateway.door.server.url}/login")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("wrong horse battery")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    check()
    log_in(page, gateway, "admin")
    account(page, gateway)
    page.get_by_label("What it is for").fill("grafana")
    page.keyboard.press("Enter")
    expect(page.locator(".secret")).to_be_visible()
    page.get_by_role("button", name="Set password anna").click()
    expect(page.get_by_label("New password of anna")).to_be_visible()
    check()


INJECTED = """async () => {
    const violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
    window.ran = 0;
    const inline = document.createElement("script");
    inline.textContent = "window.ran++";
    const elsewhere = document.createElement("script");
    elsewhere.src = "http://localhost:9/x.js";
    const handler = document.createElement("img");
    handler.setAttribute("onerror", "window.ran++");
    handler.src = "data:,";
    const picture = new Image();
    picture.src = "http://localhost:9/?stolen";
    const frame = document.createElement("iframe");
    frame.src = "http://localhost:9/";
    document.body.append(inline, elsewhere, handler, picture, frame);
    await fetch("http://localhost:9/?stolen").catch(() => {});
    const form = document.createElement("form");
    form.action = "http://localhost:9/";
    document.body.append(form);
    form.submit();
    for (let wait = 0; wait < 100 && new Set(violations).size < 6; wait++)
        await new Promise((done) => setTimeout(done, 50));
    return { ran: window.ran, violations: [...new Set(violations)].sort() };
}"""


def test_the_policy_stops_what_is_injected(visit: Visit, people: DoorInThread) -> None:
    for path in ("/login", "/"):
        visitor = visit()
        if path == "/":
            log_in(visitor.page, people, "anna")
        else:
            visitor.page.goto(people.door.server.url + path)
        found = visitor.page.evaluate(INJECTED)
        assert found["ran"] == 0
        stopped = {"script-src-elem", "script-src-attr", "img-src", "frame-src", "connect-src", "form-action"}
        assert stopped <= set(found["violations"]), path
        visitor.complaints.clear()  # they are what was to be shown


# --- pages elsewhere


class Elsewhere:
    """A page of somebody else on another port of the same machine: the same site, so cookies come along."""

    def __init__(self, html: str) -> None:
        content = html.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


ASK = """async ({ gateway, token }) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const said = {};
    const ask = async (what, path, init) => {
        said[what] = await fetch(gateway + path, { credentials: "include", headers, ...init }).then(
            (response) => (response.type === "opaque" ? "opaque" : response.status), () => "blocked");
    };
    await ask("read", "/api/devices", {});
    await ask("simple", "/api/devices/greenhouse/commands",
        { method: "POST", mode: "no-cors", body: '{"name": "ping"}' });
    await ask("json", "/api/devices/greenhouse/commands", { method: "POST", body: '{"name": "ping"}',
        headers: { ...headers, "Content-Type": "application/json" } });
    await ask("logout", "/api/logout", { method: "POST", mode: "no-cors" });
    said.socket = await new Promise((done) => {
        const protocols = token ? ["mpy-gateway.feed", "bearer." + token] : [];
        const socket = new WebSocket(gateway.replace("http", "ws") + "/api/live", protocols);
        socket.onmessage = () => { done("heard"); socket.close(); };
        socket.onclose = () => done("closed");
    });
    return said;
}"""


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    page = Elsewhere("<!doctype html><title>elsewhere</title><p>hello</p>")
    yield page
    page.close()


def spy(gateway: DoorInThread) -> list[tuple[str, bool]]:
    """What arrives on connections made from now on: path, and whether a cookie came along."""
    arrived: list[tuple[str, bool]] = []
    config = gateway.door.server._server.config
    app = config.loaded_app

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("method") != "OPTIONS":
            arrived.append((scope["path"], b"cookie" in dict(scope["headers"])))
        await app(scope, receive, send)

    config.loaded_app = noting
    return arrived


def test_a_page_elsewhere_gets_nothing_with_a_valid_cookie(
    visit: Visit, people: DoorInThread, elsewhere: Elsewhere
) -> None:
    """Cross-site WebSocket hijacking and request forgery, by a page to which the browser does send the cookie along."""
    people.connect()
    visitor = visit()
    visitor.network_may_fail = True
    page = visitor.page
    arrived = spy(people)
    log_in(page, people, "admin")
    page.goto(elsewhere.url)
    arrived.clear()
    said = page.evaluate(ASK, {"gateway": people.door.server.url, "token": ""})
    assert said == dict.fromkeys(("read", "simple", "json", "logout"), "blocked") | {"socket": "closed"}
    came = {path: cookie for path, cookie in arrived if path.startswith("/api/")}
    assert came.items() >= {  # and what our own page had asked for before it was left
        "/api/devices": True, "/api/devices/greenhouse/commands": True, "/api/logout": True, "/api/live": True,
    }.items(), "the cookie has to come along, else nothing is shown"  # fmt: skip
    assert people.door.commands == []
    visitor.complaints.clear()  # that the browser was not allowed to is what was to be shown
    page.goto(people.door.server.url)
    live(page)  # nobody was logged out


def test_a_page_elsewhere_that_is_allowed_works_with_a_token_and_not_with_the_cookie(
    visit: Visit, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    gateway = DoorInThread(tmp_path, allowed_origins=(elsewhere.url,))
    try:
        gateway.measure(sample(0))
        gateway.connect()
        gateway.do(gateway.door.server.people.add("admin", GOOD, "admin"))
        _, token = gateway.do(gateway.door.server.people.tokens.add("", "control", "", None))
        visitor = visit()
        visitor.network_may_fail = True
        log_in(visitor.page, gateway, "admin")
        visitor.page.goto(elsewhere.url)
        by_cookie = visitor.page.evaluate(ASK, {"gateway": gateway.door.server.url, "token": ""})
        assert by_cookie["socket"] == "closed"
        assert gateway.door.commands == []
        by_token = visitor.page.evaluate(
            ASK.replace('credentials: "include"', 'credentials: "omit"'),
            {"gateway": gateway.door.server.url, "token": token},
        )
        assert (by_token["read"], by_token["json"], by_token["socket"]) == (200, 200, "heard")
        assert len(gateway.door.commands) == 1
        visitor.complaints.clear()
    finally:
        gateway.close()


def test_a_link_on_another_site_leads_to_the_page_without_a_new_login(
    visit: Visit, people: DoorInThread, elsewhere: Elsewhere
) -> None:
    """SameSite=Strict keeps the cookie back at first: from localhost, which is another site than 127.0.0.1."""
    page = visit().page
    log_in(page, people, "anna")
    page.goto(elsewhere.url.replace("127.0.0.1", "localhost"))
    begun = time.monotonic()
    page.evaluate("(url) => { location.href = url; }", people.door.server.url)
    live(page)
    assert time.monotonic() - begun < 10


def test_under_tls_the_cookie_is_for_tls_and_this_host_alone(visit: Visit, tmp_path: Path) -> None:
    pem, _ = issued(Authority.make("gw-test"), PEOPLE)
    gateway = DoorInThread(tmp_path, tls=serving(tmp_path, pem))
    try:
        gateway.do(gateway.door.server.people.add("admin", GOOD, "admin"))
        visitor = visit(ignore_https_errors=True)
        assert gateway.door.server.url.startswith("https://")
        log_in(visitor.page, gateway, "admin")
        (cookie,) = visitor.context.cookies()
        assert cookie["name"] == "__Host-mpy-gateway-gw-test"
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        account(visitor.page, gateway)
        visitor.page.get_by_role("button", name="Log out", exact=True).click()
        expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
        assert visitor.context.cookies() == []
    finally:
        gateway.close()
