"""Links, sessions and tokens; and at a real door, who is let in and who is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from gateway.clock import HandClock
from gateway.dashboard.accounts import Accounts, PeopleError
from gateway.dashboard.apitokens import ApiTokens
from gateway.dashboard.auth import LINKS, SESSION_KEY, SESSION_MS, Links, Scope, Sessions, digest
from gateway.dashboard.guard import cookie_value
from gateway.dashboard.people import People
from gateway.errors import Unavailable
from gateway.store.port import Entry
from tests.aio import run

from .door import T0_MS, close_code, messages, open_door


class Registry:
    """As much of a store as sessions use, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def put(self, key: str, value: bytes) -> int:
        self.values[key] = value
        return 1

    async def delete(self, key: str, revision: int | None = None) -> bool:
        return self.values.pop(key, None) is not None

    async def list(self, prefix: str) -> list[Entry]:
        return [Entry(key, value, 1) for key, value in sorted(self.values.items()) if key.startswith(prefix)]


def sessions_of(store: Registry, wall_ms: Callable[[], int], **options: int) -> Sessions:
    scopes: dict[str, Scope] = {"": "admin", "anna": "read"}
    return Sessions(store, wall_ms, scopes.get, **options)  # type: ignore[arg-type]  # see Registry


def test_a_link_is_good_for_one_use() -> None:
    links = Links()
    token = links.make()
    assert links.redeem(token)
    assert not links.redeem(token)
    assert not links.redeem("")


def test_the_oldest_unused_link_makes_room() -> None:
    links = Links()
    tokens = [links.make() for _ in range(LINKS + 1)]
    assert not links.redeem(tokens[0])
    assert all(links.redeem(token) for token in tokens[1:])


def test_sessions_are_kept_as_hashes_and_end_in_time() -> None:
    async def main() -> None:
        now_ms = T0_MS
        store = Registry()
        sessions = sessions_of(store, lambda: now_ms)
        token = await sessions.create("anna")
        assert list(store.values) == [SESSION_KEY + digest(token)]
        assert token.encode() not in b"".join(store.values.values())
        caller = sessions.caller(token)
        assert caller is not None
        assert caller.expires_ms == T0_MS + SESSION_MS
        assert sessions.caller(digest(token)) is None, "a stolen registry opens nothing"
        now_ms += SESSION_MS
        assert sessions.caller(token) is None
        assert not sessions.still(caller)

    run(main())


def test_sessions_outlast_the_process_and_ended_ones_are_deleted() -> None:
    async def main() -> None:
        store = Registry()
        token = await sessions_of(store, lambda: T0_MS).create("anna")
        store.values[SESSION_KEY + "old"] = json.dumps({"account": "anna", "created_ms": 1, "expires_ms": 2}).encode()
        store.values[SESSION_KEY + "broken"] = b"?"
        after = sessions_of(store, lambda: T0_MS + 1000)
        await after.open()
        assert after.caller(token) is not None
        assert list(store.values) == [SESSION_KEY + digest(token)]

    run(main())


def test_of_too_many_sessions_of_an_account_the_oldest_makes_room() -> None:
    async def main() -> None:
        now_ms = T0_MS
        store = Registry()
        sessions = sessions_of(store, lambda: now_ms, per_account=3)
        others = await sessions.create("")
        first = await sessions.create("anna")
        for now_ms in range(T0_MS + 1, T0_MS + 4):  # noqa: B007 - read by the clock above
            await sessions.create("anna")
        assert sessions.caller(first) is None
        assert sessions.caller(others) is not None, "nobody pushes out somebody else"
        assert len(store.values) == 4

    run(main())


def test_another_programs_odd_cookie_does_not_hide_ours() -> None:
    header = 'a=b=c; {"x": [1, 2]}; mpy-gateway-gw=TOKEN; z'
    assert cookie_value(header, "mpy-gateway-gw") == "TOKEN"
    assert cookie_value(header, "other") == ""


def test_a_link_lets_one_browser_in_with_a_cookie_scripts_cannot_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            path = door.server.one_time_link().removeprefix(door.server.url)
            answer = await door.ask(path)
            assert (answer.status, answer.headers["location"]) == (303, "/")
            assert answer.headers["cache-control"] == "no-store"
            cookie = SimpleCookie(answer.headers["set-cookie"])["mpy-gateway-gw-test"]
            assert cookie["httponly"]
            assert cookie["samesite"] == "strict"
            assert (cookie["path"], cookie["max-age"], cookie["secure"]) == ("/", str(SESSION_MS // 1000), "")
            headers = {"Cookie": f"{cookie.key}={cookie.value}"}
            session = await door.ask("/api/session", headers=headers)
            assert session.json == {
                "who": "browser",
                "account": None,
                "role": "admin",
                "scope": "admin",
                "expires_ms": door.clock.wall_ms() + SESSION_MS,
            }

            again = await door.ask(path)
            assert again.status == 401
            assert b"mpy-gateway link" in again.body
            assert "set-cookie" not in again.headers

    run(main())


def test_a_link_that_stood_on_another_site_goes_on_from_a_page_of_ours(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            path = door.server.one_time_link().removeprefix(door.server.url)
            assert (await door.ask(path, headers={"Sec-Purpose": "prefetch"})).status == 503
            assert (await door.ask(path, method="HEAD")).status == 503
            answer = await door.ask(path, headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status == 200
            assert b'http-equiv="refresh"' in answer.body
            assert "set-cookie" in answer.headers

    run(main())


def test_without_login_the_page_says_how_to_get_in_and_the_api_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            home = await door.ask("/")
            assert (home.status, home.headers["location"], home.headers["cache-control"]) == (303, "/login", "no-store")
            page = await door.ask("/login")
            assert b"mpy-gateway link" in page.body
            assert b"<script" not in page.body
            for path in ("/api/devices", "/api/openapi.json", "/api/live", "/api/nothing", "/api", "/%61pi/devices"):
                answer = await door.ask(path)
                assert (answer.status, answer.json["error"]["code"]) == (401, "login.required"), path
            for headers in ({"Authorization": "Bearer wrong"}, {"Cookie": "mpy-gateway-gw-test=wrong"}):
                assert (await door.ask("/api/devices", headers=headers)).status == 401
            assert (await door.ask("/healthz")).json == {"status": "ok"}
            assert await door.open_feed_status({}) == 401
            assert await door.open_feed_status({"Authorization": "Bearer wrong"}) == 401
            assert await door.open_feed_status(door.bearer) == 101

    run(main())


def test_the_command_lines_token_is_in_a_file_of_its_owner(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            file = tmp_path / "cli.token"
            assert file.read_text() == door.server.cli_token
            assert file.stat().st_mode & 0o777 == 0o600
            session = await door.ask("/api/session", headers=door.bearer)
            assert (session.json["who"], session.json["role"], session.json["expires_ms"]) == ("cli", "admin", None)
        assert not file.exists()

    run(main())


def test_only_the_command_line_makes_links(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            made = await door.ask("/api/link", method="POST", headers=door.bearer)
            used = await door.ask(made.json["link"].removeprefix(door.server.url))
            assert used.status == 303
            headers = await door.log_in() | {"Origin": door.server.url}
            refused = await door.ask("/api/link", method="POST", headers=headers)
            assert (refused.status, refused.json["error"]["code"]) == (403, "login.scope")

    run(main())


def test_logging_out_ends_the_session_and_its_open_feed(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            headers = await door.log_in() | {"Origin": door.server.url}
            async with door.feed(headers) as socket:
                assert (await door.ask("/api/logout", method="POST", headers=headers)).status == 204
                assert (await door.ask("/api/devices", headers=headers)).status == 401
                assert await close_code(socket) == 4401
            assert not await door.store.list(SESSION_KEY)

    run(main())


def test_a_session_is_still_good_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            headers = await door.log_in()
        async with open_door(tmp_path) as door:
            assert (await door.ask("/api/devices", headers=headers)).status == 200
        secret = headers["Cookie"].partition("=")[2].encode()
        assert not [file for file in tmp_path.iterdir() if secret in file.read_bytes()]

    run(main())


def test_another_name_for_this_gateway_is_refused(tmp_path: Path) -> None:
    """DNS rebinding: the attacker's name points here, and the browser thinks it is the attacker's site."""

    async def main() -> None:
        async with open_door(tmp_path, allowed_hosts=("pi.local",)) as door:
            port = door.server.port
            for host, status in (
                ("evil.example", 421),
                (f"evil.example:{port}", 421),
                (f"127.0.0.1.evil.example:{port}", 421),
                ("", 421),
                ("10.0.0.9", 421),
                (f"localhost:{port}", 200),
                (f"127.0.0.1:{port}", 200),
                ("PI.local", 200),
            ):
                answer = await door.ask("/healthz", headers={"Host": host})
                assert answer.status == status, host
            assert await door.open_feed_status(door.bearer | {"Host": "evil.example"}) == 421

    run(main())


def test_another_site_can_neither_change_anything_nor_listen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            cookie = await door.log_in()
            port = door.server.port
            command = "/api/devices/greenhouse/commands"
            for origin in (
                "https://evil.example",
                "null",
                f"http://127.0.0.1:{port + 1}",
                f"http://localhost:{port}",
                f"http://127.0.0.1:{port}.evil.example",
            ):
                headers = cookie | {"Origin": origin}
                answer = await door.ask(command, method="POST", headers=headers, body={"name": "ping"})
                assert (answer.status, answer.json["error"]["code"]) == (403, "origin.foreign"), origin
                assert await door.open_feed_status(headers) == 403
            answer = await door.ask(command, method="POST", headers=cookie, body={"name": "ping"})
            assert answer.status == 403, "a browser says where it comes from"
            assert not door.commands
            own = cookie | {"Origin": f"http://127.0.0.1:{port}"}
            async with door.feed(own) as socket:
                assert (await anext(messages(socket)))["type"] == "snapshot"
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    run(main())


class SlowRegistry(Registry):
    """Writes take until `go` is set; they happen in the order they were asked for, as in the store."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.in_order = asyncio.Event(), asyncio.Lock()

    async def put(self, key: str, value: bytes) -> int:
        async with self.in_order:
            await self.go.wait()
            return await super().put(key, value)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        async with self.in_order:
            await self.go.wait()
            return await super().delete(key, revision)


def test_a_token_that_is_revoked_while_its_use_is_written_stays_revoked() -> None:
    async def main() -> None:
        registry = SlowRegistry()
        registry.go.set()
        tokens = ApiTokens(registry, Accounts(registry, lambda: T0_MS), lambda: T0_MS)  # type: ignore[arg-type]
        token, secret = await tokens.add("script", "admin", "", None)
        caller = tokens.caller(secret)
        assert caller is not None
        registry.go.clear()
        used = asyncio.create_task(tokens.used(caller))
        await asyncio.sleep(0)
        revoked = asyncio.create_task(tokens.revoke(token.id))
        await asyncio.sleep(0)
        registry.go.set()
        await asyncio.gather(used, revoked)
        assert tokens.caller(secret) is None
        assert not registry.values

    run(main())


def test_a_session_that_ends_while_it_is_written_does_not_come_back_with_the_next_start() -> None:
    async def main() -> None:
        registry = SlowRegistry()
        registry.go.set()
        sessions = sessions_of(registry, lambda: T0_MS, per_account=1)
        await sessions.create("anna")
        registry.go.clear()
        coming = asyncio.create_task(sessions.create("anna"))  # the one before has to make room, which takes a while
        await asyncio.sleep(0)
        leaving = asyncio.create_task(sessions.end_all("anna"))
        await asyncio.sleep(0)
        registry.go.set()
        token, _ = await asyncio.gather(coming, leaving)
        assert sessions.caller(token) is None
        again = sessions_of(registry, lambda: T0_MS)
        await again.open()
        assert again.caller(token) is None

    run(main())


class FullDisk(Registry):
    """Deletes nothing while it is `full`."""

    full = False

    async def delete(self, key: str, revision: int | None = None) -> bool:
        if self.full:
            raise Unavailable("the disk is full")
        return await super().delete(key, revision)


def test_what_was_ended_on_a_full_disk_does_not_open_again_after_a_restart() -> None:
    """It opens nothing at once; and as soon as there is room it is gone from the disk, too."""

    async def main() -> None:
        registry = FullDisk()
        people = People(registry, HandClock(wall_ms=T0_MS))  # type: ignore[arg-type]  # see Registry
        await people.accounts.add("anna", "hash", "viewer")
        await people.accounts.add("bert", "hash", "viewer")
        session = await people.sessions.create("bert")
        token, secret = await people.tokens.add("script", "read", "", None)
        registry.full = True
        for work in (people.log_out_everywhere("bert"), people.revoke_token(token.id, None), people.remove("anna")):
            with pytest.raises(Unavailable):
                await work
        assert people.sessions.caller(session) is people.tokens.caller(secret) is people.accounts.get("anna") is None
        registry.full = False
        with pytest.raises(PeopleError, match="no token"):
            await people.revoke_token(token.id, None)  # as whoever was told to try again does
        again = People(registry, HandClock(wall_ms=T0_MS))  # type: ignore[arg-type]
        await again.open()
        assert again.sessions.caller(session) is again.tokens.caller(secret) is again.accounts.get("anna") is None
        assert again.accounts.get("bert")

    run(main())


def test_an_account_that_was_removed_on_a_full_disk_and_made_again_stays() -> None:
    async def main() -> None:
        registry = FullDisk()
        accounts = Accounts(registry, lambda: T0_MS)  # type: ignore[arg-type]
        for name in ("admin", "anna"):
            await accounts.add(name, "hash", "viewer")
        registry.full = True
        with pytest.raises(Unavailable):
            await accounts.remove("anna")
        registry.full = False
        await accounts.add("anna", "another", "viewer")
        await accounts.remove("admin")
        assert [key for key in registry.values if "anna" in key]

    run(main())
