"""The upgrade request at the devices' door, byte by byte: nothing hidden in it lets anybody in, and none is a fault."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import pytest

from gateway import __version__
from tests.aio import run
from tests.attacks.house import UPGRADE, House, house, request, status_of

ROOT = Path(__file__).parents[2]
TOKEN = "the token of the greenhouse"
FRAME = b"\x81\x82\x00\x00\x00\x00{}"


def with_token(*lines: str, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (*lines, f"Authorization: Bearer {TOKEN}", *extra)


GOOD = with_token(*UPGRADE)
SMUGGLED: dict[str, tuple[bytes, set[int]]] = {
    "bare line feeds": (request(*GOOD, end="\n"), {0, 400}),
    "bare carriage returns": (request(*GOOD, end="\r"), {0, 400}),
    "a folded header": (request(*GOOD[:3], " folded: x", *GOOD[3:]), {0, 400}),
    "a folded token": (request(*UPGRADE, "Authorization: Bearer", f"\t{TOKEN}"), {0, 400}),
    "a space before the colon": (request(*UPGRADE, f"Authorization : Bearer {TOKEN}"), {0, 400}),
    "a header without a name": (request(*GOOD, ": x"), {0, 400}),
    "a header without a colon": (request(*GOOD, "smuggled"), {0, 400}),
    "NUL in a name": (request(*GOOD, "X\x00: y"), {0, 400}),
    "NUL in a value": (request(*GOOD, "X: \x00"), {0, 400}),
    "NUL in the path": (request("GET /\x00 HTTP/1.1", *GOOD[1:]), {0, 400, 101}),
    "a body is announced": (request(*GOOD, "Content-Length: 5") + b"12345", {0, 400}),
    "two lengths": (request(*GOOD, "Content-Length: 0", "Content-Length: 5"), {0, 400}),
    "chunks": (request(*GOOD, "Transfer-Encoding: chunked") + b"0\r\n\r\n", {0, 400}),
    "two keys": (request(*GOOD, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), {400}),
    "two versions": (request(*GOOD, "Sec-WebSocket-Version: 13"), {400}),
    "two tokens": (request(*GOOD, "Authorization: Bearer " + "A" * 43), {401}),
    "a token and a subprotocol with another": (
        request(*GOOD, "Sec-WebSocket-Protocol: mpy-gateway.token." + "A" * 43),
        {401},
    ),
    "HTTP/1.0": (request("GET / HTTP/1.0", *GOOD[1:]), {0, 400, 505}),
    "HTTP/9.9": (request("GET / HTTP/9.9", *GOOD[1:]), {0, 400, 505}),
    "POST": (request("POST / HTTP/1.1", *GOOD[1:]), {0, 400, 405}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400, 505}),
    "TLS to a plain door": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512), {0}),
    "a frame before the answer": (request(*GOOD) + FRAME, {400}),
    "a broken frame before the answer": (request(*GOOD) + b"\x83\x02{}", {400}),
    "a second request behind": (request(*GOOD) + request("GET /api/devices HTTP/1.1", "Host: x"), {400}),
    "a second request behind one that is refused": (request(*UPGRADE) + request(*GOOD), {401}),
    "a broken frame behind one that is refused": (request(*UPGRADE) + b"\x83\x02{}", {401}),
    "a line of 64 KB": (request(*GOOD, "X: " + "a" * 65_536), {400, 431}),
    "a path of 64 KB": (request("GET /" + "a" * 65_536 + " HTTP/1.1", *GOOD[1:]), {400, 414}),
    "10,000 headers": (request(*GOOD, *["X: y"] * 10_000), {400, 431}),
    "a line that never ends": (b"G" * 200_000, {400, 414}),
    "64 KB of subprotocols": (
        request(*UPGRADE[:-1], *["Sec-WebSocket-Protocol: " + "a," * 3_000 + "a"] * 10),
        {400, 431},
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each of SMUGGLED was answered, all at one gateway with an honest board beside."""

    folder, limits = tmp_path_factory.mktemp("upgrade"), ("limits.bad_tokens_per_min=100000", "limits.handshake_s=0.3")

    async def scenario() -> dict[str, bytes]:
        async with house(folder, *limits) as home:
            board = await home.enter("bystander")
            token = (await home.add("greenhouse")).encode()
            found = {}
            for name, (data, _) in SMUGGLED.items():
                found[name] = await home.say(home.door, data.replace(TOKEN.encode(), token))
                assert token not in found[name], "the token was sent back"
            await home.works(board)
            assert token.decode() not in home.log.getvalue()
            await nobody_came_in(home)
            return found

    return run(scenario())


async def nobody_came_in(home: House) -> None:
    assert home.gateway.presence.get("greenhouse") is None
    assert (await home.counts("greenhouse"))["samples"] == 0


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_is_hidden_in_an_upgrade_request_is_refused_or_dropped(name: str, answers: dict[str, bytes]) -> None:
    answer, (_, allowed) = answers[name], SMUGGLED[name]
    assert status_of(answer) in allowed, answer[:300]
    assert answer.count(b"HTTP/1.1 ") <= 1, "a second request was answered"


def test_the_same_request_without_anything_hidden_opens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            data = request(*GOOD).replace(TOKEN.encode(), (await home.add("greenhouse")).encode())
            assert status_of(await home.say(home.door, data)) == 101

    run(scenario())


def test_no_credential_of_one_door_opens_the_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            token = await home.add("greenhouse")
            people = home.gateway.people
            session = await people.people.sessions.create("")
            cookie = f"Cookie: {people._cookie}={session}"
            for line in (home.bearer, f"Authorization: Bearer {session}", cookie):
                assert status_of(await home.say(home.door, request(*UPGRADE, line))) == 401, line
            for line in (f"Authorization: Bearer {token}", f"Cookie: {people._cookie}={token}"):
                asked = request("GET /api/devices HTTP/1.1", "Host: localhost", "Connection: close", line)
                assert status_of(await home.say(home.page, asked)) == 401, line
            asked = request("GET /api/devices HTTP/1.1", "Host: localhost", "Connection: close", cookie)
            assert status_of(await home.say(home.page, asked)) == 200

    run(scenario())


def test_wrong_missing_revoked_and_foreign_tokens_speak_for_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            board = await home.enter("bystander")
            revoked, own = await home.add("attic"), await home.add("greenhouse")
            await home.gateway.devices.revoke("attic")
            for line in (
                "X: y",
                f"Authorization: Bearer {revoked}",
                f"Authorization: Bearer {own[:-1]}",
                "Authorization: Bearer ",
            ):
                assert status_of(await home.say(home.door, request(*UPGRADE, line))) == 401, line
            impostor = await home.enter("cellar")  # a good token, but of another device
            await impostor.send({"type": "samples", "device": "bystander", "boot": 1, "seq": 0, "t": [1], "values": {}})
            await impostor.acked(0)
            assert (await home.counts("bystander"))["samples"] == 0
            assert (await home.counts("cellar"))["samples"] == 1
            await home.works(board)

    run(scenario())


def test_a_device_cannot_answer_for_another_one(tmp_path: Path) -> None:
    """Nor end its commands: an id that leaked is of no use to it."""

    async def scenario() -> None:
        async with house(tmp_path) as home:
            board, impostor = await home.enter("greenhouse"), await home.enter("cellar")
            asking = asyncio.create_task(
                home.ask("/api/devices/greenhouse/commands", method="POST", body=b'{"name":"ping","timeout_s":5}')
            )
            command = await board.receive("command")
            await impostor.send({"type": "result", "id": command["id"], "status": "failed", "error": {"code": "lie"}})
            assert (await impostor.receive("ack"))["result"] == command["id"]
            await board.send({"type": "result", "id": command["id"], "status": "done"})
            status, body = await asking
            assert (status, b'"done"' in body) == (200, True)

    run(scenario())


def test_every_device_has_a_token_of_its_own_of_256_bits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with house(tmp_path) as home:
            tokens = [await home.add(f"board-{number}") for number in range(30)]
            drawn = {base64.urlsafe_b64decode(token + "=") for token in tokens}
            assert {len(bits) for bits in drawn} == {32}
            assert len(drawn) == 30
            set_bits = sum(bin(byte).count("1") for bits in drawn for byte in bits)
            assert 0.46 < set_bits / (30 * 256) < 0.54, "not random"

    run(scenario())


def test_who_is_not_logged_in_learns_only_that_a_gateway_is_here(tmp_path: Path) -> None:
    """Not which version, which devices, which accounts, which libraries, where it keeps its files."""

    async def scenario() -> None:
        async with house(tmp_path) as home:
            await home.enter("greenhouse")
            await home.gateway.people.people.add("owner", "correct horse battery staple", "admin")
            paths = ("/", "/login", "/login?link=a", "/setup", "/healthz", "/api", "/api/status", "/api/devices", "/api/openapi.json",
                     "/api/devices/greenhouse", "/api/devices/attic", "/api/users/owner", "/docs", "/metrics", "/assets/x", "/x")  # fmt: skip
            asked = [request(f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close") for path in paths]
            answers = [await home.say(home.page, one) for one in asked]
            answers += [await home.say(home.door, one) for one in (*asked[:2], request(*UPGRADE), b"x\r\n\r\n")]
            for answer in answers:
                text = answer.decode("latin-1").lower()
                for secret in (
                    "greenhouse",
                    "owner",
                    __version__,
                    "uvicorn",
                    "python",
                    "websockets/",
                    "starlette",
                    str(tmp_path),
                ):
                    assert secret not in text, (secret, text[:600])
            known, unknown = answers[paths.index("/api/devices/greenhouse")], answers[paths.index("/api/devices/attic")]
            assert re.sub(rb"date: .*", b"", known) == re.sub(rb"date: .*", b"", unknown), (
                "tells which devices there are"
            )

    run(scenario())


def test_the_firmware_opens_no_port_and_no_web_repl() -> None:
    """A board only ever calls: nothing on it listens."""
    for file in [*(ROOT / "firmware").rglob("*.py")]:
        text = file.read_text()
        for word in ("webrepl", ".listen(", ".accept(", ".bind(", "AP_IF", "ftp", "telnet"):
            assert word not in text, f"{file.name} has {word}"
