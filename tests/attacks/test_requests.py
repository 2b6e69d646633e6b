"""Requests at the people's door, byte by byte: smuggling, paths out of the folder, bombs, and what goes into the log."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.aio import run
from tests.attacks.house import House, house, request, status_of

COMMANDS = "/api/devices/greenhouse/commands"
ASK = ("GET /api/session HTTP/1.1", "Host: localhost", "Connection: close")
HIDDEN = request("GET /api/devices HTTP/1.1", "Host: localhost")
POST = (f"POST {COMMANDS} HTTP/1.1", "Host: localhost", "Content-Type: application/json")
REFUSED = {400, 401, 403, 413, 414, 421, 431, 505}


def smuggled(bearer: str) -> dict[str, bytes]:
    """Requests that two servers in a row could understand in two ways, or that are no HTTP. With a good login."""
    ask, post = (*ASK, bearer), (*POST, bearer)
    return {
        "two hosts": request(*ask, "Host: evil.example"),
        "two hosts, the good one last": request(ask[0], "Host: evil.example", *ask[1:]),
        "no host": request(ask[0], *ask[2:]),
        "a host with a path": request(ask[0], "Host: localhost/evil", *ask[2:]),
        "a host with a user": request(ask[0], "Host: localhost@evil.example", *ask[2:]),
        "two logins": request(*ask, "Authorization: Bearer " + "A" * 43),
        "two lengths": request(*post, "Content-Length: 4", "Content-Length: 60") + b"{}  " + HIDDEN,
        "one length, two values": request(*post, "Content-Length: 4, 60") + b"{}  " + HIDDEN,
        "a length with a sign": request(*post, "Content-Length: +4") + b"{}  " + HIDDEN,
        "a length below zero": request(*post, "Content-Length: -1"),
        "a length in hex": request(*post, "Content-Length: 0x4") + b"{}  ",
        "a length of 10,000 digits": request(*post, "Content-Length: " + "9" * 10_000),
        "a length in other digits": request(*post, "Content-Length: \xb2") + b"{}",
        "a length and chunks": request(*post, "Content-Length: 4", "Transfer-Encoding: chunked")
        + b"0\r\n\r\n"
        + HIDDEN,
        "two encodings": request(*post, "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n" + HIDDEN,
        "an encoding that is none": request(*post, "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + HIDDEN,
        "an encoding with a tab": request(*post, "Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n" + HIDDEN,
        "a chunk of a negative size": request(*post, "Transfer-Encoding: chunked") + b"-1\r\n{}\r\n0\r\n\r\n",
        "a chunk of endless size": request(*post, "Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n{}",
        "NUL in a header": request(*ask, "X: a\x00b"),
        "NUL in a name": request(*ask, "X\x00: b"),
        "a carriage return in a header": request(*ask, "X: a\rSet-Cookie: b"),
        "a header without a colon": request(*ask, "smuggled"),
        "a space before the colon": request(*ask, "Host : evil.example"),
        "a line of 64 KB": request(*ask, "X: " + "a" * 65_536),
        "an address of 10 KB": request("GET /" + "a" * 10_000 + " HTTP/1.1", *ask[1:]),
        "an address of 64 KB": request("GET /" + "a" * 65_536 + " HTTP/1.1", *ask[1:]),
        "20,000 headers": request(*ask, *["X: y"] * 20_000),
        "a line that never ends": b"G" * 200_000,
        "TLS to a plain door": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/9.9": request("GET /api/session HTTP/9.9", *ask[1:]),
    }


NAMES = list(smuggled(""))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each of these was answered, all at one gateway."""
    folder = tmp_path_factory.mktemp("requests")

    async def scenario() -> dict[str, bytes]:
        async with house(folder, "limits.people_head_s=0.3", "limits.people_body_s=0.3") as home:
            board = await home.enter("greenhouse")
            found = {name: await home.say(home.page, data) for name, data in smuggled(home.bearer).items()}
            await home.works(board)
            assert not board.seen or "command" not in {frame["type"] for frame in board.seen}
            return found

    return run(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_a_request_that_could_be_understood_in_two_ways_is_refused(name: str, answers: dict[str, bytes]) -> None:
    answer = answers[name]
    assert status_of(answer) in {0, *REFUSED}, answer[:300]
    assert answer.count(b"HTTP/1.1 ") <= 1, "a second request was answered"
    assert b'"devices"' not in answer


def test_the_same_requests_without_anything_hidden_are_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            await home.enter("greenhouse")
            assert status_of(await home.say(home.page, request(*ASK, home.bearer))) == 200
            body = b'{"name":"dance"}'
            post = request(*POST, home.bearer, f"Content-Length: {len(body)}", "Connection: close") + body
            assert status_of(await home.say(home.page, post)) == 400
            assert b"command.unknown" in await home.say(home.page, post)

    run(scenario())


OUT = ["../" * 12 + "etc/passwd", "..\\" * 12 + "etc\\passwd", "/etc/passwd", "....//" * 12 + "etc/passwd", "index.html/../../../pages.py",
       "%2e%2e%2f" * 12 + "etc%2fpasswd", "..%2f" * 12 + "etc%2fpasswd", "..%252f" * 12 + "etc%252fpasswd", "%c0%ae%c0%ae/" * 12 + "etc/passwd",
       "..%00/", "../pages.py", "..%2fpages.py", "%2e%2e/pages.py", "file:///etc/passwd", "~root/.profile", "cli.token", "../../../cli.token"]  # fmt: skip


def test_no_path_leads_out_of_the_page(tmp_path: Path) -> None:
    """Nor out of a name: what is asked for is looked up among what was read at the start, never opened."""

    async def scenario() -> None:
        async with house(tmp_path) as home:
            token = home.gateway.people.cli_token
            state = str(home.gateway.config.state)
            for before in ("/assets/", "/", "/api/devices/", "/api/notices/", "/api/users/", "/login/"):
                for path in [*OUT, quote(state, safe="") + "%2fcli.token", state + "/cli.token"]:
                    status, body = await home.ask(before + path)
                    assert status in {200, 400, 404, 405}, (before + path, status)
                    assert b"root:" not in body, path
                    assert b"def routes" not in body, path
                    assert token.encode() not in body, path
                    assert status != 200 or before + path == "//etc/passwd" or b"<!doctype html>" in body, (
                        path,
                        body[:99],
                    )

    run(scenario())


BOMBS: dict[str, bytes] = {
    "nested 30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nested and never closed": b'{"name":' + b"[" * 60_000,
    "a number of 60,000 digits": b'{"name":"ping","timeout_s":' + b"9" * 60_000 + b"}",
    "an argument of 60,000 digits": b'{"name":"identify","args":{"seconds":' + b"9" * 60_000 + b"}}",
    "an exponent without end": b'{"name":"ping","timeout_s":1e' + b"9" * 60_000 + b"}",
    "a key of 64 KB": b'{"' + b"k" * 65_000 + b'":1}',
    "a text of 64 KB": b'{"name":"' + b"n" * 65_000 + b'"}',
    "6,000 keys": b"{" + b",".join(b'"%d":1' % n for n in range(6_000)) + b"}",
    "the same key 7,000 times": b"{" + b",".join([b'"name":1'] * 7_000) + b"}",
    "20,000 empty lists": b"[" + b",".join([b"[]"] * 20_000) + b"]",
    "escapes without end": b'{"name":"' + b"\\u0041" * 10_000 + b'"}',
    "half a surrogate": b'{"name":"\\ud800"}',
    "NaN": b'{"name":"ping","timeout_s":NaN}',
    "not UTF-8": b'{"name":"\xff\xfe"}',
    "a gigabyte in gzip": gzip.compress(bytes(20_000_000))[:60_000],
}


@pytest.mark.parametrize("headers", [(), ("Content-Encoding: gzip",)], ids=["as it is", "said to be gzip"])
def test_a_bomb_in_a_body_is_refused_and_takes_no_time(headers: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            board = await home.enter("greenhouse")
            for name, body in BOMBS.items():
                began_s = time.process_time()
                status, answer = await home.ask(COMMANDS, *headers, method="POST", body=body)
                assert status in {400, 422}, (name, status, answer)
                assert len(answer) < 2_000, name
                assert time.process_time() - began_s < 1, name
            await home.works(board)
            assert not [frame for frame in board.seen if frame["type"] == "command"]

    run(scenario())


TAKEN = {"the same key 7,000 times", "not UTF-8"}
"""In an event, as text: an object with one key, of which the last counts, here as with every other reader; and two
letters."""


def test_frames_that_are_bombs_cost_their_sender_an_error_and_nobody_any_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            board, bomber = await home.enter("greenhouse"), await home.enter("cellar")
            for seq, (name, body) in enumerate(BOMBS.items()):
                text = body.decode("latin-1")
                event = f'{{"type":"event","boot":1,"seq":{seq},"t":1,"code":"a","data":'
                for frame in (text, event + text[: 65_000 - len(event)] + "}"):
                    began_s = time.process_time()
                    await bomber.send(frame)
                    if name in TAKEN and frame is not text:
                        await bomber.acked(seq)
                    else:
                        assert (await bomber.error()).startswith("frame."), name
                    assert time.process_time() - began_s < 1, name
            await home.works(board)

    run(scenario())


EVIL = "a\x1b[31mb\r\n12:00:00 INFO  device  forged\x00\u202e\u2028\x9b2Jz"


def test_nobody_writes_lines_of_their_own_into_the_log(tmp_path: Path) -> None:
    """Not by what a board says, not by what it is called or closes with, and not by any part of a request."""

    async def scenario() -> None:
        async with house(tmp_path) as home:
            board = await home.enter("greenhouse")
            await board.send({"type": "log", "level": "warning", "text": EVIL})
            await board.send({"type": "settings", "reported": {"a": EVIL}})
            await board.send({"type": "event", "boot": 1, "seq": 0, "t": 1, "code": "a", "data": {"a": EVIL}})
            for field in ("hardware", "node", "firmware"):
                caller = await home.enter("cellar")
                await caller.socket.close(4000, EVIL.replace("\u202e", "")[:30])
                named = await home.enter("cellar")
                await named.hello(**{field: EVIL})
            await log_in_as(home, EVIL)
            path = quote(EVIL)
            for line in (
                f"GET /{path} HTTP/1.1",
                f"GET /login?link={path} HTTP/1.1",
                f"GET /api/devices/{path} HTTP/1.1",
            ):
                await home.say(
                    home.page, request(line, "Host: localhost", "Connection: close", "User-Agent: a\x1b[31m")
                )
            await home.works(board)
            await asyncio.sleep(0)
            written = home.log.getvalue()
            assert "greenhouse says: a" in written
            assert all(char.isprintable() or char == "\n" for char in written), repr(written)
            for line in written.splitlines():
                assert re.match(r"\d\d:\d\d:\d\d (DEBUG|INFO |WARN |ERROR) ", line), line
                assert not re.match(r"12:00:00 INFO  device  forged", line), line

    run(scenario())


async def log_in_as(home: House, name: str) -> None:
    await home.gateway.people.people.add("owner", "correct horse battery staple", "admin")
    body = f"name={quote(name)}&password=wrong".encode()
    head = request("POST /login HTTP/1.1", "Host: localhost", f"Origin: http://localhost:{home.page}", "Connection: close",
                   "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")  # fmt: skip
    await home.say(home.page, head + body)
    await home.say(home.page, head.replace(b"Host: localhost", b"Host: localhost:%d" % home.page) + body)


def test_answers_hold_nothing_of_what_was_asked_that_a_browser_would_run(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"

    async def scenario() -> None:
        async with house(tmp_path) as home:
            await home.gateway.people.people.add("owner", "correct horse battery staple", "admin")
            for path in (
                f"/{quote(script)}",
                f"/login?link={quote(script)}",
                f"/setup?link={quote(script)}",
                f"/api/devices/{quote(script)}",
            ):
                answer = await home.say(
                    home.page, request(f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", home.bearer)
                )
                head, _, body = answer.partition(b"\r\n\r\n")
                assert script.encode() not in body or b"application/json" in head.lower(), path
                assert b"nosniff" in head, path

    run(scenario())
