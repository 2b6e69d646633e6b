"""Secrets of a whole gateway, started by somebody whose umask is 000: nobody else can read a file of it, and nothing
that it says, shows or writes holds one."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config import load_config
from gateway.mqtt import v311
from tests.aio import run
from tests.flow.commands import FREE_PORTS, command, environment, mpy_gateway, set_options

PLANTED = {
    name: f"planted-{name}-7f3a91"
    for name in (
        "account-password",
        "wrong-account-password",
        "broker-password",
        "wrong-broker-password",
        "passphrase",
        "wifi-password",
        "wrong-token",
        "wrong-token-in-a-protocol",
        "wrong-cookie",
        "wrong-bearer",
        "token-in-a-url",
    )
}
PLANTED["encoded"] = base64.urlsafe_b64encode(PLANTED["wrong-token-in-a-protocol"].encode()).decode().rstrip("=")


def open_to_others(directory: Path) -> dict[str, str]:
    """What in `directory`, itself included, is wider than 0700 and 0600, and its mode."""
    found = {}
    for path in (directory, *directory.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600):
            found[str(path.relative_to(directory))] = oct(stat.S_IMODE(mode))
    return found


@dataclass
class World:
    """A gateway that runs, and all that was heard of it."""

    folder: Path
    process: subprocess.Popen[str]
    said: dict[str, str]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def ask(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        """Run a command beside it, with umask 000; what it says is kept."""
        ended = subprocess.run(
            command(*words, "--state", str(self.state)),
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
            env=environment(),
            umask=0,
            cwd=self.folder,
        )
        assert ended.returncode == code, ended.stderr
        self.said[" ".join(words[:2])] = ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "broker-password").write_text(PLANTED["broker-password"])
    (folder / "passphrase").write_text(PLANTED["passphrase"])
    settings = set_options(
        *FREE_PORTS,
        "devices.tls=true",
        "broker.username=home",
        f"broker.password_file={folder / 'broker-password'}",
        "log.level=debug",
        "log.format=json",
    )
    env = environment() | {"MPY_GATEWAY_WIFI_PASSWORD": PLANTED["wifi-password"]}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("run", "--state", str(folder / "state"), *settings),
            stdout=log, stderr=subprocess.STDOUT, text=True, env=env, umask=0, cwd=folder,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 20
            while not (folder / "state" / "run.json").exists():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield World(folder, process, {})
        finally:
            process.kill()
            process.wait()


def test_every_file_of_the_first_run_is_its_owners_alone(world: World) -> None:
    world.ask("devices", "add", "greenhouse", "--node", "climate-node", "--files", str(world.folder / "board"))
    world.ask("backup", str(world.folder / "file"), "--passphrase-file", str(world.folder / "passphrase"))
    names = {str(path.relative_to(world.state)) for path in world.state.rglob("*")}
    assert {"samples.db", "samples.db-wal", "samples.db-shm", "registry.db", "registry.db-wal", "run.json"} <= names
    assert {"cli.token", "broker.toml", "lock", "tls/ca.key", "tls/devices.pem"} <= names
    assert open_to_others(world.state) == {}
    assert open_to_others(world.folder / "board") == {}
    assert (world.folder / "board" / "settings.json").exists()
    assert stat.S_IMODE((world.folder / "file").stat().st_mode) == 0o600


def test_files_are_made_private_also_where_nobody_has_set_the_umask(tmp_path: Path) -> None:
    """The umask of the command line is one defence, the mode at the making of each file the other."""

    async def once() -> None:
        overrides = [*FREE_PORTS, "devices.tls=true"]
        gateway = Gateway(load_config(None, overrides=overrides, environ={"HOME": "/"}, state=tmp_path / "state"))
        await gateway.start()
        try:
            assert open_to_others(tmp_path / "state") == {}
        finally:
            await gateway.stop()

    before = os.umask(0)
    try:
        run(once())
    finally:
        os.umask(before)
    assert open_to_others(tmp_path / "state") == {}


def test_nothing_that_is_said_shown_or_written_holds_a_secret(world: World) -> None:
    add = world.ask("devices", "add", "cellar", "--node", "climate-node")
    api = world.ask("tokens", "add", "script", "--scope", "admin").split()[0]
    shown_once = {"token": add.split("token")[1].split()[0], "api-token": api}
    world.said.clear()  # what is shown once was shown
    world.ask("users", "add", "anna", "--role", "admin", stdin=PLANTED["account-password"] + "\n")
    strangers(world)
    for words in (("status", "--json"), ("devices", "list", "--json")):
        world.ask(*words)
    world.ask(
        "config", "show", *set_options("broker.username=home", f"broker.password_file={world.folder}/broker-password")
    )
    world.ask("backup", str(world.folder / "sealed"), "--passphrase-file", str(world.folder / "passphrase"))
    world.ask("restore", str(world.folder / "sealed"), "--passphrase-file", str(world.folder / "passphrase"), code=1)
    secrets = PLANTED | shown_once | {"cli-token": (world.state / "cli.token").read_text().strip()}
    heard = world.said | pages(world, secrets["cli-token"]) | processes(world)
    heard["log"] = (world.folder / "log").read_text()
    assert "does not have the login" in heard["log"], "the wrong login at the broker was looked at"
    for place, text in heard.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} in {place}"
    for path in world.state.rglob("*"):
        if path.is_file() and path.name != "cli.token":
            for name, secret in secrets.items():
                assert secret.encode() not in path.read_bytes(), f"{name} in {path.name}"


def pages(world: World, cli_token: str) -> dict[str, str]:
    """Every page and answer that its owner sees, and those for nobody."""
    url = json.loads((world.state / "run.json").read_text())["people_url"]
    found = {}
    for path in (
        "/",
        "/api/status",
        "/api/devices",
        "/api/users",
        "/api/tokens",
        "/api/session",
        "/metrics",
        "/nowhere",
    ):
        for headers in ({"Authorization": f"Bearer {cli_token}"}, {}):
            try:
                with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10) as answer:
                    found[f"{path} {bool(headers)}"] = answer.read().decode() + str(answer.headers)
            except urllib.error.HTTPError as error:
                found[f"{path} {bool(headers)}"] = error.read().decode() + str(error.headers)
    return found


def processes(world: World) -> dict[str, str]:
    """The arguments of the gateway and of its children, and the children's environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            if world.process.pid in (parent, int(entry.name)):
                found[f"arguments of {entry.name}"] = (entry / "cmdline").read_text()
                if parent == world.process.pid:
                    found[f"environment of {entry.name}"] = (entry / "environ").read_text()
    assert len(found) >= 3, "the gateway, and its broker"
    return found


def strangers(world: World) -> None:
    """Wrong secrets of every kind, at every door. They must be in no log: a person may have mistyped the right one."""
    gateway = json.loads((world.state / "run.json").read_text())
    page = gateway["people_url"]
    body = json.dumps({"name": "anna", "password": PLANTED["wrong-account-password"]}).encode()
    for path, data, headers in (
        ("/api/login", body, {"Content-Type": "application/json", "Origin": page}),
        ("/", None, {"Cookie": f"mpy-gateway={PLANTED['wrong-cookie']}; session={PLANTED['wrong-cookie']}"}),
        ("/api/status", None, {"Authorization": f"Bearer {PLANTED['wrong-bearer']}"}),
        (f"/api/status?token={PLANTED['token-in-a-url']}", None, {}),
        (f"/login?link={PLANTED['token-in-a-url']}", None, {}),
    ):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(page + path, data, headers), timeout=10).close()
    for offer in (
        f"Authorization: Bearer {PLANTED['wrong-token']}\r\nSec-WebSocket-Protocol: mpy-gateway.v1",
        f"Sec-WebSocket-Protocol: mpy-gateway.v1, mpy-gateway.token.{PLANTED['encoded']}",
    ):
        upgrade(int(gateway["devices_url"].rpartition(":")[2]), offer)
    login(int(gateway["mqtt"]["embedded"].rpartition(":")[2]), PLANTED["wrong-broker-password"])


def upgrade(port: int, offer: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = (
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as stranger:
        stranger.settimeout(10)
        stranger.sendall(request.encode())
        assert b" 401 " in stranger.recv(1_000)


def login(port: int, password: str) -> None:
    texts = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in ("c", "home", password))
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.settimeout(10)
        stranger.sendall(v311.packet(0x10, b"\0\4MQTT\4\xc2\0\x3c", texts))
        assert stranger.recv(10) == b"\x20\x02\0\4"


def test_wifi_passwords_in_a_boards_files_are_the_users_own_and_not_kept(tmp_path: Path) -> None:
    """What `devices add --files` writes has a place for it; the gateway never learns what is put there."""
    mpy_gateway(
        *("devices", "add", "greenhouse", "--node", "climate-node", "--files", str(tmp_path / "board")),
        *("--state", str(tmp_path / "state")),
    )
    settings = json.loads((tmp_path / "board" / "settings.json").read_text())
    assert settings["wifi"] == [{"ssid": "your network", "password": "its password"}]
    token = settings["token"].encode()
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or token not in path.read_bytes(), path.name
