"""`mpy-gateway devices`, beside a gateway that runs and without one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.profile import find_node, load_profile
from gateway.profile.firmware import firmware_profile
from gateway.provision.firmware import board_files
from tests.flow.commands import mpy_gateway


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def devices(*words: str, state: Path) -> str:
    ended = mpy_gateway("devices", *words, "--state", str(state))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_token_is_shown_once_and_not_kept(state: Path) -> None:
    said = devices("add", "greenhouse", "--node", "climate-node", state=state)
    token = re.search(r"token +([A-Za-z0-9_-]{43})\n", said)
    assert token, said
    assert all(token[1].encode() not in file.read_bytes() for file in state.iterdir())
    assert "greenhouse" in devices("list", state=state)
    assert "never seen" in devices("list", state=state)
    (listed,) = json.loads(devices("list", "--json", state=state))["devices"]
    assert (listed["id"], listed["node"], listed["last_seen_ms"]) == ("greenhouse", "climate-node", None)
    assert listed["online"] is False


def test_the_files_of_a_board_are_the_firmware_its_profile_and_its_settings(state: Path, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    said = devices("add", "greenhouse", "--node", "climate-node", "--files", str(folder), state=state)
    path = find_node("climate-node")
    profile = load_profile(path)
    expected = board_files(profile, path.parent)
    for name, content in expected.items():
        assert (folder / name.lstrip("/")).read_bytes() == content
    written = {f"/{file.relative_to(folder)}" for file in folder.rglob("*") if file.is_file()}
    assert written == {f"/{name.lstrip('/')}" for name in expected} | {"/profile.json", "/settings.json"}
    assert json.loads((folder / "profile.json").read_text()) == firmware_profile(profile)
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["device"] == "greenhouse"
    assert settings["token"] in said
    assert (folder / "settings.json").stat().st_mode & 0o777 == 0o600


def test_an_existing_directory_is_left_alone_and_no_identity_is_made(state: Path, tmp_path: Path) -> None:
    words = ("add", "greenhouse", "--node", "climate-node", "--files", str(tmp_path))
    ended = mpy_gateway("devices", *words, "--state", str(state))
    assert ended.returncode == 1
    assert "exists already" in ended.stderr
    assert "no device yet" in devices("list", state=state)


@pytest.mark.parametrize("command", ["replace", "revoke", "rotate"])
def test_nobody_cannot_be_changed(state: Path, command: str) -> None:
    ended = mpy_gateway("devices", command, "nobody", "--state", str(state))
    assert ended.returncode == 1
    assert "nobody" in ended.stderr


def token_in(said: str) -> str:
    token = re.search(r"token +([A-Za-z0-9_-]{43})\n", said)
    assert token, said
    return token[1]


def test_a_revoked_device_stays_listed_and_can_have_a_new_token(state: Path) -> None:
    old = token_in(devices("add", "greenhouse", "--node", "climate-node", state=state))
    assert "may not connect any more" in devices("revoke", "greenhouse", state=state)
    assert "greenhouse" in (listed := devices("list", state=state))
    assert "revoked" in listed
    refused = mpy_gateway("devices", "rotate", "greenhouse", "--state", str(state))
    assert (refused.returncode, "--again" in refused.stderr) == (1, True)
    assert token_in(devices("add", "greenhouse", "--again", state=state)) != old
    assert "revoked" not in devices("list", state=state)
    assert "gets its new token when it comes" in devices("rotate", "greenhouse", state=state)
    assert "has not used its new token yet" in devices("list", state=state)


def test_what_a_new_device_is_must_be_said(state: Path) -> None:
    ended = mpy_gateway("devices", "add", "greenhouse", "--state", str(state))
    assert (ended.returncode, "--node" in ended.stderr) == (2, True)


def test_a_name_that_cannot_be_had_is_said_before_anything_else(state: Path) -> None:
    devices("add", "greenhouse", "--node", "climate-node", state=state)
    for name, says in (("greenhouse", "there is a device"), ("Bad Name", "is no device name")):
        ended = mpy_gateway("devices", "add", name, "--state", str(state))
        assert (ended.returncode, says in ended.stderr) == (1, True), ended.stderr


def test_a_board_is_not_told_port_0(state: Path, tmp_path: Path) -> None:
    (tmp_path / "mpy-gateway.toml").write_text("[devices]\nport = 0\n")
    words = ("add", "greenhouse", "--node", "climate-node", "--files", str(tmp_path / "board"))
    config = ("--config", str(tmp_path / "mpy-gateway.toml"))
    ended = mpy_gateway("devices", *words, "--state", str(state), *config)
    assert (ended.returncode, "set devices.port" in ended.stderr) == (1, True)
    assert "no device yet" in devices("list", state=state)
    (state / "run.json").write_text('{"devices_url": "ws://127.0.0.1:45678"}')  # as of one that runs
    assert mpy_gateway("devices", *words, "--state", str(state), *config).returncode == 0
    assert json.loads((tmp_path / "board" / "settings.json").read_text())["gateway"]["port"] == 45678


def test_who_is_not_there_is_not_asked_about(state: Path) -> None:
    ended = mpy_gateway("devices", "forget", "greenhouse", "--state", str(state))
    assert (ended.returncode, "devices list` shows all" in ended.stderr) == (1, True), ended.stderr


def test_forgetting_is_asked_about(state: Path) -> None:
    devices("add", "greenhouse", "--node", "climate-node", state=state)
    ended = mpy_gateway("devices", "forget", "greenhouse", "--state", str(state))
    assert ended.returncode == 130
    assert "greenhouse" in devices("list", state=state)
    assert "is forgotten" in devices("forget", "greenhouse", "--yes", state=state)
    assert "no device yet" in devices("list", state=state)
    devices("add", "greenhouse", "--node", "climate-node", state=state)
