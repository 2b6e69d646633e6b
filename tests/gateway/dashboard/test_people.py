"""Accounts at a real door: login, roles, sessions, tokens, and what ends them."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.parse
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.dashboard import passwords
from gateway.dashboard.accounts import USER_KEY
from gateway.dashboard.apitokens import TOKEN_KEY
from gateway.dashboard.auth import SESSION_KEY
from gateway.dashboard.throttle import FREE
from tests.aio import run

from .door import Answer, Door, close_code, messages, open_door

GOOD, OTHER = "correct horse battery", "staple of the day"


@pytest.fixture(autouse=True)
def quick_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id with little memory: what is slow about it is tested in test_passwords.py."""
    if "alike" in request.node.name:
        return
    monkeypatch.setattr(passwords, "_argon2", lambda: PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


async def log_in(door: Door, name: str, password: str = GOOD, **headers: str) -> Answer:
    """As the login page does it."""
    form = urllib.parse.urlencode({"name": name, "password": password}).encode()
    typed = {"Content-Type": "application/x-www-form-urlencoded", "Origin": door.server.url} | headers
    return await door.ask("/login", method="POST", headers=typed, body=form)


async def browser(door: Door, name: str, password: str = GOOD) -> dict[str, str]:
    """Headers of a browser that is logged in."""
    answer = await log_in(door, name, password)
    assert answer.status == 303, answer.body
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0], "Origin": door.server.url}


async def with_accounts(door: Door) -> None:
    await door.server.people.add("admin", GOOD, "admin")
    await door.server.people.add("anna", GOOD, "viewer")


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


def test_the_first_account_is_made_by_a_link_that_works_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            link = door.server.first_link()
            other = door.server.first_link()
            path, _, token = link.removeprefix(door.server.url).partition("?link=")
            assert path == "/setup"
            form = {"link": token, "name": "Anna", "password": GOOD, "again": GOOD}

            async def post(**changes: str) -> Answer:
                body = urllib.parse.urlencode(form | changes).encode()
                return await door.ask("/setup", method="POST", headers={"Origin": door.server.url}, body=body)

            for _ in range(2):
                page = await door.ask(f"{path}?link={token}")
                assert page.status == 200, "looking at it does not use it up"
            assert (await post(link="guess")).status == 401
            for changes in ({"password": "short", "again": "short"}, {"again": OTHER}, {"name": "no name!"}):
                answer = await post(**changes)
                assert answer.status == 422
                assert b'role="alert"' in answer.body
                assert GOOD.encode() not in answer.body
            made = await post()
            assert (made.status, made.headers["location"]) == (303, "/")
            cookie = {"Cookie": made.headers["set-cookie"].partition(";")[0]}
            session = (await door.ask("/api/session", headers=cookie)).json
            assert (session["account"], session["role"]) == ("anna", "admin")
            assert (await post()).status == 401
            assert (await door.ask(other.removeprefix(door.server.url))).status == 401, "there is an account now"
            assert door.server.first_link() == f"{door.server.url}/"

    run(main())


def test_two_browsers_with_setup_links_make_one_account(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            people = door.server.people
            links = [people.setup_links.make() for _ in range(2)]
            both = [people.set_up(link, f"name{n}", GOOD) for n, link in enumerate(links)]
            results = await asyncio.gather(*both, return_exceptions=True)
            assert len(people.accounts) == 1
            assert sum(isinstance(result, str) for result in results) == 1

    run(main())


def test_changes_at_the_same_moment_leave_an_admin_and_one_account_of_a_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            people = door.server.people
            for name in ("one", "two"):
                await people.add(name, GOOD, "admin")
            both = (people.set_role(name, "viewer") for name in ("one", "two"))
            results = await asyncio.gather(*both, return_exceptions=True)
            assert [isinstance(result, Exception) for result in results].count(True) == 1
            adding = (people.add("three", password, "viewer") for password in (GOOD, OTHER))
            results = await asyncio.gather(*adding, return_exceptions=True)
            assert [isinstance(result, Exception) for result in results].count(True) == 1
            both = (people.remove("one"), people.remove("two"))  # one of them is the admin
            await asyncio.gather(*both, return_exceptions=True)
            assert [account.role for account in people.accounts.all().values()].count("admin") == 1

    run(main())


def test_name_and_password_let_in_with_a_new_session_each_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            page = await door.ask("/login")
            assert page.status == 200
            assert b"<script" not in page.body
            assert b"style=" not in page.body
            fixed = f"{door.server._cookie}=chosen-by-somebody-else"
            first = await log_in(door, " Anna ", Cookie=fixed)
            assert (first.status, first.headers["location"]) == (303, "/")
            attributes = first.headers["set-cookie"].lower()
            assert "httponly" in attributes
            assert "samesite=strict" in attributes
            assert "chosen-by" not in attributes
            old = {"Cookie": first.headers["set-cookie"].partition(";")[0]}
            session = (await door.ask("/api/session", headers=old)).json
            assert (session["who"], session["account"], session["role"], session["scope"]) == (
                "browser", "anna", "viewer", "read",
            )  # fmt: skip
            second = await log_in(door, "anna", **old)
            assert second.headers["set-cookie"].partition(";")[0] != old["Cookie"]
            assert (await door.ask("/api/session", headers=old)).status == 401, "the one before has ended"

    run(main())


def test_unknown_name_and_wrong_password_are_answered_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same words, and the same computation, whose time is all that could tell."""

    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            checked = []
            check = door.server.people._passwords._in_turn

            async def note(compute: object, *arguments: str, **options: int) -> object:
                checked.append(arguments[0].split("$")[1:4])
                return await check(compute, *arguments, **options)  # type: ignore[arg-type]

            monkeypatch.setattr(door.server.people._passwords, "_in_turn", note)
            wrong, unknown = await log_in(door, "anna", OTHER), await log_in(door, "hunter2", OTHER)
            assert (wrong.status, unknown.status) == (401, 401)
            assert wrong.body.replace(b"anna", b"hunter2") == unknown.body
            assert checked[0] == checked[1] == ["argon2id", "v=19", "m=19456,t=3,p=1"]
        text = caplog.text
        assert "for anna from 127.0.0.1" in text
        assert "hunter2" not in text, "people type passwords into the wrong field"
        assert OTHER not in text

    run(main())


def test_guessing_has_to_wait_and_the_right_password_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            for _ in range(FREE):
                assert (await log_in(door, "anna", OTHER)).status == 401
            early = await log_in(door, "anna", GOOD)
            assert (early.status, early.headers["retry-after"]) == (429, "1")
            door.clock.advance(1000)
            assert (await log_in(door, "anna", GOOD)).status == 303
            assert door.server.people.failures.total == FREE
        assert len([record for record in caplog.records if "failed login" in record.getMessage()]) == 1

    run(main())


def test_many_guesses_at_once_are_no_way_around(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            answers = await asyncio.gather(*(log_in(door, "anna", f"guess number {n}") for n in range(20)))
            assert sorted(answer.status for answer in answers)[:FREE] == [401] * FREE
            assert {answer.status for answer in answers} == {401, 429}
            for n in range(10):
                door.clock.advance(60_000)
                await log_in(door, "anna", f"another guess {n}")
            status = (await door.ask("/api/status", headers=door.bearer)).json
            assert status["people"]["failed_logins_hour"] >= 10
            assert "guessing passwords" in status["notices"][0]["text"]

    run(main())


def test_a_cookie_replayed_after_logout_opens_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            stolen, other = await browser(door, "anna"), await browser(door, "anna")
            async with door.feed(stolen) as socket:
                left = await door.ask("/api/logout", method="POST", headers=stolen)
                assert left.status == 204
                assert 'mpy-gateway-gw-test=""' in left.headers["set-cookie"]
                begun = time.monotonic()
                assert await close_code(socket) == 4401
                assert time.monotonic() - begun < 1
            for path in ("/api/session", "/api/devices", "/api/live"):
                assert (await door.ask(path, headers=stolen)).status == 401
            assert await door.open_feed_status(stolen) == 401
            assert (await door.ask("/api/session", headers=other)).status == 200
        async with open_door(tmp_path) as door:
            stolen["Origin"] = door.server.url
            assert (await door.ask("/api/session", headers=stolen)).status == 401, "nor after a restart"

    run(main())


def test_logging_out_everywhere_closes_all_feeds_of_the_account_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            one, two, admin = await browser(door, "anna"), await browser(door, "anna"), await browser(door, "admin")
            async with door.feed(one) as first, door.feed(two) as second, door.feed(admin) as untouched:
                begun = time.monotonic()
                assert (await door.ask("/api/logout/everywhere", method="POST", headers=one)).status == 204
                assert (await close_code(first), await close_code(second)) == (4401, 4401)
                assert time.monotonic() - begun < 1
                assert (await anext(messages(untouched)))["type"] == "snapshot"
            assert (await door.ask("/api/session", headers=two)).status == 401
            assert (await door.ask("/api/session", headers=admin)).status == 200

    run(main())


def test_a_new_password_ends_the_other_sessions_and_needs_the_old_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            mine, other = await browser(door, "anna"), await browser(door, "anna")

            async def change(old: str, new: str) -> Answer:
                return await door.ask("/api/password", method="POST", headers=mine, body={"old": old, "new": new})

            assert code(await change(OTHER, OTHER)) == (401, "login.wrong")
            assert code(await change(GOOD, "short")) == (422, "password.weak")
            assert (await change(GOOD, OTHER)).status == 204
            assert (await door.ask("/api/session", headers=mine)).status == 200
            assert (await door.ask("/api/session", headers=other)).status == 401
            assert (await log_in(door, "anna", GOOD)).status == 401
            assert (await log_in(door, "anna", OTHER)).status == 303
            link = await door.log_in() | {"Origin": door.server.url}
            answer = await door.ask("/api/password", method="POST", headers=link, body={"old": "", "new": GOOD})
            assert code(answer) == (409, "login.scope")
            back = await door.ask("/api/users/anna/password", method="PUT", headers=link, body={"password": GOOD})
            assert back.status == 204, "a link is the owner's way back in"
            assert (await log_in(door, "anna", GOOD)).status == 303

    run(main())


def test_what_a_viewer_may_not_do(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            await door.connect()
            viewer = await browser(door, "anna")
            for method, path, body in (
                ("POST", "/api/devices/greenhouse/commands", {"name": "ping"}),
                ("DELETE", "/api/notices/x", None),
                ("GET", "/api/users", None),
                ("POST", "/api/users", {"name": "eve", "password": GOOD, "role": "admin"}),
                ("PUT", "/api/users/anna/role", {"role": "admin"}),
                ("PUT", "/api/users/admin/password", {"password": OTHER}),
                ("POST", "/api/users/admin/logout", None),
                ("DELETE", "/api/users/admin", None),
                ("POST", "/api/tokens", {"scope": "admin"}),
                ("POST", "/api/tokens", {"scope": "control"}),
            ):
                answer = await door.ask(path, method=method, headers=viewer, body=body)
                assert code(answer) == (403, "role.viewer"), path
            assert not door.commands
            for path in ("/api/devices", "/api/devices/greenhouse/commands", "/api/status", "/api/tokens"):
                assert (await door.ask(path, headers=viewer)).status == 200

    run(main())


def test_users_are_added_changed_and_removed_with_effect_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            admin = await browser(door, "admin")

            async def do(method: str, path: str, body: object = None) -> Answer:
                return await door.ask(f"/api/users{path}", method=method, headers=admin, body=body)

            assert (await do("POST", "", {"name": "Bert", "password": GOOD, "role": "admin"})).status == 204
            bert = await browser(door, "bert")
            rows = (await do("GET", "")).json["users"]
            assert [(row["name"], row["role"], row["sessions"]) for row in rows] == [
                ("admin", "admin", 1), ("anna", "viewer", 0), ("bert", "admin", 1),
            ]  # fmt: skip
            assert all(set(row) == {"name", "role", "created_ms", "changed_ms", "sessions"} for row in rows)
            async with door.feed(bert) as feed:
                assert (await do("PUT", "/bert/role", {"role": "viewer"})).status == 204
                assert await close_code(feed) == 4401
            bert = await browser(door, "bert")
            assert (await door.ask("/api/users", headers=bert)).status == 403
            assert (await do("PUT", "/bert/password", {"password": OTHER})).status == 204
            assert (await door.ask("/api/session", headers=bert)).status == 401
            bert = await browser(door, "bert", OTHER)
            async with door.feed(bert) as feed:
                assert (await do("DELETE", "/bert")).status == 204
                assert await close_code(feed) == 4401
            assert (await log_in(door, "bert", OTHER)).status == 401
            assert (await do("POST", "", {"name": "bert", "password": GOOD})).status == 204
            assert (await door.ask("/api/session", headers=bert)).status == 401, "the new one is somebody else"
            for method, path, body, expected in (
                ("POST", "", {"name": "bert", "password": GOOD}, (409, "user.exists")),
                ("POST", "", {"name": "../x", "password": GOOD}, (422, "user.name")),
                ("POST", "", {"name": "carl", "password": "12345678"}, (422, "password.weak")),
                ("DELETE", "/nobody", None, (404, "user.unknown")),
                ("DELETE", "/admin", None, (409, "user.last_admin")),
                ("PUT", "/admin/role", {"role": "viewer"}, (409, "user.last_admin")),
                ("PUT", "/bert/role", {"role": "god"}, (422, "request.invalid")),
            ):
                assert code(await do(method, path, body)) == expected, path
            assert (await do("POST", "/bert/logout")).status == 204

    run(main())


def test_tokens_have_a_scope_are_shown_once_and_revoked_with_effect_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            await door.connect()
            admin = await browser(door, "admin")

            async def make(**asked: object) -> tuple[str, dict[str, str]]:
                made = (await door.ask("/api/tokens", method="POST", headers=admin, body=asked)).json
                assert made["secret"].startswith("mpygw_")
                return made["token"]["id"], {"Authorization": f"Bearer {made['secret']}"}

            id, reading = await make(name="grafana")
            _, controlling = await make(scope="control", days=1)
            _, all_of_it = await make(scope="admin")
            ping = "/api/devices/greenhouse/commands"
            for headers, command, users in ((reading, 403, 403), (controlling, 200, 403), (all_of_it, 200, 200)):
                assert (await door.ask("/api/devices", headers=headers)).status == 200
                sent = await door.ask(ping, method="POST", headers=headers, body={"name": "ping"})
                assert sent.status == command
                assert (await door.ask("/api/users", headers=headers)).status == users
                again = await door.ask("/api/tokens", method="POST", headers=headers, body={})
                assert code(again) == (403, "login.scope"), "a token makes no others"
            session = (await door.ask("/api/session", headers=controlling)).json
            assert (session["who"], session["role"], session["scope"]) == ("api", "viewer", "control")
            asked = (await door.ask(ping, headers=reading)).json["rows"]
            assert asked[0]["asked_by"] == "api"
            rows = (await door.ask("/api/tokens", headers=admin)).json["tokens"]
            assert {row["name"] for row in rows} == {"grafana", ""}
            assert all(row["used_ms"] == door.clock.wall_ms() for row in rows)
            assert all("secret" not in row and "mpygw" not in str(row) for row in rows)
            assert (await door.ask("/api/tokens", headers=reading)).status == 403
            async with door.feed(reading) as feed:
                assert (await door.ask(f"/api/tokens/{id}", method="DELETE", headers=admin)).status == 204
                assert await close_code(feed) == 4401
            assert (await door.ask("/api/devices", headers=reading)).status == 401
            again = await door.ask(f"/api/tokens/{id}", method="DELETE", headers=admin)
            assert code(again) == (404, "token.unknown")
            door.clock.advance(24 * 3600 * 1000)
            assert (await door.ask("/api/devices", headers=controlling)).status == 401, "expired"
        async with open_door(tmp_path) as door:
            assert (await door.ask("/api/devices", headers=all_of_it)).status == 200, "after a restart, too"

    run(main())


def test_a_token_never_has_more_rights_than_its_account_and_goes_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            people = door.server.people
            await people.add("bert", GOOD, "admin")
            bert = await browser(door, "bert")
            made = (await door.ask("/api/tokens", method="POST", headers=bert, body={"scope": "admin"})).json
            token = {"Authorization": f"Bearer {made['secret']}"}
            assert (await door.ask("/api/users", headers=token)).status == 200
            await people.set_role("bert", "viewer")
            assert (await door.ask("/api/users", headers=token)).status == 403
            assert (await door.ask("/api/devices", headers=token)).status == 200
            await people.remove("bert")
            assert (await door.ask("/api/devices", headers=token)).status == 401
            await people.add("bert", GOOD, "admin")
            assert (await door.ask("/api/devices", headers=token)).status == 401, "the new one is somebody else"
            _, half = await people.tokens.add("", "admin", "bert", None)
            await people.accounts.remove("bert")  # cut short, as by a full disk
            half_removed = {"Authorization": f"Bearer {half}"}
            assert (await door.ask("/api/devices", headers=half_removed)).status == 401
            viewer = await browser(door, "anna")
            gone = await door.ask(f"/api/tokens/{made['token']['id']}", method="DELETE", headers=viewer)
            assert gone.status == 404

    run(main())


def test_no_secret_is_on_disk_or_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            first = door.server.one_time_link().partition("link=")[2]
            await door.ask(f"/login?link={first}")
            headers = await browser(door, "admin")
            made = (await door.ask("/api/tokens", method="POST", headers=headers, body={})).json
            await log_in(door, "anna", "a wrong password")
            await door.ask("/nothing", headers={"Authorization": "Bearer a-guessed-token"})
            keys = [entry.key for kind in (USER_KEY, SESSION_KEY, TOKEN_KEY) for entry in await door.store.list(kind)]
            assert len(keys) == 5
            cookie = headers["Cookie"].partition("=")[2]
            return [first, cookie, made["secret"], GOOD, "a wrong password", "a-guessed-token"]

    caplog.set_level("DEBUG")
    secrets = run(main())
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], file.name
    logged = re.sub(r"\s+", " ", caplog.text)
    assert not [secret for secret in secrets if secret in logged]


def test_a_new_account_gets_nothing_of_one_that_had_its_name(tmp_path: Path) -> None:
    """A power cut in the middle of a removal leaves sessions and tokens behind, which open nothing."""

    async def main() -> None:
        async with open_door(tmp_path) as door:
            await with_accounts(door)
            people = door.server.people
            session = await people.sessions.create("anna")
            _, secret = await people.tokens.add("script", "read", "anna", None)
            await people.accounts.remove("anna")  # and there the power went
            assert people.tokens.caller(secret) is None
            await people.add("anna", OTHER, "admin")
            assert people.sessions.caller(session) is None
            assert people.tokens.caller(secret) is None

    run(main())
