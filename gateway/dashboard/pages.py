"""The built page, and the frame of the pages without script that stand before it (entrance.py)."""

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

from gateway.dashboard.guard import POLICY

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


def routes(page: Page) -> list[Route]:
    """`/`, `/assets/...` and the style of the pages without script."""

    async def home(request: Request) -> Response:
        if request.state.caller is None:
            return way_in(request)
        if page.index is None:
            return door(503, "The page is not built", NOT_BUILT)
        headers = {"cache-control": "no-cache", "content-security-policy": POLICY}
        return Response(page.index, headers=headers, media_type="text/html")

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

    async def style(_: Request) -> Response:
        return Response(STYLE, headers={"cache-control": "no-cache"}, media_type="text/css")

    return [_get("/", home), _get("/assets/{name}", asset), _get("/door.css", style)]


def _get(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, endpoint, methods=["GET", "HEAD"])


def way_in(request: Request) -> Response:
    """To the login; but who follows a link on another site may be logged in, and SameSite=Strict keeps the cookie back
    until a page of ours asks."""
    if came_from_here(request):
        return RedirectResponse("/login", status_code=303)
    return onwards()


def came_from_here(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}


def onwards() -> Response:
    """A page of ours that goes on to the page at once: a redirect would count as coming from the other site."""
    return door(200, "Welcome", '<p><a href="/">Go on to the page</a></p>', refresh=True)


def door(status: int, title: str, body: str, *, refresh: bool = False) -> Response:
    """A page without script. `body` is HTML, `title` is text."""
    content = DOOR.format(title=html.escape(title), body=body, refresh=REFRESH if refresh else "")
    return Response(content, status, media_type="text/html")


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

STYLE = """:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif;
  --ground: light-dark(#f6f6f3, #101413); --surface: light-dark(#ffffff, #171c1b); --text: light-dark(#1b201f, #e5e9e7);
  --muted: light-dark(#59625f, #98a29e); --line: light-dark(#8b938f, #68736f); --accent: light-dark(#0f6b66, #55c4b6);
  --on-accent: light-dark(#ffffff, #0d1312); --bad: light-dark(#a3271d, #ff9486); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center;
  background: var(--ground); color: var(--text); }
main { width: 100%; max-width: 26rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 0.75rem; }
p { margin: 0 0 1rem; }
a { color: inherit; text-underline-offset: 3px; }
pre { padding: 0.75rem 1rem; border: 1px solid var(--line); border-radius: 0.5rem; overflow-x: auto; }
code { font-family: ui-monospace, monospace; font-size: 0.92em; }
form { display: grid; gap: 1rem; margin: 0 0 1.5rem; }
label { display: grid; gap: 0.25rem; font-weight: 600; }
input { font: inherit; font-weight: 400; width: 100%; min-height: 2.75rem; padding: 0 0.75rem;
  border: 1px solid var(--line); border-radius: 0.5rem; background: var(--surface); color: inherit; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; border: 0; border-radius: 0.5rem;
  background: var(--accent); color: var(--on-accent); cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.hint { color: var(--muted); font-size: 0.875rem; font-weight: 400; }
.bad { color: var(--bad); font-weight: 600; }
"""
