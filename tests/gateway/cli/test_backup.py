"""`backup` and `restore` as commands: sentences and exit codes. What they do is in tests/gateway/store."""

from __future__ import annotations

import hashlib
import os
import pty
import stat
import sys
from pathlib import Path

import pytest

from tests.flow.commands import mpy_gateway, running_gateway
from tests.gateway.cli.test_cli import one_line

PASSPHRASE = "four words do well"


def test_beside_a_running_gateway_backup_works_and_restore_is_refused(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "gateway.backup"
    settings = tmp_path / "mpy-gateway.toml"
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    sealed = ["--passphrase-file", str(tmp_path / "passphrase")]
    settings.write_text("[people]\nport = 8081\n")
    added = mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state))
    token = added.stdout.split("token")[1].split()[0]
    with running_gateway(state):
        ended = mpy_gateway("backup", str(file), *sealed, "--state", str(state), "--config", str(settings))
        assert ended.returncode == 0, ended.stderr
        assert f"{file}: backup of gw-" in ended.stdout
        assert "samples.db" in ended.stdout
        one_line(["restore", str(file), *sealed, "--state", str(state)], "in use by another gateway")
        one_line(["backup", str(file), "--state", str(state)], "exists already", "--replace")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for secret in (token, PASSPHRASE, hashlib.sha256(token.encode()).hexdigest()):
        assert secret.encode() not in file.read_bytes()
    assert PASSPHRASE not in ended.stdout + ended.stderr

    ended = mpy_gateway("restore", str(file), *sealed, "--state", str(tmp_path / "new"))
    assert ended.returncode == 0, ended.stderr
    assert "restored gw-" in ended.stdout
    assert str(tmp_path / "new" / "mpy-gateway.toml") in ended.stdout
    assert "greenhouse" in mpy_gateway("devices", "list", "--state", str(tmp_path / "new")).stdout
    one_line(["restore", str(file), *sealed, "--state", str(tmp_path / "new")], "--replace")
    one_line(["restore", str(file), "--state", str(tmp_path / "other")], "no terminal", "--passphrase-file")


def at_a_terminal(*command: str, typed: str) -> tuple[int, str]:
    """Run it with a terminal, type the lines of `typed`, and return its exit code and all that was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "gateway", *command])
    seen = b""
    lines = typed.encode().splitlines(keepends=True)
    while True:
        try:
            seen += os.read(terminal, 1_000)
        except OSError:  # Linux: the other side is closed
            break
        if lines and seen.endswith(b": "):  # not behind the newline: what is typed before a question is thrown away
            os.write(terminal, lines.pop(0))
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_the_passphrase_is_asked_for_twice_and_never_seen(tmp_path: Path) -> None:
    state, file = str(tmp_path / "state"), str(tmp_path / "file")
    mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", state)
    with running_gateway(tmp_path / "state"):
        code, seen = at_a_terminal("backup", file, "--state", state, typed="one two three\none two four\n")
        assert (code, "not the same" in seen) == (1, True)
        code, seen = at_a_terminal("backup", file, "--state", state, typed="too short\n")
        assert (code, "at least 12 characters" in seen) == (1, True)
        assert not Path(file).exists()
        code, seen = at_a_terminal("backup", file, "--state", state, typed=f"{PASSPHRASE}\n{PASSPHRASE}\n")
        assert (code, PASSPHRASE in seen) == (0, False), seen
    code, seen = at_a_terminal("restore", file, "--state", str(tmp_path / "new"), typed=f"{PASSPHRASE}\n")
    assert (code, PASSPHRASE in seen) == (0, False), seen


def test_data_only_needs_no_passphrase_and_says_what_that_means(tmp_path: Path) -> None:
    state, file = str(tmp_path / "state"), str(tmp_path / "file")
    with running_gateway(tmp_path / "state"):
        one_line(["backup", file, "--state", state], "no terminal", "--passphrase-file", "--no-secrets")
        ended = mpy_gateway("backup", file, "--no-secrets", "--state", state)
        assert "nothing that lets anybody in" in ended.stdout
    ended = mpy_gateway("restore", file, "--state", str(tmp_path / "new"))
    assert (ended.returncode, "need new tokens" in ended.stdout) == (0, True)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_without_a_file_it_is_wrong_use(command: str) -> None:
    ended = mpy_gateway(command)
    assert ended.returncode == 2
    assert "FILE" in ended.stderr


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    one_line(["backup", str(tmp_path / "file"), "--state", str(tmp_path)], "no gateway's data", "--state")
    one_line(["restore", str(tmp_path / "file"), "--state", str(tmp_path / "new")], "file", "No such file")
    (tmp_path / "file").write_text("something else")
    one_line(["restore", str(tmp_path / "file"), "--state", str(tmp_path / "new")], "file")
