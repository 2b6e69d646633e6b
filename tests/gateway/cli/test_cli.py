"""Wrong use is one clear line and exit 2; something in the way is one line and exit 1; never a traceback."""

from __future__ import annotations

import resource
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.flow.commands import FREE_PORTS, command, environment, mpy_gateway, running_gateway, set_options


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dance"], "dance"),
        (["run", "--frobnicate"], "--frobnicate"),
        (["send", "climate-1"], "COMMAND"),
        (["demo", "--for", "soon"], "valid number"),
        (["demo", "--for", "-1"], "more than 0"),
        (["demo", "--devices", "0"], "--devices"),
        (["devices", "add", "x"], "--node"),
        (["emulate", "--name", "a", "--devices", "2"], "--name"),
        (["send", "climate-1", "identify", "seconds"], "KEY=VALUE"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(words: list[str], says: str) -> None:
    ended = mpy_gateway(*words)
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert ended.stderr.strip().count("\n") == 0, ended.stderr
    assert "--help" in ended.stderr


def one_line(words: list[str], *says: str, code: int = 1) -> None:
    ended = mpy_gateway(*words)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    (ours,) = [line for line in ended.stderr.splitlines() if line.startswith("mpy-gateway: ")]
    assert ended.stderr.endswith(ours + "\n"), "behind whatever was logged before"
    for text in says:
        assert text in ours


def test_no_gateway_running_says_how_to_start_one(tmp_path: Path) -> None:
    for words in (["status"], ["tail"], ["send", "climate-1", "ping"], ["link"], ["emulate"]):
        one_line([*words, "--state", str(tmp_path)], "no gateway runs", "mpy-gateway run")


@pytest.mark.parametrize("key", ["devices.port", "people.port", "broker.port"])
def test_a_port_in_use_is_one_line(tmp_path: Path, key: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        settings = [setting for setting in FREE_PORTS if not setting.startswith(f"{key}=")]
        words = ["run", "--state", str(tmp_path / "state"), *set_options(*settings, f"{key}={port}")]
        one_line(words, str(port), "in use")


def test_a_bad_config_names_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mpy-gateway.toml"
    file.write_text('[people]\nhost = "127.0.0.1"\nprot = 8080\n')
    one_line(["run", "--config", str(file)], "mpy-gateway.toml:3", "people.prot")
    one_line(["config", "check", "--config", str(file)], "mpy-gateway.toml:3", "people.prot")


def test_a_setting_typed_wrong_is_wrong_use() -> None:
    one_line(["run", "--set", "people.prt=8081"], '--set people.prt: there is no key "prt"', code=2)


def test_a_second_gateway_on_one_state_directory_is_refused(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "state"):
        one_line(["run", "--state", str(tmp_path / "state"), *set_options(*FREE_PORTS)], "state")


def test_a_locked_database_is_one_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_gateway(state) as gateway:
        gateway.stop()
    other = sqlite3.connect(state / "samples.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        one_line(["run", "--state", str(state), *set_options(*FREE_PORTS)], "samples.db")
    finally:
        other.close()


@pytest.mark.parametrize("room_bytes", [0, 4096, 16_384])
def test_no_room_at_the_start_is_one_line(tmp_path: Path, room_bytes: int) -> None:
    def no_room() -> None:
        """No file may grow beyond: the nearest to a full disk without a disk of one's own."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))

    words = ["run", "--state", str(tmp_path / "state"), *set_options(*FREE_PORTS)]
    ended = subprocess.run(
        command(*words), capture_output=True, text=True, timeout=30, check=False,
        env=environment(), preexec_fn=no_room,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("mpy-gateway: ") == 1
    assert "Traceback" not in ended.stderr
    assert "disk" in ended.stderr or str(tmp_path) in ended.stderr, ended.stderr


def test_a_file_where_the_state_directory_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    one_line(["run", "--state", str(tmp_path / "state"), *set_options(*FREE_PORTS)], str(tmp_path / "state"))
