"""`backup` and `restore` as commands: sentences and exit codes. What they do is in tests/gateway/store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.flow.commands import mpy_gateway, running_gateway
from tests.gateway.cli.test_cli import one_line_exit_1


def test_beside_a_running_gateway_backup_works_and_restore_is_refused(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "gateway.backup"
    settings = tmp_path / "mpy-gateway.toml"
    settings.write_text("[people]\nport = 8081\n")
    added = mpy_gateway("devices", "add", "greenhouse", "--node", "climate-node", "--state", str(state))
    token = added.stdout.split("token")[1].split()[0]
    with running_gateway(state):
        ended = mpy_gateway("backup", str(file), "--state", str(state), "--config", str(settings))
        assert ended.returncode == 0, ended.stderr
        assert f"{file}: backup of gw-" in ended.stdout
        assert "samples.db" in ended.stdout
        one_line_exit_1(["restore", str(file), "--state", str(state)], "in use by another gateway")
        one_line_exit_1(["backup", str(file), "--state", str(state)], "exists already", "--replace")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token.encode() not in file.read_bytes(), "a token is kept as its hash only"

    ended = mpy_gateway("restore", str(file), "--state", str(tmp_path / "new"))
    assert ended.returncode == 0, ended.stderr
    assert "restored gw-" in ended.stdout
    assert str(tmp_path / "new" / "mpy-gateway.toml") in ended.stdout
    assert "greenhouse" in mpy_gateway("devices", "list", "--state", str(tmp_path / "new")).stdout
    one_line_exit_1(["restore", str(file), "--state", str(tmp_path / "new")], "--replace")


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_without_a_file_it_is_wrong_use(command: str) -> None:
    ended = mpy_gateway(command)
    assert ended.returncode == 2
    assert "FILE" in ended.stderr


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    one_line_exit_1(["backup", str(tmp_path / "file"), "--state", str(tmp_path)], "no gateway's data", "--state")
    one_line_exit_1(["restore", str(tmp_path / "file"), "--state", str(tmp_path / "new")], "file", "No such file")
    (tmp_path / "file").write_text("something else")
    one_line_exit_1(["restore", str(tmp_path / "file"), "--state", str(tmp_path / "new")], "file")
