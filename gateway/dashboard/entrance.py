"""The pages without script by which people come in: login, first account, one-time links.

Answers of forms are pages, too, with the status of what happened; what was typed as a password is never in them.
"""

from __future__ import annotations

import html
import urllib.parse
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.dashboard.accounts import PeopleError
from gateway.dashboard.auth import SESSION_MS
from gateway.dashboard.pages import came_from_here, door, onwards
from gateway.dashboard.passwords import SHORTEST
from gateway.dashboard.people import People, TooEarly
from gateway.errors import StoreError

FIELDS = 10
"""Most fields of a form."""


class Entrance:
    """`/login` and `/setup`."""

    def __init__(self, people: People, *, cookie: str, secure: bool) -> None:
        self._people = people
        self._cookie = cookie
        self._secure = secure

    def routes(self) -> list[Route]:
        return [
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/setup", self.setup, methods=["GET", "POST"]),
        ]

    async def login(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._log_in(request)
        if "link" in request.query_params:
            return await self._by_link(request)
        if request.method == "HEAD":
            return Response(media_type="text/html")
        if not len(self._people.accounts):
            return door(200, "Nobody has an account yet", NO_ACCOUNT)
        return _login_page(200)

    async def _log_in(self, request: Request) -> Response:
        fields = await _form(request)
        name = fields.get("name", "")

        async def work() -> str:
            return await self._people.log_in(name, fields.get("password", ""), _address(request))

        return await self._come_in(request, work, lambda status, text: _login_page(status, name, text))

    async def setup(self, request: Request) -> Response:
        fields = await _form(request) if request.method == "POST" else {}
        link = fields.get("link") or request.query_params.get("link", "")
        if not self._people.setup_links.waits(link) or len(self._people.accounts):
            return door(401, "This link was used already", USED_SETUP)
        if request.method != "POST":
            return _setup_page(200, link)

        async def work() -> str:
            if fields.get("password") != fields.get("again"):
                raise PeopleError(422, "password.again", "The two passwords are not the same.")
            return await self._people.set_up(link, fields.get("name", ""), fields.get("password", ""))

        return await self._come_in(
            request, work, lambda status, text: _setup_page(status, link, fields.get("name", ""), text)
        )

    async def _by_link(self, request: Request) -> Response:
        # A link checker, or a browser that looks ahead: the link is for a person who follows it.
        if request.method == "HEAD" or "prefetch" in request.headers.get("sec-purpose", ""):
            return Response(status_code=503)  # a browser's guess must not use the link up
        if not self._people.links.redeem(request.query_params["link"]):
            return door(401, "This link was used already", USED_LINK)
        return await self._welcome(request, await self._people.sessions.create(""))

    async def _come_in(
        self, request: Request, work: Callable[[], Awaitable[str]], again: Callable[[int, str], Response]
    ) -> Response:
        """Do `work`, which gives a session; where it cannot be done, the form `again` with the reason."""
        try:
            return await self._welcome(request, await work())
        except PeopleError as error:
            answer = again(error.status, str(error))
            if isinstance(error, TooEarly):
                answer.headers["retry-after"] = str(error.wait_s)
            return answer
        except StoreError as error:
            return again(503, f"It cannot be kept now: {error}")

    async def _welcome(self, request: Request, token: str) -> Response:
        """To the page, with a session of this moment: one the browser had before ends."""
        if request.state.caller and request.state.caller.who == "browser":
            await self._people.log_out(request.state.caller.session)
        # From another site (a link in a chat), a redirect would count as coming from there: SameSite=Strict.
        answer = RedirectResponse("/", status_code=303) if came_from_here(request) else onwards()
        answer.set_cookie(
            self._cookie,
            token,
            max_age=SESSION_MS // 1000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )
        return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _form(request: Request) -> dict[str, str]:
    """Fields of a form; none where it is not one."""
    try:
        text = (await request.body()).decode("utf-8", "replace")
        return dict(urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS))
    except (ValueError, ClientDisconnect):
        return {}


def _login_page(status: int, name: str = "", problem: str = "") -> Response:
    return door(status, "Log in", LOGIN.format(problem=_problem(problem), name=html.escape(name[:64])))


def _setup_page(status: int, link: str, name: str = "admin", problem: str = "") -> Response:
    fields = {"problem": _problem(problem), "name": html.escape(name[:64]), "link": html.escape(link)}
    return door(status, "Make the first account", SETUP.format(**fields, shortest=SHORTEST))


def _problem(text: str) -> str:
    return f'<p class="bad" role="alert" id="problem">{html.escape(text)}</p>' if text else ""


LOGIN = """{problem}<form method="post" action="/login">
<label>Name
<input name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64"
required></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" maxlength="1024" required></label>
<button type="submit">Log in</button>
</form>
<p class="hint">Password forgotten? On the gateway's machine, <code>mpy-gateway link</code> prints a link that opens the
page without one (with the <code>--state</code> the gateway was started with, if any).</p>"""

SETUP = """<p>It may do everything here: see all devices, send commands, and let others in.</p>
{problem}<form method="post" action="/setup">
<input type="hidden" name="link" value="{link}">
<label>Name
<input name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="32"
required></label>
<label>Password
<input name="password" type="password" autocomplete="new-password" minlength="{shortest}" maxlength="1024"
required aria-describedby="rule"></label>
<label>The same again
<input name="again" type="password" autocomplete="new-password" maxlength="1024" required></label>
<p class="hint" id="rule">{shortest} characters at least; a few words in a row are better than one odd one.</p>
<button type="submit">Make the account</button>
</form>"""

NO_ACCOUNT = """<p>Open the setup link the gateway printed when it started. Or run, on its machine:</p>
<pre><code>mpy-gateway link</code></pre>
<p class="hint">It prints a link that opens the page (with the <code>--state</code> the gateway was started with, if
any).</p>"""

USED_LINK = """<p>A link lets one browser in, once, and ends when the gateway stops. For a new one, run:</p>
<pre><code>mpy-gateway link</code></pre>
<p class="hint">(with the <code>--state</code> the gateway was started with, if any).
If it was you who used it, in this browser: <a href="/">go to the page</a>.</p>"""

USED_SETUP = """<p>A setup link makes the first account, once, and ends when the gateway stops.</p>
<p><a href="/login">Log in</a>, or run <code>mpy-gateway link</code> on the gateway's machine.</p>"""
