"""The built page, and the pages without script that stand before it: how to get in, and what is missing."""

from __future__ import annotations

import gzip
import html
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.dashboard.auth import SESSION_MS, Links, Sessions

STATIC_DIR = Path(__file__).with_name("static")
"""What Vite builds of web/ (hatch_build.py); not in the repository."""

IMMUTABLE = "public, max-age=31536000, immutable"
COMPRESSED = {".js", ".css", ".svg", ".json", ".map"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the built page with a hash in its name."""

    content: bytes
    zipped: bytes | None
    media_type: str

    @classmethod
    def read(cls, path: Path) -> Asset:
        content = path.read_bytes()
        zipped = gzip.compress(content, mtime=0) if path.suffix in COMPRESSED else None
        return cls(content, zipped, mimetypes.guess_type(path.name)[0] or "application/octet-stream")


class Page:
    """The built page, read once at start: about 100 KB, and no request ever becomes the path of a file."""

    def __init__(self, directory: Path | None = None) -> None:
        directory = directory or STATIC_DIR
        index = directory / "index.html"
        self.index = index.read_bytes() if index.is_file() else None
        assets = directory / "assets"
        self.assets = {path.name: Asset.read(path) for path in assets.iterdir() if path.is_file()} if self.index else {}


def routes(page: Page, sessions: Sessions, links: Links, *, cookie: str, secure: bool) -> list[Route]:
    """`/`, `/assets/...`, `/login` and the style of the pages without script."""

    async def home(request: Request) -> Response:
        if request.state.caller is None:
            return _door(401, "Come in", WAY_IN)
        if page.index is None:
            return _door(503, "The page is not built", NOT_BUILT)
        return Response(page.index, headers={"cache-control": "no-cache"}, media_type="text/html")

    async def asset(request: Request) -> Response:
        found = page.assets.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        headers = {"cache-control": IMMUTABLE}
        if found.zipped is None:
            return Response(found.content, headers=headers, media_type=found.media_type)
        headers["vary"] = "accept-encoding"
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(found.content, headers=headers, media_type=found.media_type)
        headers["content-encoding"] = "gzip"
        return Response(found.zipped, headers=headers, media_type=found.media_type)

    async def login(request: Request) -> Response:
        # A link checker, or a browser that looks ahead: the link is for a person who follows it.
        if request.method == "HEAD" or "prefetch" in request.headers.get("sec-purpose", ""):
            return Response(status_code=503)  # a browser's guess must not use the link up
        if not links.redeem(request.query_params.get("link", "")):
            return _door(401, "This link was used already", USED_LINK)
        token = await sessions.create()
        answer = _onwards(request)
        answer.set_cookie(
            cookie, token, max_age=SESSION_MS // 1000, path="/", httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def style(request: Request) -> Response:
        return Response(STYLE, headers={"cache-control": "no-cache"}, media_type="text/css")

    return [
        _get("/", home),
        _get("/assets/{name}", asset),
        Route("/login", login, methods=["GET"]),
        _get("/door.css", style),
    ]


def _get(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, endpoint, methods=["GET", "HEAD"])


def _onwards(request: Request) -> Response:
    """To the page. Where the link stood on another site (a terminal in a browser, a chat), a redirect would count as
    coming from there, and SameSite=Strict would keep the new cookie back: then a page of ours goes on."""
    if request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return RedirectResponse("/", status_code=303)
    return _door(200, "Welcome", '<p><a href="/">Go on to the page</a></p>', refresh=True)


def _door(status: int, title: str, body: str, *, refresh: bool = False) -> Response:
    content = DOOR.format(title=html.escape(title), body=body, refresh=REFRESH if refresh else "")
    return Response(content, status, media_type="text/html")


WAY_IN = """<p>Whoever runs this gateway can let you in. On its machine, run:</p>
<pre><code>mpy-gateway link</code></pre>
<p>(with the <code>--state</code> it was started with, if any) and open the link it prints in this browser.
It works once; after that this browser stays logged in.</p>"""

USED_LINK = """<p>A link lets one browser in, once, and ends when the gateway stops. For a new one, run:</p>
<pre><code>mpy-gateway link</code></pre>
<p>(with the <code>--state</code> it was started with, if any).
If it was you who used it, in this browser: <a href="/">go to the page</a>.</p>"""

NOT_BUILT = """<p>The gateway runs, but its page was not built: run <code>pip install -e .</code> in the checkout
(it brings its own Node), then start the gateway again. Everything under <code>/api/</code> works without it.</p>"""

REFRESH = '<meta http-equiv="refresh" content="0;url=/">'

DOOR = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title} · mpy-gateway</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/door.css">
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

STYLE = """:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
main { max-width: 32rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 0.5rem; }
pre { padding: 0.75rem 1rem; border: 1px solid GrayText; border-radius: 0.4rem; overflow-x: auto; }
code { font-family: ui-monospace, monospace; }
"""
