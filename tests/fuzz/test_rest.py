"""REST under fuzzing from its OpenAPI, in short and seeded: `python -m tests.fuzz.rest` is the long run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.house import House, house
from tests.fuzz.rest import Fuzzer, logins


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A gateway on a thread of its own: schemathesis waits for its answers."""
    loop, opened, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[House] = []

    async def live() -> None:
        async with house(tmp_path, "limits.people_requests_per_s=100000") as one:
            await one.add("greenhouse")
            found.append(one)
            opened.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    assert opened.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(20)
    loop.close()


def test_every_route_answers_whatever_it_is_asked_as_openapi_says(home: House) -> None:
    url = home.gateway.people.url
    report = Fuzzer(url, logins(url, home.gateway.people.cli_token), number=1).run(200)
    assert (report.faults, report.hangs) == ({}, [])
    assert report.inputs > 150
    assert {"admin 200", "viewer 200", "viewer 403", "nobody 401"} <= report.statuses.keys()
    assert "ERROR" not in home.log.getvalue(), home.log.getvalue()


def test_a_fault_and_an_answer_nobody_promised_are_noticed(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    url = home.gateway.people.url
    who = logins(url, home.gateway.people.cli_token)

    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(home.gateway.history, "events", fails)
    monkeypatch.setattr(home.gateway.history, "gaps", lambda *_: asyncio.sleep(0, [1]))
    for path in ("/events", "/gaps"):
        report = Fuzzer(url, {"admin": who["admin"]}, number=1).run(20, only=path)
        assert any(f"{path} 500" in fault for fault in report.faults), report.faults


def test_who_is_let_in_without_the_right_to_is_noticed(home: House) -> None:
    url = home.gateway.people.url
    admin = logins(url, home.gateway.people.cli_token)["admin"]
    report = Fuzzer(url, {"admin": admin, "viewer": admin, "nobody": admin}, number=1).run(60, only="/api/tokens")
    assert any("lets viewer in" in fault for fault in report.faults)
    assert any("lets nobody in" in fault for fault in report.faults)
