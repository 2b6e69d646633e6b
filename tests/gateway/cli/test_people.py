"""`mpy-gateway users` and `tokens`: the same words beside a gateway that runs and without one."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from gateway import cli
from tests.flow.commands import running_gateway
from tests.rig import wait_for

GOOD = "correct horse battery"


class Line:
    """The command line, in this process."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._state, self._monkeypatch, self._capsys = state, monkeypatch, capsys

    def __call__(self, *words: str, typed: str = "", code: int = 0) -> str:
        """What it said, and (code 1) why not."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert cli.run([*words, "--state", str(self._state)]) == code, self._capsys.readouterr()
        out, err = self._capsys.readouterr()
        return out if code == 0 else err

    @contextmanager
    def nobody_asked(self) -> Iterator[None]:
        def asked() -> str:
            raise AssertionError("a password was asked for")

        with self._monkeypatch.context() as patched:
            patched.setattr("gateway.cli.users.ask_password", asked)
            yield


@pytest.mark.parametrize("running", [False, True], ids=["files", "gateway"])
def test_accounts_and_tokens_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    line = Line(tmp_path / "state", monkeypatch, capsys)
    if not running:
        all_of_it(line)
        return
    with running_gateway(tmp_path / "state") as gateway:
        log = tmp_path / "state.log"
        wait_for(lambda: "/setup?link=" in log.read_text(), "a link, as long as nobody has an account")
        secret = all_of_it(line)
        asked = urllib.request.Request(f"{gateway.run['people_url']}/api/session")
        asked.add_header("Authorization", f"Bearer {secret}")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.load(answer)["scope"] == "control"
        line("tokens", "revoke", json.loads(line("tokens", "list", "--json"))["tokens"][0]["id"])
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked, timeout=10)


def all_of_it(line: Line) -> str:
    assert "no account yet" in line("users", "list")
    line("users", "add", "Anna", "--role", "admin", typed=f"{GOOD}\n")
    line("users", "add", "bert", typed=f"{GOOD}\n")
    assert "8 characters" in line("users", "add", "carl", typed="short\n", code=1)
    assert "already" in line("users", "add", "bert", typed=f"{GOOD}\n", code=1)
    listed = {user["name"]: user["role"] for user in json.loads(line("users", "list", "--json"))["users"]}
    assert listed == {"anna": "admin", "bert": "viewer"}
    assert "logged in with 0 browsers" in line("users", "list")
    assert "only admin" in line("users", "remove", "anna", code=1)
    line("users", "role", "bert", "admin")
    line("users", "password", "bert", typed="another one of them\n")
    line("users", "logout", "bert")
    line("users", "remove", "anna")
    with line.nobody_asked():
        assert "no account nobody" in line("users", "password", "nobody", code=1)
        assert "already" in line("users", "add", "Bert", code=1)
        assert "A name is" in line("users", "add", "no name", code=1)
    secret = line("tokens", "add", "script", "--scope", "control", "--days", "3").strip()
    assert secret.startswith("mpygw_")
    shown = line("tokens", "list")
    assert "control" in shown
    assert "expires in" in shown
    assert secret not in shown
    assert "no token feedbeef" in line("tokens", "revoke", "feedbeef", code=1)
    return secret


@pytest.mark.parametrize("running", [False, True], ids=["files", "gateway"])
def test_who_is_not_there_is_said_with_what_shows_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    line = Line(tmp_path / "state", monkeypatch, capsys)
    with running_gateway(tmp_path / "state") if running else nullcontext():
        assert "`mpy-gateway users list` shows all" in line("users", "role", "nobody", "admin", code=1)
        assert "`mpy-gateway users list` shows all" in line("users", "password", "nobody", code=1)
        assert "`mpy-gateway tokens list` shows all" in line("tokens", "revoke", "00000000", code=1)
        assert "there is no password on standard input" in line("users", "add", "anna", code=1)
        if running:
            assert "`mpy-gateway devices list` shows all" in line("send", "nobody", "ping", code=1)
